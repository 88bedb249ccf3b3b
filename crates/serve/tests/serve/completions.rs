//! `/v1/completions`, `/tokenize` and `/v1/models`.

use fidelio_backend::{FakeSession, Logits, RowStep, RowTo, Session as _, Shape, Wanted};
use serde_json::{Value, json};

use crate::{
    place::Place,
    speaker::{END, SIZES, ids, speaker},
};

const COMPLETIONS: &str = "/v1/completions";

fn logprobs(reply: &Value, column: &str) -> Vec<Value> {
    reply["choices"][0]["logprobs"][column].as_array().unwrap().clone()
}

#[test]
fn a_text_is_continued_as_it_is() {
    let place = Place::on(speaker(&[("1, 2, 3,", " 4, 5")]));
    let reply = place.post(COMPLETIONS, &json!({ "prompt": "1, 2, 3," })).json(200);
    assert_eq!(reply["object"], "text_completion");
    assert!(reply["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(
        reply["choices"],
        json!([{ "index": 0, "text": " 4, 5", "logprobs": null, "finish_reason": "stop" }])
    );
    assert_eq!(reply["usage"]["prompt_tokens"], ids("1, 2, 3,").len());
    let same = place.post(COMPLETIONS, &json!({ "prompt": ids("1, 2, 3,") })).json(200);
    assert_eq!(same["choices"], reply["choices"]);
}

#[test]
fn without_a_limit_sixteen_tokens_come() {
    let place = Place::on(speaker(&[]));
    let reply = place.post(COMPLETIONS, &json!({ "prompt": "x" })).json(200);
    assert_eq!(reply["usage"]["completion_tokens"], 16);
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
}

#[test]
fn several_prompts_have_choices_in_their_order() {
    let place = Place::on(speaker(&[("one", " 1"), ("two", " 2")]));
    let body = json!({ "prompt": ["two", "one"], "n": 2 });
    let reply = place.post(COMPLETIONS, &body).json(200);
    let choices = reply["choices"].as_array().unwrap();
    let texts: Vec<&str> = choices.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, [" 2", " 2", " 1", " 1"]);
    let indices: Vec<u64> = choices.iter().map(|it| it["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    let both = json!({ "prompt": [ids("two"), ids("one")] });
    let reply = place.post(COMPLETIONS, &both).json(200);
    assert_eq!(reply["choices"][1]["text"], " 1");
}

#[test]
fn a_prompt_is_scored_as_evaluation_harnesses_ask() {
    let prompt = ids("The answer is yes");
    let place = Place::on(FakeSession::new(SIZES));
    let body = json!({ "prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 1,
        "echo": true, "seed": 1234 });
    let reply = place.post(COMPLETIONS, &body).json(200);
    let text = reply["choices"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("The answer is yes"), "{text}");
    let tokens = logprobs(&reply, "tokens");
    assert_eq!(tokens.len(), prompt.len() + 1, "the prompt, and the token that was generated");
    let scored = logprobs(&reply, "token_logprobs");
    let top = logprobs(&reply, "top_logprobs");
    assert_eq!((&scored[0], &top[0]), (&Value::Null, &Value::Null), "nothing stands before it");
    let offsets: Vec<usize> =
        logprobs(&reply, "text_offset").iter().map(|at| at.as_u64().unwrap() as usize).collect();
    for (i, token) in tokens[..prompt.len()].iter().enumerate() {
        assert!(text[offsets[i]..].starts_with(token.as_str().unwrap()), "token {i}");
    }

    let mut alone = FakeSession::new(SIZES);
    let wanted = Wanted::All(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: &prompt, adapter: None, wanted };
    for (i, logits) in alone.extend(&[step]).unwrap()[0].logits.iter().enumerate() {
        let Logits::Full(logits) = logits else { panic!("full logits were asked for") };
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let best = logits.iter().copied().fold(f32::MIN, f32::max);
        let best = f64::from(best) - sum.ln();
        let likeliest = top[i + 1].as_object().unwrap().values();
        let likeliest = likeliest.map(|it| it.as_f64().unwrap()).fold(f64::MIN, f64::max);
        assert!((likeliest - best).abs() < 1e-5, "place {i}");
        if let Some(&next) = prompt.get(i + 1) {
            let logprob = f64::from(logits[next as usize]) - sum.ln();
            assert!((scored[i + 1].as_f64().unwrap() - logprob).abs() < 1e-5, "place {i}");
        } else {
            assert_eq!(scored[i + 1].as_f64(), Some(likeliest), "greedy takes the likeliest");
        }
    }
}

#[test]
fn a_prompt_alone_comes_back_whole_or_as_a_stream() {
    let place = Place::on(FakeSession::new(SIZES));
    let body = json!({ "prompt": "naïve", "max_tokens": 0, "echo": true, "logprobs": 0 });
    let reply = place.post(COMPLETIONS, &body).json(200);
    assert_eq!(reply["choices"][0]["text"], "naïve");
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(logprobs(&reply, "tokens").len(), ids("naïve").len());
    assert_eq!(reply["usage"]["completion_tokens"], 0);
    let mut body = body;
    body["stream"] = json!(true);
    let chunks = place.post(COMPLETIONS, &body).chunks();
    assert_eq!(chunks[0]["choices"][0]["text"], "naïve");
    assert_eq!(chunks[0]["choices"][0]["logprobs"], reply["choices"][0]["logprobs"]);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_stream_has_the_columns_of_the_whole() {
    let place = Place::on(FakeSession::new(SIZES));
    let body = json!({ "prompt": "x", "max_tokens": 12, "echo": true, "logprobs": 2 });
    let whole = place.post(COMPLETIONS, &body).json(200);
    let mut body = body;
    body["stream"] = json!(true);
    let chunks = place.post(COMPLETIONS, &body).chunks();
    for column in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let streamed: Vec<Value> = chunks
            .iter()
            .filter(|it| !it["choices"][0]["logprobs"].is_null())
            .flat_map(|it| logprobs(it, column))
            .collect();
        assert_eq!(streamed, logprobs(&whole, column), "{column}");
    }
    let text: String = chunks.iter().map(|it| it["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(whole["choices"][0]["text"], text);
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let place = Place::on(FakeSession::new(SIZES));
    for (body, param, said) in [
        (json!({}), "prompt", "must be a text"),
        (json!({ "prompt": [] }), "prompt", "must be a text"),
        (json!({ "prompt": [[]] }), "prompt", "must be a text"),
        (json!({ "prompt": [1.5] }), "prompt", "must be a text"),
        (json!({ "prompt": ["a", 5] }), "prompt", "must be a text"),
        (json!({ "prompt": vec!["x"; 200] }), "prompt", "needs 200 places with `n`"),
        (json!({ "prompt": [5, 422] }), "prompt", "422, outside the vocabulary of 422"),
        (json!({ "prompt": "x", "max_tokens": 0 }), "max_tokens", "only with `echo: true`"),
        (json!({ "prompt": "x", "best_of": 3 }), "best_of", "not supported"),
        (json!({ "prompt": "x", "suffix": "y" }), "suffix", "not supported"),
        (json!({ "prompt": "x", "logprobs": true }), "logprobs", "a whole number"),
        (json!({ "prompt": "x", "messages": [] }), "messages", "unknown"),
    ] {
        let (message, _, blamed) = place.post(COMPLETIONS, &body).error(400);
        assert!(message.contains(said), "{message}");
        assert_eq!(blamed.as_deref(), Some(param), "{message}");
    }
    let (message, code, _) = place.post(COMPLETIONS, &json!({ "prompt": "" })).error(400);
    assert_eq!(code, "invalid_prompt", "{message}");
}

#[test]
fn tokens_are_those_that_are_fed() {
    let place = Place::on(FakeSession::new(SIZES));
    let body = json!({ "prompt": "naïve", "return_token_strs": true });
    let reply = place.post("/tokenize", &body).json(200);
    assert_eq!(reply["tokens"], json!(ids("naïve")));
    assert_eq!(reply["count"], ids("naïve").len());
    assert_eq!(reply["max_model_len"], 256);
    assert_eq!(reply["token_strs"].as_array().unwrap().len(), ids("naïve").len());
    for body in [json!({}), json!({ "prompt": "x", "messages": [] })] {
        let (message, ..) = place.post("/tokenize", &body).error(400);
        assert!(message.contains("`prompt` or `messages` must be there"), "{message}");
    }
}

#[test]
fn a_client_may_cut_and_join_tokens_itself() {
    let place = Place::on(FakeSession::new(SIZES));
    let body = json!({ "prompt": "naïve", "add_special_tokens": false });
    let tokens = place.post("/tokenize", &body).json(200)["tokens"].clone();
    assert_eq!(tokens, json!(ids("naïve")));
    let text = place.post("/detokenize", &json!({ "tokens": tokens })).json(200);
    assert_eq!(text["prompt"], "naïve");
    let end = json!({ "tokens": [3] });
    assert_eq!(place.post("/detokenize", &end).json(200)["prompt"], "<|im_end|>");
    for wrong in [json!({}), json!({ "tokens": "x" }), json!({ "tokens": [422] })] {
        let (message, _, param) = place.post("/detokenize", &wrong).error(400);
        assert!(message.contains("a list of ids below 422"), "{message}");
        assert_eq!(param.as_deref(), Some("tokens"));
    }
    let empty = json!({ "prompt": "", "add_special_tokens": false });
    assert_eq!(place.post("/tokenize", &empty).json(200)["tokens"], json!([]));
    let chat =
        json!({ "add_special_tokens": true, "messages": [{"role": "user", "content": "x"}] });
    assert_eq!(place.post("/tokenize", &chat).error(400).2.as_deref(), Some("add_special_tokens"));
    let info = place.get("/tokenizer_info").json(200);
    assert_eq!((&info["bos_token"], &info["eos_token"]), (&json!("<s>"), &json!("<|im_end|>")));
    assert!(info["chat_template"].as_str().unwrap().contains("add_generation_prompt"));
}

#[test]
fn the_model_is_listed_and_found_by_its_name() {
    let place = Place::on(FakeSession::new(SIZES));
    let list = place.get("/v1/models").json(200);
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "tiny/model");
    assert_eq!(list["data"][0]["max_model_len"], 256);
    assert_eq!(place.get("/v1/models/tiny/model").json(200), list["data"][0]);
    assert_eq!(place.get("/v1/models/tiny%2Fmodel").json(200), list["data"][0]);
    assert_eq!(place.get("/v1/models/other").error(404).1, "model_not_found");
}

#[test]
fn ids_of_every_prompt_are_told_where_they_are_wanted() {
    let place = Place::on(speaker(&[("one", " 1"), ("two", " 2")]));
    let body = json!({ "prompt": ["two", "one"], "return_token_ids": true, "logprobs": 1,
        "return_tokens_as_token_ids": true });
    let reply = place.post(COMPLETIONS, &body).json(200);
    for (choice, prompt, text) in [(0, "two", " 2"), (1, "one", " 1")] {
        let choice = &reply["choices"][choice];
        assert_eq!(choice["prompt_token_ids"], json!(ids(prompt)));
        let mut answer = ids(text);
        answer.push(END);
        assert_eq!(choice["token_ids"], json!(answer));
        let first = format!("token_id:{}", answer[0]);
        assert_eq!(choice["logprobs"]["tokens"][0], first);
        assert!(choice["logprobs"]["top_logprobs"][0].get(&first).is_some(), "{choice}");
    }
    let mut stream = body.clone();
    stream["stream"] = json!(true);
    let chunks = place.post(COMPLETIONS, &stream).chunks();
    let prompts: Vec<&Value> = chunks
        .iter()
        .map(|it| &it["choices"][0]["prompt_token_ids"])
        .filter(|it| !it.is_null())
        .collect();
    assert_eq!(prompts, [&json!(ids("two")), &json!(ids("one"))]);
}
