//! `input_features` and `output_features` as types.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
}

/// How a text answer is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TextDecoder {
    /// As it is.
    TextExtractor,
    /// Held to a form while it is generated.
    TextParser(TextParser),
}

/// The form of a text answer: exactly one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextParser {
    /// A JSON Schema.
    pub json_schema: Option<Value>,
    /// A regular expression.
    pub regex: Option<String>,
    /// A grammar.
    pub grammar: Option<String>,
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
