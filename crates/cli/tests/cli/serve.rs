//! `fidelio serve` on the default model: the same tokens and texts as the terminal gives.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    export::trained,
    place::{Place, Said, cache_of, cache_with_model},
};

const FRANCE: &str = "What is the capital of France?";
const PARIS: &str = "The capital of France is Paris.";

/// A server that is running.
pub(crate) struct Running<'a> {
    place: &'a Place,
    child: Option<Child>,
    /// What it said first: its address and its model.
    said: String,
    address: String,
}

impl<'a> Running<'a> {
    pub(crate) fn new(place: &'a Place, cache: &str, flags: &[&str]) -> Self {
        let serve = ["serve", "--port", "0", "--offline", "--cache-dir", cache];
        let mut child = place.spawn(&[&serve[..], flags].concat(), Stdio::null());
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let address = said.split(' ').next().unwrap().trim_start_matches("http://").to_owned();
        Self { place, child: Some(child), said, address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// The status and the body of an answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{key}\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let (status, text) = self.send("POST", path, None, &body.to_string());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Said {
        let child = self.child.take().unwrap();
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.place.said(child.wait_with_output().unwrap())
    }
}

impl Drop for Running<'_> {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn asked(question: &str) -> Value {
    json!([{ "role": "user", "content": question }])
}

#[test]
#[cfg(unix)]
fn a_served_model_answers_as_the_terminal_does() {
    let Some(cache) = cache_with_model() else { return };
    let place = Place::new();
    let server = Running::new(&place, &cache, &[]);
    assert!(server.said.ends_with(" serves smollm2-135m\n"), "{}", server.said);

    let body = json!({ "model": "smollm2-135m", "messages": asked(FRANCE) });
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer["choices"][0]["message"]["content"], PARIS);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 37);
    assert_eq!(answer["usage"]["completion_tokens"], 8);

    let raw =
        ["generate", "--raw", "--prompt", "The capital of France is", "--max-new-tokens", "9"];
    let there = ["--json", "--offline", "--cache-dir", &cache];
    let terminal = place.run(&[&raw[..], &there].concat()).expect(0).json();
    let body = json!({ "prompt": "The capital of France is", "max_tokens": 9, "logprobs": 1 });
    let answer = server.post("/v1/completions", &body);
    assert_eq!(answer["choices"][0]["text"], terminal["text"]);
    assert_eq!(answer["usage"]["prompt_tokens"], terminal["usage"]["prompt_tokens"]);

    // A prompt that is scored is as likely as it was when it was generated.
    let ids = |text: &str| server.post("/tokenize", &json!({ "prompt": text }))["tokens"].clone();
    let mut whole: Vec<u64> = serde_json::from_value(ids("The capital of France is")).unwrap();
    let before = whole.len();
    whole.extend(terminal["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()));
    let body = json!({ "prompt": whole, "max_tokens": 1, "logprobs": 1, "echo": true });
    let scored = server.post("/v1/completions", &body);
    let logprobs = |answer: &Value| answer["choices"][0]["logprobs"]["token_logprobs"].clone();
    let generated: Vec<f64> = serde_json::from_value(logprobs(&answer)).unwrap();
    let scored: Vec<Option<f64>> = serde_json::from_value(logprobs(&scored)).unwrap();
    assert_eq!(scored[0], None);
    for (i, logprob) in generated.iter().enumerate() {
        let again = scored[before + i].unwrap();
        assert!((again - logprob).abs() < 1e-3, "token {i}: {again} and {logprob}");
    }

    let said = server.stop().expect(0);
    assert!(said.stderr.contains("completion_tokens=8"), "{said}");
    assert!(!said.stderr.contains("France") && !said.stderr.contains("Paris"), "{said}");
}

#[test]
#[cfg(unix)]
fn keys_a_name_and_a_log_as_json_are_as_the_flags_say() {
    let Some(cache) = cache_with_model() else { return };
    // SHA-256 of `abc`, FIPS 180-2 appendix B.1.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let place = Place::new().with("keys", &format!("alice {hash}\n"));
    let flags = ["--api-keys", "keys", "--served-name", "mine"];
    let server = Running::new(&place, &cache, &flags);
    assert!(server.said.ends_with(" serves mine\n"), "{}", server.said);
    assert_eq!(server.send("GET", "/v1/models", None, "").0, 401);
    assert_eq!(server.send("GET", "/v1/models", Some(hash), "").0, 401);
    let (status, models) = server.send("GET", "/v1/models", Some("abc"), "");
    assert_eq!(status, 200);
    assert!(models.contains("\"id\":\"mine\""), "{models}");
    assert_eq!(server.send("GET", "/healthz", None, "").0, 200);
    let said = server.stop().expect(0);
    assert!(said.stderr.contains("status=401"), "{said}");
    assert!(!said.stderr.contains("abc"), "{said}");
}

#[test]
#[cfg(unix)]
fn a_run_answers_with_what_it_learnt() {
    let Some(place) = trained("") else { return };
    let generate = ["generate", "-m", "run", "--prompt", "a b", "--max-new-tokens", "5", "--json"];
    let terminal = place.run(&generate).expect(0).json();
    let cache = place.path("cache").display().to_string();
    let body = json!({ "prompt": "a b", "max_tokens": 5, "echo": true, "logprobs": 0 });
    let [learnt, base] = [["-m", "run"], ["--model", "."]].map(|flags| {
        let server = Running::new(&place, &cache, &flags);
        let answer = server.post("/v1/completions", &body);
        let chat = json!({ "messages": asked("a b") }).to_string();
        let (status, text) = server.send("POST", "/v1/chat/completions", None, &chat);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("the model has no chat template"), "{text}");
        let said = server.stop().expect(0);
        assert!(said.stderr.contains("only `/v1/completions` answers"), "{said}");
        answer
    });
    assert_eq!(learnt["model"], "run");
    let text = terminal["text"].as_str().unwrap();
    assert_eq!(learnt["choices"][0]["text"], format!("a b{text}"));
    let logprobs = |answer: &Value| answer["choices"][0]["logprobs"]["token_logprobs"].clone();
    assert_ne!(logprobs(&learnt), logprobs(&base), "the adapter counts, in prompts too");
}

#[test]
#[cfg(unix)]
fn a_runs_rows_are_answered_as_a_tables_are() {
    let Some(place) = trained("") else { return };
    std::fs::write(place.path("ask.csv"), "question\na b\nc a\n").unwrap();
    let predict = ["predict", "-m", "run", "--dataset", "ask.csv", "-o", "asked"];
    place.run(&[&predict[..], &["--predictions-format", "jsonl"]].concat()).expect(0);
    let table = place.read("asked/predictions.jsonl");
    let expected: Vec<Value> =
        table.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let cache = place.path("cache").display().to_string();
    let server = Running::new(&place, &cache, &["-m", "run"]);
    let answer = server.post("/predict", &json!({ "question": "a b" }));
    for column in ["answer_predictions", "answer_response", "answer_finish_reason"] {
        assert_eq!(answer[column], expected[0][column], "{column}");
    }
    let batch =
        server.post("/batch_predict", &json!([{ "question": "a b" }, { "question": "c a" }]));
    let columns: Vec<&str> =
        batch["columns"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let at = columns.iter().position(|&it| it == "answer_response").unwrap();
    for (row, expected) in expected.iter().enumerate() {
        assert_eq!(batch["data"][row][at], expected["answer_response"], "row {row}");
    }
    let (status, text) = server.send("POST", "/predict", None, r#"{"quest": "a b"}"#);
    assert_eq!(status, 400);
    assert!(text.contains("row 0 lacks `question` and has `quest`"), "{text}");
    let (status, text) = server.send("POST", "/predict", None, r#"{"question": null}"#);
    assert_eq!(status, 400, "{text}");
    server.stop().expect(0);
}

#[test]
fn flags_that_cannot_be_meant_are_refused_before_a_model_is_opened() {
    let place = Place::new().with("empty", "# nobody\n").with("broken", "alice 123\n");
    for (flags, said) in [
        (&["--max-running", "0"][..], "`--max-running` must be at least 1"),
        (&["--timeout", "0"], "`--timeout` must be at least 1"),
        (&["--api-keys", "none"], "cannot read `none`"),
        (&["--api-keys", "empty"], "would let everybody in"),
        (&["--api-keys", "broken"], "line 1 has a hash that is not 64 hexadecimal digits"),
        (&["--tls-certificate", "empty"], "--tls-key <FILE>"),
        (&["--tls-certificate", "empty", "--tls-key", "empty"], "`empty` cannot be used for TLS"),
        (&["--host", "nowhere"], "invalid value 'nowhere' for '--host <ADDRESS>'"),
    ] {
        let answer = place.run(&[&["serve", "--offline"], flags].concat()).expect(2);
        assert!(answer.stderr.contains(said), "{answer}");
    }
}

/// OpenAI's own client (`check_openai.py`); `FIDELIO_FOREIGN_PYTHON` is an interpreter that has it,
/// which `cargo xtask check --full` makes.
mod foreign {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn openais_client_drives_every_endpoint() {
        let test = "openais_client_drives_every_endpoint";
        let Some(python) = std::env::var_os("FIDELIO_FOREIGN_PYTHON") else {
            eprintln!("{test} was skipped: it needs `cargo xtask check --full`");
            return;
        };
        let model = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
        let Some(cache) = cache_of(model) else { return };
        if cache_of("models/all-MiniLM-L6-v2/model.safetensors").is_none() {
            return;
        }
        let place = Place::new();
        let flags = ["--max-running", "4", "--max-waiting", "4", "--embedder", "minilm"];
        let server = Running::new(&place, &cache, &flags);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/check_openai.py");
        let output = Command::new(python).arg(script).arg(&server.address).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "all answered");
        server.stop().expect(0);
    }
}
