//! What can go wrong below the seam.

use std::borrow::Cow;

use crate::{AdapterId, Pooling, Precision, RowId, Verb};

/// A call that failed and changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A device that this build or this machine does not have.
    #[error("device {device} of `{backend}` is not present: {reason}")]
    NoDevice {
        /// The backend asked.
        backend: String,
        /// The device number asked for.
        device: u32,
        /// Why it is not there, and what to do.
        reason: String,
    },
    /// An architecture that the backend cannot run.
    #[error("the architecture `{model_type}` is not supported")]
    Architecture {
        /// `model_type` of the model's `config.json`.
        model_type: String,
        /// What can be run.
        supported: Vec<String>,
    },
    /// A value of `config.json` that is missing or cannot be honoured.
    #[error("`{key}` in the model's config.json {problem}")]
    ModelConfig {
        /// The key.
        key: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// Tensors that do not fit the architecture, all of them.
    #[error("the weights do not fit the model: {}", .problems.join("; "))]
    Weights {
        /// One sentence per tensor.
        problems: Vec<String>,
    },
    /// A tensor could not be read.
    #[error("tensor `{name}` cannot be read")]
    ReadTensor {
        /// The tensor.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row that does not exist (any more).
    #[error("row {0:?} does not exist")]
    NoRow(RowId),
    /// A token id outside the vocabulary.
    #[error("token id {token} is outside the vocabulary of {vocabulary}")]
    NoToken {
        /// The id.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// A batch that is not a well-formed forest.
    #[error("the batch is not a forest: {0}")]
    Forest(String),
    /// More tokens than the model was made for.
    #[error("{tokens} tokens do not fit the context of {context}")]
    Context {
        /// Tokens on the longest path.
        tokens: usize,
        /// The model's context length.
        context: usize,
    },
    /// No room for more cached tokens.
    #[error("the cache has room for {free} more tokens, {needed} are needed")]
    CacheFull {
        /// Tokens asked for.
        needed: usize,
        /// Tokens left.
        free: usize,
    },
    /// No room for more rows.
    #[error("all {rows} rows are in use")]
    RowsFull {
        /// How many there may be.
        rows: usize,
    },
    /// An adapter that does not exist (any more).
    #[error("adapter {0:?} does not exist")]
    NoAdapter(AdapterId),
    /// An adapter or a way of learning that does not fit the model.
    #[error("{what}")]
    Adapter {
        /// What does not fit.
        what: String,
        /// What to do.
        help: String,
    },
    /// Arithmetic that the engine does not have.
    #[error(
        "`{backend}` does not compute in {}, only in {}",
        precision.name(),
        known.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
    )]
    Precision {
        /// Its name.
        backend: String,
        /// What was asked for.
        precision: Precision,
        /// What it has.
        known: Vec<Precision>,
    },
    /// A verb that this backend does not have.
    #[error("this backend cannot {0:?}")]
    Verb(Verb),
    /// A verb that models of this kind do not have.
    #[error("a `{model_type}` model cannot {verb:?}: {reason}")]
    NotOfModel {
        /// `model_type` of the model's `config.json`.
        model_type: String,
        /// What was asked for.
        verb: Verb,
        /// Why not.
        reason: Cow<'static, str>,
    },
    /// A pooling that makes no sense for the model.
    #[error("the pooling `{}` makes no sense here: {reason}", pooling.name())]
    Pooling {
        /// What was asked for.
        pooling: Pooling,
        /// Why not.
        reason: Cow<'static, str>,
    },
    /// Anything an engine reports in its own words.
    #[error("{0}")]
    Engine(String),
}
