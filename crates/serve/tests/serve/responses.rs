//! `/v1/responses`.

use serde_json::{Value, json};

use crate::{
    place::{NAME, Place},
    speaker::{ids, speaker},
};

const RESPONSES: &str = "/v1/responses";

fn greeter() -> Place {
    Place::on(speaker(&[
        ("Hi<|im_end|>\n<|im_start|>assistant\n", "Hello, you"),
        ("Be terse.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n", "So."),
    ]))
}

#[test]
fn a_text_is_answered_in_openais_shape() {
    let reply = greeter().post(RESPONSES, &json!({ "model": NAME, "input": "Hi" })).json(200);
    assert_eq!((&reply["object"], &reply["status"]), (&json!("response"), &json!("completed")));
    assert!(reply["id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!(reply["output"].as_array().unwrap().len(), 1);
    let item = &reply["output"][0];
    assert_eq!((&item["type"], &item["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(
        item["content"],
        json!([{ "type": "output_text", "text": "Hello, you",
        "annotations": [], "logprobs": [] }])
    );
    assert_eq!(reply["usage"]["output_tokens"], ids("Hello, you").len() + 1);
    assert_eq!((&reply["store"], &reply["incomplete_details"]), (&json!(false), &Value::Null));
}

#[test]
fn a_conversation_and_instructions_are_what_a_chat_reads() {
    let place = greeter();
    let body =
        json!({ "instructions": "Be terse.", "input": [{ "role": "user", "content": "Why?" }] });
    let reply = place.post(RESPONSES, &body).json(200);
    assert_eq!(reply["output"][0]["content"][0]["text"], "So.");
    let chat = json!({ "messages": [{ "role": "system", "content": "Be terse." },
        { "role": "user", "content": "Why?" }] });
    let chat = place.post("/v1/chat/completions", &chat).json(200);
    assert_eq!(reply["usage"]["input_tokens"], chat["usage"]["prompt_tokens"]);
}

#[test]
fn events_add_up_to_the_whole_response() {
    let place = greeter();
    let whole = place.post(RESPONSES, &json!({ "input": "Hi" })).json(200);
    let reply = place.post(RESPONSES, &json!({ "input": "Hi", "stream": true }));
    assert_eq!(reply.status, 200);
    let mut events: Vec<Value> = Vec::new();
    for event in reply.body.split("\n\n").filter(|event| !event.is_empty()) {
        let (kind, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(kind, format!("event: {}", data["type"].as_str().unwrap()));
        assert_eq!(data["sequence_number"], events.len());
        events.push(data);
    }
    let kinds: Vec<&str> = events.iter().map(|it| it["type"].as_str().unwrap()).collect();
    let deltas = kinds.iter().filter(|it| **it == "response.output_text.delta").count();
    assert!(deltas > 2, "{kinds:?}");
    let mut expected = vec![
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ];
    expected.extend(vec!["response.output_text.delta"; deltas]);
    expected.extend([
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]);
    assert_eq!(kinds, expected);
    let text: String = events.iter().filter_map(|it| it["delta"].as_str()).collect();
    assert_eq!(text, "Hello, you");
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][0]["content"], whole["output"][0]["content"]);
    assert_eq!(last["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
}

#[test]
fn a_response_that_is_cut_is_incomplete() {
    let body = json!({ "input": "Hi", "max_output_tokens": 1 });
    let reply = greeter().post(RESPONSES, &body).json(200);
    assert_eq!(reply["status"], "incomplete");
    assert_eq!(reply["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    assert_eq!(reply["output"][0]["status"], "incomplete");
}

#[test]
fn a_form_stands_in_the_text() {
    let format = json!({ "type": "json_schema", "name": "a", "strict": true, "schema": { "type": "object",
        "properties": { "a": { "type": "boolean" } }, "required": ["a"],
        "additionalProperties": false } });
    let body = json!({ "input": "Hi", "text": { "format": format } });
    let reply = greeter().post(RESPONSES, &body).json(200);
    let text = reply["output"][0]["content"][0]["text"].as_str().unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    assert!(value["a"].is_boolean(), "{text}");
    assert_eq!(reply["text"]["format"], format);
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let place = greeter();
    for (key, value, said) in [
        ("input", json!(5), "`input` must be a text"),
        ("previous_response_id", json!("resp_1"), "nothing is stored: send the whole"),
        ("store", json!(true), "`store` is not supported: nothing is stored"),
        ("background", json!(true), "`background` cannot be true"),
        ("truncation", json!("auto"), "`truncation` must be `disabled`"),
        ("include", json!(["x"]), "`include` must be empty"),
        ("reasoning", json!({ "effort": "low" }), "how long a model thinks"),
        ("max_tokens", json!(3), "`max_tokens` is no field of responses"),
        ("n", json!(2), "`n` is no field of responses"),
        ("text", json!({ "verbosity": "low" }), "`text` has `verbosity`"),
        ("text", json!({ "format": { "type": "x" } }), "must have a `type`"),
        ("tools", json!([{ "type": "web_search" }]), "there are no other tools"),
        ("max_output_tokens", json!(100_000), "the model has room for 256 tokens"),
    ] {
        let mut body = json!({ "input": "Hi" });
        body[key] = value;
        let (message, ..) = place.post(RESPONSES, &body).error(400);
        assert!(message.contains(said), "{key}: {message}");
    }
    for (key, value) in [
        ("store", json!(false)),
        ("truncation", json!("disabled")),
        ("background", json!(false)),
        ("include", json!([])),
        ("parallel_tool_calls", json!(true)),
    ] {
        let mut body = json!({ "input": "Hi" });
        body[key] = value;
        place.post(RESPONSES, &body).json(200);
    }
}
