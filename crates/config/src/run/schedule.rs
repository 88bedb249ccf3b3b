//! `trainer.learning_rate_scheduler` as types. Everything is counted in updates.

use serde::{Deserialize, Serialize};

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decay", rename_all = "snake_case")]
pub enum Decay {
    /// Not at all after the warm-up.
    Constant,
    /// In a line to 0.
    Linear,
    /// By a factor.
    Exponential {
        /// The factor.
        decay_rate: f64,
        /// Updates until it applies in full.
        decay_steps: usize,
        /// Whether it applies at once.
        staircase: bool,
    },
    /// In half a wave, or in several.
    Cosine {
        /// Updates of the first wave; none is one wave to the end of training.
        t_0: Option<usize>,
        /// The length of each wave over that of the one before; none without `t_0`.
        t_mult: Option<usize>,
        /// The lowest rate.
        eta_min: f64,
    },
    /// Up and down again.
    OneCycle {
        /// The highest rate; none is the trainer's.
        max_lr: Option<f64>,
        /// Share of all updates in which it rises.
        pct_start: f64,
        /// The first rate is the highest over this.
        div_factor: f64,
        /// The last rate is the first over this.
        final_div_factor: f64,
    },
    /// With the inverse root of the updates.
    InverseSqrt {
        /// Updates at the full rate; after them it is times the root of this over the update.
        inverse_sqrt_warmup_steps: usize,
    },
    /// As a power of what is left.
    Polynomial {
        /// The power.
        polynomial_power: f64,
        /// The last rate.
        polynomial_end_lr: f64,
    },
    /// Up, level, and down; the shares add up to 1.
    Wsd {
        /// Share of all updates in which the rate rises.
        wsd_warmup_fraction: f64,
        /// Share in which it stays.
        wsd_stable_fraction: f64,
        /// Share in which it falls.
        wsd_decay_fraction: f64,
    },
}

/// The curve of the learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    /// How it falls.
    #[serde(flatten)]
    pub decay: Decay,
    /// How it rises first; none where `decay` has a rise of its own.
    #[serde(flatten)]
    pub warmup: Option<Warmup>,
    /// How often it is reduced where nothing gets better; 0 for never.
    pub reduce_on_plateau: usize,
    /// When and how; none for never.
    #[serde(flatten)]
    pub plateau: Option<Plateau>,
}

/// How the learning rate rises from 0; the longer of the two holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    /// Share of all updates.
    pub warmup_fraction: f64,
    /// Number of evaluations.
    pub warmup_evaluations: f64,
}

/// When the learning rate is reduced because nothing gets better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// Evaluations in a row without progress.
    #[serde(rename = "reduce_on_plateau_patience")]
    pub patience: usize,
    /// What it is multiplied by.
    #[serde(rename = "reduce_on_plateau_rate")]
    pub rate: f64,
    /// The metric that is watched.
    #[serde(rename = "reduce_eval_metric")]
    pub metric: String,
    /// The rows on which it is watched.
    #[serde(rename = "reduce_eval_split")]
    pub split: WatchedSplit,
}

/// Rows that can steer training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchedSplit {
    /// Those that are learnt.
    Training,
    /// Those of the validation split.
    Validation,
}
