//! The model that is served, and how it is asked.

use std::time::{SystemTime, UNIX_EPOCH};

use fidelio_generate::Decoding;
use fidelio_prompting::{Conversation, Message, Outcome, PromptError, Purpose, Renderer, Row};
use serde_json::Map;

use crate::token_texts::TokenTexts;

/// A model under its name, with the renderers that training and the terminal use too.
#[derive(Debug)]
pub struct Served {
    name: String,
    created: u64,
    chat: Option<Renderer>,
    plain: Renderer,
    decoding: Decoding,
    texts: TokenTexts,
    hears_system: bool,
}

impl Served {
    /// A model called `name`. `chat` renders conversations, where the model was taught any; `plain`
    /// renders one field as it is; `decoding` is how answers are made where a request says nothing
    /// else, and where they end.
    pub fn new(
        name: impl Into<String>,
        chat: Option<Renderer>,
        plain: Renderer,
        decoding: Decoding,
    ) -> Self {
        let texts = TokenTexts::new(plain.vocabulary().shared_tokenizer());
        let hears_system = chat.as_ref().is_some_and(hears_system);
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { name: name.into(), created, chat, plain, decoding, texts, hears_system }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can talk.
    pub fn has_chat(&self) -> bool {
        self.chat.is_some()
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
        Ok(ids(chat.render_conversation(talk, Purpose::Answer)?))
    }

    /// The ids of a text that is continued as it is.
    ///
    /// # Errors
    /// When it has no tokens, or a second token that begins texts.
    pub fn text(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let field = self.plain.fields().first().cloned().unwrap_or_default();
        let cells = Map::from_iter([(field, text.into())]);
        Ok(ids(self.plain.render(&Row::new(0, &cells), Purpose::Answer)?))
    }

    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    pub(crate) fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    pub(crate) fn texts(&self) -> &TokenTexts {
        &self.texts
    }
}

/// Whether the chat template writes what the system says.
fn hears_system(chat: &Renderer) -> bool {
    const SAID: &str = "Fidelio-said-this.";
    let talk = Conversation::new(vec![Message::new("system", SAID), Message::new("user", "?")]);
    let text = chat.chat_template().map(|template| template.render(&talk, true));
    matches!(text, Some(Ok(text)) if text.contains(SAID))
}

/// A prompt that some rule left out has no ids, which the engine refuses.
fn ids(outcome: Outcome) -> Vec<u32> {
    outcome.kept().map(|rendered| rendered.ids).unwrap_or_default()
}
