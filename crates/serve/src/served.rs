//! The model that is served, and how it is asked.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use fidelio_generate::{Decoding, Grammar};
use fidelio_prompting::{
    ChatTemplate, Conversation, Message, Outcome, PromptError, Purpose, Renderer, Row, SpecialTexts,
};
use serde_json::Map;

use crate::{AnswerRows, token_texts::TokenTexts};

/// A model under its name, with the renderers that training and the terminal use too.
pub struct Served {
    name: String,
    created: u64,
    chat: Option<Renderer>,
    plain: Renderer,
    decoding: Decoding,
    grammar: Option<Grammar>,
    texts: TokenTexts,
    hears_system: bool,
    features: Vec<String>,
    rows: Option<SharedRows>,
}

/// One call of the session at a time needs no more than one that answers rows.
type SharedRows = Arc<Mutex<Box<dyn AnswerRows>>>;

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("name", &self.name).finish_non_exhaustive()
    }
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
        Self {
            name: name.into(),
            created,
            chat,
            plain,
            decoding,
            grammar: None,
            texts,
            hears_system,
            features: Vec::new(),
            rows: None,
        }
    }

    /// The same, whose answers are held to a grammar where a request asks for no other form.
    #[must_use]
    pub fn with_grammar(self, grammar: Option<Grammar>) -> Self {
        Self { grammar, ..self }
    }

    pub(crate) fn grammar(&self) -> Option<&Grammar> {
        self.grammar.as_ref()
    }

    /// The same, which also answers rows by the names of their features.
    #[must_use]
    pub fn with_rows(self, rows: Box<dyn AnswerRows>) -> Self {
        let features = rows.features().to_vec();
        Self { features, rows: Some(Arc::new(Mutex::new(rows))), ..self }
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

    /// The ids of a text as a part of a longer one: nothing is added to them.
    pub(crate) fn part(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let encoding = self.plain.vocabulary().tokenizer().encode(text, false);
        let encoding = encoding.map_err(|source| PromptError::Tokenizer { source })?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(crate) fn special_texts(&self) -> SpecialTexts {
        self.plain.vocabulary().special_texts()
    }

    pub(crate) fn chat_template(&self) -> Option<&str> {
        self.chat.as_ref()?.chat_template().map(ChatTemplate::source)
    }

    pub(crate) fn rows(&self) -> Option<&SharedRows> {
        self.rows.as_ref()
    }

    pub(crate) fn features(&self) -> &[String] {
        &self.features
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
