//! Why no examples can be chosen, or no passages found.

use std::borrow::Cow;
use std::path::PathBuf;

/// Why no examples can be chosen, or no passages found.
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
    /// A folder without a corpus.
    #[error("`{path}` holds no corpus")]
    NoCorpus {
        /// The folder.
        path: PathBuf,
    },
    /// A corpus whose making was broken off.
    #[error("the corpus `{path}` was never finished")]
    UnfinishedCorpus {
        /// The folder.
        path: PathBuf,
    },
    /// A corpus that another version made.
    #[error("the corpus `{path}` has version {found}, this program reads {expected}")]
    CorpusVersion {
        /// The folder.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What can be read.
        expected: String,
    },
    /// A corpus that is not as it was written.
    #[error("the corpus `{path}` is damaged: {reason}")]
    DamagedCorpus {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A corpus that another process writes.
    #[error("another process is writing the corpus `{path}`")]
    CorpusBusy {
        /// The folder.
        path: PathBuf,
    },
    /// A corpus that cannot be written.
    #[error("cannot write the corpus `{path}`")]
    CorpusWrite {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RetrievalError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::TooFew { .. } => Some("ask for fewer, or give more training rows".into()),
            Self::NoLabels { .. } => Some("choose without balance, or label the rows".into()),
            Self::NoCorpus { .. } => Some(
                "make one with `fidelio index -o FOLDER SOURCE...`, in a folder that is not there yet"
                    .into(),
            ),
            Self::UnfinishedCorpus { .. }
            | Self::CorpusVersion { .. }
            | Self::DamagedCorpus { .. } => {
                Some("remove the folder and make it anew with `fidelio index`".into())
            }
            Self::CorpusBusy { .. } => Some("wait until it is done".into()),
            Self::Width { .. } | Self::Search { .. } | Self::CorpusWrite { .. } => None,
        }
    }
}
