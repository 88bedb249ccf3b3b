//! Calls of tools in chats.

use fidelio_backend::{FakeLimits, FakeSession};
use fidelio_generate::Decoding;
use fidelio_prompting::{ChatTemplate, ChatUse, Clock, Renderer, Rules, Source, SpecialTokens};
use fidelio_serve::{InferenceLimits, ServeOptions, Served, Voice};
use serde_json::{Value, json};

use crate::{
    place::{NAME, Place, plain_renderer, vocabulary},
    speaker::{END, SIZES, ids, speaker_of},
};

const CHAT: &str = "/v1/chat/completions";
/// As Hermes and Qwen have it, shortened.
const TEMPLATE: &str = "{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>\
    Call as <tool_call>{\"name\": ...}</tool_call>.\n{% endif %}\
    {% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\
    {% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}\
    <|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const CALL: &str =
    "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";

fn renderer() -> Renderer {
    let vocabulary = vocabulary();
    let template = ChatTemplate::new(TEMPLATE, vocabulary.special_texts(), Clock::Local).unwrap();
    let source = Source::Messages { column: "messages".to_owned(), output: None };
    let special_tokens_in_data = SpecialTokens::Escape;
    let rules = Rules { chat: ChatUse::Always, special_tokens_in_data, ..Rules::default() };
    Renderer::new(source, rules, vocabulary, Some(template)).unwrap()
}

fn place(session: FakeSession) -> Place {
    let decoding = Decoding { eos_token_id: vec![END], ..Decoding::default() };
    let voice = Voice::new(NAME, None, Some(renderer()));
    let served = Served::new(voice, plain_renderer(), decoding);
    Place::start(session, InferenceLimits::default(), ServeOptions::default(), served)
}

/// Calls a tool when it is asked, and says what the tool said.
fn caller() -> Place {
    let sizes = FakeLimits { context: 1024, ..SIZES };
    place(speaker_of(
        sizes,
        &[
            ("Rain?<|im_end|>\n<|im_start|>assistant\n", &format!("Let me see.\n{CALL}")),
            ("wet<|im_end|>\n<|im_start|>assistant\n", "It rains."),
        ],
    ))
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "weather", "description": "The weather.",
        "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }])
}

fn rain() -> Value {
    json!({ "messages": [{"role": "user", "content": "Rain?"}], "tools": tools() })
}

#[test]
fn a_call_is_read_back_and_its_answer_goes_on() {
    let place = caller();
    let mut body = rain();
    let reply = place.post(CHAT, &body).json(200);
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "Let me see.");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({ "name": "weather", "arguments": "{\"city\":\"Oslo\"}" }));
    assert_eq!((call["type"].as_str(), call["id"].as_str().unwrap().len()), (Some("function"), 9));

    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(choice["message"].clone());
    messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "wet" }));
    let reply = place.post(CHAT, &body).json(200);
    assert_eq!(
        reply["choices"][0]["message"],
        json!({ "role": "assistant", "content": "It rains.",
        "refusal": null })
    );
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_stream_has_the_same_calls() {
    let mut body = rain();
    body["stream"] = json!(true);
    let chunks = caller().post(CHAT, &body).chunks();
    let deltas: Vec<&Value> = chunks.iter().map(|it| &it["choices"][0]["delta"]).collect();
    let text: String = deltas.iter().filter_map(|it| it["content"].as_str()).collect();
    assert_eq!(text, "Let me see.");
    let calls: Vec<&Value> = deltas.iter().filter_map(|it| it.get("tool_calls")).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0][0]["index"], 0);
    assert_eq!(calls[0][0]["function"]["name"], "weather");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn without_tools_a_call_is_text() {
    let place = caller();
    let mut body = rain();
    body["tool_choice"] = json!("none");
    for body in [body, json!({ "messages": rain()["messages"] })] {
        let reply = place.post(CHAT, &body).json(200);
        let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(content, format!("Let me see.\n{CALL}"));
    }
}

#[test]
fn the_model_reads_the_tools_and_the_calls() {
    let place = caller();
    let mut body = rain();
    body["return_token_ids"] = json!(true);
    let reply = place.post(CHAT, &body).json(200);
    let text = place.post("/detokenize", &json!({ "tokens": reply["prompt_token_ids"] })).json(200);
    let text = text["prompt"].as_str().unwrap().to_owned();
    assert!(text.contains("\"description\": \"The weather.\""), "{text}");
    assert_eq!(reply["prompt_token_ids"], json!(ids(&text)));
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let place = caller();
    let with = |key: &str, value: Value| {
        let mut body = rain();
        body[key] = value;
        place.post(CHAT, &body).error(400).0
    };
    for (tool, said) in [
        (json!({ "type": "web_search" }), "`tools[0]` must have `type: function`"),
        (json!({ "type": "function" }), "`tools[0]` must have an object `function`"),
        (json!({ "type": "function", "function": { "name": "a b" } }), "must have a `name`"),
        (json!({ "type": "function", "function": { "name": "a", "strict": true } }), "is `strict`"),
        (json!({ "type": "function", "function": { "name": "a", "x": 1 } }), "unknown key `x`"),
        (
            json!({ "type": "function", "function": { "name": "a", "parameters": [] } }),
            "`parameters`",
        ),
        // No template is told to write control tokens by a description.
        (
            json!({ "type": "function", "function": { "name": "a", "description": "<|im_end|>" } }),
            "`<|im_end|>` in field `messages` cannot be escaped",
        ),
    ] {
        let message = with("tools", json!([tool]));
        assert!(message.contains(said), "{message}");
    }
    let twice = json!([tools()[0], tools()[0]]);
    assert!(with("tools", twice).contains("`tools[1]` has the name of an earlier one"));
    assert!(with("tool_choice", json!("required")).contains("a call cannot be forced yet"));
    assert!(with("parallel_tool_calls", json!(false)).contains("cannot be false"));
    let form = json!({ "type": "json_object" });
    assert!(with("response_format", form).contains("exclude each other"));
}

/// ChatML as most small models have it: it would drop tools without a word.
#[test]
fn a_template_that_drops_tools_is_refused() {
    let place = Place::on(FakeSession::new(SIZES));
    let (message, ..) = place.post(CHAT, &rain()).error(400);
    assert!(message.contains("writes no tools and no calls of them"), "{message}");
    let called = json!({ "messages": [
        { "role": "user", "content": "Rain?" },
        { "role": "assistant", "content": null, "tool_calls": [{ "id": "a", "type": "function",
            "function": { "name": "weather", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "a", "content": "wet" },
    ] });
    let (message, ..) = place.post(CHAT, &called).error(400);
    assert!(message.contains("writes no tools and no calls of them"), "{message}");
}
