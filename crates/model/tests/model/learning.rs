//! Losses and gradients of tiny checkpoints, as PyTorch and PEFT compute them
//! (`tests/make_goldens.py`). A gradient is what plain gradient descent takes off a parameter.

use std::{collections::BTreeMap, path::Path};

use fidelio_backend::{
    AdapterId, AdapterSpec, Ask, Backend as _, BackendError, Batch, Clip, DeviceId, LearnSpec,
    Logits, LoraSpec, OpenSpec, OptimizerSpec, Parent, Part, RowStep, RowTo, Session, Shape,
    Target, TensorSink, TensorView, Trains, Wanted,
};
use fidelio_weights::{Checkpoint, peft};
use serde::Deserialize;

use crate::checkpoint::{Golden, NAMES, Tensors, engines, tensors_of};

/// Gradients in 32 bits must agree with those in 64 to this share of their tensor's largest entry.
const TOLERANCE: f32 = 2e-5;
/// The rate of the one step: large, so that rounding in the parameter does not count.
const RATE: f64 = 64.0;

#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) rows: Vec<Row>,
    pub(crate) loss: f64,
}

#[derive(Deserialize)]
pub(crate) struct Row {
    ids: Vec<u32>,
    targets: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    at: u32,
    token: u32,
    weight: f32,
}

#[derive(Deserialize)]
pub(crate) struct Adapted {
    pub(crate) ids: Vec<u32>,
    pub(crate) loss: f64,
}

#[derive(Default)]
struct Saved(BTreeMap<String, Vec<f32>>);

impl TensorSink for Saved {
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
        self.0.insert(name.into(), floats(&tensor));
        Ok(())
    }
}

pub(crate) fn floats(tensor: &TensorView) -> Vec<f32> {
    let (numbers, _) = tensor.bytes.as_chunks::<4>();
    numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Three ways to lay the same rows: alone, side by side, and with their common beginning shared.
pub(crate) fn layouts(rows: &[Row], adapter: Option<AdapterId>) -> [(&'static str, Vec<Batch>); 3] {
    let plant = |batch: &mut Batch, row: &Row, parent: Parent, from: usize| {
        let node = batch.forest.push(parent, &row.ids[from..]);
        let start = batch.forest.nodes[node as usize].start;
        for asked in &row.targets {
            let at = start + asked.at - from as u32;
            let ask = Ask::Token(asked.token);
            batch.targets.push(Target { at, ask, weight: asked.weight, group: 0 });
        }
        batch.forest.adapter = adapter;
    };
    let alone = rows.iter().map(|row| {
        let mut batch = Batch::default();
        plant(&mut batch, row, Parent::Root, 0);
        batch
    });
    let mut packed = Batch::default();
    for row in rows {
        plant(&mut packed, row, Parent::Root, 0);
    }
    let mut shared = Batch::default();
    let common = rows[0].ids.iter().zip(&rows[1].ids).take_while(|(a, b)| a == b).count();
    assert_eq!(common, 8, "two rows begin alike");
    let root = shared.forest.push(Parent::Root, &rows[0].ids[..common]);
    for row in &rows[..2] {
        plant(&mut shared, row, Parent::Node(root), common);
    }
    plant(&mut shared, &rows[2], Parent::Root, 0);
    [("alone", alone.collect()), ("packed", vec![packed]), ("shared", vec![shared])]
}

pub(crate) fn spec(trains: Trains, checkpoint_blocks: bool) -> LearnSpec {
    let optimizer =
        OptimizerSpec::Sgd { momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false };
    LearnSpec {
        trains,
        frozen: Vec::new(),
        optimizer,
        lora_plus_ratio: None,
        clip: Clip::None,
        neftune_alpha: 0.0,
        seed: 0,
        checkpoint_blocks,
    }
}

fn parameters(session: &mut dyn Session) -> BTreeMap<String, Vec<f32>> {
    let mut saved = Saved::default();
    session.learning().unwrap().save(Part::Parameters, &mut saved).unwrap();
    saved.0
}

/// Learns once from `batches`: the loss, and what it took off each parameter for a rate of 1.
pub(crate) fn learn_once(
    session: &mut dyn Session,
    spec: &LearnSpec,
    batches: &[Batch],
) -> (f64, BTreeMap<String, Vec<f32>>) {
    session.learn(spec).unwrap();
    let before = parameters(session);
    let learn = session.learning().unwrap();
    let loss = batches.iter().map(|batch| learn.accumulate(batch).unwrap().sum).sum();
    assert!(learn.update(RATE, 1.0).unwrap().applied);
    let after = parameters(session);
    let steps = before.into_iter().map(|(name, before)| {
        let steps = before.iter().zip(&after[&name]).map(|(b, a)| (b - a) / RATE as f32).collect();
        (name, steps)
    });
    (loss, steps.collect())
}

/// Learns once from `batches` and compares loss and gradients.
fn check(
    at: &str,
    session: &mut dyn Session,
    spec: &LearnSpec,
    batches: &[Batch],
    loss: f64,
    gradients: &BTreeMap<String, Vec<f32>>,
) {
    session.learn(spec).unwrap();
    let before = parameters(session);
    assert_eq!(before.keys().collect::<Vec<_>>(), gradients.keys().collect::<Vec<_>>(), "{at}");
    let learn = session.learning().unwrap();
    let found: f64 = batches.iter().map(|batch| learn.accumulate(batch).unwrap().sum).sum();
    assert!((found - loss).abs() < 1e-4, "{at}: loss {found}, PyTorch {loss}");
    assert!(learn.update(RATE, 1.0).unwrap().applied, "{at}");
    let after = parameters(session);
    for (name, expected) in gradients {
        let largest = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let steps = before[name].iter().zip(&after[name]).map(|(b, a)| (b - a) / RATE as f32);
        for (i, (found, expected)) in steps.zip(expected).enumerate() {
            // Half a unit in the last place of the parameter is no error of the gradient.
            let rounding =
                before[name][i].abs().max(after[name][i].abs()) * f32::EPSILON / RATE as f32;
            assert!(
                (found - expected).abs() <= TOLERANCE * largest + rounding,
                "{at}, `{name}`, {i}: {found}, PyTorch {expected}, largest {largest}"
            );
        }
    }
}

#[test]
fn gradients_of_every_parameter_equal_pytorch() {
    for backend in engines() {
        for name in NAMES {
            let golden = Golden::read(name);
            let expected: Expected = json(&golden.folder.join("gradients.json"));
            let gradients = tensors_of(&golden.folder.join("gradients.safetensors"));
            let gradients = gradients.0.iter().map(|(k, v)| (k.clone(), floats(v))).collect();
            for (how, batches) in layouts(&expected.rows, None) {
                for blocks in [false, true] {
                    let at = format!("{name} on {}, {how}, by blocks: {blocks}", backend.name());
                    let mut session = golden.open(&backend);
                    let spec = spec(Trains::All, blocks);
                    check(&at, session.as_mut(), &spec, &batches, expected.loss, &gradients);
                }
            }
        }
    }
}

/// An adapter's folder as PEFT wrote it.
pub(crate) fn adapter(folder: &Path) -> (AdapterSpec, Tensors) {
    let config: serde_json::Value = json(&folder.join("adapter_config.json"));
    let keys = [
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "bias",
        "use_rslora",
        "use_dora",
        "rank_pattern",
        "alpha_pattern",
    ];
    let spec: serde_json::Map<_, _> =
        keys.iter().map(|key| ((*key).to_owned(), config[key].clone())).collect();
    let spec: LoraSpec = serde_json::from_value(spec.into()).unwrap();
    (AdapterSpec::Lora(spec), Tensors(named(tensors_of(&folder.join("adapter_model.safetensors")))))
}

/// The seam's names of PEFT's tensors.
pub(crate) fn named(tensors: Tensors) -> BTreeMap<String, TensorView> {
    let strip = |name: &str| name.strip_prefix("base_model.model.").unwrap().to_owned();
    tensors.0.into_iter().map(|(name, tensor)| (strip(&name), tensor)).collect()
}

const KINDS: &[&str] = &["lora-plain", "lora-rslora", "lora-dora", "lora-patterns"];

/// Checkpoints with adapters of PEFT's, and which.
const ADAPTERS: [(&str, &[&str]); 6] = [
    ("llama", KINDS),
    ("llama-bias-llama3", KINDS),
    ("gemma2", &["lora-rslora"]),
    ("phi3", &["lora-fused"]),
    ("gpt2", &["lora-plain", "lora-dora"]),
    ("gpt-neox", &["lora-rslora"]),
];

#[test]
fn logits_and_gradients_of_adapters_equal_peft() {
    for backend in engines() {
        for (model, kinds) in ADAPTERS {
            let golden = Golden::read(model);
            let rows: Expected = json(&golden.folder.join("gradients.json"));
            for kind in kinds {
                let at = format!("{model} {kind} on {}", backend.name());
                let open = || golden.open(&backend);
                check_adapter(&at, &open, &golden.folder.join(kind), &rows.rows);
            }
        }
    }
}

/// Blocks that are used again have adapters of their own.
#[test]
fn adapters_beside_replicated_layers_equal_peft() {
    for backend in engines() {
        for model in ["llama", "llama-bias-llama3"] {
            let golden = Golden::read(model);
            let rows: Expected = json(&golden.folder.join("gradients.json"));
            let folder = golden.folder.join("lora-replicated");
            let AdapterSpec::Lora(lora) = peft::open(&folder).unwrap().spec else {
                panic!("PEFT wrote LoRA");
            };
            assert_eq!(lora.layer_replication, [[0, 2], [1, 2], [0, 1]]);
            let deeper = || {
                let checkpoint = Checkpoint::open(&golden.folder).unwrap();
                checkpoint.replicated(&lora.layer_replication).unwrap()
            };
            assert_eq!(deeper().config()["num_hidden_layers"], 4);
            let open = || {
                let (spec, deeper) = (OpenSpec::new(deeper().config().clone()), deeper());
                backend.open(DeviceId(0), &spec, deeper.weights()).unwrap()
            };
            let at = format!("{model} on {}", backend.name());
            check_adapter(&at, &open, &folder, &rows.rows);
        }
    }
}

/// Layers of other names would stay where they are.
#[test]
fn layers_of_other_names_are_not_replicated() {
    let checkpoint = Checkpoint::open(&Golden::read("gpt-neox").folder).unwrap();
    let error = checkpoint.replicated(&[[1, 2], [0, 1]]).unwrap_err().to_string();
    assert!(error.contains("a `gpt_neox` has none"), "{error}");
}

/// Logits and gradients of a folder's adapter, beside the model that `open` opens.
pub(crate) fn check_adapter(
    at: &str,
    open: &dyn Fn() -> Box<dyn Session>,
    folder: &Path,
    rows: &[Row],
) {
    let (spec_of_adapter, weights) = adapter(folder);
    let expected: Adapted = json(&folder.join("expected.json"));
    let mut tensors = tensors_of(&folder.join("expected.safetensors"));
    let logits = floats(&tensors.0.remove("logits").unwrap());
    let gradients = named(tensors).iter().map(|(name, x)| (name.clone(), floats(x))).collect();
    for blocks in [false, true] {
        let mut session = open();
        let id = session.add_adapter(&spec_of_adapter, Some(&weights)).unwrap();
        let at = format!("{at}, by blocks: {blocks}");
        check_logits(&at, session.as_mut(), &expected.ids, Some(id), &logits);
        for (how, batches) in layouts(rows, Some(id)) {
            let mut session = open();
            let id = session.add_adapter(&spec_of_adapter, Some(&weights)).unwrap();
            let at = format!("{at}, {how}");
            let spec = spec(Trains::Adapter(id), blocks);
            check(&at, session.as_mut(), &spec, &batches, expected.loss, &gradients);
        }
    }
}

pub(crate) fn check_logits(
    at: &str,
    session: &mut dyn Session,
    ids: &[u32],
    adapter: Option<AdapterId>,
    logits: &[f32],
) {
    let step = RowStep { row: RowTo::New, tokens: ids, adapter, wanted: Wanted::All(Shape::Full) };
    let found = session.extend(&[step]).unwrap().remove(0).logits;
    let found = found.iter().flat_map(|logits| match logits {
        Logits::Full(logits) => logits.clone(),
        Logits::Top { .. } => panic!("full logits were asked for"),
    });
    for (i, (found, expected)) in found.zip(logits).enumerate() {
        assert!((found - expected).abs() < 1e-4, "{at}, {i}: {found}, PEFT {expected}");
    }
}

/// A new adapter on the first tiny checkpoint, AdamW, and a batch to learn from.
fn begun() -> (Box<dyn Session>, Batch, AdapterId) {
    let backend = engines().remove(0);
    let golden = Golden::read("llama");
    let rows: Expected = json(&golden.folder.join("gradients.json"));
    let mut session = golden.open(&backend);
    let lora = serde_json::json!({"r": 4, "lora_alpha": 8.0, "target_modules": "all-linear"});
    let lora = AdapterSpec::Lora(serde_json::from_value(lora).unwrap());
    let id = session.add_adapter(&lora, None).unwrap();
    let optimizer =
        OptimizerSpec::Adamw { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01, amsgrad: false };
    let spec = LearnSpec { optimizer, ..spec(Trains::Adapter(id), false) };
    session.learn(&spec).unwrap();
    let [_, (_, mut packed), _] = layouts(&rows.rows, Some(id));
    (session, packed.remove(0), id)
}

fn learn(session: &mut dyn Session, batch: &Batch, updates: usize) -> f64 {
    let learn = session.learning().unwrap();
    let mut last = f64::NAN;
    for _ in 0..updates {
        let loss = learn.accumulate(batch).unwrap();
        learn.update(1e-2, loss.weight).unwrap();
        last = loss.mean();
    }
    last
}

#[test]
fn an_adapter_learns() {
    let (mut session, batch, _) = begun();
    let first = learn(session.as_mut(), &batch, 1);
    let last = learn(session.as_mut(), &batch, 150);
    // The frozen, tied head of a random model allows no more.
    assert!(first > 4.0 && last < first / 2.0, "{first} {last}");
}

#[test]
fn a_restored_session_goes_on_to_the_bit() {
    let (mut whole, batch, _) = begun();
    learn(whole.as_mut(), &batch, 3);
    let (mut resumed, _, _) = begun();
    for part in [Part::Parameters, Part::Optimizer] {
        let mut saved = Kept::default();
        whole.learning().unwrap().save(part, &mut saved).unwrap();
        resumed.learning().unwrap().restore(part, &saved.0).unwrap();
    }
    let losses = [&mut whole, &mut resumed].map(|s| learn(s.as_mut(), &batch, 3).to_bits());
    assert_eq!(losses[0], losses[1]);
    assert_eq!(parameters(whole.as_mut()), parameters(resumed.as_mut()));
}

#[derive(Default)]
struct Kept(Tensors);

impl TensorSink for Kept {
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
        self.0.0.insert(name.into(), tensor);
        Ok(())
    }
}

#[test]
fn an_update_closes_the_rows_that_used_what_it_changed() {
    let (mut session, batch, id) = begun();
    let open = |session: &mut dyn Session, adapter| {
        let step = RowStep { row: RowTo::New, tokens: &[1, 2], adapter, wanted: Wanted::Nothing };
        session.extend(&[step]).unwrap().remove(0).row
    };
    let (own, plain) = (open(session.as_mut(), Some(id)), open(session.as_mut(), None));
    learn(session.as_mut(), &batch, 1);
    assert!(matches!(session.fork(own), Err(BackendError::NoRow(_))));
    session.fork(plain).unwrap();
}

#[test]
fn what_cannot_be_learnt_from_is_refused_and_adds_nothing() {
    let (mut session, batch, _) = begun();
    let without = Batch {
        forest: fidelio_backend::Forest { adapter: None, ..batch.forest.clone() },
        ..batch.clone()
    };
    let learn = session.learning().unwrap();
    assert!(matches!(learn.accumulate(&without), Err(BackendError::Forest(_))));
    assert!(learn.update(0.1, 1.0).is_err(), "nothing was added");
    let unknown = Trains::Adapter(AdapterId(9));
    assert!(matches!(session.learn(&spec(unknown, false)), Err(BackendError::NoAdapter(_))));
    let frozen = LearnSpec { frozen: vec![".*".into()], ..spec(Trains::All, false) };
    assert!(session.learn(&frozen).is_err(), "nothing would learn");
}

/// Factors of the weights themselves as a start (`tests/make_principal.py`).
#[derive(Deserialize)]
struct Principal {
    lr: f64,
    ids: Vec<u32>,
    cases: Vec<PrincipalCase>,
}

#[derive(Deserialize)]
struct PrincipalCase {
    spec: serde_json::Value,
    energy: BTreeMap<String, f64>,
    losses: Vec<f64>,
    logits: Vec<f32>,
}

/// The squared norm of `scale · b · a`, by layer.
fn energies(factors: &BTreeMap<String, Vec<f32>>, spec: &LoraSpec) -> BTreeMap<String, f64> {
    let ranks = fidelio_backend::LoraRanks::new(spec).unwrap();
    let layers = factors.keys().filter_map(|name| name.strip_suffix(".lora_A.weight"));
    let energy = |layer: &str| {
        let (r, scale) = (ranks.rank(layer), ranks.scale(layer));
        let factor = |name: &str| &factors[&format!("{layer}.{name}.weight")];
        let (a, b) = (factor("lora_A"), factor("lora_B"));
        let inputs = a.len() / r;
        let rows = b.chunks(r).flat_map(|b| {
            (0..inputs).map(move |i| {
                let sum: f64 = (0..r).map(|k| f64::from(b[k]) * f64::from(a[k * inputs + i])).sum();
                (scale * sum).powi(2)
            })
        });
        rows.sum::<f64>()
    };
    layers.map(|layer| (layer.to_owned(), energy(layer))).collect()
}

#[test]
fn adapters_that_begin_with_factors_of_the_weights_learn_as_in_peft() {
    let golden = Golden::read("llama");
    let principal: Principal = json(&golden.folder.join("principal.json"));
    let rows: Expected = json(&golden.folder.join("gradients.json"));
    for backend in engines() {
        for case in &principal.cases {
            let at = format!("{} on {}", case.spec, backend.name());
            let lora: LoraSpec = serde_json::from_value(case.spec.clone()).unwrap();
            let mut session = golden.open(&backend);
            let own = last_logits(session.as_mut(), &principal.ids, None);
            let id = session.add_adapter(&AdapterSpec::Lora(lora.clone()), None).unwrap();
            let begun = last_logits(session.as_mut(), &principal.ids, Some(id));
            close(&format!("{at}, begun"), &begun, &own, 1e-4);
            session.learn(&spec(Trains::Adapter(id), false)).unwrap();
            let found = energies(&parameters(session.as_mut()), &lora);
            assert_eq!(found.keys().collect::<Vec<_>>(), case.energy.keys().collect::<Vec<_>>());
            for (layer, expected) in &case.energy {
                let found = found[layer];
                assert!((found / expected - 1.0).abs() < 1e-4, "{at}, {layer}: {found} {expected}");
            }
            let [(_, alone), ..] = layouts(&rows.rows, Some(id));
            for (update, expected) in case.losses.iter().enumerate() {
                let learn = session.learning().unwrap();
                let loss: f64 =
                    alone.iter().map(|batch| learn.accumulate(batch).unwrap().sum).sum();
                let near = (loss - expected).abs() < 1e-4 * expected;
                assert!(near, "{at}, update {update}: {loss}, PEFT {expected}");
                assert!(learn.update(principal.lr, 1.0).unwrap().applied, "{at}");
            }
            let learnt = last_logits(session.as_mut(), &principal.ids, Some(id));
            close(&format!("{at}, learnt"), &learnt, &case.logits, 2e-3);
        }
    }
}

fn last_logits(session: &mut dyn Session, ids: &[u32], adapter: Option<AdapterId>) -> Vec<f32> {
    let step = RowStep { row: RowTo::New, tokens: ids, adapter, wanted: Wanted::Last(Shape::Full) };
    let answer = session.extend(&[step]).unwrap().remove(0);
    session.truncate(answer.row, 0).unwrap();
    match answer.logits.into_iter().next() {
        Some(Logits::Full(logits)) => logits,
        other => panic!("full logits were asked for: {other:?}"),
    }
}

fn close(at: &str, found: &[f32], expected: &[f32], bound: f32) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < bound, "{at}, {i}: {found}, expected {expected}");
    }
}
