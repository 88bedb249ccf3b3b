//! What can go wrong between a row and its tokens.

use std::borrow::Cow;
use std::fmt;

use crate::{TemplateError, TurnProblem};

/// A row that gives no tokens, or a template, tokenizer or rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A prompt template with problems, all of them.
    #[error("the prompt template has {} problem(s): {}", .0.len(), Joined(.0))]
    Template(Vec<TemplateError>),

    /// The chat template is not valid Jinja.
    #[error("the chat template{} cannot be parsed: {reason}", At(*.line))]
    ChatSyntax {
        /// The template's line.
        line: Option<usize>,
        /// What the parser found.
        reason: String,
    },
    /// The chat template raised an exception of its own.
    #[error("the chat template refuses this conversation: {message}")]
    ChatRefused {
        /// The template's words.
        message: String,
        /// The template's line.
        line: Option<usize>,
    },
    /// The chat template failed while rendering.
    #[error("the chat template{} failed: {kind}: {reason}", At(*.line))]
    ChatFailed {
        /// The template's line.
        line: Option<usize>,
        /// The kind of failure.
        kind: String,
        /// What exactly.
        reason: String,
    },
    /// The chat template is needed and missing.
    #[error("the model has no chat template, but {needed_by} needs one")]
    NoChatTemplate {
        /// The setting or column that needs it.
        needed_by: &'static str,
    },
    /// A system text that the chat template drops.
    #[error("the chat template ignores the system text")]
    SystemIgnored,
    /// Tools, or calls of them, that the chat template drops.
    #[error("the chat template writes no tools and no calls of them")]
    ToolsIgnored,
    /// A chat template whose way of writing calls is not known.
    #[error("the chat template writes calls of tools in a way that cannot be read back yet")]
    ToolFormat,
    /// A system text with nothing to carry it.
    #[error("a system text needs the chat template, which this run does not use")]
    SystemUnused,

    /// A message that is none.
    #[error("message {index} {problem}")]
    Message {
        /// Counted from 0.
        index: usize,
        /// The end of the sentence.
        problem: String,
    },
    /// A messages cell whose text is not JSON.
    #[error("the messages are not valid JSON")]
    MessagesText {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A messages cell that is no list, or an empty one.
    #[error("the messages are not a list of at least one message")]
    NoMessages,
    /// A conversation that ends where nothing is to be answered or learnt.
    #[error("row {row}: the last message is from `{role}`, so there is nothing to {wanted}")]
    LastMessage {
        /// The row.
        row: usize,
        /// Who spoke last.
        role: String,
        /// `answer` or `learn`.
        wanted: &'static str,
    },

    /// A row lacks a column.
    #[error("row {row}: column `{column}` is missing")]
    MissingColumn {
        /// The row.
        row: usize,
        /// The column.
        column: String,
        /// What the row has.
        have: Vec<String>,
    },
    /// A referenced cell is empty.
    #[error("row {row}: column `{column}` is null")]
    NullCell {
        /// The row.
        row: usize,
        /// The column.
        column: String,
    },
    /// A cell that a number format was asked for is no number.
    #[error(
        "row {row}: column `{column}` holds `{value}`, which is not a number, as `:{spec}` needs"
    )]
    NotANumber {
        /// The row.
        row: usize,
        /// The column.
        column: String,
        /// The cell's text.
        value: String,
        /// The format.
        spec: String,
    },
    /// The prompt shows examples, and none were chosen for the row.
    #[error("row {row}: the prompt shows examples, and none were chosen for it")]
    MissingExamples {
        /// The row.
        row: usize,
    },
    /// An example that cannot be shown.
    #[error("row {row}: one of its examples cannot be shown")]
    Example {
        /// The row that it is an example for.
        row: usize,
        /// Why, with the example's own number.
        #[source]
        source: Box<PromptError>,
    },
    /// Examples over their budget.
    #[error("row {row}: its examples or passages add {tokens} tokens, {budget} are allowed")]
    ExamplesTooLong {
        /// The row.
        row: usize,
        /// What they add.
        tokens: usize,
        /// What is allowed.
        budget: usize,
    },
    /// Something wrong with one cell.
    #[error("row {row}: column `{column}`")]
    Cell {
        /// The row.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong with it.
        #[source]
        source: Box<PromptError>,
    },

    /// Text from the data that the tokenizer would read as a control token.
    #[error("row {row}: field `{field}` contains `{token}`, which is a special token of the model")]
    SpecialTokenInData {
        /// The row.
        row: usize,
        /// The field.
        field: String,
        /// The token's text.
        token: String,
    },
    /// Escaping was asked for and cannot be done safely.
    #[error("row {row}: `{token}` in field `{field}` cannot be escaped: {reason}")]
    CannotEscape {
        /// The row.
        row: usize,
        /// The field.
        field: String,
        /// The token's text.
        token: String,
        /// Why not.
        reason: &'static str,
    },
    /// Two beginnings of text.
    #[error("row {row}: `{token}` stands twice, at tokens {first} and {second}")]
    SecondBos {
        /// The row.
        row: usize,
        /// The token's text.
        token: String,
        /// Where the first stands.
        first: usize,
        /// Where the second stands.
        second: usize,
    },
    /// The tokenizer joins the end of the prompt and the beginning of the answer into one token.
    #[error(
        "row {row}: the tokenizer merges the end of the prompt `{prompt_end}` with the beginning of the answer `{answer_start}`"
    )]
    Boundary {
        /// The row.
        row: usize,
        /// The prompt's last characters.
        prompt_end: String,
        /// The answer's first characters.
        answer_start: String,
    },
    /// The chat template writes the prompt differently once the answer is there.
    #[error(
        "row {row}: with the answer in place, the chat template no longer begins with the prompt (after `{common_end}` it has `{has}` instead of `{prompt_has}`)"
    )]
    PromptChanges {
        /// The row.
        row: usize,
        /// The last characters that agree.
        common_end: String,
        /// What follows with the answer.
        has: String,
        /// What follows in the prompt.
        prompt_has: String,
    },
    /// The chat template dropped or changed the answer.
    #[error("row {row}: the chat template does not show the answer as it is")]
    AnswerLost {
        /// The row.
        row: usize,
    },
    /// A turn of the assistant that cannot be learnt as it would be asked for.
    #[error("row {row}: turn {turn} of the assistant cannot be learnt: {problem}")]
    Turn {
        /// The row.
        row: usize,
        /// Which of the assistant's turns, the first being 1.
        turn: usize,
        /// Why not.
        problem: TurnProblem,
    },
    /// Nothing ends an answer.
    #[error(
        "the model has no end-of-text token and its chat template none at the end of a turn, so no answer would ever stop"
    )]
    NoStop,
    /// An empty answer.
    #[error("row {row}: the answer in column `{column}` is empty")]
    EmptyAnswer {
        /// The row.
        row: usize,
        /// The column.
        column: String,
    },
    /// A document without text.
    #[error("row {row}: the document in column `{column}` is empty")]
    EmptyDocument {
        /// The row.
        row: usize,
        /// The column.
        column: String,
    },
    /// A document over the context.
    #[error("row {row}: the document has {tokens} tokens, the context holds {context}")]
    DocumentTooLong {
        /// The row.
        row: usize,
        /// What it has.
        tokens: usize,
        /// What fits.
        context: usize,
    },
    /// A prompt without a token.
    #[error("row {row}: the prompt is empty")]
    EmptyPrompt {
        /// The row.
        row: usize,
    },
    /// A row of which nothing would be learnt.
    #[error("row {row}: there is nothing to learn: all {tokens} tokens are masked")]
    NothingToLearn {
        /// The row.
        row: usize,
        /// How many tokens it has.
        tokens: usize,
    },

    /// A field over its budget.
    #[error("row {row}: field `{field}` has {tokens} tokens, {budget} are allowed")]
    FieldTooLong {
        /// The row.
        row: usize,
        /// The field.
        field: String,
        /// What it has.
        tokens: usize,
        /// What is allowed.
        budget: usize,
    },
    /// A prompt over the budget.
    #[error("row {row}: the prompt has {tokens} tokens, {budget} are allowed")]
    PromptTooLong {
        /// The row.
        row: usize,
        /// What it has.
        tokens: usize,
        /// What is allowed: the context without what is reserved for the answer.
        budget: usize,
    },
    /// A prompt over the budget even with nothing left of the row.
    #[error("row {row}: the template alone has {tokens} tokens, {budget} are allowed")]
    TemplateTooLong {
        /// The row.
        row: usize,
        /// What is left when all fields are cut away.
        tokens: usize,
        /// What is allowed.
        budget: usize,
    },
    /// Prompt and answer over the context. An answer is never cut.
    #[error("row {row}: prompt and answer have {tokens} tokens, the context holds {context}")]
    AnswerTooLong {
        /// The row.
        row: usize,
        /// What they have together.
        tokens: usize,
        /// What fits.
        context: usize,
    },
    /// A rule that names what is not there, or that cannot work here.
    #[error("`{rule}` {problem}")]
    Rule {
        /// The rule's name.
        rule: &'static str,
        /// The end of the sentence.
        problem: String,
    },

    /// The tokenizer failed.
    #[error("the tokenizer failed")]
    Tokenizer {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PromptError {
    /// What to do about it, where there is something to say beyond the message.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Template(problems) => return problems.first().and_then(TemplateError::hint),
            Self::ChatSyntax { .. } | Self::ChatFailed { .. } => Cow::Borrowed(
                "check the messages against what the model's template expects, or give another template",
            ),
            Self::ChatRefused { .. } => Cow::Borrowed(
                "this is the template's own rule: change the roles or their order, leave the system text out, or set `chat: never`",
            ),
            Self::NoChatTemplate { .. } => {
                Cow::Borrowed("give a chat template, or use a plain prompt template")
            }
            Self::SystemIgnored => Cow::Borrowed("move the system text into the prompt template"),
            Self::ToolsIgnored | Self::ToolFormat => Cow::Borrowed(
                "take a model whose template has tools: Qwen, Hermes, Llama 3, Mistral, SmolLM",
            ),
            Self::SystemUnused => Cow::Borrowed(
                "set `chat: always`, or move the system text into the prompt template",
            ),
            Self::MissingColumn { column, have, .. } => {
                return crate::nearest::nearest(column, have.iter().map(String::as_str))
                    .map(|near| Cow::Owned(format!("did you mean `{near}`?")));
            }
            Self::NullCell { .. } => Cow::Borrowed(
                "fill or drop such rows in preprocessing, or set `null_text` to what a null shall read as",
            ),
            Self::Cell { source, .. } | Self::Example { source, .. } => return source.hint(),
            Self::SpecialTokenInData { .. } => Cow::Borrowed(
                "set `special_tokens_in_data` to `escape` (plain text) or `allow` (control token)",
            ),
            Self::SecondBos { .. } => Cow::Borrowed(
                "the template already begins with it: remove it there, or set `bos: never`",
            ),
            Self::Boundary { .. } => Cow::Borrowed(
                "end the template with a line break instead of a space or a word, or set `boundary: separate` to encode the answer alone",
            ),
            Self::PromptChanges { .. } => Cow::Borrowed(
                "set `boundary: separate` to append the answer to the prompt that serving would use",
            ),
            Self::PromptTooLong { .. } | Self::FieldTooLong { .. } => {
                Cow::Borrowed("raise the budget, or set `overflow` to `drop` or `truncate`")
            }
            Self::ExamplesTooLong { .. } => {
                Cow::Borrowed("raise `max_tokens`, lower `k`, or set `over_budget: fewer`")
            }
            Self::DocumentTooLong { .. } => {
                Cow::Borrowed("set `overflow: window` to read it in parts, or `drop` or `truncate`")
            }
            Self::AnswerTooLong { .. } => {
                Cow::Borrowed("reserve more of the context for the answer, or set `overflow: drop`")
            }
            Self::Turn { problem, .. } => Cow::Borrowed(problem.hint()),
            Self::TemplateTooLong { .. } => Cow::Borrowed("shorten the template or the task"),
            _ => return None,
        })
    }
}

struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

struct Joined<'a>(&'a [TemplateError]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
