//! Why a document cannot be read or cut.

use std::borrow::Cow;

/// Why a document cannot be read or cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Bytes that are no text.
    #[error("it is no UTF-8 text: byte {at} (from 0) begins no character")]
    NotText {
        /// Where the first wrong byte stands.
        at: usize,
    },
    /// A file that is not what its name says.
    #[error("it cannot be read as PDF: {reason}")]
    Pdf {
        /// What is wrong.
        reason: String,
    },
    /// A PDF of pictures.
    #[error("none of its {pages} pages holds text")]
    NoText {
        /// Pages looked at.
        pages: usize,
    },
    /// Limits that contradict each other.
    #[error("passages of at most {max_tokens} tokens cannot repeat {overlap} of them")]
    Limits {
        /// The most tokens of a passage.
        max_tokens: usize,
        /// Tokens to repeat.
        overlap: usize,
    },
    /// The tokenizer failed.
    #[error("the tokens of a passage cannot be counted")]
    Count {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A text that no cutting makes short enough.
    #[error("a single character has {tokens} tokens, {max_tokens} are allowed")]
    Character {
        /// What it has.
        tokens: usize,
        /// What is allowed.
        max_tokens: usize,
    },
}

impl DocumentError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::NotText { .. } => Some("save it as UTF-8, or leave it out".into()),
            Self::Pdf { .. } => Some("write it anew with another program, or leave it out".into()),
            Self::NoText { .. } => {
                Some("its pages are pictures: run it through text recognition first".into())
            }
            Self::Limits { .. } | Self::Character { .. } => Some(
                "allow at least 16 tokens for each passage, and repeat at most half of them".into(),
            ),
            Self::Count { .. } => None,
        }
    }
}
