//! What is learnt of whole conversations, compared with transformers over real chat templates.
//!
//! As for `chat_goldens`, the templates come from the cache; `make_mask_goldens.py` made the ranges.

use std::collections::BTreeMap;

use fidelio_prompting::{
    ChatTemplate, Clock, PromptError, Purpose, Rendered, Renderer, Row, Rules, Source, Turns,
    Vocabulary,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::{AddedToken, Tokenizer};

use crate::chat_goldens::{fixtures, sha256};

const GOLDENS: &str = include_str!("mask_goldens.json");

#[derive(Deserialize)]
struct Goldens {
    /// When the templates were rendered: some write the date.
    now: String,
    talks: BTreeMap<String, Value>,
    templates: BTreeMap<String, Template>,
}

#[derive(Deserialize)]
struct Template {
    sha256: String,
    specials: Vec<String>,
    stops: Vec<String>,
    results: BTreeMap<String, Golden>,
}

/// Either the learnt ranges, or why there are none.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Golden {
    ids: String,
    tokens: usize,
    learnt: Option<Vec<[usize; 2]>>,
    transformers: Option<Vec<[usize; 2]>>,
    /// The turn that a template writes otherwise than it asks for it; 0 is the last one.
    changed: Option<usize>,
}

fn renderer(template: &Template, source: &str, now: Clock) -> Result<Renderer, PromptError> {
    let mut tokenizer: Tokenizer = include_str!("fixtures/tokenizer.json").parse().unwrap();
    let special = |text: &String| AddedToken::from(text.as_str(), true).normalized(false);
    let specials: Vec<AddedToken> = template.specials.iter().map(special).collect();
    tokenizer.add_special_tokens(specials).unwrap();
    let id = |text: &str| tokenizer.token_to_id(text).unwrap();
    let (bos, eos) = (id("<s>"), id("</s>"));
    let vocabulary = Vocabulary::new(tokenizer, Some(bos), vec![eos]).unwrap().with_add_bos(false);
    let chat = ChatTemplate::new(source, vocabulary.special_texts(), now)?;
    let rules = Rules { turns: Turns::All, ..Rules::default() };
    let column = Source::Messages { column: "messages".to_owned(), output: None };
    Renderer::new(column, rules, vocabulary, Some(chat))
}

fn learnt(rendered: &Rendered) -> Vec<[usize; 2]> {
    let edge = |i: &usize| {
        let before = *i > 0 && rendered.learn[i - 1];
        before != rendered.learn.get(*i).copied().unwrap_or(false)
    };
    let edges: Vec<usize> = (0..=rendered.learn.len()).filter(edge).collect();
    edges.chunks(2).map(|pair| [pair[0], pair[1]]).collect()
}

fn render(renderer: &Renderer, talk: &Value) -> Result<Rendered, PromptError> {
    let cells = json!({ "messages": talk });
    let row = Row::new(7, cells.as_object().unwrap());
    renderer.render(&row, Purpose::Train).map(|outcome| outcome.kept().unwrap())
}

/// What differs from the golden.
fn difference(renderer: &Renderer, talk: &Value, golden: &Golden) -> Option<String> {
    match (render(renderer, talk), &golden.learnt) {
        (Ok(found), Some(expected)) => {
            let ids = json!(found.ids).to_string().replace(',', ", ");
            let whole = found.ids.len() == golden.tokens;
            if whole && sha256(&ids)[..16] != golden.ids {
                return Some("other ids".to_owned());
            }
            (learnt(&found) != *expected).then(|| format!("learnt {:?}", learnt(&found)))
        }
        (Err(PromptError::Turn { turn, row: 7, .. }), None) => {
            let wrong = golden.changed.is_some_and(|changed| changed > 0 && changed != turn);
            wrong.then(|| format!("turn {turn} instead of {:?}", golden.changed))
        }
        (Ok(found), None) => Some(format!("learnt {:?}, expected an error", learnt(&found))),
        // Stricter than the references: what the data says must stand in the row as it is, and
        // templates that move or drop reasoning do not keep to that.
        (Err(_), None) | (Err(PromptError::AnswerLost { row: 7 }), Some(_)) => None,
        (Err(error), Some(_)) if error.to_string().contains("filter `safe`") => None,
        (Err(error), Some(expected)) => Some(format!("{error}, expected {expected:?}")),
    }
}

#[test]
fn masks_are_those_of_transformers() {
    let Some(fixtures) = fixtures() else {
        println!("skipped: no chat templates in the cache (run `cargo xtask fetch`)");
        return;
    };
    let goldens: Goldens = serde_json::from_str(GOLDENS).unwrap();
    let now = Clock::fixed(&goldens.now).unwrap();
    let (mut compared, mut refused, mut told_by_transformers, mut wrong) = (0, 0, 0, vec![]);
    for (name, template) in &goldens.templates {
        let path = fixtures.join(format!("{name}.jinja"));
        let Ok(source) = std::fs::read_to_string(path) else { continue };
        assert_eq!(template.sha256, sha256(&source), "{name} is another version");
        let Ok(renderer) = renderer(template, &source, now) else {
            wrong.push(format!("{name}: no renderer"));
            continue;
        };
        for (talk, golden) in &template.results {
            compared += usize::from(golden.learnt.is_some());
            refused += usize::from(
                golden.learnt.is_some() && render(&renderer, &goldens.talks[talk]).is_err(),
            );
            told_by_transformers += usize::from(golden.transformers.is_some());
            if let Some(how) = difference(&renderer, &goldens.talks[talk], golden) {
                wrong.push(format!("{name} / {talk}: {how}; stops {:?}", template.stops));
            }
        }
    }
    println!("{compared} masks compared, {told_by_transformers} of them with transformers' own");
    println!("{refused} are refused by us only");
    assert!(wrong.is_empty(), "{} masks differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused <= 7, "{refused} masks are refused");
    assert!(compared >= 100, "only {compared} masks were compared");
}
