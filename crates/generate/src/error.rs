//! What can go wrong while generating.

use std::borrow::Cow;

use fidelio_backend::BackendError;

use crate::GrammarError;

/// Why a request was refused, or a round of the engine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A decoding setting that cannot be.
    #[error("`{field}` {problem}")]
    Decoding {
        /// The setting's name.
        field: &'static str,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A prompt without tokens: there is nothing to continue.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// A prompt's token id that the model does not have.
    #[error(
        "token id {token} at position {position} of the prompt is outside the vocabulary of {vocabulary}"
    )]
    PromptToken {
        /// The id.
        token: u32,
        /// Where it stands.
        position: usize,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// Prompt and answer do not fit the model.
    #[error(
        "a prompt of {prompt} tokens and {max_new_tokens} new ones do not fit the context of {context}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that may be generated.
        max_new_tokens: usize,
        /// Tokens that a row may hold.
        context: usize,
    },
    /// Prompt and answer do not fit the cache, even alone.
    #[error(
        "a prompt of {prompt} tokens and {max_new_tokens} new ones do not fit a cache of {cache} tokens"
    )]
    CacheTooSmall {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that may be generated.
        max_new_tokens: usize,
        /// Tokens that the session can cache.
        cache: usize,
    },
    /// Limits under which nothing can run.
    #[error("the engine's `{limit}` must be at least 1")]
    Limits {
        /// The limit's name.
        limit: &'static str,
    },
    /// Scores of labels that do not belong together.
    #[error("{0}")]
    Labels(String),
    /// The tokenizer could not decode what was generated.
    #[error("the generated tokens cannot be decoded")]
    Decode(#[source] tokenizers::Error),
    /// The answer's grammar cannot be used with this model.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// The session failed. The round may be tried again.
    #[error("the model could not be run")]
    Backend(#[from] BackendError),
}

impl GenerateError {
    /// What the caller may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::TooLong { max_new_tokens, context, .. } => Some(Cow::Owned(
                match context.checked_sub(*max_new_tokens).filter(|room| *room > 0) {
                    Some(room) => {
                        format!("shorten the prompt to {room} tokens or lower `max_new_tokens`")
                    }
                    None => format!("set `max_new_tokens` below {context}"),
                },
            )),
            Self::CacheTooSmall { .. } => Some(Cow::Borrowed(
                "give the session a larger cache, shorten the prompt, or lower `max_new_tokens`",
            )),
            _ => None,
        }
    }
}
