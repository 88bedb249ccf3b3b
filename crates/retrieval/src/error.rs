//! Why no examples can be chosen.

use std::borrow::Cow;

/// Why no examples can be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// More examples are asked for than there are rows to choose from.
    #[error("{asked} examples are asked for, and there are {have} rows to choose from")]
    TooFew {
        /// Examples per query.
        asked: usize,
        /// Candidates.
        have: usize,
    },
    /// A balanced choice among rows without labels.
    #[error("a balanced choice needs labels, and {without} of {have} rows have none")]
    NoLabels {
        /// Candidates without a label.
        without: usize,
        /// Candidates.
        have: usize,
    },
    /// Vectors of which some are wider than others.
    #[error("a vector has {got} numbers where {expected} are expected")]
    Width {
        /// Numbers of the first candidate's vector.
        expected: usize,
        /// Numbers of this one.
        got: usize,
    },
    /// A searcher failed.
    #[error("the search for examples failed")]
    Search {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RetrievalError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::TooFew { .. } => Some("ask for fewer, or give more training rows".into()),
            Self::NoLabels { .. } => Some("choose without balance, or label the rows".into()),
            Self::Width { .. } | Self::Search { .. } => None,
        }
    }
}
