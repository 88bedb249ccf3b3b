//! A model under a name: by itself, or with an adapter.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use fidelio_backend::AdapterId;
use fidelio_generate::Grammar;
use fidelio_prompting::{
    ChatTemplate, Conversation, Message, Outcome, PromptError, Purpose, Renderer, ToolFormat,
};

use serde_json::Value;

use crate::AnswerRows;

/// What clients choose by `model`: the weights that a server holds with one adapter of theirs or
/// none, and how it is talked to.
pub struct Voice {
    name: String,
    created: u64,
    adapter: Option<AdapterId>,
    chat: Option<Renderer>,
    hears_system: bool,
    grammar: Option<Grammar>,
    features: Vec<String>,
    rows: Option<SharedRows>,
}

/// One call of the session at a time needs no more than one that answers rows.
pub(crate) type SharedRows = Arc<Mutex<Box<dyn AnswerRows>>>;

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice")
            .field("name", &self.name)
            .field("adapter", &self.adapter)
            .finish_non_exhaustive()
    }
}

impl Voice {
    /// A voice called `name`, computed with an adapter of the session. `chat` renders conversations,
    /// where the model was taught any.
    pub fn new(
        name: impl Into<String>,
        adapter: Option<AdapterId>,
        chat: Option<Renderer>,
    ) -> Self {
        let hears_system = chat.as_ref().is_some_and(hears_system);
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self {
            name: name.into(),
            created,
            adapter,
            chat,
            hears_system,
            grammar: None,
            features: Vec::new(),
            rows: None,
        }
    }

    /// The same, whose answers are held to a grammar where a request asks for no other form.
    #[must_use]
    pub fn with_grammar(self, grammar: Option<Grammar>) -> Self {
        Self { grammar, ..self }
    }

    /// The same, which also answers rows by the names of their features.
    #[must_use]
    pub fn with_rows(self, rows: Option<Box<dyn AnswerRows>>) -> Self {
        let Some(rows) = rows else { return self };
        let features = rows.features().to_vec();
        Self { features, rows: Some(Arc::new(Mutex::new(rows))), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ids of a conversation that the assistant is to continue.
    ///
    /// # Errors
    /// When there is no chat template, or it does not take the conversation.
    pub fn conversation(&self, talk: &Conversation) -> Result<Vec<u32>, PromptError> {
        let needed_by = "a conversation";
        let chat = self.chat.as_ref().ok_or(PromptError::NoChatTemplate { needed_by })?;
        if !self.hears_system && talk.messages.iter().any(|it| it.role() == "system") {
            return Err(PromptError::SystemIgnored);
        }
        let rendered = chat.render_conversation(talk, Purpose::Answer)?.kept();
        let rendered = rendered.map(|it| (it.ids, it.text)).unwrap_or_default();
        if called(talk).any(|name| !rendered.1.contains(name)) {
            return Err(PromptError::ToolsIgnored);
        }
        Ok(rendered.0)
    }

    /// Offers tools in a conversation where the chat template looks for them.
    pub(crate) fn offer(&self, talk: &mut Conversation, tools: Value) {
        if let Some(template) = self.chat_template() {
            talk.offer(tools, template);
        }
    }

    /// How the model writes calls of tools.
    ///
    /// # Errors
    /// When its chat template has none, or writes them in a way that is not known.
    pub fn tool_format(&self) -> Result<ToolFormat, PromptError> {
        let needed_by = "a tool";
        ToolFormat::of(self.chat_template().ok_or(PromptError::NoChatTemplate { needed_by })?)
    }

    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    pub(crate) fn adapter(&self) -> Option<AdapterId> {
        self.adapter
    }

    pub(crate) fn grammar(&self) -> Option<&Grammar> {
        self.grammar.as_ref()
    }

    pub(crate) fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()?.chat_template()
    }

    pub(crate) fn features(&self) -> &[String] {
        &self.features
    }

    pub(crate) fn rows(&self) -> Option<&SharedRows> {
        self.rows.as_ref()
    }
}

/// The tools that messages call.
fn called(talk: &Conversation) -> impl Iterator<Item = &str> {
    let calls = talk.messages.iter().filter_map(|it| it.keys().get("tool_calls")?.as_array());
    calls.flatten().filter_map(|call| call.get("function")?.get("name")?.as_str())
}

/// Whether the chat template writes what the system says.
fn hears_system(chat: &Renderer) -> bool {
    const SAID: &str = "Fidelio-said-this.";
    let talk = Conversation::new(vec![Message::new("system", SAID), Message::new("user", "?")]);
    let text = chat.chat_template().map(|template| template.render(&talk, true));
    matches!(text, Some(Ok(text)) if text.contains(SAID))
}

/// A prompt that some rule left out has no ids, which the engine refuses.
pub(crate) fn ids(outcome: Outcome) -> Vec<u32> {
    outcome.kept().map(|rendered| rendered.ids).unwrap_or_default()
}
