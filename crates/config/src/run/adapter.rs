//! `adapter` as types.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Small weights on top of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Adapter {
    /// Two thin matrices beside each target.
    Lora(Box<Lora>),
}

/// Low-rank adaptation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Whether it is new.
    #[serde(flatten)]
    pub start: LoraStart,
    /// The learning rate of the second matrix over that of the first (LoRA+).
    pub loraplus_lr_ratio: Option<f64>,
}

/// Where an adapter comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoraStart {
    /// It was trained; its files say what it is.
    Trained {
        /// Its folder, in PEFT's format.
        pretrained_adapter_weights: String,
    },
    /// It is new.
    New(NewLora),
}

/// What shapes a new adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewLora {
    /// The rank.
    pub r: usize,
    /// What the product is multiplied by, after a division by the rank.
    pub alpha: f64,
    /// Share of inputs not seen while learning.
    pub dropout: f64,
    /// Which of the model's biases learn too.
    pub bias_type: BiasType,
    /// Which linear layers; none is the ones usual for the architecture.
    pub target_modules: Option<TargetModules>,
    /// Whether it is divided by the root of the rank.
    pub use_rslora: bool,
    /// Whether lengths are learnt apart from directions.
    pub use_dora: bool,
    /// What the matrices start from.
    pub init_lora_weights: LoraInit,
    /// Other ranks, by name or regular expression of modules.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub rank_pattern: IndexMap<String, usize>,
    /// Other alphas, in the same way.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub alpha_pattern: IndexMap<String, f64>,
}

/// Which biases learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BiasType {
    /// None.
    None,
    /// Every one of the model.
    All,
    /// Those of the target modules.
    LoraOnly,
}

/// Which linear layers an adapter stands beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Those whose name ends in one of these.
    Named(Vec<String>),
    /// Those whose whole name this regular expression matches; or the word `all-linear`.
    Pattern(String),
}

/// What an adapter's matrices start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoraInit {
    /// As PyTorch's linear layers, and 0.
    Default,
    /// Normal with deviation `1 / r`, and 0.
    Gaussian,
    /// Orthogonal factors of a product that is 0.
    Orthogonal,
    /// The largest singular directions of the weight.
    Pissa,
    /// The first columns and rows of the weight's QR decomposition.
    Olora,
}
