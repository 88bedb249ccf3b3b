//! `input`: a text, or what was said and called so far.

use fidelio_prompting::{Conversation, Message};
use serde_json::{Map, Value};

use super::super::{fields::Fields, messages};

/// Takes the field. None where it is wrong, which is said.
pub(super) fn take(fields: &mut Fields, instructions: Option<&str>) -> Option<Conversation> {
    let mut talk = Conversation::default();
    talk.messages.extend(instructions.map(|text| Message::new("system", text)));
    let items = match fields.take("input") {
        Some(Value::String(text)) => {
            talk.messages.push(Message::new("user", text));
            return Some(talk);
        }
        Some(Value::Array(items)) if !items.is_empty() => items,
        _ => {
            fields.wrong("input", "must be a text or a list of at least one item");
            return None;
        }
    };
    for (i, item) in items.into_iter().enumerate() {
        if let Err(problem) = add(&mut talk, item) {
            fields.wrong(&format!("input[{i}]"), problem);
            return None;
        }
    }
    Some(talk)
}

fn add(talk: &mut Conversation, item: Value) -> Result<(), String> {
    let Value::Object(map) = item else { return Err("must be an object".to_owned()) };
    let text = |key: &str| {
        let wrong = || format!("must have a `{key}` that is a text");
        map.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(wrong)
    };
    let only = |known: &[&str]| match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("has an unknown key `{key}`")),
        None => Ok(()),
    };
    match map.get("type").and_then(Value::as_str).unwrap_or("message") {
        "message" => {
            only(&["type", "role", "content", "id", "status"])?;
            let role = match text("role")?.as_str() {
                "system" | "developer" => "system",
                "user" => "user",
                "assistant" => "assistant",
                other => {
                    return Err(format!(
                        "is from `{other}`, not from `system`, `user` or `assistant`"
                    ));
                }
            };
            talk.messages.push(Message::new(role, content(map.get("content"))?));
        }
        "function_call" => {
            only(&["type", "call_id", "name", "arguments", "id", "status"])?;
            let call = messages::call(&text("call_id")?, &text("name")?, &text("arguments")?)?;
            // Calls that came together are one message, with what was said before them.
            let mut calls = vec![call];
            let mut said = String::new();
            if let Some(last) = talk.messages.pop_if(|it| it.role() == "assistant") {
                last.text().unwrap_or_default().clone_into(&mut said);
                let before = last.keys().get("tool_calls").and_then(Value::as_array).cloned();
                calls.splice(0..0, before.unwrap_or_default());
            }
            talk.messages.push(messages::called(said, calls));
        }
        "function_call_output" => {
            only(&["type", "call_id", "output", "id", "status"])?;
            let output = content(map.get("output"))?;
            let answer = messages::tool_answer(&text("call_id")?, output, talk)?;
            talk.messages.push(answer);
        }
        other => return Err(format!("is a `{other}`, which is not supported")),
    }
    Ok(())
}

/// A text, or parts that are all texts.
fn content(value: Option<&Value>) -> Result<String, String> {
    match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) if !parts.is_empty() => parts.iter().map(part).collect(),
        _ => Err("must have a `content` that is a text or a list of texts".to_owned()),
    }
}

fn part(value: &Value) -> Result<String, String> {
    // What an earlier answer had beside its text is empty here.
    let empty = |it: &Value| it.is_null() || it.as_array().is_some_and(Vec::is_empty);
    let known = |(key, it): (&String, &Value)| matches!(key.as_str(), "type" | "text") || empty(it);
    let map: Option<&Map<String, Value>> = value.as_object();
    match (value["type"].as_str(), value["text"].as_str()) {
        (Some("input_text" | "output_text" | "text"), Some(text))
            if map.is_some_and(|map| map.iter().all(known)) =>
        {
            Ok(text.to_owned())
        }
        (Some("input_text" | "output_text" | "text"), _) => {
            Err("has a part without just a `text`".to_owned())
        }
        (kind, _) => Err(format!(
            "has a part of type `{}`: the model reads text only",
            kind.unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(input: Value) -> Result<Conversation, String> {
        let mut fields = Fields::new(Map::from_iter([("input".to_owned(), input)]));
        let talk = take(&mut fields, Some("Be terse."));
        fields.finish().map_err(|problem| problem.json()["error"]["message"].to_string())?;
        Ok(talk.unwrap())
    }

    #[test]
    fn items_become_messages() {
        let talk = read(json!([
            { "role": "user", "content": [{ "type": "input_text", "text": "Rain?" }] },
            { "type": "message", "role": "assistant", "id": "m", "status": "completed",
              "content": [{ "type": "output_text", "text": "Wait.", "annotations": [], "logprobs": [] }] },
            { "type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "id": "x" },
            { "type": "function_call", "call_id": "b", "name": "g", "arguments": "{\"x\": 1}" },
            { "type": "function_call_output", "call_id": "b", "output": "yes" },
        ]))
        .unwrap();
        let roles: Vec<&str> = talk.messages.iter().map(Message::role).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        assert_eq!(talk.messages[2].text(), Some("Wait."));
        assert_eq!(talk.messages[2].keys()["tool_calls"][1]["function"]["arguments"]["x"], 1);
        assert_eq!(talk.messages[3].keys()["name"], "g");
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        for (input, said) in [
            (json!([]), "`input` must be a text or a list"),
            (json!([{ "role": "king", "content": "x" }]), "`input[0]` is from `king`"),
            (json!([{ "role": "user", "content": 1 }]), "`input[0]` must have a `content`"),
            (json!([{ "type": "reasoning" }]), "`input[0]` is a `reasoning`"),
            (json!([{ "role": "user", "content": "x", "y": 1 }]), "an unknown key `y`"),
            (
                json!([{ "role": "user", "content": [{ "type": "input_image" }] }]),
                "a part of type `input_image`",
            ),
            (
                json!([{ "type": "function_call_output", "call_id": "z", "output": "x" }]),
                "`z`, which no earlier message makes",
            ),
        ] {
            let message = read(input).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
    }
}
