//! `trainer.optimizer` as a type.

use serde::{Deserialize, Serialize};

/// How gradients become steps, by Ludwig's names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the fields are the keys of the reference page, where each has its sentence"
)]
pub enum Optimizer {
    Sgd {
        momentum: f64,
        weight_decay: f64,
        dampening: f64,
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
        bias_correction: bool,
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
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
        warmup_steps: usize,
    },
}
