//! Several voices over one model, and what is published while it answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fidelio_backend::{AdapterSpec, BackendError, FakeSession, Session, TensorView, Weights};
use fidelio_serve::{
    AdapterError, FindAdapter, FoundAdapter, InferenceLimits, ServeOptions, Served,
};
use serde_json::{Value, json};

use crate::{
    choir::{Choir, Has},
    place::{NAME, Place, chat_renderer, served, voice},
    speaker::{Gate, Gated, ids, speaker},
};

const CHAT: &str = "/v1/chat/completions";
const ADAPTERS: &str = "/v1/adapters";
const HI: &str = "Hi<|im_end|>\n<|im_start|>assistant\n";
/// A long answer that says whose it is.
const LONG: &str = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12";

fn base() -> FakeSession {
    speaker(&[(HI, "base")])
}

fn adapter(n: u32) -> FakeSession {
    speaker(&[(HI, ["first", "second", "third", "fourth"][n as usize - 1]), ("count", LONG)])
}

fn lora() -> AdapterSpec {
    let spec = json!({ "type": "lora", "r": 1, "lora_alpha": 1.0, "target_modules": ["q_proj"] });
    serde_json::from_value(spec).unwrap()
}

/// The sessions here look at no tensor.
struct NoTensors;

impl Weights for NoTensors {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        Err(BackendError::Engine(format!("there is no tensor `{name}`")))
    }
}

/// Runs called `run` fit; the others do not, each for its reason.
struct Runs;

impl FindAdapter for Runs {
    fn find(&self, name: &str) -> Result<FoundAdapter, AdapterError> {
        match name {
            "run" => Ok(FoundAdapter {
                spec: lora(),
                weights: Box::new(NoTensors),
                chat: Some(chat_renderer()),
                grammar: None,
                rows: None,
            }),
            "other" => Err(AdapterError::Unfit("another base".to_owned())),
            "broken" => Err(AdapterError::Failed("cannot be read".to_owned())),
            _ => Err(AdapterError::Missing(format!("there is no run `{name}`"))),
        }
    }
}

fn publishing(served: Served) -> Served {
    served.with_finder(Box::new(Runs))
}

fn place() -> (Place, Has, Gate) {
    let (mut choir, has) = Choir::new(base(), adapter);
    let first = choir.add_adapter(&lora(), None).unwrap();
    let (gated, gate) = Gated::new(choir);
    let served = served(voice(NAME, None)).with_voice(voice("first", Some(first)));
    let (limits, options) = (InferenceLimits::default(), ServeOptions::default());
    (Place::start(gated, limits, options, publishing(served)), has, gate)
}

fn hi(model: Option<&str>) -> Value {
    json!({ "model": model, "messages": [{"role": "user", "content": "Hi"}] })
}

fn said(place: &Place, model: Option<&str>) -> String {
    let reply = place.post(CHAT, &hi(model)).json(200);
    assert_eq!(reply["model"], model.unwrap_or(NAME));
    reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn names(place: &Place) -> Vec<String> {
    let models = place.get("/v1/models").json(200);
    let name = |it: &Value| it["id"].as_str().unwrap().to_owned();
    models["data"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_request_chooses_by_model() {
    let (place, _, _) = place();
    assert_eq!(names(&place), [NAME, "first"]);
    assert_eq!(said(&place, None), "base");
    assert_eq!(said(&place, Some(NAME)), "base");
    assert_eq!(said(&place, Some("first")), "first");
    assert_eq!(place.get("/v1/models/first").json(200)["id"], "first");
    let (message, code, _) = place.post(CHAT, &hi(Some("none"))).error(404);
    assert_eq!(message, format!("there is no model `none`; this server has `{NAME}`, `first`"));
    assert_eq!(code, "model_not_found");
}

/// What one adapter has computed of a prompt is no beginning for another.
#[test]
fn neighbours_with_other_adapters_share_nothing() {
    let (place, _, _) = place();
    let texts: Vec<String> = std::thread::scope(|scope| {
        let ask = |i: usize| {
            let place = &place;
            scope.spawn(move || said(place, [None, Some("first")][i % 2]))
        };
        let threads: Vec<_> = (0..16).map(ask).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(text, ["base", "first"][i % 2]);
    }
}

#[test]
fn prompts_are_scored_by_the_model_that_is_asked() {
    let (place, _, _) = place();
    let score = |model: &str| {
        let body = json!({ "model": model, "prompt": ids(&format!("{HI}first")), "max_tokens": 0,
            "echo": true, "logprobs": 0 });
        let reply = place.post("/v1/completions", &body).json(200);
        let logprobs = reply["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap();
        logprobs[ids(HI).len()].as_f64().unwrap()
    };
    assert!(score("first") > -0.1 && score(NAME) < -5.0);
}

#[test]
fn an_adapter_is_published_and_withdrawn() {
    let (place, has, _) = place();
    let card = place.post(ADAPTERS, &json!({ "name": "new", "run": "run" })).json(200);
    assert_eq!((&card["id"], &card["replaced"]), (&json!("new"), &json!(false)));
    assert_eq!(names(&place), [NAME, "first", "new"]);
    assert_eq!(said(&place, Some("new")), "second");
    let card = place.post(ADAPTERS, &json!({ "name": "new", "run": "run" })).json(200);
    assert_eq!(card["replaced"], true);
    assert_eq!(said(&place, Some("new")), "third");
    until(|| has.now() == [1, 3]);

    let gone = place.send("DELETE", "/v1/adapters/new", &[], b"").json(200);
    assert_eq!(gone, json!({ "id": "new", "object": "model", "deleted": true }));
    place.post(CHAT, &hi(Some("new"))).error(404);
    until(|| has.now() == [1]);
    let (_, code, _) = place.send("DELETE", "/v1/adapters/new", &[], b"").error(404);
    assert_eq!(code, "model_not_found");
    let path = format!("/v1/adapters/{NAME}");
    assert_eq!(place.send("DELETE", &path, &[], b"").error(409).1, "name_taken");
}

/// The thread does it between two rounds, some moments after the last request has gone.
fn until(it_is_so: impl Fn() -> bool) {
    while !it_is_so() {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_ends_with_the_adapter_that_it_began_with() {
    let (place, has, gate) = place();
    let shut = gate.shut();
    let before = gate.entered();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let body = json!({ "model": "first", "prompt": "count", "max_tokens": 40 });
            place.post("/v1/completions", &body).json(200)
        });
        gate.wait(before);
        let publish = scope
            .spawn(|| place.post(ADAPTERS, &json!({ "name": "first", "run": "run" })).json(200));
        drop(shut);
        assert_eq!(publish.join().unwrap()["replaced"], true);
        let answer = running.join().unwrap();
        assert_eq!(answer["choices"][0]["text"], LONG);
    });
    assert_eq!(said(&place, Some("first")), "second");
    until(|| has.now() == [2]);
}

/// Swaps under load: every answer is whole, and of an adapter that was on offer.
#[test]
fn nothing_is_lost_while_adapters_are_swapped_under_load() {
    let (place, has, _) = place();
    let done = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (place, done) = (&place, Arc::clone(&done));
                scope.spawn(move || {
                    let mut answers = 0;
                    while !done.load(Ordering::SeqCst) {
                        let text = said(place, Some("first"));
                        assert!(["first", "second", "third", "fourth"].contains(&&*text), "{text}");
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        for _ in 0..3 {
            place.post(ADAPTERS, &json!({ "name": "first", "run": "run" })).json(200);
        }
        done.store(true, Ordering::SeqCst);
        let answers: usize = clients.into_iter().map(|it| it.join().unwrap()).sum();
        assert!(answers > 0);
    });
    assert_eq!(said(&place, Some("first")), "fourth");
    until(|| has.now() == [4]);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (place, has, _) = place();
    let ask = |body: Value| place.post(ADAPTERS, &body);
    for (run, status, code) in [
        ("other", 409, "adapter_unfit"),
        ("broken", 422, "adapter_broken"),
        ("none", 404, "adapter_not_found"),
    ] {
        let (_, said, param) = ask(json!({ "name": "new", "run": run })).error(status);
        assert_eq!((&*said, param.as_deref()), (code, Some("run")));
    }
    assert_eq!(ask(json!({ "name": NAME, "run": "run" })).error(409).1, "name_taken");
    for (body, word) in [
        (json!({ "run": "run" }), "`name` must be a text"),
        (json!({ "name": "a b", "run": "run" }), "`name` must be a text"),
        (json!({ "name": "x".repeat(129), "run": "run" }), "`name` must be a text"),
        (json!({ "name": "new", "run": 5 }), "`run` must be a text"),
        (json!({ "name": "new", "run": "run", "path": "x" }), "`path` is unknown"),
    ] {
        let (message, ..) = ask(body).error(400);
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(names(&place), [NAME, "first"]);
    assert_eq!(has.now(), [1]);
}

#[test]
fn a_server_without_a_folder_of_runs_publishes_nothing() {
    let (choir, _) = Choir::new(base(), adapter);
    let place = Place::on(choir);
    let (_, code, _) = place.post(ADAPTERS, &json!({ "name": "new", "run": "run" })).error(403);
    assert_eq!(code, "adapters_not_allowed");
}

/// An engine without adapters says so, and goes on.
#[test]
fn an_engine_may_have_no_adapters() {
    let served = publishing(served(voice(NAME, None)));
    let (limits, options) = (InferenceLimits::default(), ServeOptions::default());
    let place = Place::start(base(), limits, options, served);
    let (message, code, _) =
        place.post(ADAPTERS, &json!({ "name": "new", "run": "run" })).error(409);
    assert_eq!(code, "adapter_unfit");
    assert!(message.contains("does not fit the model"), "{message}");
    assert_eq!(said(&place, None), "base");
}
