//! Chat templates as checkpoints ship them: Jinja, rendered as transformers renders it.

mod environment;
mod generation;
mod json;
mod python;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::Value;
use serde::{Deserialize, Serialize};

pub use environment::Clock;
pub(crate) use generation::{CLOSE, OPEN};

use crate::{Conversation, PromptError, hash};

/// The texts of the special tokens that templates name (`bos_token`, `eos_token`, …).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTexts {
    /// `bos_token`.
    pub bos: Option<String>,
    /// `eos_token`.
    pub eos: Option<String>,
    /// `unk_token`.
    pub unk: Option<String>,
    /// `pad_token`.
    pub pad: Option<String>,
}

/// A checkpoint's chat template.
///
/// ```
/// use fidelio_prompting::{ChatTemplate, Clock, Conversation, Message, SpecialTexts};
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}\
///               {% if add_generation_prompt %}<assistant>{% endif %}";
/// let chat = ChatTemplate::new(source, SpecialTexts::default(), Clock::Local)?;
/// let talk = Conversation::new(vec![Message::new("user", " Hello ")]);
/// assert_eq!(chat.render(&talk, true)?, "<user>Hello\n<assistant>");
/// # Ok::<(), fidelio_prompting::PromptError>(())
/// ```
#[derive(Clone)]
pub struct ChatTemplate {
    env: environment::Shared,
    source: Arc<str>,
    tokens: SpecialTexts,
    has_generation: bool,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("sha256", &self.sha256())
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// When it is not valid Jinja; the error names the line.
    pub fn new(source: &str, tokens: SpecialTexts, clock: Clock) -> Result<Self, PromptError> {
        let (rewritten, has_generation) = generation::rewrite(&source.replace("\r\n", "\n"));
        let mut env = environment::environment(clock);
        env.add_template_owned(NAME, rewritten).map_err(|e| broken(&e))?;
        Ok(Self { env: Arc::new(env), source: source.into(), tokens, has_generation })
    }

    /// The text of a conversation. `add_generation_prompt` ends it where the assistant begins to speak.
    ///
    /// # Errors
    /// When the template refuses the conversation (its own words) or fails on it (line and reason).
    pub fn render(
        &self,
        talk: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, PromptError> {
        self.render_as(talk, add_generation_prompt, false)
    }

    /// As [`render`](Self::render), with [`OPEN`] and [`CLOSE`] around what generation blocks wrote.
    pub(crate) fn render_tracked(
        &self,
        talk: &Conversation,
        add_generation_prompt: bool,
    ) -> Result<String, PromptError> {
        self.render_as(talk, add_generation_prompt, self.has_generation)
    }

    fn render_as(
        &self,
        talk: &Conversation,
        add_generation_prompt: bool,
        track: bool,
    ) -> Result<String, PromptError> {
        let messages: Value = talk.messages.iter().map(|m| json::object(m.keys())).collect();
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        values.insert("messages".to_owned(), messages);
        values.insert("tools".to_owned(), talk.tools.as_ref().map_or(Value::from(()), json::value));
        values.insert(
            "documents".to_owned(),
            talk.documents.as_ref().map_or(Value::from(()), json::value),
        );
        values.insert("add_generation_prompt".to_owned(), Value::from(add_generation_prompt));
        let tokens = &self.tokens;
        for (name, text) in [
            ("bos_token", &tokens.bos),
            ("eos_token", &tokens.eos),
            ("unk_token", &tokens.unk),
            ("pad_token", &tokens.pad),
        ] {
            if let Some(text) = text {
                values.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        for (name, value) in &talk.extra {
            values.insert(name.clone(), json::value(value));
        }
        values.insert(generation::TRACK.to_owned(), Value::from(track));
        let template = self.env.get_template(NAME).map_err(|e| broken(&e))?;
        template.render(Value::from_pairs(values)).map_err(|e| broken(&e))
    }

    /// The template as the checkpoint has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template says with `{% generation %}` blocks what the assistant writes.
    pub fn has_generation_blocks(&self) -> bool {
        self.has_generation
    }

    /// The texts of special tokens that the template is given.
    pub fn tokens(&self) -> &SpecialTexts {
        &self.tokens
    }

    /// The template's hash, for run folders.
    pub fn sha256(&self) -> String {
        hash::sha256(self.source.as_bytes())
    }
}

fn broken(error: &minijinja::Error) -> PromptError {
    if let Some(message) = environment::refusal(error) {
        return PromptError::ChatRefused { message, line: error.line() };
    }
    let reason = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    if error.kind() == minijinja::ErrorKind::SyntaxError {
        return PromptError::ChatSyntax { line: error.line(), reason };
    }
    PromptError::ChatFailed { line: error.line(), kind: error.kind().to_string(), reason }
}
