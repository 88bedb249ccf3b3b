//! What goes into an engine and what comes out.

use std::fmt;

use fidelio_backend::AdapterId;
use serde::{Deserialize, Serialize};

use crate::{Decoding, Grammar, LogitRule};

/// A prompt to be continued.
#[derive(Default)]
pub struct Request {
    /// The prompt's ids, complete with whatever the model wants at its beginning.
    pub prompt: Vec<u32>,
    /// How to continue it.
    pub decoding: Decoding,
    /// The adapter of the session that it is computed with; none is the model alone.
    pub adapter: Option<AdapterId>,
    /// Whose it is, as the caller counts them: clients take turns where requests wait.
    pub client: u64,
    /// Whether special tokens among the answer are text too, such as those that begin calls of tools.
    pub keep_special_tokens: bool,
    /// The texts that the answer may be; any where none.
    pub grammar: Option<Grammar>,
    /// The caller's own rules. They see the whole vocabulary.
    pub rules: Vec<Box<dyn LogitRule>>,
}

impl Request {
    /// A request without rules of its own.
    pub fn new(prompt: impl Into<Vec<u32>>, decoding: Decoding) -> Self {
        Self { prompt: prompt.into(), decoding, ..Self::default() }
    }

    /// Computes it with an adapter of the session, or with none.
    #[must_use]
    pub fn with_adapter(mut self, adapter: Option<AdapterId>) -> Self {
        self.adapter = adapter;
        self
    }

    /// Holds the answer to a grammar.
    #[must_use]
    pub fn with_grammar(mut self, grammar: Option<Grammar>) -> Self {
        self.grammar = grammar;
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.rules.iter().map(|rule| rule.name()).collect();
        f.debug_struct("Request")
            .field("prompt", &self.prompt)
            .field("decoding", &self.decoding)
            .field("adapter", &self.adapter)
            .field("client", &self.client)
            .field("keep_special_tokens", &self.keep_special_tokens)
            .field("grammar", &self.grammar)
            .field("rules", &rules)
            .finish()
    }
}

/// A request's number: later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What one round gave to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// Whose it is.
    pub request: RequestId,
    /// Text that follows what was emitted before; whole characters, often none.
    pub text: String,
    /// The tokens taken in this round. Their text may come later, or never (a stop string).
    pub tokens: Vec<u32>,
    /// One per token taken, the end-of-sequence token included, if the request wants them.
    pub logprobs: Vec<TokenLogprobs>,
    /// Set in the request's last.
    pub finish: Option<Finish>,
}

/// How likely a token was, before any rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprobs {
    /// The token taken.
    pub token: u32,
    /// Its natural log-probability.
    pub logprob: f32,
    /// The likeliest tokens and their log-probabilities, descending.
    pub top: Vec<(u32, f32)>,
}

/// A request's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
    /// The whole text: all deltas put together.
    pub text: String,
    /// The tokens of the answer, without the end-of-sequence token, with those of a stop string.
    pub ids: Vec<u32>,
}

/// Why a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model took this end-of-sequence token.
    Eos(u32),
    /// This stop string came.
    Stop(String),
    /// The answer is complete by its grammar, and nothing may follow.
    Grammar,
    /// `max_new_tokens` were generated.
    Length,
    /// The caller cancelled it.
    Cancelled,
    /// `max_time` is over.
    Time,
    /// The cache has no room for it, though nothing else is in it.
    CacheFull,
    /// No token could be chosen, for this reason.
    Failed(String),
}

impl FinishReason {
    /// The word for it in results: `stop` for all kinds of regular end, as servers write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Eos(_) | Self::Stop(_) | Self::Grammar => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Time => "time",
            Self::CacheFull => "cache_full",
            Self::Failed(_) => "failed",
        }
    }
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// How many of them had been computed for another request already.
    pub cached_prompt_tokens: usize,
    /// Tokens generated, the end-of-sequence token and those that a grammar forced included.
    pub completion_tokens: usize,
}
