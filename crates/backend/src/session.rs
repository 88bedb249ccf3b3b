//! The two traits every engine implements.

use serde::{Deserialize, Serialize};

use crate::{
    AdapterId, AdapterSpec, BackendError, Batch, Footprint, Forest, Learn, LearnSpec, OpenSpec,
    Pooling, Precision, Weights,
};

/// A place where models can run: a Burn device, or a plugin.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a place where models can run",
    note = "implement `fidelio_backend::Backend`: `describe` says what it has, `open` gives a session"
)]
pub trait Backend: Send + Sync {
    /// Name, devices, number formats, and which verbs work.
    fn describe(&self) -> BackendInfo;

    /// Makes a model resident on a device.
    ///
    /// # Errors
    /// When the device is absent, the architecture unknown, or any tensor is missing, extra or
    /// misshapen.
    fn open(
        &self,
        device: DeviceId,
        spec: &OpenSpec,
        weights: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError>;
}

/// One model, resident on one device. A call that fails changes nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session on a model",
    note = "implement `fidelio_backend::Session`; a verb that the engine lacks returns `BackendError::Verb`"
)]
pub trait Session: Send {
    /// Vocabulary, context, and the room that is left.
    fn capacity(&self) -> Capacity;

    /// Feeds new tokens to rows and answers what each step wants, in the order of `steps`.
    ///
    /// # Errors
    /// When a row or token does not exist, a row outgrows the context, or the cache is full.
    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError>;

    /// A new row that begins with all that `row` has cached, without copying it.
    ///
    /// # Errors
    /// When the row does not exist.
    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError>;

    /// Keeps the first `keep` tokens of a row; 0 frees the row. Rows forked from it keep theirs.
    ///
    /// # Errors
    /// When the row does not exist or holds fewer tokens.
    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError>;

    /// Answers the targets of a batch, in their order, and leaves no row behind.
    ///
    /// # Errors
    /// When the batch is malformed, a token or cached row does not exist, or the context is too
    /// short.
    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError>;

    /// One vector for each node of a forest, each of them a text of its own: nodes times the width
    /// of the model's states, in the order of the nodes. Vectors have the length that they have; a
    /// caller who wants them of length 1 divides. Leaves no row behind.
    ///
    /// # Errors
    /// When the forest is malformed or a node stands below something, a token does not exist, a text
    /// is longer than the context, or the pooling makes no sense for the model.
    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        let _ = (forest, pooling);
        Err(BackendError::Verb(Verb::Embed))
    }

    /// Adds an adapter: with `weights` as a file has them (named
    /// `{module}.lora_A.weight` and so on), or newly begun.
    ///
    /// # Errors
    /// When nothing in the model is a target, or a tensor is missing, extra or misshapen.
    fn add_adapter(
        &mut self,
        spec: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        let _ = (spec, weights);
        Err(BackendError::Verb(Verb::Adapt))
    }

    /// Forgets an adapter. Rows that were cached with it are gone.
    ///
    /// # Errors
    /// When there is no such adapter, or it is the one that learns.
    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        let _ = adapter;
        Err(BackendError::Verb(Verb::Adapt))
    }

    /// Begins to learn. What learnt before stops learning and keeps what it has learnt.
    ///
    /// # Errors
    /// When nothing would learn, or the engine lacks what `spec` asks for.
    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        let _ = spec;
        Err(BackendError::Verb(Verb::Learn))
    }

    /// Where memory would go in updates that learn as `spec` says, each of so many micro-batches
    /// like `batch`; none where the engine cannot say. Nothing is computed, and nothing begins to
    /// learn.
    ///
    /// # Errors
    /// As [`Self::learn`].
    fn footprint(
        &mut self,
        spec: &LearnSpec,
        batch: &Batch,
        micro_batches: usize,
    ) -> Result<Option<Footprint>, BackendError> {
        let _ = (spec, batch, micro_batches);
        Ok(None)
    }

    /// What [`Self::learn`] began; none before.
    fn learning(&mut self) -> Option<&mut dyn Learn> {
        None
    }
}

/// A session that is lent: whoever takes one by value may be given a borrowed one.
impl<S: Session + ?Sized> Session for &mut S {
    fn capacity(&self) -> Capacity {
        (**self).capacity()
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        (**self).extend(steps)
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        (**self).fork(row)
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        (**self).truncate(row, keep)
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        (**self).score(batch, want)
    }

    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        (**self).embed(forest, pooling)
    }

    fn add_adapter(
        &mut self,
        spec: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        (**self).add_adapter(spec, weights)
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        (**self).remove_adapter(adapter)
    }

    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        (**self).learn(spec)
    }

    fn footprint(
        &mut self,
        spec: &LearnSpec,
        batch: &Batch,
        micro_batches: usize,
    ) -> Result<Option<Footprint>, BackendError> {
        (**self).footprint(spec, batch, micro_batches)
    }

    fn learning(&mut self) -> Option<&mut dyn Learn> {
        (**self).learning()
    }
}

/// What a backend is and has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendInfo {
    /// As a user writes it in `device:`, such as `flex`.
    pub name: String,
    /// One sentence about it.
    pub about: String,
    /// The devices that are present.
    pub devices: Vec<DeviceInfo>,
    /// The arithmetic it offers.
    pub precisions: Vec<Precision>,
    /// What its sessions can do.
    pub verbs: Vec<Verb>,
}

/// A device of a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its number within the backend.
    pub id: DeviceId,
    /// What the machine calls it.
    pub name: String,
    /// Memory in bytes, where known.
    pub memory: Option<u64>,
}

/// A device's number within its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct DeviceId(pub u32);

/// A call of [`Session`] that an engine may or may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the method of that name")]
pub enum Verb {
    Extend,
    Fork,
    Truncate,
    Score,
    Embed,
    Adapt,
    Learn,
}

/// A cached row of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowId(pub u64);

/// Sizes of a session, and the room it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Tokens that a row may hold.
    pub context: usize,
    /// Rows that may still be opened.
    pub rows: usize,
    /// Tokens that may still be cached.
    pub tokens: usize,
}

/// New tokens for one row, and what is wanted back.
#[derive(Debug, Clone, Copy)]
pub struct RowStep<'a> {
    /// The row they are for.
    pub row: RowTo,
    /// At least one token.
    pub tokens: &'a [u32],
    /// The adapter that a new row is computed with; none is the model alone. A row keeps the one
    /// it began with, and its forks do too.
    pub adapter: Option<AdapterId>,
    /// What is wanted back.
    pub wanted: Wanted<'a>,
}

/// The row a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTo {
    /// A new row; the answer carries its id.
    New,
    /// A row that exists. A row appears at most once in one call.
    Row(RowId),
}

/// At which of a step's tokens something is wanted back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted<'a> {
    /// Nowhere: a chunk of a prompt pays for no head.
    Nothing,
    /// At the last token.
    Last(Shape<'a>),
    /// At every token.
    All(Shape<'a>),
}

/// How much of a position's logits is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape<'a> {
    /// All of them.
    Full,
    /// The `k` largest, those of `also`, and the log of the sum of all exponentials.
    Top {
        /// How many of the largest.
        k: usize,
        /// Tokens that are wanted in any case.
        also: &'a [u32],
    },
}

/// One answer per step, in the order of the steps.
pub type Answers = Vec<Answer>;

/// What `extend` answers to one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The step's row, also when it is new.
    pub row: RowId,
    /// Logits of the wanted positions, in order.
    pub logits: Vec<Logits>,
}

/// Unnormalised log-probabilities of the next token.
#[derive(Debug, Clone, PartialEq)]
pub enum Logits {
    /// One per token of the vocabulary.
    Full(Vec<f32>),
    /// Some of them.
    Top {
        /// The largest, descending, ties by smaller id; then those of `also` in their order.
        entries: Vec<(u32, f32)>,
        /// The log of the sum of the exponentials of all logits.
        logsumexp: f32,
    },
}

/// What `score` reports besides log-probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// Also the full logits at every target: for tests and drift measurements.
    pub logits: bool,
}

/// The answers of a batch, in the order of its targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// One per target.
    pub scores: Vec<Score>,
    /// Full logits per target, if wanted.
    pub logits: Vec<Vec<f32>>,
}

/// A target's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Natural log-probability of the asked token.
    pub logprob: f32,
    /// How many tokens have a larger logit.
    pub rank: u32,
    /// The token with the largest logit (the smallest id among equals).
    pub top: u32,
}
