//! Real chat templates, compared with what Jinja2 makes of them.
//!
//! The templates belong to their vendors and are not in this repository: `cargo xtask fetch` puts them
//! into the cache folder. `make_chat_goldens.py` made the expected hashes.

use std::path::{Path, PathBuf};

use fidelio_prompting::{ChatTemplate, Clock, Conversation, Message, PromptError, SpecialTexts};
use serde_json::Value;
use sha2::{Digest, Sha256};

const GOLDENS: &str = include_str!("chat_goldens.json");

pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat()
}

pub(crate) fn fixtures() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    var("FIDELIO_CACHE_DIR")
        .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("fidelio")))
        .or_else(|| var("HOME").map(|p| p.join(".cache/fidelio")))
        .map(|p| p.join("fixtures"))
        .filter(|p| p.join("templates").is_dir())
}

/// A template out of its own file, or out of the configuration of a tokenizer.
fn source(fixtures: &Path, name: &str) -> Option<String> {
    let Some(tokenizer) = name.strip_prefix("npm-tokenizer-") else {
        return std::fs::read_to_string(fixtures.join(format!("templates/{name}.jinja"))).ok();
    };
    let path = fixtures.join(format!("tokenizers/{tokenizer}/tokenizer_config.json"));
    let config: Value = serde_json::from_slice(&std::fs::read(path).ok()?).unwrap();
    config["chat_template"].as_str().map(str::to_owned)
}

fn conversation(case: &Value) -> Conversation {
    let messages = case["messages"].as_array().unwrap();
    let messages =
        messages.iter().enumerate().map(|(i, m)| Message::from_json(m.clone(), i).unwrap());
    Conversation {
        messages: messages.collect(),
        tools: case.get("tools").cloned(),
        documents: case.get("documents").cloned(),
        extra: case.get("extra").and_then(Value::as_object).cloned().unwrap_or_default(),
    }
}

/// What Python refuses and minijinja renders: it walks over none as over nothing, and its `map` filter gives
/// a list. A template that only runs into these does not count as equal.
const LENIENT: [&str; 2] = [
    "TypeError: 'NoneType' object is not iterable",
    "TypeError: Object of type generator is not JSON serializable",
];

fn is_lenient(got: &Result<String, PromptError>, expected: &Value) -> bool {
    got.is_ok()
        && expected.get("error").and_then(Value::as_str).is_some_and(|e| LENIENT.contains(&e))
}

/// What we refuse and Jinja2 renders: see `safe` in the environment.
fn is_refused_by_us(got: &Result<String, PromptError>) -> bool {
    matches!(got, Err(PromptError::ChatFailed { reason, .. }) if reason.contains("filter `safe`"))
}

fn difference(got: Result<String, PromptError>, expected: &Value) -> Option<String> {
    match (got, expected) {
        (Ok(text), e) if e.get("sha256").is_some() => {
            (e["sha256"] != sha256(&text)).then(|| format!("another text:\n{text}"))
        }
        (Err(PromptError::ChatRefused { message, .. }), e) if e.get("refused").is_some() => {
            (e["refused"] != message).then(|| format!("refused with `{message}`"))
        }
        (Err(PromptError::ChatFailed { .. } | PromptError::ChatSyntax { .. }), e)
            if e.get("error").is_some() =>
        {
            None
        }
        (got, expected) => Some(format!("got {got:?}, expected {expected}")),
    }
}

#[test]
fn real_templates_render_as_in_jinja2() {
    let Some(fixtures) = fixtures() else {
        println!("skipped: no chat templates in the cache (run `cargo xtask fetch`)");
        return;
    };
    let goldens: Value = serde_json::from_str(GOLDENS).unwrap();
    let specials: SpecialTexts = serde_json::from_value(serde_json::json!({
        "bos": goldens["specials"]["bos_token"], "eos": goldens["specials"]["eos_token"],
        "unk": goldens["specials"]["unk_token"], "pad": goldens["specials"]["pad_token"],
    }))
    .unwrap();
    let now = Clock::fixed(goldens["now"].as_str().unwrap()).unwrap();
    let (mut equal, mut renderings, mut lenient, mut refused) = (0, 0, 0, 0);
    let (mut missing, mut wrong) = (vec![], vec![]);
    for (name, golden) in goldens["templates"].as_object().unwrap() {
        let Some(source) = source(&fixtures, name) else {
            missing.push(name);
            continue;
        };
        assert_eq!(golden["sha256"], sha256(&source), "{name} is another version");
        let template = ChatTemplate::new(&source, specials.clone(), now);
        let before = (wrong.len(), lenient, refused);
        for (case, expected) in golden["results"].as_object().unwrap() {
            let input = &goldens["cases"][case];
            let got = match &template {
                Ok(t) => t.render(
                    &conversation(input),
                    input["add_generation_prompt"].as_bool().unwrap(),
                ),
                Err(e) => Err(PromptError::ChatSyntax { line: None, reason: format!("{e}") }),
            };
            renderings += 1;
            if is_lenient(&got, expected) {
                lenient += 1;
            } else if is_refused_by_us(&got) {
                refused += 1;
            } else if let Some(how) = difference(got, expected) {
                wrong.push(format!("{name} / {case}: {how}"));
            }
        }
        equal += usize::from((wrong.len(), lenient, refused) == before);
    }
    println!(
        "{equal} templates equal; {renderings} renderings, of which {lenient} are refused by Python only"
    );
    println!("{refused} are refused by us only");
    println!("not in the cache: {missing:?}");
    assert!(wrong.is_empty(), "{} renderings differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(equal >= 30, "only {equal} templates were compared");
}
