//! `prompt.retrieval` as types.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Labelled rows, or passages of documents, that are shown in the prompt. What a kind does not know is
/// none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrieval {
    /// How rows are chosen.
    #[serde(rename = "type")]
    pub kind: RetrievalKind,
    /// The folder of the corpus whose passages are shown; none where rows are.
    pub corpus: Option<String>,
    /// How many; none where the rows are given.
    pub k: Option<usize>,
    /// The rows, where they are given, by column.
    pub examples: Option<Vec<IndexMap<String, String>>>,
    /// Whether labels are shown equally often; none where there are no labels or nothing is chosen.
    pub balance: Option<bool>,
    /// How much likeness to rows already chosen counts; none where nothing is chosen.
    pub diversity: Option<f64>,
    /// The order; none where rows are not chosen by likeness.
    pub order: Option<ExampleOrder>,
    /// The model whose vectors are compared; none where none are.
    pub model_name: Option<String>,
    /// What happens to texts that it cannot read whole; none where it reads none.
    pub long_texts: Option<LongTexts>,
    /// Rows that say what the row says; none for passages.
    pub duplicates: Option<Duplicates>,
    /// Where they are shown.
    pub show: ShowExamples,
    /// What one row looks like in the text.
    pub format: Option<String>,
    /// What stands between two rows; none for turns.
    pub separator: Option<String>,
    /// Most tokens of all together.
    pub max_tokens: Option<usize>,
    /// What happens where there is no room for all.
    pub over_budget: OverBudget,
}

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetrievalKind {
    /// Drawn anew for each row.
    Random,
    /// By common words.
    Bm25,
    /// Once for all rows.
    Fixed,
    /// By meaning.
    Semantic,
    /// By common words and by meaning.
    Hybrid,
}

/// What happens to a text that is too long to become a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongTexts {
    /// The run does not start.
    Error,
    /// Its end is cut off, for the comparison alone.
    Truncate,
}

/// The order in which rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleOrder {
    /// The most similar one last.
    SimilarLast,
    /// The most similar one first.
    SimilarFirst,
}

/// What happens to rows that say what the row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// They may be shown.
    Show,
    /// They are passed over.
    Skip,
}

/// Where rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShowExamples {
    /// In the text.
    Context,
    /// As turns of the chat.
    Turns,
}

/// What happens where there is no room for all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverBudget {
    /// Fewer are shown.
    Fewer,
    /// The run does not start.
    Error,
}
