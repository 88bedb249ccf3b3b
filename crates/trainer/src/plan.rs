//! Everything a run decides before its first update.

use fidelio_backend::{AdapterId, LearnSpec, Trains};
use serde::{Deserialize, Serialize};

use crate::{Plateau, Schedule, TrainError};

/// A run with no open choices. It is plain data: printed, and compared on resuming.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPlan {
    /// Updates in all.
    pub updates: u64,
    /// Rows of a micro-batch, which is computed at once.
    pub batch_size: usize,
    /// Micro-batches of an update. The last update of an epoch takes what is left.
    pub gradient_accumulation_steps: usize,
    /// Whether each epoch has an order of its own; otherwise rows come as they are given.
    pub shuffle: bool,
    /// What the orders depend on.
    pub seed: u64,
    /// The learning rate that the schedule starts from.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// How it falls when nothing gets better.
    pub plateau: Option<Plateau>,
    /// What learns, and how.
    pub learn: LearnSpec,
    /// What rows of a micro-batch begin with alike is computed once, from so many tokens on. None:
    /// every row by itself, which dropout and NEFTune need.
    pub share_beginnings: Option<usize>,
    /// Updates between evaluations; the last update is evaluated in any case.
    pub evaluate_every: u64,
    /// Updates between checkpoints; the last update is saved in any case.
    pub checkpoint_every: u64,
    /// Stops after so many evaluations without improvement.
    pub early_stop: Option<u64>,
    /// The name of the metric that says which evaluation is best.
    pub validation_metric: String,
    /// What it should become.
    pub goal: Goal,
    /// Averages the best parameters at the end.
    pub model_soup: Option<Soup>,
}

/// What a metric should become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Small, such as a loss.
    Minimize,
    /// Large, such as an accuracy.
    Maximize,
}

/// Parameters that are averaged over a run's evaluations (arXiv 2203.05482).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Soup {
    /// How they are chosen.
    pub kind: SoupKind,
    /// From how many of the best evaluations.
    pub top_k: usize,
}

/// How a [`Soup`] chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoupKind {
    /// All of them.
    Uniform,
    /// The best, then each that does not make the mean worse.
    Greedy,
}

impl Goal {
    /// Whether a value is better than the best so far. What is not a number never is.
    pub fn improves(self, value: f64, best: Option<f64>) -> bool {
        match (self, best) {
            (_, None) => !value.is_nan(),
            (Self::Minimize, Some(best)) => value < best,
            (Self::Maximize, Some(best)) => value > best,
        }
    }
}

impl TrainPlan {
    /// Updates of one epoch over so many rows.
    pub fn updates_per_epoch(
        rows: usize,
        batch_size: usize,
        gradient_accumulation_steps: usize,
    ) -> u64 {
        rows.div_ceil(batch_size.saturating_mul(gradient_accumulation_steps).max(1)) as u64
    }

    /// Rows of an update, where the epoch has so many left.
    pub fn rows_per_update(&self) -> usize {
        self.batch_size.saturating_mul(self.gradient_accumulation_steps)
    }

    /// The adapter that learns; none where all parameters do.
    pub fn adapter(&self) -> Option<AdapterId> {
        match self.learn.trains {
            Trains::Adapter(adapter) => Some(adapter),
            Trains::All => None,
        }
    }

    /// The rate of the update that comes after `t` updates, before a plateau lowers it.
    pub fn learning_rate_at(&self, t: u64) -> f64 {
        self.schedule.at(t, self.updates, self.learning_rate)
    }

    /// How many of the best parameters are kept.
    pub(crate) fn keeps_best(&self) -> usize {
        self.model_soup.map_or(1, |soup| soup.top_k)
    }

    /// Checks what the types do not say.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let wrong = |key, problem| Err(TrainError::Plan { key, problem });
        let counts = [
            ("updates", self.updates),
            ("batch_size", self.batch_size as u64),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps as u64),
            ("evaluate_every", self.evaluate_every),
            ("checkpoint_every", self.checkpoint_every),
            ("early_stop", self.early_stop.unwrap_or(1)),
            ("model_soup.top_k", self.keeps_best() as u64),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return wrong(key, "must be at least 1");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            return wrong("learning_rate", "must be a number of at least 0");
        }
        if let Some(plateau) = &self.plateau
            && !(plateau.rate > 0.0 && plateau.rate < 1.0)
        {
            return wrong("plateau.rate", "must be between 0 and 1");
        }
        if self.share_beginnings.is_some() && self.learn.neftune_alpha > 0.0 {
            return wrong(
                "share_beginnings",
                "must be off with NEFTune: each row has its own noise",
            );
        }
        self.schedule.check()
    }
}
