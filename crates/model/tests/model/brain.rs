//! Products of brain floats beside what transformers computes in 32 bits and PyTorch in 64: nearer
//! than the 8 bits of their factors allow to tell, and never the same.

use std::collections::BTreeMap;

use fidelio_backend::{
    AdapterId, Backend as _, DeviceId, OpenSpec, Precision, Session, Trains,
    contract::check_session,
};
use fidelio_model::BurnBackend;

use crate::{
    checkpoint::{Golden, engines, tensors_of},
    golden::{Case, full_logits},
    learning::{Adapted, Expected, adapter, floats, json, layouts, learn_once, named, spec},
};

/// A factor moves by 1/256 at most; sums of some tens of them by less.
const LOGITS: f32 = 0.015;
/// Two layers forward and backward.
const GRADIENTS: f32 = 0.03;

/// The checkpoints that these bounds were measured on.
const MEASURED: [&str; 4] = ["llama", "llama-bias-llama3", "llama-linear", "mistral"];

fn cpus() -> impl Iterator<Item = BurnBackend> {
    engines().into_iter().filter(|engine| matches!(engine.name(), "flex" | "ndarray"))
}

fn open(golden: &Golden, backend: &BurnBackend) -> Box<dyn Session> {
    let mut spec = OpenSpec::new(golden.config.clone());
    spec.precision = Precision::Bf16;
    backend.open(DeviceId(0), &spec, &golden.tensors).unwrap()
}

/// The size of the difference of two lists, as a share of the second's.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let size = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>().sqrt();
    let apart = size(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    apart / size(&mut expected.iter().copied())
}

#[test]
fn logits_are_near_those_of_transformers() {
    for backend in cpus() {
        for name in MEASURED {
            let golden = Golden::read(name);
            let mut session = open(&golden, &backend);
            for case in json::<Vec<Case>>(&golden.folder.join("cases.json")) {
                let found = full_logits(session.as_mut(), &case.ids);
                for (&position, expected) in &case.logits {
                    let distance = distance(&found[position], expected);
                    let at = format!("{name} on {}, position {position}", backend.name());
                    assert!(distance < LOGITS, "{at}: {distance}");
                    assert!(distance > 1e-5, "{at}: nothing was rounded");
                }
            }
        }
    }
}

#[test]
fn the_contract_holds() {
    for backend in cpus() {
        for name in MEASURED {
            let golden = Golden::read(name);
            check_session(&|| open(&golden, &backend), 2e-4);
        }
    }
}

/// Loss and gradients of three layouts of the same rows, each near PyTorch's.
fn check(
    at: &str,
    open: &dyn Fn() -> (Box<dyn Session>, Option<AdapterId>),
    expected: &Expected,
    loss: f64,
    gradients: &BTreeMap<String, Vec<f32>>,
    bound: f32,
) {
    for blocks in [false, true] {
        let adapter = open().1;
        for (how, batches) in layouts(&expected.rows, adapter) {
            let at = format!("{at}, {how}, by blocks: {blocks}");
            let trains = adapter.map_or(Trains::All, Trains::Adapter);
            let (found_loss, found) =
                learn_once(open().0.as_mut(), &spec(trains, blocks), &batches);
            let apart = (found_loss - loss).abs() / loss;
            assert!(apart < 0.01 && apart > 0.0, "{at}: loss {found_loss}, PyTorch {loss}");
            assert_eq!(found.keys().collect::<Vec<_>>(), gradients.keys().collect::<Vec<_>>());
            for (name, expected) in gradients {
                let distance = distance(&found[name], expected);
                assert!(distance < bound, "{at}, `{name}`: {distance}");
            }
        }
    }
}

#[test]
fn gradients_are_near_those_of_pytorch() {
    for backend in cpus() {
        for name in MEASURED {
            let golden = Golden::read(name);
            let expected: Expected = json(&golden.folder.join("gradients.json"));
            let gradients = tensors_of(&golden.folder.join("gradients.safetensors"));
            let gradients = gradients.0.iter().map(|(k, v)| (k.clone(), floats(v))).collect();
            let at = format!("{name} on {}", backend.name());
            let open = || (open(&golden, &backend), None);
            check(&at, &open, &expected, expected.loss, &gradients, GRADIENTS);
        }
    }
}

/// PEFT under PyTorch 2.15's `autocast(bfloat16)` is as far away as the numbers here, which are of
/// the tensor that moves most; half as much again is allowed, since each rounds in places of its own.
#[test]
fn gradients_of_adapters_are_as_near_to_those_of_peft_as_autocast_is() {
    for backend in cpus() {
        let golden = Golden::read("llama");
        let rows: Expected = json(&golden.folder.join("gradients.json"));
        for (kind, autocast) in
            [("lora-plain", 0.0257), ("lora-dora", 0.0205), ("lora-patterns", 0.0980)]
        {
            let folder = golden.folder.join(kind);
            let expected: Adapted = json(&folder.join("expected.json"));
            let mut tensors = tensors_of(&folder.join("expected.safetensors"));
            tensors.0.remove("logits");
            let gradients = named(tensors).iter().map(|(k, v)| (k.clone(), floats(v))).collect();
            let (of_adapter, weights) = adapter(&folder);
            let open = || {
                let mut session = open(&golden, &backend);
                let id = session.add_adapter(&of_adapter, Some(&weights)).unwrap();
                (session, Some(id))
            };
            let at = format!("{kind} on {}", backend.name());
            check(&at, &open, &rows, expected.loss, &gradients, 1.5 * autocast);
        }
    }
}
