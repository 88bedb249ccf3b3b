//! Run files of `model_type: ecd` as types.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{
    Backend, LongTexts, MissingValues, ModelType, OrAuto, Precision, Preprocessing, TextType,
};

/// A whole run file of `model_type: ecd` with every default filled: a head on the vectors of frozen
/// encoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// The kind of model.
    pub model_type: ModelType,
    /// At least one.
    pub input_features: Vec<ProbeInput>,
    /// Exactly one.
    pub output_features: Vec<ProbeOutput>,
    /// How the vectors of several inputs become one.
    pub combiner: Combiner,
    /// Which rows are used, and how they are split.
    pub preprocessing: Preprocessing,
    /// How the head is fitted.
    pub trainer: ProbeTrainer,
    /// Which machines take part.
    pub backend: Backend,
    /// What computes: `auto`, `flex`, `cuda:0`, …
    pub device: String,
    /// How exactly vectors are computed.
    pub precision: Precision,
    /// Seed of split and row sampling.
    pub random_seed: u64,
    /// The version of Ludwig that the file was written for.
    pub ludwig_version: Option<String>,
}

impl ProbeConfig {
    /// The output feature.
    pub fn output(&self) -> &ProbeOutput {
        self.output_features.first().expect("the checks ask for exactly one output feature")
    }
}

/// A column that is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeInput {
    /// Its name.
    pub name: String,
    /// Always text.
    #[serde(rename = "type")]
    pub kind: TextType,
    /// Its column.
    pub column: String,
    /// How its texts become vectors.
    pub encoder: Encoder,
    /// How its cells are read.
    pub preprocessing: ProbeCells,
}

/// How the cells of an input are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeCells {
    /// What happens to empty cells.
    pub missing_value_strategy: MissingValues,
    /// What stands in empty cells, where the strategy is a constant.
    pub fill_value: Option<String>,
    /// What happens to texts that are too long.
    pub long_texts: LongTexts,
    /// Whether vectors of an earlier run are used.
    pub cache_encoder_embeddings: bool,
}

/// How texts become vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoder {
    /// Any model that can be read.
    AutoTransformer {
        /// Its name.
        pretrained_model_name_or_path: String,
        /// How states become one vector; the model's own way when none.
        reduce_output: Option<ReduceOutput>,
        /// Whether vectors are brought to length 1; as the model wants it when none.
        normalize: Option<bool>,
    },
    /// A model of the BERT family.
    Bert {
        /// Its name.
        pretrained_model_name_or_path: String,
        /// How states become one vector; the model's own way when none.
        reduce_output: Option<ReduceOutput>,
        /// Whether vectors are brought to length 1; as the model wants it when none.
        normalize: Option<bool>,
    },
    /// A language model.
    Llm {
        /// Its name.
        base_model: String,
        /// How states become one vector; the model's own way when none.
        reduce_output: Option<ReduceOutput>,
        /// Whether vectors are brought to length 1; as the model wants it when none.
        normalize: Option<bool>,
    },
}

impl Encoder {
    /// The model.
    pub fn model(&self) -> &str {
        match self {
            Self::AutoTransformer { pretrained_model_name_or_path: model, .. }
            | Self::Bert { pretrained_model_name_or_path: model, .. }
            | Self::Llm { base_model: model, .. } => model,
        }
    }

    /// How states become one vector; the model's own way when none.
    pub fn reduce_output(&self) -> Option<ReduceOutput> {
        match self {
            Self::AutoTransformer { reduce_output, .. }
            | Self::Bert { reduce_output, .. }
            | Self::Llm { reduce_output, .. } => *reduce_output,
        }
    }

    /// Whether vectors are brought to length 1; as the model wants it when none.
    pub fn normalize(&self) -> Option<bool> {
        match self {
            Self::AutoTransformer { normalize, .. }
            | Self::Bert { normalize, .. }
            | Self::Llm { normalize, .. } => *normalize,
        }
    }

    /// The key that names the model.
    pub fn model_key(&self) -> &'static str {
        match self {
            Self::AutoTransformer { .. } | Self::Bert { .. } => "pretrained_model_name_or_path",
            Self::Llm { .. } => "base_model",
        }
    }
}

/// How the states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReduceOutput {
    /// Their mean.
    Mean,
    /// The same.
    Avg,
    /// The last one.
    Last,
    /// The first one.
    ClsPooled,
}

/// How the vectors of several inputs become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Combiner {
    /// One behind the other.
    Concat {},
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ProbeOutput {
    /// One label.
    Category(LabelOutput),
    /// One of two values.
    Binary(BinaryOutput),
    /// A number.
    Number(NumberOutput),
}

impl ProbeOutput {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Category(it) => &it.name,
            Self::Binary(it) => &it.name,
            Self::Number(it) => &it.name,
        }
    }

    /// The column with the expected answers.
    pub fn column(&self) -> &str {
        match self {
            Self::Category(it) => &it.column,
            Self::Binary(it) => &it.column,
            Self::Number(it) => &it.column,
        }
    }

    /// What happens to rows without an expected answer, and what stands there instead.
    pub fn missing_values(&self) -> (MissingValues, Option<&str>) {
        match self {
            Self::Category(it) => {
                (it.preprocessing.missing_value_strategy, it.preprocessing.fill_value.as_deref())
            }
            Self::Binary(it) => {
                (it.preprocessing.missing_value_strategy, it.preprocessing.fill_value.as_deref())
            }
            Self::Number(it) => {
                (it.preprocessing.missing_value_strategy, it.preprocessing.fill_value.as_deref())
            }
        }
    }
}

/// One label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelOutput {
    /// Its name.
    pub name: String,
    /// The column with the expected labels.
    pub column: String,
    /// Which labels there are.
    pub preprocessing: ProbeLabels,
    /// The head.
    pub decoder: Classifier,
    /// What is minimised.
    pub loss: CategoryLoss,
    /// The k of `hits_at_k`; none where nothing is measured.
    pub top_k: Option<usize>,
}

/// Which labels there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeLabels {
    /// The labels; those of the data when none.
    pub vocab: Option<Vec<String>>,
    /// What happens to empty cells.
    pub missing_value_strategy: MissingValues,
    /// What stands in empty cells, where the strategy is a constant.
    pub fill_value: Option<String>,
}

/// A head with one output per label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Classifier {
    /// A linear one.
    Classifier {},
}

/// A head with one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Regressor {
    /// A linear one.
    Regressor {},
}

/// What is minimised where labels are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CategoryLoss {
    /// Cross entropy.
    SoftmaxCrossEntropy {
        /// How much a row of each label counts; 1 where it is not named.
        class_weights: Option<IndexMap<String, f64>>,
    },
}

/// One of two values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryOutput {
    /// Its name.
    pub name: String,
    /// The column with the expected values.
    pub column: String,
    /// Which value is the true one.
    pub preprocessing: Truth,
    /// The head.
    pub decoder: Regressor,
    /// What is minimised.
    pub loss: BinaryLoss,
    /// The probability from which on the answer is the true value.
    pub threshold: f64,
}

/// Which value is the true one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// It, where it does not speak for itself.
    pub fallback_true_label: Option<String>,
    /// What happens to empty cells.
    pub missing_value_strategy: MissingValues,
    /// What stands in empty cells, where the strategy is a constant.
    pub fill_value: Option<String>,
}

/// What is minimised where one of two values is answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum BinaryLoss {
    /// Cross entropy.
    BinaryWeightedCrossEntropy {
        /// How much a true row counts beside a false one.
        positive_class_weight: f64,
    },
}

/// A number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberOutput {
    /// Its name.
    pub name: String,
    /// The column with the expected numbers.
    pub column: String,
    /// How they are read.
    pub preprocessing: Numbers,
    /// The head.
    pub decoder: Regressor,
    /// What is minimised.
    pub loss: NumberLoss,
}

/// How expected numbers are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// What happens to empty cells.
    pub missing_value_strategy: MissingValues,
    /// What stands in empty cells, where the strategy is a constant.
    pub fill_value: Option<String>,
}

/// What is minimised where a number is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NumberLoss {
    /// The mean square of what is missed.
    MeanSquaredError {},
}

/// How a head is fitted and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeTrainer {
    /// To its optimum.
    Trainer {
        /// What the sum of the squared weights is multiplied with.
        regularization_lambda: OrAuto<f64>,
        /// What of the weights is summed.
        regularization_type: RegularizationType,
        /// Whether the numbers of vectors are brought to one spread.
        standardize: bool,
        /// Whether no metric is computed.
        skip_all_evaluation: bool,
        /// The output with the headline metric.
        validation_field: Option<String>,
        /// The headline metric.
        validation_metric: Option<String>,
    },
}

/// What of the weights is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RegularizationType {
    /// Squares.
    L2,
}
