//! Tests of generation on a session without a model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod engine;
mod finishing;
mod grammars;
mod rules;
mod sampling;
mod schemas;
mod sharing;
mod text;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use fidelio_backend::{FakeLimits, FakeSession, Session};
use fidelio_generate::{Emitted, Engine, Finish, Limits, Request, RequestId};
use tokenizers::Tokenizer;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/generate/fixtures").join(name)
}

/// A tokenizer of the fixtures, read once: properties ask for it very often.
fn tokenizer(name: &str) -> Arc<Tokenizer> {
    static READ: Mutex<BTreeMap<String, Arc<Tokenizer>>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap();
    let it = read
        .entry(name.to_owned())
        .or_insert_with(|| Arc::new(Tokenizer::from_file(fixture(name)).unwrap()));
    Arc::clone(it)
}

/// Sizes that fit the byte-level tokenizer.
const SIZES: FakeLimits = FakeLimits { vocabulary: 340, context: 256, rows: 64, tokens: 8192 };

fn engine_on(session: impl Session + 'static, limits: Limits) -> Engine<'static> {
    Engine::new(Box::new(session), tokenizer("byte_level.json"), limits).unwrap()
}

fn engine(limits: Limits) -> Engine<'static> {
    engine_on(FakeSession::new(SIZES), limits)
}

/// A session that says `answer` after any prompt of `prompt` tokens, then the end token 0.
fn speaker(prompt: usize, answer: &str) -> FakeSession {
    let encoding = tokenizer("byte_level.json").encode(answer, false).unwrap();
    let ids = encoding.get_ids().to_vec();
    FakeSession::scripted(SIZES, move |path| {
        let next = ids.get(path.len() - prompt).copied().unwrap_or(0);
        let mut logits = vec![0.0; SIZES.vocabulary];
        logits[next as usize] = 20.0;
        logits
    })
}

/// Everything that came out, by request; checks that deltas add up to the text.
fn run(engine: &mut Engine<'_>) -> BTreeMap<RequestId, (Finish, Vec<Emitted>)> {
    let mut all: BTreeMap<RequestId, Vec<Emitted>> = BTreeMap::new();
    engine.run_all(|emitted| all.entry(emitted.request).or_default().push(emitted)).unwrap();
    let finished = |(id, emitted): (RequestId, Vec<Emitted>)| {
        let finish = emitted.last().and_then(|last| last.finish.clone()).expect("an end");
        let deltas: String = emitted.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(deltas, finish.text, "deltas of {id:?}");
        let tokens: Vec<u32> = emitted.iter().flat_map(|it| it.tokens.clone()).collect();
        assert_eq!(tokens, finish.ids, "tokens of {id:?}");
        (id, (finish, emitted))
    };
    all.into_iter().map(finished).collect()
}

/// What one request becomes on an engine of its own.
fn alone(session: impl Session + 'static, request: Request) -> (Finish, Vec<Emitted>) {
    let mut engine = engine_on(session, Limits::default());
    let id = engine.submit(request).unwrap();
    run(&mut engine).remove(&id).unwrap()
}

/// Ids that are all over the vocabulary, without the tokenizer's special ones.
fn ids(seed: u64, len: usize) -> Vec<u32> {
    let draw = |i| fidelio_generate::sample::uniform(seed, i);
    (0..len as u64).map(|i| 2 + (draw(i) * 338.0) as u32).collect()
}
