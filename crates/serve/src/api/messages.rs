//! Messages as clients write them, and as chat templates read them.

use fidelio_prompting::{Conversation, Message};
use serde_json::{Map, Value, json};

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
        match message(value, &talk) {
            Ok(message) => talk.messages.push(message),
            Err(problem) => {
                fields.wrong(&format!("messages[{i}]"), problem);
                return None;
            }
        }
    }
    Some(talk)
}

/// A message, after those of `before`.
fn message(value: Value, before: &Conversation) -> Result<Message, String> {
    let Value::Object(mut map) = value else { return Err("must be an object".to_owned()) };
    let Some(Value::String(role)) = map.shift_remove("role") else {
        return Err("must have a `role`".to_owned());
    };
    let role = match role.as_str() {
        // OpenAI's newer name for the same voice.
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" => return tool(map, before),
        "function" => return Err("is from `function`: tools answer as `tool`".to_owned()),
        _ => {
            return Err(format!(
                "is from `{role}`, not from `system`, `user`, `assistant` or `tool`"
            ));
        }
    };
    let calls =
        if role == "assistant" { calls(map.shift_remove("tool_calls"))? } else { Vec::new() };
    let said = map.shift_remove("content");
    let content = match said {
        None | Some(Value::Null) if !calls.is_empty() => String::new(),
        said => content(said)?,
    };
    refuse_others(&map)?;
    Ok(if calls.is_empty() { Message::new(role, content) } else { called(content, calls) })
}

/// What an assistant says, and what it calls.
pub(crate) fn called(content: String, calls: Vec<Value>) -> Message {
    let message = json!({ "role": "assistant", "content": content, "tool_calls": calls });
    Message::from_json(message, 0).expect("it has a role and a text")
}

/// A call as templates read it: with its arguments as an object.
pub(crate) fn call(id: &str, name: &str, arguments: &str) -> Result<Value, String> {
    let Ok(arguments @ Value::Object(_)) = serde_json::from_str::<Value>(arguments) else {
        return Err(format!("has a call of `{name}` whose `arguments` are no JSON object"));
    };
    let function = json!({ "name": name, "arguments": arguments });
    Ok(json!({ "id": id, "type": "function", "function": function }))
}

/// What a tool answers to the call of an earlier message.
pub(crate) fn tool_answer(
    id: &str,
    content: String,
    before: &Conversation,
) -> Result<Message, String> {
    let calls = before.messages.iter().filter_map(|it| it.keys().get("tool_calls")?.as_array());
    let call = calls.flatten().find(|call| call["id"] == id);
    let Some(name) = call.and_then(|call| call["function"]["name"].as_str()) else {
        let id: String = id.chars().take(100).collect();
        return Err(format!("answers the call `{id}`, which no earlier message makes"));
    };
    let message = json!({ "role": "tool", "name": name, "tool_call_id": id, "content": content });
    Ok(Message::from_json(message, 0).expect("it has a role and a text"))
}

fn tool(mut map: Map<String, Value>, before: &Conversation) -> Result<Message, String> {
    let Some(Value::String(id)) = map.shift_remove("tool_call_id") else {
        return Err("must have a `tool_call_id`".to_owned());
    };
    let content = content(map.shift_remove("content"))?;
    refuse_others(&map)?;
    tool_answer(&id, content, before)
}

fn calls(value: Option<Value>) -> Result<Vec<Value>, String> {
    let wrong =
        || "must have `tool_calls` of an `id`, `type: function` and a `function`".to_owned();
    let all = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(all)) => all,
        Some(_) => return Err(wrong()),
    };
    let read = |value: Value| {
        let function = value.get("function").ok_or_else(wrong)?;
        let text = |map: &Value, key: &str| Some(map.get(key)?.as_str()?.to_owned());
        let (id, kind) = (text(&value, "id"), text(&value, "type"));
        let (name, arguments) = (text(function, "name"), text(function, "arguments"));
        let sizes = (value.as_object().map(Map::len), function.as_object().map(Map::len));
        match (id, kind.as_deref(), name, arguments, sizes) {
            (Some(id), Some("function"), Some(name), Some(arguments), (Some(3), Some(2))) => {
                call(&id, &name, &arguments)
            }
            _ => Err(wrong()),
        }
    };
    all.into_iter().map(read).collect()
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
        Some((key, _)) => Err(format!("has `{key}`, which is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Message, String> {
        message(value, &Conversation::default())
    }

    #[test]
    fn texts_and_their_parts_become_messages() {
        let sent = json!({ "role": "developer", "refusal": null, "tool_calls": [],
            "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "terse."}] });
        let read = read(sent).unwrap();
        assert_eq!((read.role(), read.text()), ("system", Some("Be terse.")));
    }

    #[test]
    fn calls_and_their_answers_are_as_templates_read_them() {
        let call = json!({ "id": "a1", "type": "function",
            "function": { "name": "weather", "arguments": "{\"city\": \"Paris\"}" } });
        let sent = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
        let asked = read(sent).unwrap();
        assert_eq!(asked.keys()["tool_calls"][0]["function"]["arguments"]["city"], "Paris");
        let talk = Conversation::new(vec![asked]);
        let sent = json!({ "role": "tool", "tool_call_id": "a1", "content": "rain" });
        let answer = message(sent, &talk).unwrap();
        assert_eq!((answer.role(), answer.text()), ("tool", Some("rain")));
        assert_eq!(answer.keys()["name"], "weather");
        let sent = json!({ "role": "tool", "tool_call_id": "b2", "content": "rain" });
        assert!(message(sent, &talk).unwrap_err().contains("`b2`, which no earlier message makes"));
    }

    #[test]
    fn what_cannot_be_shown_to_the_model_is_refused() {
        let call = |arguments: &str| {
            json!({ "role": "assistant", "tool_calls": [{ "id": "a", "type": "function",
                "function": { "name": "f", "arguments": arguments } }] })
        };
        for (sent, problem) in [
            (json!("hello"), "must be an object"),
            (json!({ "content": "x" }), "must have a `role`"),
            (json!({ "role": "tool", "content": "x" }), "must have a `tool_call_id`"),
            (json!({ "role": "function", "content": "x" }), "tools answer as `tool`"),
            (json!({ "role": "king", "content": "x" }), "is from `king`, not"),
            (json!({ "role": "user" }), "must have a `content`"),
            (json!({ "role": "user", "content": [] }), "must have a `content`"),
            (json!({ "role": "user", "content": 5 }), "must have a `content`"),
            (json!({ "role": "user", "content": "x", "name": "Ann" }), "has `name`, which"),
            (json!({ "role": "assistant", "content": null }), "must have a `content`"),
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
                "must have `tool_calls` of an `id`",
            ),
            (
                json!({ "role": "user", "content": "x", "tool_calls": [{}] }),
                "has `tool_calls`, which is not supported",
            ),
            (call("[1]"), "whose `arguments` are no JSON object"),
            (call("{"), "whose `arguments` are no JSON object"),
        ] {
            let said = read(sent).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
