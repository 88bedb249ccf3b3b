//! What the C border adds to a decoding step: one row, one token, the logits of a vocabulary.
//!
//! The engine is one that computes nothing, so that what is left is the call itself: built in, and
//! behind the table of a plugin. Set the difference against a step of the engine in question
//! (`fidelio generate --json` tells its rate).
#![allow(missing_docs, reason = "criterion's macros make public items without any")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fidelio_backend::{
    Answer, Answers, Backend, BackendError, BackendInfo, Batch, Capacity, DeviceId, DeviceInfo,
    Logits, OpenSpec, Precision, RowId, RowStep, RowTo, Scores, Session, Shape, TensorView, Verb,
    Want, Wanted, Weights,
};
use fidelio_plugin::{PluginBackend, abi, plugin_table};

/// As SmolLM2 has it.
const VOCABULARY: usize = 49_152;

/// An engine whose logits are there already.
struct Ready;

impl Backend for Ready {
    fn describe(&self) -> BackendInfo {
        BackendInfo {
            name: "ready".to_owned(),
            about: "logits that nobody computed".to_owned(),
            devices: vec![DeviceInfo { id: DeviceId(0), name: "none".to_owned(), memory: None }],
            precisions: vec![Precision::F32],
            verbs: vec![Verb::Extend],
        }
    }

    fn open(
        &self,
        _: DeviceId,
        _: &OpenSpec,
        _: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        Ok(Box::new(Logit(vec![0.5; VOCABULARY])))
    }
}

struct Logit(Vec<f32>);

impl Session for Logit {
    fn capacity(&self) -> Capacity {
        Capacity { vocabulary: VOCABULARY, context: 1 << 20, rows: 1, tokens: 1 << 20 }
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        let answer = |step: &RowStep<'_>| {
            let logits = match step.wanted {
                Wanted::Last(Shape::Full) => vec![Logits::Full(self.0.clone())],
                Wanted::Last(Shape::Top { k, .. }) => {
                    let entries = (0..k as u32).map(|id| (id, 0.5)).collect();
                    vec![Logits::Top { entries, logsumexp: 0.0 }]
                }
                _ => Vec::new(),
            };
            Answer { row: RowId(0), logits }
        };
        Ok(steps.iter().map(answer).collect())
    }

    fn fork(&mut self, _: RowId) -> Result<RowId, BackendError> {
        Err(BackendError::Verb(Verb::Fork))
    }

    fn truncate(&mut self, _: RowId, _: usize) -> Result<(), BackendError> {
        Err(BackendError::Verb(Verb::Truncate))
    }

    fn score(&mut self, _: &Batch, _: Want) -> Result<Scores, BackendError> {
        Err(BackendError::Verb(Verb::Score))
    }
}

/// No tensors.
struct Empty;

impl Weights for Empty {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        Err(BackendError::Engine(format!("`{name}` is not there")))
    }
}

#[allow(unsafe_code, reason = "a table that is linked in is believed, not loaded")]
fn behind_the_border() -> PluginBackend {
    static TABLE: abi::PluginTable = plugin_table!(|| Ready);
    // SAFETY: the macro's functions keep the border's rules.
    unsafe { PluginBackend::of_table("ready", &TABLE) }.expect("the table is whole")
}

fn decode(bench: &mut Criterion) {
    let plugin = behind_the_border();
    let engines: [(&str, &dyn Backend); 2] = [("built in", &Ready), ("plugin", &plugin)];
    let shapes = [("all logits", Shape::Full), ("top 40", Shape::Top { k: 40, also: &[] })];
    for (what, shape) in shapes {
        let mut group = bench.benchmark_group(format!("plugin_call/{what}"));
        for (name, engine) in engines {
            let spec = OpenSpec::new(serde_json::Value::Null);
            let mut session = engine.open(DeviceId(0), &spec, &Empty).expect("it opens anything");
            let row = RowTo::Row(RowId(0));
            let wanted = Wanted::Last(shape);
            let steps = [RowStep { row, tokens: &[7], adapter: None, wanted }];
            group.bench_function(name, |bencher| {
                bencher.iter(|| session.extend(black_box(&steps)).expect("nothing can fail"));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
