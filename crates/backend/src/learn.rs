//! Gradient descent on a session: what learns, how, and the state it leaves.

use serde::{Deserialize, Serialize};

use crate::{AdapterId, BackendError, Batch, TensorView, Weights};

/// Gradient descent on a session.
///
/// Gradients add up over calls of `accumulate` and are divided once, in `update`: however rows are
/// spread over micro-batches, the update is the same.
pub trait Learn {
    /// Adds the gradient of the batch's loss: minus the sum of its targets' log-probabilities,
    /// each times its weight. Nothing is averaged.
    ///
    /// # Errors
    /// As [`crate::Session::score`]. A call that fails adds nothing.
    fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError>;

    /// Divides what was added by `weight`, clips, takes one step of the optimizer at the learning
    /// rate `lr`, and begins anew. Where a gradient is not finite, nothing is changed and the
    /// report says so.
    ///
    /// # Errors
    /// When nothing was added, or `weight` is not above 0.
    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError>;

    /// Writes what `part` names, one tensor after the other.
    ///
    /// # Errors
    /// When the sink fails.
    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError>;

    /// Reads what [`Self::save`] wrote. What was added since the last update is dropped.
    ///
    /// # Errors
    /// When a tensor is missing, extra or misshapen; then nothing has changed.
    fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError>;

    /// What learns: names and sizes.
    fn parameters(&self) -> Vec<ParameterInfo>;
}

/// Where memory goes while a model learns, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Weights that do not learn, as they are stored.
    pub weights: u64,
    /// What learns: an adapter, or the model's parameters as floats.
    pub parameters: u64,
    /// What the optimizer keeps of each parameter.
    pub optimizer: u64,
    /// The sum of gradients.
    pub gradients: u64,
    /// What a batch keeps for its way back, and what the widest layer works with.
    pub activations: u64,
    /// The logits that exist at a time.
    pub logits: u64,
    /// Working copies of the largest parameter while the optimizer steps.
    pub step: u64,
    /// The most that exists at a time: a batch on its way back, whose activations go as its
    /// gradients come, or the optimizer's step.
    pub peak: u64,
}

/// A sum of losses and of the weights behind it; their ratio is the mean loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSum {
    /// Sum of weight times loss, in nats.
    pub sum: f64,
    /// Sum of the weights.
    pub weight: f64,
}

impl LossSum {
    /// The mean loss; not a number without weight.
    pub fn mean(self) -> f64 {
        self.sum / self.weight
    }
}

impl std::ops::AddAssign for LossSum {
    fn add_assign(&mut self, other: Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpdateReport {
    /// The norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Whether they were clipped.
    pub clipped: bool,
    /// Whether the step was taken; not where a gradient is not finite.
    pub applied: bool,
}

/// A part of the state of learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The parameters that learn.
    Parameters,
    /// The optimizer's moments and counters, and the updates taken.
    Optimizer,
}

/// Takes tensors one at a time, as they come off a device.
pub trait TensorSink {
    /// Takes one tensor.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError>;
}

/// A parameter that learns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterInfo {
    /// Its name in Hugging Face's spelling.
    pub name: String,
    /// Elements per dimension, outermost first.
    pub shape: Vec<usize>,
}

/// What learns, and how. Plain data: it crosses the plugin boundary as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnSpec {
    /// What learns.
    pub trains: Trains,
    /// Parameters whose name one of these regular expressions finds do not learn.
    #[serde(default)]
    pub frozen: Vec<String>,
    /// How gradients become steps.
    pub optimizer: OptimizerSpec,
    /// The learning rate of `lora_B` over that of the rest (LoRA+, arXiv 2402.12354).
    #[serde(default)]
    pub lora_plus_ratio: Option<f64>,
    /// What limits gradients.
    #[serde(default)]
    pub clip: Clip,
    /// NEFTune's noise on embeddings (arXiv 2310.05914): uniform within
    /// `alpha / sqrt(tokens · channels)`; 0 for none.
    #[serde(default)]
    pub neftune_alpha: f64,
    /// What random masks and noise depend on, beside the update, the row and the position.
    pub seed: u64,
    /// Computes each block's activations a second time instead of keeping them.
    #[serde(default)]
    pub checkpoint_blocks: bool,
}

/// What learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trains {
    /// An adapter; the model under it stays as it is.
    Adapter(AdapterId),
    /// Every parameter of the model, as 32-bit floats.
    All,
}

/// What limits gradients; at most one is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clip {
    /// Nothing.
    #[default]
    None,
    /// All gradients are scaled so that their common norm is at most this.
    GlobalNorm(f64),
    /// Each tensor's gradient is scaled so that its norm is at most this.
    Norm(f64),
    /// Each element is kept within minus and plus this.
    Value(f64),
}

/// An optimizer with its settings, under the names that PyTorch gives them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the settings are those of torch.optim, by their names")]
pub enum OptimizerSpec {
    Sgd {
        momentum: f64,
        dampening: f64,
        weight_decay: f64,
        nesterov: bool,
    },
    Adam {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
        amsgrad: bool,
    },
    Adamw {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
        amsgrad: bool,
    },
    /// Adam whose moments are rounded to 8 bits; like bitsandbytes' it shrinks weights beside the
    /// step, as AdamW does.
    #[serde(rename = "adam_8bit")]
    Adam8bit {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
    },
    #[serde(rename = "adamw_8bit")]
    Adamw8bit {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
    },
    Adamax {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
    },
    Nadam {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
        momentum_decay: f64,
    },
    Radam {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
    },
    Adagrad {
        initial_accumulator_value: f64,
        lr_decay: f64,
        weight_decay: f64,
        eps: f64,
    },
    Adadelta {
        rho: f64,
        eps: f64,
        weight_decay: f64,
    },
    Rmsprop {
        momentum: f64,
        alpha: f64,
        eps: f64,
        centered: bool,
        weight_decay: f64,
    },
    Adafactor {
        eps: [f64; 2],
        clip_threshold: f64,
        decay_rate: f64,
        weight_decay: f64,
        scale_parameter: bool,
        relative_step: bool,
        warmup_init: bool,
    },
    Lion {
        betas: [f64; 2],
        weight_decay: f64,
    },
    #[serde(rename = "lion_8bit")]
    Lion8bit {
        betas: [f64; 2],
        weight_decay: f64,
    },
    Lamb {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
        bias_correction: bool,
    },
    Muon {
        momentum: f64,
        nesterov: bool,
        weight_decay: f64,
    },
    ScheduleFreeAdamw {
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
        warmup_steps: u64,
    },
}
