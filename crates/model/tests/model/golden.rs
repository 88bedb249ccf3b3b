//! Logits and losses of tiny checkpoints, as transformers computes them
//! (`tests/make_goldens.py`), from its own files and from those that llama.cpp's converter makes of
//! them (`tests/make_ggufs.py`).

use std::collections::BTreeMap;

use fidelio_backend::{
    Ask, Backend as _, Batch, DeviceId, Encoding, OpenSpec, Parent, RowStep, RowTo, Session, Shape,
    Target, TensorSink as _, TensorView, Want, Wanted,
};
use fidelio_weights::Checkpoint;
use serde::Deserialize;

use crate::checkpoint::{Golden, NAMES, engines};

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) ids: Vec<u32>,
    pub(crate) logits: BTreeMap<usize, Vec<f32>>,
    mean_nll: Option<f32>,
}

#[test]
fn logits_and_losses_equal_transformers() {
    for backend in engines() {
        for name in NAMES {
            let golden = Golden::read(name);
            let at = format!("{name} on {}", backend.name());
            check(&at, &golden, golden.open(&backend).as_mut());
        }
    }
}

#[test]
fn ggufs_of_the_same_weights_give_the_same() {
    let backend = engines().remove(0);
    let goldens: Vec<Golden> = NAMES.iter().map(|name| Golden::read(name)).collect();
    let with_gguf: Vec<(&Golden, Checkpoint)> = goldens
        .iter()
        .filter_map(|golden| {
            let file = golden.folder.join("model.gguf");
            file.exists().then(|| (golden, Checkpoint::open(&file).unwrap()))
        })
        .collect();
    assert_eq!(with_gguf.len(), 10);
    for (golden, gguf) in with_gguf {
        let at = gguf.path().display().to_string();
        let spec = OpenSpec::new(gguf.config().clone());
        let mut session = backend
            .open(DeviceId(0), &spec, gguf.weights())
            .unwrap_or_else(|error| panic!("{at}: {error}"));
        check(&at, golden, session.as_mut());
    }
}

/// GPT-2's own checkpoints lack where their names stand, and have masks as tensors.
#[test]
fn a_gpt2_of_inner_names_is_the_same() {
    let golden = Golden::read("gpt2");
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = fidelio_weights::TensorBuffer::new();
    for (name, tensor) in &golden.tensors.0 {
        let inner = name.strip_prefix("transformer.").unwrap();
        tensors.put(inner, tensor.clone()).unwrap();
    }
    let mask =
        TensorView { encoding: Encoding::F32, shape: vec![1, 1, 2, 2], bytes: vec![0; 16].into() };
    tensors.put("h.1.attn.bias", mask).unwrap();
    tensors.write(&folder.path().join("model.safetensors")).unwrap();
    std::fs::copy(golden.folder.join("config.json"), folder.path().join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let spec = OpenSpec::new(checkpoint.config().clone());
    let backend = engines().remove(0);
    let mut session = backend.open(DeviceId(0), &spec, checkpoint.weights()).unwrap();
    check("inner names", &golden, session.as_mut());
}

fn check(at: &str, golden: &Golden, session: &mut dyn Session) {
    let cases = std::fs::read(golden.folder.join("cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    for case in cases {
        let at = format!("{at}, {} tokens", case.ids.len());
        check_logits(&at, session, &case);
        check_loss(&at, session, &case);
    }
}

/// The logits at every position of a row.
pub(crate) fn full_logits(session: &mut dyn Session, ids: &[u32]) -> Vec<Vec<f32>> {
    let wanted = Wanted::All(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: ids, adapter: None, wanted };
    let answer = session.extend(&[step]).unwrap().remove(0);
    session.truncate(answer.row, 0).unwrap();
    let full = |logits| match logits {
        fidelio_backend::Logits::Full(logits) => logits,
        fidelio_backend::Logits::Top { .. } => panic!("full logits were asked for"),
    };
    answer.logits.into_iter().map(full).collect()
}

fn check_logits(at: &str, session: &mut dyn Session, case: &Case) {
    let found = full_logits(session, &case.ids);
    for (&position, expected) in &case.logits {
        for (i, (found, expected)) in found[position].iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                "{at}, position {position}, logit {i}: {found}, transformers {expected}"
            );
        }
    }
}

fn check_loss(at: &str, session: &mut dyn Session, case: &Case) {
    let Some(expected) = case.mean_nll else { return };
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &case.ids);
    batch.targets = case.ids[1..]
        .iter()
        .zip(0..)
        .map(|(&token, at)| Target { at, ask: Ask::Token(token), weight: 1.0, group: 0 })
        .collect();
    let scores = session.score(&batch, Want::default()).unwrap().scores;
    let found = -scores.iter().map(|score| score.logprob).sum::<f32>() / scores.len() as f32;
    assert!((found - expected).abs() < 1e-4, "{at}: loss {found}, transformers {expected}");
}
