//! Runs on a session that really learns, in milliseconds.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod ending;
mod failing;
mod learning;
mod resuming;
mod schedules;

use std::{collections::BTreeMap, error::Error, path::Path};

use fidelio_backend::{
    BackendError, BigramSession, FakeLimits, Learn, Part, Session, TensorSink, TensorView,
};
use fidelio_trainer::{
    Checkpoints, Evaluate, Event, Example, Flow, HeldOut, Measured, Observer, Step, TrainPlan,
};

/// A plan of ten updates, three rows each, on an optimizer with state.
pub fn plan() -> TrainPlan {
    let plan = serde_json::json!({
        "updates": 10, "batch_size": 1, "gradient_accumulation_steps": 3,
        "shuffle": true, "seed": 7, "learning_rate": 2.0,
        "schedule": { "warmup_updates": 2, "decay": { "type": "linear" } },
        "plateau": { "watch": "training_loss", "patience": 0, "rate": 0.5, "times": 3 },
        "learn": { "trains": "all", "seed": 7, "clip": { "global_norm": 0.3 }, "optimizer":
            { "type": "sgd", "momentum": 0.8, "dampening": 0.0, "weight_decay": 0.01,
              "nesterov": false } },
        "share_beginnings": null, "evaluate_every": 2, "checkpoint_every": 100,
        "early_stop": null, "validation_metric": "loss", "goal": "minimize", "model_soup": null
    });
    serde_json::from_value(plan).unwrap()
}

/// Eleven rows, so that neither micro-batches nor windows come out even.
pub fn rows() -> Vec<Example> {
    (0..11_u32).map(|i| example(&[1, 2, 3 + i % 4, 7 + i % 5, 3 + i % 3], 2)).collect()
}

pub fn example(ids: &[u32], learnt_from: usize) -> Example {
    let learn = (0..ids.len()).map(|i| i >= learnt_from).collect();
    Example { ids: ids.to_vec(), learn }
}

pub fn session() -> BigramSession {
    BigramSession::new(FakeLimits { vocabulary: 16, context: 8, ..FakeLimits::default() })
}

pub fn held_out() -> HeldOut {
    HeldOut::new(&rows()[..4], None, 8, 6, 1).unwrap()
}

pub fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::new(folder.join("checkpoints"), 2)
}

/// Keeps what it is told, and says stop at an update.
#[derive(Debug, Default)]
pub struct Log {
    pub events: Vec<Event>,
    pub stop_at: Option<u64>,
}

impl Log {
    pub fn stopping_at(update: u64) -> Self {
        Self { stop_at: Some(update), ..Self::default() }
    }

    pub fn steps(&self) -> Vec<Step> {
        let step = |event: &Event| match event {
            Event::Step(step) => Some(Step { seconds: 0.0, ..*step }),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    pub fn metrics(&self) -> Vec<f64> {
        let metric = |event: &Event| match event {
            Event::Evaluated(evaluated) => Some(evaluated.metric),
            _ => None,
        };
        self.events.iter().filter_map(metric).collect()
    }
}

impl Observer for Log {
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
        self.events.push(event.clone());
        match event {
            Event::Step(step) if Some(step.update) == self.stop_at => Ok(Flow::Stop),
            _ => Ok(Flow::Continue),
        }
    }
}

/// Finds one value after the other, whatever the model.
#[derive(Debug)]
pub struct Scripted(pub std::vec::IntoIter<f64>);

impl Scripted {
    pub fn new(values: &[f64]) -> Self {
        Self(Vec::from(values).into_iter())
    }
}

impl Evaluate for Scripted {
    fn evaluate(&mut self, _: &mut dyn Session) -> Result<Measured, Box<dyn Error + Send + Sync>> {
        let metric = self.0.next().ok_or("the script is over")?;
        Ok(Measured { metric, values: BTreeMap::from([("worse".to_owned(), 1.0 - metric)]) })
    }
}

/// The parameters that a session holds.
pub fn parameters(session: &dyn Learn) -> Vec<f32> {
    struct Values(Vec<f32>);
    impl TensorSink for Values {
        fn put(&mut self, _: &str, tensor: TensorView) -> Result<(), BackendError> {
            let (values, _) = tensor.bytes.as_chunks::<4>();
            self.0.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            Ok(())
        }
    }
    let mut values = Values(Vec::new());
    session.save(Part::Parameters, &mut values).unwrap();
    values.0
}
