//! Messages: what a chat template reads.

use serde_json::{Map, Value};

use crate::PromptError;

/// One message. Keys beyond role and content (`tool_calls`, `name`, `reasoning_content`, …) are kept as
/// they are, since templates read them.
#[derive(Debug, Clone, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    /// A message of `role` saying `content`.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        let mut map = Map::new();
        map.insert("role".to_owned(), Value::from(role));
        map.insert("content".to_owned(), Value::from(content.into()));
        Self(map)
    }

    /// The message that this JSON object is.
    ///
    /// # Errors
    /// When it is no object, or has no role, or its content is neither text, parts, nor null.
    pub fn from_json(value: Value, index: usize) -> Result<Self, PromptError> {
        let wrong = |problem: &str| PromptError::Message { index, problem: problem.to_owned() };
        let Value::Object(map) = value else { return Err(wrong("is not an object")) };
        match map.get("role") {
            Some(Value::String(_)) => {}
            Some(_) => return Err(wrong("has a `role` that is not a text")),
            None => return Err(wrong("has no `role`")),
        }
        match map.get("content") {
            None if map.keys().all(|k| k == "role") => return Err(wrong("has no `content`")),
            None | Some(Value::String(_) | Value::Array(_) | Value::Null) => {}
            Some(_) => return Err(wrong("has a `content` that is neither a text nor parts")),
        }
        Ok(Self(map))
    }

    /// `system`, `user`, `assistant`, `tool`, or what the model's template knows besides.
    pub fn role(&self) -> &str {
        self.0.get("role").and_then(Value::as_str).unwrap_or_default()
    }

    /// The content, when it is one text.
    pub fn text(&self) -> Option<&str> {
        self.0.get("content").and_then(Value::as_str)
    }

    /// Whether it holds nothing beyond its role that a template could write.
    pub(crate) fn says_nothing(&self) -> bool {
        let blank = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        self.0.iter().all(|(key, value)| matches!(key.as_str(), "role" | "name") || blank(value))
    }

    /// All keys.
    pub fn keys(&self) -> &Map<String, Value> {
        &self.0
    }

    pub(crate) fn content_mut(&mut self) -> Option<&mut Value> {
        self.0.get_mut("content")
    }
}

/// What a chat template renders: messages, and the tools and documents that go with them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// Tools as JSON Schemas, if any.
    pub tools: Option<Value>,
    /// Documents with `title` and `text`, if any.
    pub documents: Option<Value>,
    /// Further variables of the template, such as `enable_thinking`.
    pub extra: Map<String, Value>,
}

impl Conversation {
    /// A conversation of these messages.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// The messages of a cell: a JSON array of messages, or a text that holds one.
    ///
    /// # Errors
    /// When the cell is something else; the error names the message.
    pub fn from_cell(cell: &Value) -> Result<Self, PromptError> {
        let parsed;
        let value = match cell {
            Value::String(text) => {
                parsed = serde_json::from_str(text)
                    .map_err(|source| PromptError::MessagesText { source })?;
                &parsed
            }
            other => other,
        };
        let Value::Array(items) = value else { return Err(PromptError::NoMessages) };
        if items.is_empty() {
            return Err(PromptError::NoMessages);
        }
        let messages = items
            .iter()
            .enumerate()
            .map(|(i, item)| Message::from_json(item.clone(), i))
            .collect::<Result<_, _>>()?;
        Ok(Self::new(messages))
    }
}
