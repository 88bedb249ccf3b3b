//! Messages as clients write them, and as chat templates read them.

use fidelio_prompting::{Conversation, Message};
use serde_json::{Map, Value};

use super::fields::Fields;

/// Takes the field `messages`. None where it is wrong, which is said.
pub(crate) fn take(fields: &mut Fields) -> Option<Conversation> {
    let messages = match fields.take("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        _ => {
            fields.wrong("messages", "must be a list of at least one message");
            return None;
        }
    };
    let mut talk = Conversation::default();
    for (i, value) in messages.into_iter().enumerate() {
        match message(value) {
            Ok(message) => talk.messages.push(message),
            Err(problem) => {
                fields.wrong(&format!("messages[{i}]"), problem);
                return None;
            }
        }
    }
    Some(talk)
}

/// A message of the roles that a conversation without tools has.
fn message(value: Value) -> Result<Message, String> {
    let Value::Object(mut map) = value else { return Err("must be an object".to_owned()) };
    let Some(Value::String(role)) = map.shift_remove("role") else {
        return Err("must have a `role`".to_owned());
    };
    let role = match role.as_str() {
        // OpenAI's newer name for the same voice.
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" | "function" => return Err(format!("is from `{role}`: tools are not built yet")),
        _ => return Err(format!("is from `{role}`, not from `system`, `user` or `assistant`")),
    };
    let content = content(map.shift_remove("content"))?;
    refuse_others(&map)?;
    Ok(Message::new(role, content))
}

/// A text, or parts that are all texts, which are put together as they are.
fn content(value: Option<Value>) -> Result<String, String> {
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) if !parts.is_empty() => parts.into_iter().map(part).collect(),
        _ => Err("must have a `content` that is a text or a list of texts".to_owned()),
    }
}

fn part(value: Value) -> Result<String, String> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = value.get("text").and_then(Value::as_str);
    match (kind.as_str(), text, value.as_object().map_or(0, Map::len)) {
        ("text", Some(text), 2) => Ok(text.to_owned()),
        ("text", ..) => Err("has a part of `type: text` without just a `text`".to_owned()),
        _ => Err(format!("has a part of type `{kind}`: the model reads text only")),
    }
}

/// What clients send back of an earlier answer is mostly `null`.
fn refuse_others(map: &Map<String, Value>) -> Result<(), String> {
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    match map.iter().find(|(_, value)| !empty(value)) {
        None => Ok(()),
        Some((key, _))
            if matches!(key.as_str(), "tool_calls" | "function_call" | "tool_call_id") =>
        {
            Err(format!("has `{key}`: tools are not built yet"))
        }
        Some((key, _)) => Err(format!("has `{key}`, which is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_their_parts_become_messages() {
        let sent = json!({ "role": "developer", "refusal": null, "tool_calls": [],
            "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "terse."}] });
        let read = message(sent).unwrap();
        assert_eq!((read.role(), read.text()), ("system", Some("Be terse.")));
    }

    #[test]
    fn what_cannot_be_shown_to_the_model_is_refused() {
        for (sent, problem) in [
            (json!("hello"), "must be an object"),
            (json!({ "content": "x" }), "must have a `role`"),
            (json!({ "role": "tool", "content": "x" }), "tools are not built yet"),
            (json!({ "role": "king", "content": "x" }), "is from `king`, not"),
            (json!({ "role": "user" }), "must have a `content`"),
            (json!({ "role": "user", "content": [] }), "must have a `content`"),
            (json!({ "role": "user", "content": 5 }), "must have a `content`"),
            (json!({ "role": "user", "content": "x", "name": "Ann" }), "has `name`, which"),
            (
                json!({ "role": "user", "content": [{"type": "image_url", "image_url": {}}] }),
                "a part of type `image_url`: the model reads text only",
            ),
            (
                json!({ "role": "user", "content": [{"type": "text", "text": "x", "y": 1}] }),
                "without just a `text`",
            ),
            (
                json!({ "role": "assistant", "content": "x", "tool_calls": [{}] }),
                "has `tool_calls`: tools are not built yet",
            ),
        ] {
            let said = message(sent).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
