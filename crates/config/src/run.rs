//! A run file as types: what the rest of the program reads.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

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

    /// The seed of token sampling.
    pub fn sampling_seed(&self) -> u64 {
        self.generation.as_ref().and_then(|it| it.seed).unwrap_or(self.random_seed)
    }
}

/// The kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelType {
    /// A language model.
    Llm,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFeature {
    /// Its name.
    pub name: String,
    /// Always text.
    #[serde(rename = "type")]
    pub kind: TextType,
    /// The column that `{__sample__}` shows; none where the prompt does not show it.
    pub column: Option<String>,
    /// How its cells are read.
    pub preprocessing: TextCells,
}

/// The type `text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextType {
    /// Text.
    Text,
}

/// How a text feature's cells are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextCells {
    /// Most tokens.
    pub max_sequence_length: Option<usize>,
    /// What happens to empty cells.
    pub missing_value_strategy: MissingValues,
    /// What stands in empty cells, where the strategy is a constant.
    pub fill_value: Option<String>,
}

/// What happens to empty cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingValues {
    /// A constant takes their place.
    FillWithConst,
    /// The most frequent value takes their place.
    FillWithMode,
    /// The next value takes their place.
    Bfill,
    /// The value before takes their place.
    Ffill,
    /// The row is left out.
    DropRow,
}

/// What the model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OutputFeature {
    /// Generated text.
    Text(TextOutput),
    /// One label.
    Category(CategoryOutput),
}

impl OutputFeature {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Text(it) => &it.name,
            Self::Category(it) => &it.name,
        }
    }

    /// The column with the expected answers.
    pub fn column(&self) -> &str {
        match self {
            Self::Text(it) => &it.column,
            Self::Category(it) => &it.column,
        }
    }

    /// The metrics that were asked for; none means all.
    pub fn metrics(&self) -> Option<&[String]> {
        match self {
            Self::Text(it) => it.metrics.as_deref(),
            Self::Category(it) => it.metrics.as_deref(),
        }
    }
}

/// A text output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextOutput {
    /// Its name.
    pub name: String,
    /// The column with the expected answers.
    pub column: String,
    /// How the expected answers are read.
    pub preprocessing: TextCells,
    /// How the answer is read.
    pub decoder: TextDecoder,
    /// The metrics that are computed; all when none.
    pub metrics: Option<Vec<String>>,
}

/// How a text answer is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TextDecoder {
    /// As it is.
    TextExtractor,
}

/// A category output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryOutput {
    /// Its name.
    pub name: String,
    /// The column with the expected labels.
    pub column: String,
    /// Which labels there are.
    pub preprocessing: Labels,
    /// How the label is found.
    pub decoder: CategoryDecoder,
    /// The k of `hits_at_k`.
    pub top_k: Option<usize>,
    /// The metrics that are computed; all when none.
    pub metrics: Option<Vec<String>>,
}

/// Which labels there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The labels; those of the data when none.
    pub vocab: Option<Vec<String>>,
    /// The default of the decoder's.
    pub fallback_label: Option<String>,
    /// What happens to empty cells.
    pub missing_value_strategy: MissingValues,
    /// What stands in empty cells, where the strategy is a constant.
    pub fill_value: Option<String>,
}

/// How a label is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CategoryDecoder {
    /// By scores or by rules.
    CategoryExtractor(CategoryExtractor),
}

impl CategoryDecoder {
    /// The extractor's settings.
    pub fn extractor(&self) -> &CategoryExtractor {
        match self {
            Self::CategoryExtractor(it) => it,
        }
    }
}

/// How a label is found, by scores or by rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryExtractor {
    /// By scores or by rules.
    pub choose: Choose,
    /// The rule of each label, in order, where rules choose.
    #[serde(rename = "match")]
    pub rules: Option<IndexMap<String, MatchRule>>,
    /// The label when no rule fits.
    pub fallback_label: Option<String>,
    /// How a label's tokens make its score, where scores choose.
    pub label_score: Option<LabelScore>,
}

/// By what a label is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choose {
    /// Each label is scored under the prompt.
    Score,
    /// A text is generated and a rule finds the label in it.
    Generate,
}

/// How a label's tokens make its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelScore {
    /// Sum of log-probabilities.
    Sum,
    /// Mean per token.
    Mean,
    /// Sum minus the sum under an empty input.
    Calibrated,
}

/// Finds one label in a generated text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchRule {
    /// How the value is looked for.
    #[serde(rename = "type")]
    pub kind: MatchKind,
    /// What is looked for.
    pub value: String,
}

/// How a rule's value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// As a part of the text.
    Contains,
    /// As a regular expression.
    Regex,
    /// As a value in JSON.
    JsonSchema,
}

/// How a row becomes what the model reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Text with references.
    pub template: Option<String>,
    /// What the model shall do.
    pub task: Option<String>,
    /// The system message.
    pub system: Option<String>,
    /// Column with whole conversations.
    pub messages: Option<String>,
    /// Whether the prompt is wrapped in the model's chat template.
    pub chat_template: ChatTemplate,
    /// What happens to a prompt that is too long.
    pub overflow: Overflow,
    /// Most tokens by column.
    pub budget: Option<IndexMap<String, usize>>,
    /// What happens to rows that spell special tokens.
    pub special_tokens_in_data: SpecialTokens,
    /// What happens where prompt and answer do not meet at a token's border.
    pub boundary: Boundary,
}

/// What happens to rows that spell special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokens {
    /// The run does not start.
    Error,
    /// They become special tokens.
    Allow,
    /// They are plain text.
    Escape,
}

/// What happens where prompt and answer do not meet at a token's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// The run does not start.
    Error,
    /// The answer is encoded alone.
    Separate,
}

/// Whether a prompt is wrapped in the model's chat template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BoolOrAuto", into = "BoolOrAuto")]
pub enum ChatTemplate {
    /// If the model ships one.
    Auto,
    /// Yes, or it is an error.
    Always,
    /// No.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BoolOrAuto {
    Bool(bool),
    Auto(String),
}

impl TryFrom<BoolOrAuto> for ChatTemplate {
    type Error = String;
    fn try_from(value: BoolOrAuto) -> Result<Self, String> {
        match value {
            BoolOrAuto::Bool(true) => Ok(Self::Always),
            BoolOrAuto::Bool(false) => Ok(Self::Never),
            BoolOrAuto::Auto(text) if text == "auto" => Ok(Self::Auto),
            BoolOrAuto::Auto(text) => Err(format!("neither `auto`, `true` nor `false`: `{text}`")),
        }
    }
}

impl From<ChatTemplate> for BoolOrAuto {
    fn from(value: ChatTemplate) -> Self {
        match value {
            ChatTemplate::Auto => Self::Auto("auto".to_owned()),
            ChatTemplate::Always => Self::Bool(true),
            ChatTemplate::Never => Self::Bool(false),
        }
    }
}

/// What happens to a prompt that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase")]
pub enum Overflow {
    /// The run does not start.
    Error,
    /// The row is left out.
    Drop,
    /// The columns' text is cut.
    Truncate {
        /// Where it is cut away.
        side: Side,
    },
}

/// A side of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The beginning.
    Left,
    /// The end.
    Right,
}

/// How the answer is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// As written; see [`RunConfig::max_new_tokens`].
    pub max_new_tokens: Option<usize>,
    /// Fewest tokens.
    pub min_new_tokens: Option<usize>,
    /// Seconds.
    pub max_time: Option<f64>,
    /// Whether tokens are drawn at random.
    pub do_sample: bool,
    /// Divides the logits; only when sampling.
    pub temperature: Option<f64>,
    /// Only when sampling; 0 is off.
    pub top_k: Option<usize>,
    /// Only when sampling; 1 is off.
    pub top_p: Option<f64>,
    /// Only when sampling; 0 is off.
    pub min_p: Option<f64>,
    /// Only when sampling; 1 is off.
    pub typical_p: Option<f64>,
    /// Only when sampling; see [`RunConfig::sampling_seed`].
    pub seed: Option<u64>,
    /// 1 is off.
    pub repetition_penalty: f64,
    /// 0 is off.
    pub presence_penalty: f64,
    /// 0 is off.
    pub frequency_penalty: f64,
    /// 0 is off.
    pub no_repeat_ngram_size: usize,
    /// Texts that may not occur.
    pub bad_words: Option<Vec<String>>,
    /// Token sequences that may not occur.
    pub bad_words_ids: Option<Vec<Vec<u32>>>,
    /// Tokens that may not occur.
    pub suppress_tokens: Option<Vec<u32>>,
    /// Tokens that may not come first.
    pub begin_suppress_tokens: Option<Vec<u32>>,
    /// Texts that end the answer.
    pub stop: Option<Vec<String>>,
    /// Tokens that end the answer, instead of the model's.
    pub eos_token_id: Option<OneOrMany>,
    /// Log-probabilities of so many likeliest tokens; only for text.
    pub logprobs: Option<usize>,
}

/// One token id or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(u32),
    /// Several.
    Many(Vec<u32>),
}

impl OneOrMany {
    /// The ids.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
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

/// What is learnt, and how it is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Trainer {
    /// Nothing is learnt.
    None(Evaluation),
}

impl Trainer {
    /// How the run is measured.
    pub fn evaluation(&self) -> &Evaluation {
        match self {
            Self::None(it) => it,
        }
    }
}

/// How a run is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// What the device does best.
    Auto,
    /// Single precision.
    F32,
}
