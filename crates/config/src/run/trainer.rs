//! `trainer` as types.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::catalogue::OF_LOSS;

use super::{Auto, BatchSize, Evaluation, Optimizer, OrAuto, Scheduler};

/// What is learnt, and how it is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Trainer {
    /// Nothing is learnt.
    None(Evaluation),
    /// The answers of the training rows are learnt.
    Finetune(Box<Finetune>),
}

impl Trainer {
    /// How the run is measured.
    pub fn evaluation(&self) -> &Evaluation {
        match self {
            Self::None(it) => it,
            Self::Finetune(it) => &it.evaluation,
        }
    }

    /// How the run learns; none if it does not.
    pub fn finetune(&self) -> Option<&Finetune> {
        match self {
            Self::None(_) => None,
            Self::Finetune(it) => Some(it),
        }
    }
}

/// How answers are learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finetune {
    /// How the run is measured, while it learns and afterwards.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The highest learning rate.
    pub learning_rate: LearningRate,
    /// How it changes.
    pub learning_rate_scheduler: Scheduler,
    /// How long training lasts.
    #[serde(flatten)]
    pub length: Length,
    /// Rows at once.
    pub batch_size: BatchSize,
    /// Rows per update.
    pub effective_batch_size: BatchSize,
    /// Batches per update.
    pub gradient_accumulation_steps: OrAuto<usize>,
    /// Most rows that an `auto` batch may have; none is no limit.
    pub max_batch_size: Option<usize>,
    /// Updates between checkpoints; 0 for what `checkpoints_per_epoch` says.
    pub steps_per_checkpoint: usize,
    /// Checkpoints per epoch; 0 for what `steps_per_checkpoint` says.
    pub checkpoints_per_epoch: usize,
    /// Evaluations without progress before training ends, -1 for never; none without evaluation.
    pub early_stop: Option<i64>,
    /// Most batches of an evaluation while training; none is all rows.
    pub eval_steps: Option<usize>,
    /// Whether the validation rows are answered while training; none without evaluation.
    pub predict_with_generate: Option<bool>,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// What limits gradients.
    pub gradient_clipping: GradientClipping,
    /// Whether each epoch has an order of its own.
    pub should_shuffle: bool,
    /// Whether activations are computed twice to save memory.
    pub enable_gradient_checkpointing: bool,
    /// Parameters in whose name it is found do not learn.
    pub layers_to_freeze_regex: Option<String>,
    /// How checkpoints are averaged at the end; none for not at all.
    #[serde(flatten)]
    pub soup: Option<Soup>,
}

impl Finetune {
    /// When it is evaluated and saved.
    pub fn checkpoints(&self) -> Checkpoints {
        match (NonZeroUsize::new(self.steps_per_checkpoint), self.checkpoints_per_epoch) {
            (Some(steps), _) => Checkpoints::Every(steps),
            (None, times) => {
                Checkpoints::PerEpoch(NonZeroUsize::new(times).unwrap_or(NonZeroUsize::MIN))
            }
        }
    }

    /// Evaluations without progress before training ends; none for never.
    pub fn patience(&self) -> Option<usize> {
        self.early_stop.and_then(|evaluations| usize::try_from(evaluations).ok())
    }

    /// The metric that chooses the best model while training.
    pub fn judged_by(&self) -> &str {
        let metric = self.evaluation.validation_metric.as_deref().unwrap_or("loss");
        if OF_LOSS.contains(&metric) || self.predict_with_generate == Some(true) {
            Self::measured_as(metric)
        } else {
            "loss"
        }
    }

    /// The name under which an evaluation while training has a metric, or one that rises and falls
    /// with it.
    pub fn measured_as(metric: &str) -> &str {
        match metric {
            "next_token_perplexity" => "perplexity",
            "bits_per_byte" => "loss",
            metric => metric,
        }
    }

    /// Most rows of an evaluation while training; none is all.
    pub fn evaluated_rows(&self) -> Option<usize> {
        Some(self.eval_steps?.saturating_mul(self.evaluation.eval_batch_size.rows()?))
    }

    /// How rows are spread over batches, where `fits` rows fit in memory at once. Whatever `fits`
    /// is, an update that was asked to have so many rows has them.
    pub fn batches(&self, fits: usize) -> Batches {
        let most = self.max_batch_size.map_or(fits, |most| most.min(fits)).max(1);
        let per_update = self.effective_batch_size.rows();
        let (batch_size, accumulation) =
            match (self.batch_size.rows(), self.gradient_accumulation_steps.value(), per_update) {
                (Some(rows), Some(batches), _) => (rows, batches),
                (Some(rows), None, Some(all)) => (rows, all / rows),
                (Some(rows), None, None) => (rows, 1),
                (None, Some(batches), Some(all)) => (all / batches, batches),
                (None, Some(batches), None) => (most, batches),
                (None, None, Some(all)) => {
                    let rows = greatest_divisor(all, most);
                    (rows, all / rows)
                }
                (None, None, None) => (most, 1),
            };
        Batches { batch_size: batch_size.max(1), accumulation: accumulation.max(1) }
    }
}

/// The greatest divisor of `number` that is at most `most`, which is at least 1.
fn greatest_divisor(number: usize, most: usize) -> usize {
    (1..=most.min(number)).rev().find(|divisor| number.is_multiple_of(*divisor)).unwrap_or(1)
}

/// How the rows of an update are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batches {
    /// Rows at once.
    pub batch_size: usize,
    /// Batches per update.
    pub accumulation: usize,
}

/// When a run is evaluated and saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoints {
    /// So many times per epoch.
    PerEpoch(NonZeroUsize),
    /// After each so many updates.
    Every(NonZeroUsize),
}

/// How long training lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Length {
    /// Every training row is learnt so often.
    Epochs {
        /// So often.
        epochs: usize,
    },
    /// There are so many updates.
    Steps {
        /// So many.
        train_steps: usize,
    },
}

/// A learning rate, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LearningRate {
    /// This.
    Rate(f64),
    /// The usual one.
    Auto(Auto),
}

impl LearningRate {
    /// The usual rate, with an adapter or without one.
    pub const fn usual(adapter: bool) -> f64 {
        if adapter { 2e-4 } else { 2e-5 }
    }

    /// The rate, `auto` settled.
    pub fn rate(self, adapter: bool) -> f64 {
        match self {
            Self::Rate(rate) => rate,
            Self::Auto(_) => Self::usual(adapter),
        }
    }
}

/// What limits gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GradientClipping {
    /// Their common norm.
    GlobalNorm {
        /// At most this; 0 is no limit.
        clipglobalnorm: f64,
    },
    /// The norm of each tensor's gradient.
    Norm {
        /// At most this.
        clipnorm: f64,
    },
    /// Each number.
    Value {
        /// Within minus and plus this.
        clipvalue: f64,
    },
}

/// How checkpoints are averaged at the end of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soup {
    /// How.
    pub model_soup: ModelSoup,
    /// How many of the best checkpoints are looked at.
    pub model_soup_top_k: usize,
}

/// Which of the best checkpoints are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelSoup {
    /// All of them.
    Uniform,
    /// Those that make the mean better.
    Greedy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_divisor_is_found() {
        assert_eq!([1, 3, 4, 7, 99].map(|most| greatest_divisor(12, most)), [1, 3, 4, 6, 12]);
        assert_eq!(greatest_divisor(7, 6), 1);
    }
}
