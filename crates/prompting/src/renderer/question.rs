//! What a server would have to be asked to read what a row's prompt reads.

use crate::{Conversation, PromptError, Purpose, Row};

use super::{Body, Prepared, Renderer, Source};

/// What a client asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// A conversation, which a chat template writes.
    Talk(Box<Conversation>),
    /// A text that is read as it is.
    Text(String),
}

impl Renderer {
    /// What a client would have to ask for a row's prompt: what its chat template is given, or its whole
    /// text. None where a rule drops the row, and of documents, which ask nothing.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn question(&self, row: &Row<'_>) -> Result<Option<Question>, PromptError> {
        if matches!(self.source, Source::Document { .. }) {
            return Ok(None);
        }
        let (Prepared::Ready(prompt), _) = self.prepare(row, Purpose::Answer)? else {
            return Ok(None);
        };
        Ok(Some(match prompt.body {
            Body::Chat(talk) => Question::Talk(Box::new(talk.conversation().clone())),
            Body::Plain => Question::Text(prompt.shown.text),
        }))
    }
}
