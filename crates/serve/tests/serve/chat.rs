//! `/v1/chat/completions`, and what goes with it.

use std::sync::{Arc, Mutex};

use fidelio_backend::FakeSession;
use fidelio_prompting::{Conversation, Message, Purpose};
use serde_json::{Value, json};

use crate::{
    place::{Place, chat_renderer},
    speaker::{END, SIZES, ids, speaker, tokenizer},
};

const CHAT: &str = "/v1/chat/completions";

/// Says `Hello, you` after a user's `Hi`.
fn greeter() -> Place {
    Place::on(speaker(&[("Hi<|im_end|>\n<|im_start|>assistant\n", "Hello, you")]))
}

fn hi(more: Value) -> Value {
    let mut body =
        json!({ "model": "tiny/model", "messages": [{"role": "user", "content": "Hi"}] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_message_is_answered_in_openais_shape() {
    let reply = greeter().post(CHAT, &hi(json!({}))).json(200);
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "tiny/model");
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(reply["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(
        reply["choices"],
        json!([{
            "index": 0,
            "message": { "role": "assistant", "content": "Hello, you", "refusal": null },
            "logprobs": null,
            "finish_reason": "stop",
        }])
    );
    let prompt = reply["usage"]["prompt_tokens"].as_u64().unwrap();
    let answer = ids("Hello, you").len() as u64 + 1;
    assert_eq!(reply["usage"]["completion_tokens"], answer, "its end is counted");
    assert_eq!(reply["usage"]["total_tokens"], prompt + answer);
}

#[test]
fn the_model_sees_what_the_renderer_says() {
    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let place = Place::on(FakeSession::scripted(SIZES, move |path| {
        let mut seen = keep.lock().unwrap();
        if seen.is_empty() {
            *seen = path.to_vec();
        }
        vec![0.0; SIZES.vocabulary]
    }));
    let messages = json!([
        {"role": "system", "content": "Be terse. <|im_end|> is no end."},
        {"role": "user", "content": [{"type": "text", "text": "  naïve 世界 🙂\n"}]},
        {"role": "assistant", "content": "Yes.", "refusal": null},
        {"role": "user", "content": "Why?"},
    ]);
    place.post(CHAT, &json!({ "messages": messages, "max_tokens": 1 })).json(200);

    let talk = Conversation::new(vec![
        Message::new("system", "Be terse. <|im_end|> is no end."),
        Message::new("user", "  naïve 世界 🙂\n"),
        Message::new("assistant", "Yes."),
        Message::new("user", "Why?"),
    ]);
    let rendered = chat_renderer().render_conversation(&talk, Purpose::Answer).unwrap();
    let ids = rendered.kept().unwrap().ids;
    assert_eq!(*seen.lock().unwrap(), ids);
    let tokens = place.post("/tokenize", &json!({ "messages": messages })).json(200);
    assert_eq!(tokens["tokens"], json!(ids));
    // What a user writes is text, also where it spells the end of a turn.
    assert_eq!(ids.iter().filter(|&&id| id == 3).count(), 4);
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let place = greeter();
    let whole = place.post(CHAT, &hi(json!({}))).json(200);
    let more = json!({ "stream": true, "stream_options": {"include_usage": true} });
    let chunks = place.post(CHAT, &hi(more)).chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let text: String =
        chunks.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Hello, you");
    assert!(chunks.len() > 4, "it came in pieces: {chunks:?}");
    let [before, usage] = &chunks[chunks.len() - 2..] else { panic!("{chunks:?}") };
    assert_eq!(before["choices"][0]["finish_reason"], "stop");
    assert_eq!(before["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
    let id = &chunks[0]["id"];
    assert!(chunks.iter().all(|it| it["id"] == *id && it["object"] == "chat.completion.chunk"));

    let chunks = place.post(CHAT, &hi(json!({ "stream": true }))).chunks();
    assert!(chunks.iter().all(|it| it.get("usage").is_none()), "nobody asked for it");
}

#[test]
fn choices_differ_by_their_seeds_and_a_seed_says_it_again() {
    let place = Place::on(FakeSession::new(SIZES));
    let sampled = json!({ "n": 3, "seed": 7, "temperature": 1.5, "max_tokens": 12 });
    let texts = |seed: i64| {
        let mut body = hi(sampled.clone());
        body["seed"] = json!(seed);
        let reply = place.post(CHAT, &body).json(200);
        let choices = reply["choices"].as_array().unwrap();
        assert_eq!(reply["usage"]["completion_tokens"], 36, "{reply}");
        let text = |it: &Value| it["message"]["content"].as_str().unwrap().to_owned();
        choices.iter().map(text).collect::<Vec<_>>()
    };
    let seven = texts(7);
    assert!(seven[0] != seven[1] && seven[1] != seven[2], "{seven:?}");
    assert_eq!(texts(7), seven);
    assert_eq!(texts(8)[0], seven[1], "the second choice has the next seed");
    assert_eq!(texts(-1)[1..], texts(0)[..2], "seeds go round");
    // Without a seed, nobody knows.
    let mut body = hi(sampled);
    body["seed"] = Value::Null;
    let unknown = || place.post(CHAT, &body).json(200)["choices"].clone();
    assert_ne!(unknown(), unknown());
}

#[test]
fn a_stream_of_several_choices_is_each_of_them() {
    let place = Place::on(FakeSession::new(SIZES));
    let body = hi(json!({ "n": 3, "seed": 7, "temperature": 1.5, "max_tokens": 12 }));
    let whole = place.post(CHAT, &body).json(200);
    let mut streamed = vec![String::new(); 3];
    let mut body = body;
    body["stream"] = json!(true);
    for chunk in place.post(CHAT, &body).chunks() {
        let choice = &chunk["choices"][0];
        let at = choice["index"].as_u64().unwrap() as usize;
        streamed[at] += choice["delta"]["content"].as_str().unwrap_or_default();
    }
    for (i, text) in streamed.iter().enumerate() {
        assert_eq!(whole["choices"][i]["message"]["content"], **text);
    }
}

#[test]
fn without_a_temperature_the_likeliest_answer_comes() {
    let place = Place::on(FakeSession::new(SIZES));
    let text = |more: Value| {
        let reply = place.post(CHAT, &hi(more)).json(200);
        reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let greedy = text(json!({ "max_tokens": 8 }));
    assert_eq!(text(json!({ "max_tokens": 8, "temperature": 0, "seed": 3, "top_p": 0.5 })), greedy);
    assert_eq!(text(json!({ "max_tokens": 8, "temperature": 1, "top_k": 1 })), greedy);
    assert_eq!(text(json!({ "max_tokens": 8, "top_k": 1, "seed": 4 })), greedy);
    let drawn = text(json!({ "max_tokens": 8, "temperature": 2, "seed": 5 }));
    assert_ne!(drawn, greedy);
    assert_ne!(text(json!({ "max_tokens": 8, "top_p": 0.999, "seed": 5 })), greedy);
}

#[test]
fn stops_penalties_and_biases_change_what_is_said() {
    let place = greeter();
    let ask = |more: Value| place.post(CHAT, &hi(more)).json(200)["choices"][0].clone();
    let stopped = ask(json!({ "stop": [", y", "zzz"] }));
    assert_eq!(stopped["message"]["content"], "Hello");
    assert_eq!(stopped["finish_reason"], "stop");
    assert_eq!(ask(json!({ "stop": "l" }))["message"]["content"], "He");

    let first = ids("Hello, you")[0];
    let banned = ask(json!({ "logit_bias": { first.to_string(): -100 }, "max_tokens": 1 }));
    let text = banned["message"]["content"].as_str().unwrap();
    assert!(!text.starts_with('H'), "{text}");
    assert_eq!(banned["finish_reason"], "length");

    // Said once, a token that is worth 20 more than the others is worth less with 2 taken 20 times.
    let forever = Place::on(FakeSession::scripted(SIZES, |_| {
        (0..SIZES.vocabulary).map(|id| if id == 50 { 1.0 } else { -(id as f32) / 1e3 }).collect()
    }));
    let ids = |more: Value| {
        let reply = forever.post(CHAT, &hi(more)).json(200);
        reply["choices"][0]["logprobs"]["content"].as_array().unwrap().clone()
    };
    let plain = ids(json!({ "max_tokens": 4, "logprobs": true }));
    assert!(plain.iter().all(|it| it["token"] == plain[0]["token"]));
    for penalty in ["presence_penalty", "frequency_penalty"] {
        let varied = ids(json!({ "max_tokens": 4, "logprobs": true, penalty: 2.0 }));
        assert_ne!(varied[1]["token"], varied[0]["token"], "{penalty}");
    }
}

#[test]
fn log_probabilities_come_with_their_bytes() {
    let body = json!({ "logprobs": true, "top_logprobs": 2 });
    let reply = greeter().post(CHAT, &hi(body)).json(200);
    let content = reply["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), ids("Hello, you").len() + 1, "its end is one of them");
    let text: String = content.iter().map(|it| it["token"].as_str().unwrap()).collect();
    assert_eq!(text, "Hello, you<|im_end|>");
    for token in content {
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
        assert_eq!(token["top_logprobs"][0]["token"], token["token"], "greedy takes the likeliest");
        assert!(token["logprob"].as_f64().unwrap() > -0.1);
        let bytes: Vec<u8> = serde_json::from_value(token["bytes"].clone()).unwrap();
        assert_eq!(bytes, token["token"].as_str().unwrap().as_bytes());
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let place = greeter();
    for (more, param, said) in [
        (json!({ "tempreature": 1 }), "tempreature", "did you mean `temperature`?"),
        (json!({ "temperature": 3 }), "temperature", "between 0 and 2"),
        (json!({ "top_p": "x" }), "top_p", "between 0 and 1"),
        (json!({ "n": 0 }), "n", "between 1 and 128"),
        (json!({ "seed": 1.5 }), "seed", "a whole number"),
        (json!({ "max_tokens": 0 }), "max_tokens", "at least 1"),
        (json!({ "max_tokens": 3, "max_completion_tokens": 4 }), "max_tokens", "is 3, and"),
        (json!({ "stop": [""] }), "stop", "none of them empty"),
        (json!({ "stop": 5 }), "stop", "must be a text"),
        (json!({ "logit_bias": { "5000": 1 } }), "logit_bias", "`5000`, not an id below 422"),
        (json!({ "logit_bias": { "5": 101 } }), "logit_bias", "between -100 and 100"),
        (json!({ "top_logprobs": 2 }), "top_logprobs", "only with `logprobs: true`"),
        (json!({ "logprobs": true, "top_logprobs": 21 }), "top_logprobs", "between 0 and 20"),
        (json!({ "stream_options": {} }), "stream_options", "only with `stream: true`"),
        (
            json!({ "stream": true, "stream_options": { "include": true } }),
            "stream_options",
            "unknown key `include`",
        ),
        (json!({ "min_tokens": 9, "max_tokens": 4 }), "min_tokens", "above `max_tokens` 4"),
        (json!({ "timeout": 9000 }), "timeout", "between 0.001 and 600"),
        (json!({ "tools": [{}] }), "tools[0]", "must have `type: function`"),
        (json!({ "messages": [] }), "messages", "at least one message"),
        (json!({ "messages": "Hi" }), "messages", "at least one message"),
        (json!({ "messages": [{"role": "tool"}] }), "messages[0]", "must have a `tool_call_id`"),
        (json!({ "prompt": "Hi" }), "prompt", "unknown"),
    ] {
        let (message, _, blamed) = place.post(CHAT, &hi(more)).error(400);
        assert!(message.contains(said), "{message}");
        assert_eq!(blamed.as_deref(), Some(param), "{message}");
    }
    let (message, code, param) = place.post(CHAT, &hi(json!({ "model": "gpt" }))).error(404);
    assert_eq!((code.as_str(), param.as_deref()), ("model_not_found", Some("model")));
    assert_eq!(message, "there is no model `gpt`; this server has `tiny/model`");
}

#[test]
fn what_tells_of_the_caller_is_accepted_and_does_nothing() {
    let place = greeter();
    let more = json!({ "user": "u-1", "metadata": {"a": "b"}, "store": false,
        "response_format": {"type": "text"}, "safety_identifier": "x", "prompt_cache_key": "y" });
    let reply = place.post(CHAT, &hi(more)).json(200);
    assert_eq!(reply["choices"][0]["message"]["content"], "Hello, you");
}

#[test]
fn a_prompt_that_is_too_long_is_refused_with_its_numbers() {
    let place = greeter();
    let long = "word ".repeat(300);
    let body = json!({ "messages": [{"role": "user", "content": long}] });
    let count = place.post("/tokenize", &body).json(200)["count"].as_u64().unwrap();
    assert!(count > 256);
    let (message, code, _) = place.post(CHAT, &body).error(400);
    assert_eq!(code, "context_length_exceeded");
    assert!(message.contains("room for 256 tokens"), "{message}");
    assert!(message.contains(&format!("{count} in the prompt")), "{message}");

    let (message, ..) = place.post(CHAT, &hi(json!({ "max_tokens": 250 }))).error(400);
    assert!(message.contains("and 250 for the answer; shorten the prompt or lower"), "{message}");
}

#[test]
fn an_answer_without_a_limit_ends_where_the_room_ends() {
    let other = Place::on(speaker(&[]));
    let reply = other.post(CHAT, &hi(json!({}))).json(200);
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(reply["usage"]["total_tokens"], 256);
}

#[test]
fn many_clients_at_once_get_each_their_own() {
    let place = Place::on(FakeSession::new(SIZES));
    let body = |i: usize| {
        json!({ "messages": [{"role": "user", "content": format!("Number {i}")}],
            "max_tokens": 20, "temperature": 1, "seed": i })
    };
    let ask = |i: usize| {
        let reply = place.post(CHAT, &body(i)).json(200);
        reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let alone: Vec<String> = (0..24).map(ask).collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..24).map(|i| scope.spawn(move || ask(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
    assert_eq!(tokenizer().get_vocab_size(true), SIZES.vocabulary);
}

/// Two tokens may have one text; their numbers say which one it was.
#[test]
fn ids_of_prompt_and_answer_are_told_where_they_are_wanted() {
    let place = greeter();
    let more = json!({ "return_token_ids": true, "logprobs": true, "top_logprobs": 2,
        "return_tokens_as_token_ids": true });
    let reply = place.post(CHAT, &hi(more.clone())).json(200);
    let talk = json!({ "messages": hi(json!({}))["messages"] });
    let prompt = place.post("/tokenize", &talk).json(200)["tokens"].clone();
    assert_eq!(reply["prompt_token_ids"], prompt);
    let mut answer = ids("Hello, you");
    answer.push(END);
    let choice = &reply["choices"][0];
    assert_eq!(choice["token_ids"], json!(answer));
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), answer.len());
    for (token, id) in content.iter().zip(&answer) {
        assert_eq!(token["token"], format!("token_id:{id}"));
        assert_eq!(token["top_logprobs"][0]["token"], token["token"]);
    }

    let mut stream = hi(more);
    stream["stream"] = json!(true);
    let chunks = place.post(CHAT, &stream).chunks();
    assert_eq!(chunks[0]["prompt_token_ids"], prompt);
    assert!(chunks[1..].iter().all(|it| it.get("prompt_token_ids").is_none()));
    let pieces = chunks.iter().filter_map(|it| it["choices"][0]["token_ids"].as_array());
    assert_eq!(pieces.flatten().cloned().collect::<Value>(), json!(answer));

    let reply = place.post(CHAT, &hi(json!({}))).json(200);
    assert!(
        reply.get("prompt_token_ids").is_none() && reply["choices"][0].get("token_ids").is_none()
    );
}
