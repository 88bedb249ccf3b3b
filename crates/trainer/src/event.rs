//! What a run tells while it works, and who listens.

use std::{collections::BTreeMap, error::Error, path::PathBuf};

use serde::Serialize;

use crate::{Flaw, Summary};

/// What has happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A checkpoint could not be resumed from; an older one is taken.
    Skipped {
        /// Its folder, which is left as it is.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The run begins, or goes on.
    Began {
        /// Updates that were taken before.
        update: u64,
        /// The last update that was evaluated before.
        evaluated: u64,
        /// Updates in all.
        of: u64,
        /// Rows that are learnt from.
        rows: usize,
        /// Numbers that learn.
        parameters: u64,
    },
    /// An update is done.
    Step(Step),
    /// An evaluation is done.
    Evaluated(Evaluated),
    /// A checkpoint is on disk.
    Checkpointed {
        /// The updates it holds.
        update: u64,
        /// Its folder.
        path: PathBuf,
    },
    /// The run is over, or stopped.
    Finished(Summary),
}

/// An update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// Its number; the first is 1.
    pub update: u64,
    /// Updates in all.
    pub of: u64,
    /// Epochs that are over, with the share of the one in progress.
    pub epoch: f64,
    /// The mean loss per learnt token, before the update.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Whether they were clipped.
    pub clipped: bool,
    /// Whether the step was taken; not where a gradient is not finite.
    pub applied: bool,
    /// Tokens that were learnt.
    pub tokens_learnt: u64,
    /// Tokens that went through the model; what rows share counts once.
    pub tokens_computed: u64,
    /// How long it took.
    pub seconds: f64,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// After how many updates.
    pub update: u64,
    /// The name of the metric that decides what is best.
    pub validation_metric: String,
    /// Its value.
    pub metric: f64,
    /// Whether it is the best so far.
    pub improved: bool,
    /// The mean loss of what was learnt since the evaluation before.
    pub training_loss: f64,
    /// Everything that was measured, by name.
    pub values: BTreeMap<String, f64>,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// Stop after the update in progress and save a checkpoint.
    Stop,
}

/// Watches a run: a progress bar, a metrics file, a test, a signal handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot watch a run",
    note = "implement `fidelio_trainer::Observer`, or pass `&mut Silent`"
)]
pub trait Observer {
    /// Told after each piece of work; says whether to go on.
    ///
    /// # Errors
    /// When it cannot do its work; the run ends with that error.
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>>;
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
        Ok(Flow::Continue)
    }
}

/// Each is told; one that says stop is enough.
impl<const N: usize> Observer for [&mut dyn Observer; N] {
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
        let mut flow = Flow::Continue;
        for observer in self {
            if observer.on(event)? == Flow::Stop {
                flow = Flow::Stop;
            }
        }
        Ok(flow)
    }
}
