//! The same rows, the same adapter, the same order: every loss is PEFT's (`make_peft_trace.py`).

use std::path::Path;

use fidelio::{
    Model, Opening,
    backend::{AdapterId, Clip, LearnSpec, OptimizerSpec, Session, Trains},
    trainer::{
        Decay, Evaluate, Event, Example, Flow, Goal, HeldOut, Observer, Schedule, TrainPlan,
        Trainer,
    },
    weights,
};
use serde::Deserialize;

use crate::{default_model, machine};

#[derive(Deserialize)]
struct Trace {
    learning_rate: f64,
    weight_decay: f64,
    clip: f64,
    rows_per_update: usize,
    rows: Vec<Row>,
    held_out: Vec<Row>,
    losses: Vec<f64>,
    held_out_loss: f64,
}

#[derive(Deserialize)]
struct Row {
    ids: Vec<u32>,
    prompt: usize,
}

fn examples(rows: &[Row]) -> Vec<Example> {
    let example = |row: &Row| Example {
        ids: row.ids.clone(),
        learn: (0..row.ids.len()).map(|i| i >= row.prompt).collect(),
    };
    rows.iter().map(example).collect()
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

fn plan(trace: &Trace, adapter: AdapterId) -> TrainPlan {
    let optimizer = OptimizerSpec::Adamw {
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: trace.weight_decay,
        amsgrad: false,
    };
    TrainPlan {
        updates: trace.losses.len() as u64,
        batch_size: trace.rows_per_update,
        gradient_accumulation_steps: 1,
        shuffle: false,
        seed: 0,
        learning_rate: trace.learning_rate,
        schedule: Schedule { warmup_updates: 0, decay: Decay::None },
        plateau: None,
        learn: LearnSpec {
            trains: Trains::Adapter(adapter),
            frozen: Vec::new(),
            optimizer,
            lora_plus_ratio: None,
            clip: Clip::GlobalNorm(trace.clip),
            neftune_alpha: 0.0,
            seed: 0,
            checkpoint_blocks: false,
        },
        share_beginnings: Some(2),
        evaluate_every: 1000,
        checkpoint_every: 1000,
        early_stop: None,
        validation_metric: "loss".to_owned(),
        goal: Goal::Minimize,
        model_soup: None,
    }
}

#[test]
fn losses_are_those_of_peft() {
    let Some(path) = default_model("losses_are_those_of_peft") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/facade/peft_trace");
    let trace = std::fs::read(folder.join("trace.json")).unwrap();
    let trace: Trace = serde_json::from_slice(&trace).unwrap();
    let machine = machine();
    let model = Model::find(&machine, path.to_str().unwrap(), &weights::Silent).unwrap();
    let device = machine.device("flex").unwrap();
    let (mut session, adapter) = model
        .open_adapted(&device, &Opening::default(), &fidelio_weights::peft::open(&folder).unwrap())
        .unwrap();

    let rows = examples(&trace.rows);
    let mut losses = Losses::default();
    let plan = plan(&trace, adapter);
    let trainer = Trainer::new(plan, session.as_mut(), &rows, None, None, &mut losses).unwrap();
    trainer.run().unwrap();
    for (i, (found, expected)) in losses.0.iter().zip(&trace.losses).enumerate().take(20) {
        assert!((found / expected - 1.0).abs() < 1e-3, "update {i}: {found}, PEFT {expected}");
    }
    let found = held_out(session.as_mut(), &examples(&trace.held_out), adapter);
    let expected = trace.held_out_loss;
    assert!((found / expected - 1.0).abs() < 1e-2, "held out: {found}, PEFT {expected}");
}

fn held_out(session: &mut dyn Session, rows: &[Example], adapter: AdapterId) -> f64 {
    let mut held_out = HeldOut::new(rows, Some(adapter), 512, 512, 2).unwrap();
    held_out.evaluate(session).unwrap().metric
}
