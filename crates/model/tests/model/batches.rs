//! What a run learns does not depend on how its rows are spread: several in one forest or each
//! alone, with common beginnings computed once or with every row.

use std::collections::BTreeMap;

use fidelio_backend::{AdapterSpec, LoraSpec, Part, Session, Trains, Weights};
use fidelio_trainer::{Event, Example, Flow, Observer, TrainPlan, Trainer};
use fidelio_weights::TensorBuffer;

use crate::{
    checkpoint::{Golden, engines},
    learning::floats,
};

/// Ragged rows; all but every third begin with the same ten tokens.
fn rows() -> Vec<Example> {
    let row = |i: u32| {
        let own = (0..3 + i % 5).map(|at| (7 * i + 5 * at + i * at) % 96);
        let ids: Vec<u32> = match i % 3 {
            0 => own.collect(),
            _ => (20..30).chain(own).collect(),
        };
        let answer = ids.len() - 2;
        let learn = (0..ids.len()).map(|at| at >= answer).collect();
        Example { ids, learn }
    };
    (0..16).map(row).collect()
}

fn plan(optimizer: &serde_json::Value, rate: f64, trains: Trains) -> TrainPlan {
    let plan = serde_json::json!({
        "updates": 20, "batch_size": 8, "gradient_accumulation_steps": 1,
        "shuffle": true, "seed": 7, "learning_rate": rate,
        "schedule": { "warmup_updates": 2, "decay": { "type": "linear" } }, "plateau": null,
        "learn": { "trains": trains, "seed": 7, "clip": { "global_norm": 0.5 },
            "optimizer": optimizer },
        "share_beginnings": null, "evaluate_every": 100, "checkpoint_every": 100,
        "early_stop": null, "validation_metric": "loss", "goal": "minimize", "model_soup": null
    });
    serde_json::from_value(plan).unwrap()
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn std::error::Error + Send + Sync>> {
        if let Event::Step(step) = event {
            self.0.push(step.loss);
        }
        Ok(Flow::Continue)
    }
}

/// Losses of every update, and what was learnt.
type Learnt = (Vec<f64>, BTreeMap<String, Vec<f32>>);

fn learn(session: &mut dyn Session, plan: TrainPlan) -> Learnt {
    let mut losses = Losses::default();
    Trainer::new(plan, session, &rows(), None, None, &mut losses).unwrap().run().unwrap();
    let mut learnt = TensorBuffer::new();
    session.learning().unwrap().save(Part::Parameters, &mut learnt).unwrap();
    let named = |name: String| (name.clone(), floats(&learnt.get(&name).unwrap()));
    (losses.0, learnt.names().into_iter().map(named).collect())
}

/// The ways to compute the same updates: rows at once, batches per update, tokens from which a
/// common beginning is computed once.
const WAYS: [(usize, usize, Option<usize>); 4] =
    [(1, 8, None), (8, 1, None), (8, 1, Some(8)), (4, 2, Some(8))];

fn check(optimizer: &serde_json::Value, rate: f64, far: f32, losses_apart: f64) {
    let golden = Golden::read("llama");
    let lora = r#"{ "r": 4, "lora_alpha": 8.0, "target_modules": "all-linear", "seed": 3 }"#;
    let lora: LoraSpec = serde_json::from_str(lora).unwrap();
    for backend in engines() {
        for adapted in [true, false] {
            let mut one_by_one: Option<Learnt> = None;
            for (batch_size, gradient_accumulation_steps, share_beginnings) in WAYS {
                let mut session = golden.open(&backend);
                let trains = if adapted {
                    let spec = AdapterSpec::Lora(lora.clone());
                    Trains::Adapter(session.add_adapter(&spec, None).unwrap())
                } else {
                    Trains::All
                };
                let plan = TrainPlan {
                    batch_size,
                    gradient_accumulation_steps,
                    share_beginnings,
                    ..plan(optimizer, rate, trains)
                };
                let found = learn(session.as_mut(), plan);
                let Some(expected) = &one_by_one else {
                    assert!(found.0[19] < found.0[0] - 1e-3, "nothing is learnt: {:?}", found.0);
                    one_by_one = Some(found);
                    continue;
                };
                let at = format!(
                    "{} {optimizer}, adapter {adapted}, {batch_size} × \
                     {gradient_accumulation_steps}, shared {share_beginnings:?}",
                    backend.name()
                );
                for (update, (a, b)) in expected.0.iter().zip(&found.0).enumerate() {
                    assert!((a - b).abs() < losses_apart, "{at}, update {update}: {a}, {b}");
                }
                for (name, a) in &expected.1 {
                    let pairs = a.iter().zip(&found.1[name]);
                    let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most < far, "{at}, `{name}`: {most}");
                }
            }
        }
    }
}

#[test]
fn gradient_descent_ends_at_the_same_weights_however_rows_are_spread() {
    let sgd = serde_json::json!({ "type": "sgd", "momentum": 0.0, "dampening": 0.0,
        "weight_decay": 0.0, "nesterov": false });
    check(&sgd, 0.1, 1e-6, 1e-5);
}

/// AdamW divides by small numbers, so weights may differ by more than losses do.
#[test]
fn adamw_has_the_same_losses_however_rows_are_spread() {
    let adamw = serde_json::json!({ "type": "adamw", "betas": [0.9, 0.999], "eps": 1e-8,
        "weight_decay": 0.01, "amsgrad": false });
    check(&adamw, 1e-3, f32::INFINITY, 1e-4);
}
