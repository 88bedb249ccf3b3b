//! A run file as types: what the rest of the program reads.

mod adapter;
mod features;
mod generation;
mod optimizer;
mod probe;
mod prompt;
mod quantization;
mod retrieval;
mod schedule;
mod trainer;

use serde::{Deserialize, Serialize};

pub use adapter::{
    Adapter, AdapterInUse, Adapters, BiasType, CombinationType, Lora, LoraInit, LoraStart,
    MergedAdapter, NewLora, Postprocessor, TargetModules,
};
pub use features::{
    CategoryDecoder, CategoryExtractor, CategoryOutput, Choose, InputFeature, LabelScore, Labels,
    MatchKind, MatchRule, MissingValues, OutputFeature, TextCells, TextDecoder, TextOutput,
    TextParser, TextType,
};
pub use generation::{Generation, OneOrMany};
pub use optimizer::Optimizer;
pub use probe::{
    BinaryLoss, BinaryOutput, CategoryLoss, Classifier, Combiner, Encoder, LabelOutput, NumberLoss,
    NumberOutput, Numbers, ProbeCells, ProbeConfig, ProbeInput, ProbeLabels, ProbeOutput,
    ProbeTrainer, ReduceOutput, Regressor, RegularizationType, Truth,
};
pub use prompt::{Boundary, ChatTemplate, LearntTurns, Overflow, Prompt, Side, SpecialTokens};
pub use quantization::{ComputeType, FourBits, Quantization, QuantizationBackend};
pub use retrieval::{
    Duplicates, ExampleOrder, LongTexts, OverBudget, Retrieval, RetrievalKind, ShowExamples,
};
pub use schedule::{Decay, Plateau, Scheduler, Warmup, WatchedSplit};
pub use trainer::{
    Batches, Checkpoints, Finetune, GradientClipping, LearningRate, Length, ModelSoup, Soup,
    Trainer,
};

/// A whole run file with every default filled. A field that is `None` was not written and has no
/// default, or cannot have an effect beside the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The kind of model.
    pub model_type: ModelType,
    /// Folder, GGUF file, hub id or alias.
    pub base_model: String,
    /// Exactly one.
    pub input_features: Vec<InputFeature>,
    /// Exactly one.
    pub output_features: Vec<OutputFeature>,
    /// How a row becomes what the model reads.
    pub prompt: Prompt,
    /// How the answer is written; none where labels are only scored.
    pub generation: Option<Generation>,
    /// Which rows are used, and how they are split.
    pub preprocessing: Preprocessing,
    /// What is learnt.
    pub trainer: Trainer,
    /// Small weights on top of the model.
    pub adapter: Option<Adapter>,
    /// Several of them with names, in the place of `adapter`.
    pub adapters: Option<Adapters>,
    /// How weights are rounded while the model is loaded.
    pub quantization: Option<Quantization>,
    /// Changes to the model.
    pub model_parameters: Option<ModelParameters>,
    /// Which machines take part.
    pub backend: Backend,
    /// What computes: `auto`, `flex`, `cuda:0`, …
    pub device: String,
    /// How exactly it computes.
    pub precision: Precision,
    /// Seed of split, row sampling and token sampling.
    pub random_seed: u64,
    /// The version of Ludwig that the file was written for.
    pub ludwig_version: Option<String>,
}

impl RunConfig {
    /// The input feature.
    pub fn input(&self) -> &InputFeature {
        self.input_features.first().expect("the checks ask for exactly one input feature")
    }

    /// The output feature.
    pub fn output(&self) -> &OutputFeature {
        self.output_features.first().expect("the checks ask for exactly one output feature")
    }

    /// The adapter in use.
    pub fn adapter_in_use(&self) -> Option<AdapterInUse<'_>> {
        let one = self.adapter.as_ref().map(AdapterInUse::Written);
        one.or_else(|| self.adapters.as_ref().map(Adapters::in_use))
    }

    /// Whether the whole model is written after training, with the adapter worked into it.
    pub fn merges_adapter(&self) -> bool {
        let Some(AdapterInUse::Written(Adapter::Lora(lora))) = self.adapter_in_use() else {
            return false;
        };
        lora.postprocessor.is_some_and(|after| after.merge_adapter_into_base_model)
    }

    /// The name of the adapter in use; none where it needs none.
    pub fn adapter_name(&self) -> Option<&str> {
        self.adapters.as_ref().map(|named| named.active.as_str())
    }

    /// Most tokens of an answer, given the model's context length: what was written; else 32, or
    /// the output's or the global `max_sequence_length` where that is more; else half the context.
    pub fn max_new_tokens(&self, context: usize) -> usize {
        const LEAST: usize = 32;
        if let Some(written) = self.generation.as_ref().and_then(|it| it.max_new_tokens) {
            return written;
        }
        let output = match self.output() {
            OutputFeature::Text(text) => text.preprocessing.max_sequence_length,
            OutputFeature::Category(_) => None,
        };
        output
            .or(self.preprocessing.global_max_sequence_length)
            .map_or(context / 2, |length| length.max(LEAST))
    }

    /// Strength of the noise on token embeddings while they are learnt; 0 for none.
    pub fn neftune_noise_alpha(&self) -> f64 {
        self.model_parameters.as_ref().and_then(|it| it.neftune_noise_alpha).unwrap_or(0.0)
    }

    /// The seed of token sampling.
    pub fn sampling_seed(&self) -> u64 {
        self.generation.as_ref().and_then(|it| it.seed).unwrap_or(self.random_seed)
    }
}

/// The kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelType {
    /// A language model.
    Llm,
    /// Encoders, a combiner and a decoder: here a head on vectors.
    Ecd,
}

/// Which rows are used, and how they are split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Share of rows that is drawn.
    pub sample_ratio: f64,
    /// Number of rows that is drawn.
    pub sample_size: Option<usize>,
    /// Most tokens of prompt and answer; the model's context when none.
    pub global_max_sequence_length: Option<usize>,
    /// How rows are split.
    pub split: Split,
}

/// Shares of training, validation and test.
pub type Probabilities = [f64; 3];

/// How rows are split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Split {
    /// At random.
    Random {
        /// The shares.
        probabilities: Probabilities,
    },
    /// By a column.
    Fixed {
        /// It says which rows go where.
        column: String,
    },
    /// At random within each class.
    Stratify {
        /// The classes.
        column: String,
        /// The shares.
        probabilities: Probabilities,
    },
    /// By time.
    Datetime {
        /// The times.
        column: String,
        /// How they are written.
        datetime_format: Option<String>,
        /// The time of rows without one.
        fill_value: String,
        /// The shares.
        probabilities: Probabilities,
    },
    /// By a hash of a value.
    Hash {
        /// The value.
        column: String,
        /// The shares.
        probabilities: Probabilities,
    },
}

/// How a run is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Whether no metric is computed.
    pub skip_all_evaluation: bool,
    /// The output with the headline metric.
    pub validation_field: Option<String>,
    /// The headline metric.
    pub validation_metric: Option<String>,
    /// Most rows in work at once.
    pub eval_batch_size: BatchSize,
}

/// A number of rows, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchSize {
    /// So many.
    Rows(usize),
    /// What memory allows.
    Auto(Auto),
}

impl BatchSize {
    /// The number; none is `auto`.
    pub fn rows(self) -> Option<usize> {
        match self {
            Self::Rows(rows) => Some(rows),
            Self::Auto(_) => None,
        }
    }
}

/// A value, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OrAuto<T> {
    /// This.
    Value(T),
    /// What follows from the rest.
    Auto(Auto),
}

impl<T> OrAuto<T> {
    /// The value; none is `auto`.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Auto(_) => None,
        }
    }
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// `auto`.
    Auto,
}

/// Changes to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelParameters {
    /// Stretched rotary positions.
    pub rope_scaling: Option<RopeScaling>,
    /// Strength of the noise on token embeddings; none in a run that does not learn.
    pub neftune_noise_alpha: Option<f64>,
}

/// Stretched rotary positions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeScaling {
    /// How.
    pub rope_type: RopeType,
    /// How far.
    pub factor: f64,
}

/// How rotary positions are stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeType {
    /// Positions are divided.
    Linear,
    /// The base grows.
    Dynamic,
}

/// Which machines take part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Backend {
    /// This machine.
    Local,
}

/// How exactly a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// What the device does best.
    Auto,
    /// Single precision.
    F32,
    /// Products of brain floats.
    Bf16,
    /// Activations of 8 bits where weights are integers.
    Int8Activations,
}
