//! `generation` as types.

use serde::{Deserialize, Serialize};

/// How the answer is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// As written; see [`RunConfig::max_new_tokens`](crate::RunConfig::max_new_tokens).
    pub max_new_tokens: Option<usize>,
    /// Fewest tokens.
    pub min_new_tokens: Option<usize>,
    /// Seconds.
    pub max_time: Option<f64>,
    /// Whether tokens are drawn at random.
    pub do_sample: bool,
    /// Divides the logits; only when sampling.
    pub temperature: Option<f64>,
    /// Only when sampling; 0 is off.
    pub top_k: Option<usize>,
    /// Only when sampling; 1 is off.
    pub top_p: Option<f64>,
    /// Only when sampling; 0 is off.
    pub min_p: Option<f64>,
    /// Only when sampling; 1 is off.
    pub typical_p: Option<f64>,
    /// Only when sampling; see [`RunConfig::sampling_seed`](crate::RunConfig::sampling_seed).
    pub seed: Option<u64>,
    /// 1 is off.
    pub repetition_penalty: f64,
    /// 0 is off.
    pub presence_penalty: f64,
    /// 0 is off.
    pub frequency_penalty: f64,
    /// 0 is off.
    pub no_repeat_ngram_size: usize,
    /// Texts that may not occur.
    pub bad_words: Option<Vec<String>>,
    /// Token sequences that may not occur.
    pub bad_words_ids: Option<Vec<Vec<u32>>>,
    /// Tokens that may not occur.
    pub suppress_tokens: Option<Vec<u32>>,
    /// Tokens that may not come first.
    pub begin_suppress_tokens: Option<Vec<u32>>,
    /// Texts that end the answer.
    pub stop: Option<Vec<String>>,
    /// Tokens that end the answer, instead of the model's.
    pub eos_token_id: Option<OneOrMany>,
    /// Log-probabilities of so many likeliest tokens; only for text.
    pub logprobs: Option<usize>,
}

/// One token id or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(u32),
    /// Several.
    Many(Vec<u32>),
}

impl OneOrMany {
    /// The ids.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}
