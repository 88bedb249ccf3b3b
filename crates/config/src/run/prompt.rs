//! `prompt` as types.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Retrieval;

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
    /// Column with plain documents.
    pub document: Option<String>,
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
    /// Which of the assistant's turns are learnt; none without `messages` or learning.
    pub learn: Option<LearntTurns>,
    /// Rows that are shown with their answers.
    pub retrieval: Option<Retrieval>,
}

/// Which of the assistant's turns are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearntTurns {
    /// The last one.
    Last,
    /// Every one.
    All,
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
    /// A document is read in windows.
    Window {
        /// Tokens that each repeats from the one before.
        overlap: usize,
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
