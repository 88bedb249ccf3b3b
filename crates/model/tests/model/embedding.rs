//! Vectors of texts, as transformers computes them (`tests/make_encoders.py`).

use std::path::Path;

use fidelio_backend::{
    Backend as _, BackendError, DeviceId, Forest, OpenSpec, Parent, Pooling, RowStep, RowTo,
    Session, Wanted, contract::check_embedding,
};
use serde::Deserialize;
use serde_json::json;

use crate::checkpoint::{Golden, engines};

#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    mean: Vec<f32>,
    cls: Vec<f32>,
    last: Vec<f32>,
}

impl Case {
    fn of(&self, pooling: Pooling) -> &[f32] {
        match pooling {
            Pooling::Mean => &self.mean,
            Pooling::Cls => &self.cls,
            Pooling::Last => &self.last,
        }
    }
}

const ALL: [Pooling; 3] = [Pooling::Mean, Pooling::Cls, Pooling::Last];
const CAUSAL: [Pooling; 2] = [Pooling::Mean, Pooling::Last];

const ENCODERS: [&str; 5] = ["bert", "roberta", "xlm-roberta", "distilbert", "modernbert"];

fn check_vectors(of: &str, session: &mut dyn Session, cases: &Path, poolings: &[Pooling]) {
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap();
    let mut forest = Forest::default();
    for case in &cases {
        forest.push(Parent::Root, &case.ids);
    }
    for &pooling in poolings {
        let found = session.embed(&forest, pooling).unwrap();
        let width = cases[0].mean.len();
        assert_eq!(found.len(), cases.len() * width);
        for (case, found) in cases.iter().zip(found.chunks_exact(width)) {
            let at = format!("{of}, {pooling:?} of {} tokens", case.ids.len());
            for (i, (found, expected)) in found.iter().zip(case.of(pooling)).enumerate() {
                assert!(
                    (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "{at}, number {i}: {found}, transformers {expected}"
                );
            }
        }
    }
}

#[test]
fn vectors_equal_transformers() {
    for backend in engines() {
        for name in ENCODERS {
            let golden = Golden::read(name);
            let cases = golden.folder.join("cases.json");
            check_vectors(name, golden.open(&backend).as_mut(), &cases, &ALL);
        }
        let llama = Golden::read("llama");
        let cases = llama.folder.with_file_name("embeddings-llama.json");
        check_vectors("llama", llama.open(&backend).as_mut(), &cases, &CAUSAL);
    }
}

#[test]
fn sessions_that_embed_keep_the_contract() {
    for backend in engines() {
        for name in ENCODERS {
            let golden = Golden::read(name);
            check_embedding(&|| golden.open(&backend), &ALL, 1e-4);
        }
        for name in ["llama", "mistral"] {
            let golden = Golden::read(name);
            check_embedding(&|| golden.open(&backend), &CAUSAL, 1e-4);
        }
    }
}

#[test]
fn what_an_encoder_cannot_do_is_said() {
    let mut session = Golden::read("bert").open(&engines()[0]);
    let step = RowStep { row: RowTo::New, tokens: &[1], adapter: None, wanted: Wanted::Nothing };
    let error = session.extend(&[step]).unwrap_err();
    assert!(matches!(&error, BackendError::NotOfModel { model_type, .. } if model_type == "bert"));
    let mut forest = Forest::default();
    forest.push(Parent::Root, &[1]);
    let error = Golden::read("llama").open(&engines()[0]).embed(&forest, Pooling::Cls).unwrap_err();
    assert!(error.to_string().contains("`cls` makes no sense"), "{error}");
}

/// Checkpoints that guess hidden words hold the encoder below a name, and a head beside it.
#[test]
fn a_head_that_guesses_words_is_passed_over() {
    for (name, below, head) in [
        ("roberta", "roberta.", "lm_head.dense.weight"),
        ("distilbert", "distilbert.", "vocab_projector.bias"),
        ("modernbert", "model.", "decoder.bias"),
    ] {
        let mut golden = Golden::read(name);
        let cases = golden.folder.join("cases.json");
        let of_head = golden.tensors.0.values().next().unwrap().clone();
        let tensors = golden.tensors.0.into_iter();
        golden.tensors.0 = tensors.map(|(name, it)| (format!("{below}{name}"), it)).collect();
        golden.tensors.0.insert(head.into(), of_head);
        check_vectors(name, golden.open(&engines()[0]).as_mut(), &cases, &ALL);
    }
}

#[test]
fn settings_of_other_encoders_are_refused_by_name() {
    for (name, key, value) in [
        ("roberta", "position_embedding_type", json!("relative_key")),
        ("roberta", "max_position_embeddings", json!(2)),
        ("distilbert", "n_heads", json!(3)),
        ("distilbert", "rotary", json!(true)),
        ("modernbert", "layer_types", json!(["full_attention"])),
        ("modernbert", "hidden_activation", json!("relu")),
        ("modernbert", "alibi", json!(true)),
    ] {
        let mut golden = Golden::read(name);
        golden.config[key] = value;
        let spec = OpenSpec::new(golden.config);
        let error = match engines()[0].open(DeviceId(0), &spec, &golden.tensors) {
            Ok(_) => panic!("{name} {key}: it opened"),
            Err(error) => error.to_string(),
        };
        let named = error.contains(key) || error.contains("`dim`");
        assert!(named, "{name} {key}: {error}");
    }
}

/// Opens the tiny encoder with a key of its configuration set, and one of its tensors renamed.
fn refusal(key: &str, value: serde_json::Value, renamed: Option<(&str, &str)>) -> String {
    let mut golden = Golden::read("bert");
    golden.config[key] = value;
    if let Some((from, to)) = renamed {
        let tensor = golden.tensors.0.remove(from).unwrap();
        golden.tensors.0.insert(to.into(), tensor);
    }
    let spec = OpenSpec::new(golden.config);
    match engines()[0].open(DeviceId(0), &spec, &golden.tensors) {
        Ok(_) => panic!("`{key}` was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn settings_that_would_change_vectors_are_refused() {
    for (key, value) in [
        ("hidden_act", json!("relu")),
        ("position_embedding_type", json!("relative_key")),
        ("is_decoder", json!(true)),
        ("pruned_heads", json!({"0": [1]})),
        ("num_attention_heads", json!(5)),
        ("rotary_fraction", json!(0.5)),
    ] {
        let error = refusal(key, value, None);
        let named = error.contains(key) || error.contains("hidden_size");
        assert!(named, "`{key}`: {error}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_all_named() {
    let moved = Some(("embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta"));
    let error = refusal("use_cache", json!(true), moved);
    assert!(error.contains("LayerNorm.bias` [32] is missing"), "{error}");
    assert!(error.contains("LayerNorm.beta` is not a tensor"), "{error}");
}

/// A checkpoint with a head on top names its encoder, and old ones hold the positions themselves.
#[test]
fn an_encoder_below_another_name_is_the_same() {
    let mut golden = Golden::read("bert");
    let cases = golden.folder.join("cases.json");
    let named = golden.tensors.0.into_iter().map(|(name, tensor)| (format!("bert.{name}"), tensor));
    golden.tensors.0 = named.collect();
    check_vectors("bert", golden.open(&engines()[0]).as_mut(), &cases, &ALL);
}
