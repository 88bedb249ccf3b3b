//! Watching long work, and stopping it.

/// A part of a run that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Rows become tokens.
    Rendering,
    /// Labels are scored.
    Scoring,
    /// Text is generated.
    Generating,
    /// Expected answers are scored for loss and perplexity.
    Losses,
    /// Tensors are written.
    Writing,
    /// A model answers the prompts on which models are compared.
    Comparing,
    /// Documents become passages.
    Indexing,
    /// Texts become vectors.
    Embedding,
}

impl Stage {
    /// What a progress bar says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rendering => "rendering rows",
            Self::Scoring => "scoring labels",
            Self::Generating => "generating",
            Self::Losses => "scoring answers",
            Self::Writing => "writing",
            Self::Comparing => "comparing",
            Self::Indexing => "indexing",
            Self::Embedding => "embedding",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rendering | Self::Scoring | Self::Generating | Self::Losses => "rows",
            Self::Writing => "tensors",
            Self::Comparing => "prompts",
            Self::Indexing => "files",
            Self::Embedding => "texts",
        }
    }
}

/// What a run tells while it works.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// So much of a stage is done, and so many tokens went through the model for it.
    Progress {
        /// What is being done.
        stage: Stage,
        /// Rows, or what the stage counts, that are done.
        done: usize,
        /// Of these, all.
        total: usize,
        /// Tokens computed so far.
        tokens: u64,
    },
    /// Something the user should know, such as rows that were dropped by a rule.
    Note(String),
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// Stop after the call in progress; what is done is kept.
    Stop,
}

/// Watches a run: a progress bar, a log, a test, a signal handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot watch a run",
    note = "implement `fidelio::Observer`, or pass `&mut Silent`"
)]
pub trait Observer {
    /// Told after each piece of work; says whether to go on.
    fn on(&mut self, event: &Event) -> Flow;
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: &Event) -> Flow {
        Flow::Continue
    }
}
