//! What a run file decides about rendering. Every default is the careful one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What [`Renderer`](crate::Renderer) does where there is a choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Whether a plain prompt is wrapped into the model's chat template, as one user's turn.
    pub chat: ChatUse,
    /// What the system says before it.
    pub system: Option<String>,
    /// Further variables of the chat template, such as `enable_thinking`.
    pub template_variables: serde_json::Map<String, serde_json::Value>,
    /// Who decides whether the text begins with BOS.
    pub bos: Bos,
    /// What is done with special tokens' texts in the data.
    pub special_tokens_in_data: SpecialTokens,
    /// What is done where prompt and answer do not meet at a token's border.
    pub boundary: Boundary,
    /// Which turns of a messages column are learnt.
    pub turns: Turns,
    /// How much room there is.
    pub budget: Budget,
}

/// Whether the chat template is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatUse {
    /// Where the model has one.
    #[default]
    Auto,
    /// Yes; a model without one is an error.
    Always,
    /// No.
    Never,
}

/// Who decides about BOS. A text that begins with it already never gets another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bos {
    /// The tokenizer, for chats as for plain text. (transformers leaves chats to their template; the two
    /// differ for the few models whose tokenizer wants BOS and whose template forgets it.)
    #[default]
    Auto,
    /// It is there.
    Always,
    /// Only what the template writes.
    Never,
}

/// What is done with data that spells a special token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialTokens {
    /// The row is an error.
    #[default]
    Error,
    /// It becomes the special token.
    Allow,
    /// It is encoded as plain text.
    Escape,
}

/// What is done where the tokenizer merges the prompt's end with the answer's beginning, or where the chat
/// template writes the prompt otherwise once it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// The row is an error.
    #[default]
    Error,
    /// The answer is encoded alone and put behind the prompt, with its stop.
    Separate,
}

/// Which of an assistant's turns are learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// All of them.
    #[default]
    All,
    /// The last.
    Last,
}

/// How many tokens there may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// For prompt and answer together; none is no limit.
    pub context: Option<usize>,
    /// Of these, how many are kept for the answer. Prompts have the rest, in training as in serving.
    pub reserved: usize,
    /// For single fields.
    pub fields: BTreeMap<String, usize>,
    /// For a row's examples.
    pub examples: ExampleBudget,
    /// What happens beyond.
    pub overflow: Overflow,
}

/// How much room examples have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExampleBudget {
    /// Tokens that they may add to a prompt; none is as many as fit.
    pub most: Option<usize>,
    /// Whether a row shows fewer where there is no room for all, be it within `most` or in the
    /// context. Otherwise it is an error, as if they were text of the row.
    pub fewer: bool,
}

/// What happens to a row that is too long. Template text and answers are never cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It is an error.
    #[default]
    Error,
    /// It is left out and counted.
    Drop,
    /// Fields are shortened and the cut is counted.
    Truncate {
        /// The side that is cut away.
        side: Side,
        /// Which fields may be cut, in this order; none is the longest first.
        #[serde(default)]
        fields: Option<Vec<String>>,
    },
    /// A document is read in windows of so many tokens as fit, and each token is learnt once.
    Window {
        /// Tokens that a window repeats from the one before, as context; at least 1.
        overlap: usize,
    },
}

/// An end of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Its beginning.
    Left,
    /// Its end.
    Right,
}
