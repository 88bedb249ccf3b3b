//! `adapter` and `adapters` as types.

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

/// Several adapters with names, one of which is in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapters {
    /// They, by their names.
    pub adapters: IndexMap<String, Adapter>,
    /// The name of the one in use.
    pub active: String,
    /// One more, made of some of them.
    pub merge: Option<MergedAdapter>,
}

/// An adapter that is made of others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedAdapter {
    /// Its name.
    pub name: String,
    /// Their names.
    pub sources: Vec<String>,
    /// What each is multiplied by; none is 1 each.
    pub weights: Option<Vec<f64>>,
    /// In which way.
    pub combination_type: CombinationType,
    /// Share of each source's elements that is kept; none where all are.
    pub density: Option<f64>,
}

/// How adapters become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CombinationType {
    /// The weighted sum of each of the two matrices.
    Linear,
    /// The best approximation of the sum of what the sources add.
    Svd,
    /// Each source's largest elements, signs decided together.
    Ties,
    /// Elements dropped at random, then the weighted sum.
    DareLinear,
    /// Elements dropped at random, signs decided together.
    DareTies,
    /// Each source's largest elements, then the weighted sum.
    MagnitudePrune,
}

/// The adapter in use, as a run file says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AdapterInUse<'a> {
    /// This one.
    Written(&'a Adapter),
    /// One that is made of others.
    Merged(&'a MergedAdapter, &'a IndexMap<String, Adapter>),
}

impl Adapters {
    /// The one in use.
    pub fn in_use(&self) -> AdapterInUse<'_> {
        match (self.adapters.get(&self.active), &self.merge) {
            (Some(adapter), _) => AdapterInUse::Written(adapter),
            (None, Some(merge)) => AdapterInUse::Merged(merge, &self.adapters),
            (None, None) => unreachable!("the checks let no other name through"),
        }
    }
}

impl Adapter {
    /// The trained adapter that it is or goes on from: a folder or a hub id.
    pub fn trained(&self) -> Option<&str> {
        let Self::Lora(lora) = self;
        match &lora.start {
            LoraStart::Trained { pretrained_adapter_weights } => Some(pretrained_adapter_weights),
            LoraStart::New(_) => None,
        }
    }
}

/// Low-rank adaptation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Whether it is new.
    #[serde(flatten)]
    pub start: LoraStart,
    /// The learning rate of the second matrix over that of the first (LoRA+).
    pub loraplus_lr_ratio: Option<f64>,
    /// What happens after training; none where nothing learns.
    pub postprocessor: Option<Postprocessor>,
}

/// What happens after training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postprocessor {
    /// Whether the whole model is written with the adapter worked into it.
    pub merge_adapter_into_base_model: bool,
}

/// Where an adapter comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoraStart {
    /// It was trained; its files say what it is.
    Trained {
        /// Its folder, that of the run that trained it, or a hub id.
        pretrained_adapter_weights: String,
    },
    /// It is new.
    New(Box<NewLora>),
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
    /// The model's layers as ranges `[first, end)`; empty where they are those of its files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_replication: Vec<[usize; 2]>,
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
