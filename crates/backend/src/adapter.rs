//! Low-rank adapters, as PEFT's `adapter_config.json` describes them.

mod ranks;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use ranks::LoraRanks;

/// An adapter of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AdapterId(pub u32);

/// What to add to a model. Plain data: it crosses the plugin boundary as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdapterSpec {
    /// Low-rank adaptation (arXiv 2106.09685) and its relatives.
    Lora(LoraSpec),
}

/// LoRA: beside each target `W`, `W x` becomes `W x + scale · B (A x)`.
/// Names and meanings are those of PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSpec {
    /// The rank.
    pub r: usize,
    /// `scale` is this over `r`.
    pub lora_alpha: f64,
    /// Share of a target's inputs that the adapter does not see while learning.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Which linear layers.
    pub target_modules: TargetModules,
    /// Which biases learn too.
    #[serde(default)]
    pub bias: LoraBias,
    /// `scale` is `lora_alpha` over the root of `r` (arXiv 2312.03732).
    #[serde(default)]
    pub use_rslora: bool,
    /// Learns each output's magnitude apart from its direction (DoRA, arXiv 2402.09353).
    #[serde(default)]
    pub use_dora: bool,
    /// What `A` and `B` start from.
    #[serde(default)]
    pub init_lora_weights: LoraInit,
    /// Ranks of modules that match a name or regular expression; the first that matches holds.
    #[serde(default)]
    pub rank_pattern: IndexMap<String, usize>,
    /// Alphas of modules, in the same way.
    #[serde(default)]
    pub alpha_pattern: IndexMap<String, f64>,
    /// The model's blocks as ranges `[first, end)`, where they are not those of its files. A session
    /// is opened on the model that they make; its engine has nothing to do with them.
    #[serde(default)]
    pub layer_replication: Vec<[usize; 2]>,
    /// What the start depends on.
    #[serde(default)]
    pub seed: u64,
}

/// Which linear layers an adapter stands beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Modules whose name ends in one of these; `all-linear` is every one but the output layer.
    Named(Vec<String>),
    /// Modules whose whole name this regular expression matches, or the word `all-linear`.
    Pattern(String),
}

/// Which biases learn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraBias {
    /// None.
    #[default]
    None,
    /// Every one of the model.
    All,
    /// Those of the target modules.
    LoraOnly,
}

/// What an adapter starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoraInit {
    /// `A` uniform as PyTorch's linear layers, `B` zero.
    #[default]
    Default,
    /// `A` normal with deviation `1 / r`, `B` zero.
    Gaussian,
    /// Orthogonal factors whose product is zero.
    Orthogonal,
    /// The largest singular directions of the weight, which gives them up (arXiv 2404.02948).
    Pissa,
    /// The first columns of the weight's QR decomposition (arXiv 2406.01775).
    Olora,
}
