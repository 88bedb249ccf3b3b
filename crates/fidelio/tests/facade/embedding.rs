//! Vectors of texts: on an engine without a model, and of the default embedder against
//! sentence-transformers (`tests/make_embedding_goldens.py`).

use std::path::{Path, PathBuf};

use fidelio::{
    EmbedOptions, Embedded, Embedder, Error, Event, Flow, LongTexts, Machine, Observer, Silent,
    TextAt, TextFault,
    backend::{FakeBackend, Pooling},
    weights,
};
use serde::Deserialize;

use crate::{devices, examples, machine, machine_at};

/// A folder that is home, cache and model at once.
struct Case {
    folder: tempfile::TempDir,
    machine: Machine,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        examples::model(folder.path());
        let machine = machine_at(folder.path()).with_engine(|| Box::new(FakeBackend::default()));
        Self { folder, machine }
    }

    fn embedder(&self, options: EmbedOptions) -> Embedder {
        let model = self.folder.path().to_str().unwrap();
        Embedder::open(&self.machine, model, "fake", &options, &weights::Silent).unwrap()
    }

    fn embed(&self, options: EmbedOptions, given: &[&str]) -> Embedded {
        self.embedder(options).embed(&texts(given), &mut Silent).unwrap()
    }
}

fn texts<'a>(texts: &[&'a str]) -> Vec<TextAt<'a>> {
    texts.iter().map(|text| TextAt { text, place: None }).collect()
}

fn vector(embedded: &Embedded, text: usize) -> &[f32] {
    embedded.vectors[text].as_deref().unwrap()
}

#[test]
fn vectors_come_in_the_order_of_the_texts_and_equal_texts_once() {
    let case = Case::new();
    let given = ["a long film about nothing at all", "food", "a film", "food", "the staff"];
    let together = case.embed(EmbedOptions::default(), &given);
    assert_eq!((together.usage.texts, together.usage.computed), (5, 4));
    for (i, text) in given.iter().enumerate() {
        let anew = EmbedOptions { anew: true, ..EmbedOptions::default() };
        let alone = case.embed(anew, &[text]);
        assert_eq!(vector(&together, i), vector(&alone, 0), "{text}");
    }
}

#[test]
fn a_second_run_computes_nothing() {
    let case = Case::new();
    let given = ["a film", "food", "the staff"];
    let first = case.embed(EmbedOptions::default(), &given);
    assert_eq!((first.usage.computed, first.usage.from_cache), (3, 0));
    let second = case.embed(EmbedOptions::default(), &given);
    assert_eq!((second.usage.computed, second.usage.from_cache, second.usage.tokens), (0, 3, 0));
    assert_eq!(second.vectors, first.vectors);
    let more = case.embed(EmbedOptions::default(), &["food", "another film"]);
    assert_eq!((more.usage.computed, more.usage.from_cache), (1, 1));
    for options in [
        EmbedOptions { pooling: Some(Pooling::Last), ..EmbedOptions::default() },
        EmbedOptions { normalize: Some(true), ..EmbedOptions::default() },
        EmbedOptions { anew: true, ..EmbedOptions::default() },
    ] {
        assert_eq!(case.embed(options, &given).usage.computed, 3, "{options:?}");
    }
    // Another model of the same name.
    let config = case.folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("1e-5", "2e-5").replace("0.00001", "0.00002")).unwrap();
    assert_eq!(case.embed(EmbedOptions::default(), &given).usage.computed, 3);
}

#[test]
fn vectors_are_brought_to_length_1_where_that_is_asked_for() {
    let length = |normalize| {
        let options = EmbedOptions { normalize: Some(normalize), ..EmbedOptions::default() };
        let embedded = Case::new().embed(options, &["a film"]);
        vector(&embedded, 0).iter().map(|x| x * x).sum::<f32>().sqrt()
    };
    assert!((length(true) - 1.0).abs() < 1e-6);
    assert!(length(false) > 2.0);
}

#[test]
fn a_text_that_is_too_long_or_empty_is_an_error_before_anything_is_computed() {
    let case = Case::new();
    // A tokenizer that adds nothing, so that an empty text has no token.
    let path = case.folder.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    tokenizer["post_processor"] = serde_json::Value::Null;
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let long = "film ".repeat(5000);
    let given = ["a film", "", &long, "food", &long];
    let mut embedder = case.embedder(EmbedOptions::default());
    let error = embedder.embed(&texts(&given), &mut Silent).unwrap_err();
    let Error::Texts { problems, texts: 5 } = &error else { panic!("{error}") };
    let found: Vec<_> = problems.iter().map(|it| it.text).collect();
    assert_eq!(found, [1, 2, 4]);
    assert_eq!(problems[0].fault, TextFault::NoToken);
    assert!(matches!(problems[1].fault, TextFault::TooLong { most: 4096, .. }), "{problems:?}");
    assert_eq!(case.embed(EmbedOptions::default(), &["a film"]).usage.from_cache, 0);
}

#[test]
fn what_is_cut_is_counted_and_never_stands_for_the_whole() {
    let case = Case::new();
    let long = "film ".repeat(5000);
    let cut = EmbedOptions { long_texts: LongTexts::Truncate, ..EmbedOptions::default() };
    let first = case.embed(cut, &[&long, "food"]);
    assert_eq!((first.usage.cut_texts, first.usage.computed), (1, 2));
    let food = Case::new().embed(cut, &["food"]).usage.tokens;
    assert_eq!(first.usage.tokens - food, 4096);
    let second = case.embed(cut, &[&long, "food"]);
    assert_eq!((second.usage.cut_texts, second.usage.from_cache), (1, 2), "counted from the cache");
    assert_eq!(second.usage.cut_tokens, first.usage.cut_tokens);
    assert_eq!(second.vectors, first.vectors);
    let mut whole = case.embedder(EmbedOptions::default());
    assert!(whole.embed(&texts(&[&long]), &mut Silent).is_err(), "though a cut one is cached");
}

/// Stops as soon as something is done.
struct Stop;

impl Observer for Stop {
    fn on(&mut self, event: &Event) -> Flow {
        if matches!(event, Event::Progress { .. }) { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn what_is_done_before_a_stop_is_kept() {
    let case = Case::new();
    let long = ["film ".repeat(350), "food ".repeat(340), "staff ".repeat(330)];
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let mut embedder = case.embedder(EmbedOptions::default());
    let stopped = embedder.embed(&texts(&long), &mut Stop).unwrap();
    assert!(stopped.stopped);
    assert_eq!(stopped.vectors.iter().flatten().count(), stopped.usage.computed);
    assert!((1..3).contains(&stopped.usage.computed), "{:?}", stopped.usage);
    let rest = case.embed(EmbedOptions::default(), &long);
    assert_eq!(rest.usage.from_cache, stopped.usage.computed);
    assert!(!rest.stopped);
}

#[derive(Deserialize)]
struct Reference {
    text: String,
    ids: Vec<u32>,
    truncated: bool,
    length: f32,
    vector: Vec<f32>,
}

/// The default embedder's folder, or `None` with a word about it.
fn minilm(test: &str) -> Option<PathBuf> {
    let cache = machine().settings().cache_dir.value.clone();
    let path = cache.join("models/all-MiniLM-L6-v2");
    if path.exists() {
        return Some(path);
    }
    eprintln!("{test} was skipped: `{}` is missing; run `cargo xtask fetch`", path.display());
    None
}

#[test]
fn the_default_embedder_equals_sentence_transformers() {
    let Some(model) = minilm("the_default_embedder_equals_sentence_transformers") else { return };
    let references: Vec<Reference> =
        serde_json::from_str(include_str!("fixtures/minilm.json")).unwrap();
    let given: Vec<&str> = references.iter().map(|it| it.text.as_str()).collect();
    for device in devices() {
        let home = tempfile::tempdir().unwrap();
        let machine = machine_at(home.path());
        let open = |options| {
            let model = model.to_str().unwrap();
            Embedder::open(&machine, model, &device, &options, &weights::Silent).unwrap()
        };
        let cut = EmbedOptions { long_texts: LongTexts::Truncate, ..EmbedOptions::default() };
        let mut embedder = open(cut);
        assert_eq!(embedder.plan().pooling, Pooling::Mean);
        assert!(embedder.plan().normalize);
        assert_eq!(embedder.plan().max_tokens, 256, "what `tokenizer.json` says is not the limit");
        let embedded = embedder.embed(&texts(&given), &mut Silent).unwrap();
        for (i, reference) in references.iter().enumerate() {
            close(&device, reference, vector(&embedded, i));
        }
        // "" and " " are the same tokens and different texts.
        let tokens: usize = references.iter().map(|it| it.ids.len()).sum();
        assert_eq!(embedded.usage.tokens as usize, tokens);
        let truncated = references.iter().filter(|it| it.truncated).count();
        assert_eq!(embedded.usage.cut_texts, truncated);

        let plain = EmbedOptions { normalize: Some(false), ..cut };
        let embedded = open(plain).embed(&texts(&given), &mut Silent).unwrap();
        for (i, reference) in references.iter().enumerate() {
            let length = vector(&embedded, i).iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((length - reference.length).abs() < 1e-3, "{}: {length}", reference.text);
        }
    }
}

/// Of the texts that the model's makers compare, with the cosines that they give.
#[test]
fn likeness_of_meaning_is_that_of_the_makers() {
    let Some(model) = minilm("likeness_of_meaning_is_that_of_the_makers") else { return };
    let home = tempfile::tempdir().unwrap();
    let machine = machine_at(home.path());
    let options = EmbedOptions::default();
    let mut embedder = Embedder::open(
        &machine,
        model.to_str().unwrap(),
        &devices()[0],
        &options,
        &weights::Silent,
    )
    .unwrap();
    let given = [
        "A man is eating food.",
        "A man eats a piece of bread.",
        "The girl is carrying a baby.",
        "Somebody has lunch.",
        "A stone lies on the road.",
    ];
    let embedded = embedder.embed(&texts(&given), &mut Silent).unwrap();
    let cosine = |a: usize, b: usize| -> f32 {
        vector(&embedded, a).iter().zip(vector(&embedded, b)).map(|(a, b)| a * b).sum()
    };
    assert!((cosine(0, 1) - 0.737).abs() < 1e-3, "{}", cosine(0, 1));
    assert!((cosine(0, 2) + 0.105).abs() < 1e-3, "{}", cosine(0, 2));
    assert!(cosine(0, 3) > cosine(0, 4) + 0.2, "no word is common to 0 and 3");
}

#[test]
fn neighbours_change_nothing_beyond_rounding() {
    let Some(model) = minilm("neighbours_change_nothing_beyond_rounding") else { return };
    let references: Vec<Reference> =
        serde_json::from_str(include_str!("fixtures/minilm.json")).unwrap();
    let given: Vec<&str> = references.iter().map(|it| it.text.as_str()).collect();
    for device in devices() {
        let home = tempfile::tempdir().unwrap();
        let options =
            EmbedOptions { long_texts: LongTexts::Truncate, anew: true, ..EmbedOptions::default() };
        let machine = machine_at(home.path());
        let model = model.to_str().unwrap();
        let mut embedder =
            Embedder::open(&machine, model, &device, &options, &weights::Silent).unwrap();
        let together = embedder.embed(&texts(&given), &mut Silent).unwrap();
        for (i, text) in given.iter().enumerate() {
            let alone = embedder.embed(&texts(&[text]), &mut Silent).unwrap();
            let apart = vector(&alone, 0).iter().zip(vector(&together, i));
            let most = apart.map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            assert!(most < 1e-6, "{text} on {device}: {most}");
        }
    }
}

fn close(device: &str, reference: &Reference, found: &[f32]) {
    let expected = &reference.vector;
    assert_eq!(found.len(), expected.len());
    let cosine: f32 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
    let text: String = reference.text.chars().take(40).collect();
    assert!(cosine > 0.9999, "`{text}` on {device}: cosine {cosine}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let apart = (found - expected).abs();
        assert!(apart < 1e-4, "`{text}` on {device}, number {i}: {found}, not {expected}");
    }
}

#[test]
fn a_model_that_is_no_encoder_pools_as_it_is_asked() {
    let case = Case::new();
    let plan = case.embedder(EmbedOptions::default()).plan().clone();
    assert_eq!((plan.pooling, plan.normalize, plan.max_tokens), (Pooling::Mean, false, 4096));
    let options = EmbedOptions { pooling: Some(Pooling::Cls), ..EmbedOptions::default() };
    let error = case.embedder(options).embed(&texts(&["food"]), &mut Silent).unwrap_err();
    assert!(error.to_string().contains("`cls` makes no sense"), "{error}");
    assert!(Path::new(case.folder.path()).exists());
}
