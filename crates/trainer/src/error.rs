//! What can go wrong while training.

use std::{borrow::Cow, error::Error, io, path::PathBuf};

use fidelio_backend::BackendError;
use fidelio_weights::WeightsError;
use serde::Serialize;

use crate::Unfit;

/// Why a run could not begin, go on or end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting of the plan that cannot be.
    #[error("`{key}` {problem}")]
    Plan {
        /// The setting.
        key: &'static str,
        /// What is wrong with it, as the end of a sentence.
        problem: &'static str,
    },
    /// Nothing to learn from.
    #[error("there are no rows to learn from")]
    NoRows,
    /// A row that cannot be learnt from.
    #[error("row {row} cannot be learnt from")]
    Row {
        /// Its number; the first is 0.
        row: usize,
        /// Why.
        #[source]
        unfit: Unfit,
    },
    /// The engine failed. What is on disk can be resumed from.
    #[error("the model could not be run after {update} updates")]
    Engine {
        /// Updates taken.
        update: u64,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// Gradients were not finite again and again.
    #[error("the gradients of update {update} and of the {before} before it are not finite")]
    NotFinite {
        /// The last of these updates.
        update: u64,
        /// Updates before it that failed in the same way.
        before: u64,
        /// Its learning rate.
        learning_rate: f64,
    },
    /// The evaluation failed.
    #[error("the model could not be evaluated after {update} updates")]
    Evaluate {
        /// Updates taken.
        update: u64,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An observer failed.
    #[error("the run could not be reported on after {update} updates")]
    Observer {
        /// Updates taken.
        update: u64,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A checkpoint could not be written, or there is none to go on from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What can go wrong with the checkpoints of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder that the system will not let us read.
    #[error("cannot read `{path}`")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder that the system will not let us write.
    #[error("cannot write `{path}`")]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Tensors that cannot be written or read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The engine did not give its tensors, or did not take them.
    #[error("the engine refuses `{path}`")]
    Engine {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// A new run would overwrite another one.
    #[error("`{path}` is the checkpoint of another run")]
    Occupied {
        /// The checkpoint.
        path: PathBuf,
    },
    /// Nothing to go on from.
    #[error("`{folder}` holds no checkpoint that can be resumed from")]
    Nothing {
        /// The folder.
        folder: PathBuf,
        /// Checkpoints that cannot be used.
        skipped: Vec<(PathBuf, Flaw)>,
    },
    /// Parameters that the run counts on and that are gone or damaged.
    #[error("`{path}` cannot be used")]
    Broken {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        flaw: Flaw,
    },
    /// A checkpoint that another plan or other rows led to.
    #[error("`{path}` belongs to another run: {} differ", .differs.join(", "))]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// Keys of the plan with another value, or `rows`.
        differs: Vec<String>,
    },
}

/// What is wrong with a folder that was to be complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "flaw", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Flaw {
    #[error("its `manifest.json` is missing: it was not written to the end")]
    NoManifest,
    #[error("its `{file}` is not what this version writes: {problem}")]
    Json { file: String, problem: String },
    #[error("its `{file}` cannot be read: {problem}")]
    Unreadable { file: String, problem: String },
    #[error("its `{file}` has {found} bytes of {expected}")]
    Size { file: String, expected: u64, found: u64 },
    #[error("its `{file}` has been changed since it was written")]
    Changed { file: String },
}

impl TrainError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::NotFinite { learning_rate, .. } => format!(
                "lower the learning rate (it was {learning_rate:e}), warm up longer or clip \
                 gradients; the last checkpoint is from before and can be resumed from"
            )
            .into(),
            Self::Engine { .. } => "checkpoints that are on disk can be resumed from".into(),
            Self::Checkpoint(CheckpointError::Occupied { .. }) => {
                "resume that run, or choose another folder".into()
            }
            Self::Checkpoint(CheckpointError::OtherRun { .. }) => {
                "resume with the same run file and data, or begin anew in another folder".into()
            }
            Self::Checkpoint(CheckpointError::Weights(error)) => return error.hint(),
            _ => return None,
        })
    }
}
