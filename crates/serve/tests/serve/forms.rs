//! `response_format`: answers with a form.

use fidelio_backend::{FakeLimits, FakeSession};
use fidelio_generate::sample::uniform;
use serde_json::{Value, json};

use crate::{
    place::Place,
    speaker::{END, SIZES, tokenizer},
};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

/// A model that babbles, with a liking for what ends texts.
fn babbler() -> Place {
    let tokenizer = tokenizer();
    let vocabulary = SIZES.vocabulary;
    let ends = |token: String| token.contains(['"', '}', ']']);
    let closing: Vec<bool> =
        (0..vocabulary as u32).map(|id| tokenizer.id_to_token(id).is_some_and(ends)).collect();
    Place::on(FakeSession::scripted(FakeLimits { context: 2048, ..SIZES }, move |path| {
        let last = path.iter().rev().take(3).fold(7_u64, |h, &id| h * 1_000_003 + u64::from(id));
        let noise = |id: usize| uniform(last ^ (path.len() as u64) << 40, id as u64) as f32 * 4.0;
        (0..vocabulary).map(|id| noise(id) + if closing[id] { 3.0 } else { 0.0 }).collect()
    }))
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"kind": {"enum": ["invoice", "offer"]}, "amount": {"type": "integer",
            "minimum": 0, "maximum": 999}, "note": {"type": "string", "maxLength": 12}},
        "required": ["kind", "amount", "note"],
        "additionalProperties": false,
    })
}

fn format(schema: Value, strict: bool) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "facts", "schema": schema,
        "strict": strict}})
}

fn chat(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "temperature": 1.0});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn check(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(["invoice", "offer"].contains(&value["kind"].as_str().unwrap()), "{text}");
    assert!(value["amount"].as_u64().unwrap() < 1000, "{text}");
    assert!(value["note"].as_str().unwrap().chars().count() <= 12, "{text}");
    assert_eq!(value.as_object().unwrap().len(), 3, "{text}");
}

#[test]
fn every_choice_has_the_form_that_was_asked_for() {
    let place = babbler();
    for strict in [false, true] {
        let body = chat(json!({"n": 8, "seed": 3, "response_format": format(schema(), strict)}));
        let reply = place.post(CHAT, &body).json(200);
        for choice in reply["choices"].as_array().unwrap() {
            assert_eq!(choice["finish_reason"], "stop");
            check(choice["message"]["content"].as_str().unwrap());
        }
    }
    let body = json!({"prompt": "Facts: ", "max_tokens": 200, "temperature": 1.0, "seed": 5,
        "response_format": format(schema(), true)});
    let reply = place.post(TEXT, &body).json(200);
    check(reply["choices"][0]["text"].as_str().unwrap());
}

#[test]
fn any_object_is_one_and_a_stream_adds_up_to_it() {
    let place = babbler();
    let object = json!({"type": "json_object"});
    let body = chat(json!({"seed": 2, "response_format": object}));
    let reply = place.post(CHAT, &body).json(200);
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    if reply["choices"][0]["finish_reason"] == "stop" {
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text}");
    }
    assert!(text.starts_with('{'), "{text}");
    let body = chat(json!({"seed": 2, "stream": true, "response_format": object}));
    let events = place.post(CHAT, &body).chunks();
    let deltas: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(deltas, text);
}

#[test]
fn log_probabilities_come_for_every_token() {
    let body =
        chat(json!({"seed": 1, "logprobs": true, "response_format": format(schema(), true)}));
    let reply = babbler().post(CHAT, &body).json(200);
    let choice = &reply["choices"][0];
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    let bytes = tokens.iter().flat_map(|token| token["bytes"].as_array().unwrap());
    let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().unwrap() as u8).collect();
    let text = choice["message"]["content"].as_str().unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

#[test]
fn forms_that_cannot_be_held_to_are_refused_with_the_place() {
    let place = babbler();
    let refused = |format: Value| {
        let body = chat(json!({"response_format": format}));
        let error = place.post(CHAT, &body).json(400)["error"].clone();
        assert_eq!(error["param"], "response_format");
        error["message"].as_str().unwrap().to_owned()
    };
    let nested = json!({"type": "object", "properties": {"tags": {"type": "array",
        "uniqueItems": true}}});
    let said = refused(format(nested, false));
    assert!(said.contains("`uniqueItems` at `#/properties/tags`"), "{said}");
    let open = json!({"type": "object", "properties": {"a": {"type": "null"}}});
    let said = refused(format(open.clone(), true));
    assert!(said.contains("`additionalProperties` at `#`"), "{said}");
    place
        .post(CHAT, &chat(json!({"max_tokens": 4, "response_format": format(open, false)})))
        .json(200);
    let said = refused(json!({"type": "yaml"}));
    assert!(said.contains("`text`, `json_object` or `json_schema`"), "{said}");
    let said = refused(json!({"type": "json_schema"}));
    assert!(said.contains("an object `json_schema`"), "{said}");
}

#[test]
fn the_form_of_a_run_holds_unless_the_request_has_its_own() {
    use fidelio_generate::Grammar;
    let place = Place::held_to(FakeSession::new(SIZES), Grammar::regex("(?:ham|spam)!").unwrap());
    let text = |more: Value| {
        let reply = place.post(CHAT, &chat(more)).json(200);
        reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    assert!(["ham!", "spam!"].contains(&text(json!({})).as_str()));
    let own = format(json!({"const": [1]}), false);
    assert_eq!(text(json!({"response_format": own})), "[1]");
    let free = text(json!({"response_format": {"type": "text"}, "max_tokens": 9, "seed": 4}));
    assert!(!["ham!", "spam!"].contains(&free.as_str()), "{free}");
    // Token 3 ends answers: it may where the form may.
    assert_eq!(END, 3);
}
