//! What an update is, however its rows are spread.

use fidelio_backend::{BigramSession, Clip, OptimizerSpec, Session, Trains};
use fidelio_trainer::{Evaluate, Example, HeldOut, TrainPlan, Trainer, Workload};

use crate::{Log, example, held_out, parameters, plan, rows, session};

/// Trains without evaluation or checkpoints.
fn train(plan: &TrainPlan, rows: &[Example]) -> (Log, BigramSession) {
    let plan = TrainPlan { plateau: None, ..plan.clone() };
    let (mut log, mut session) = (Log::default(), session());
    Trainer::new(plan, &mut session, rows, None, None, &mut log).unwrap().run().unwrap();
    (log, session)
}

fn plain_sgd() -> OptimizerSpec {
    OptimizerSpec::Sgd { momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
}

#[test]
fn it_overfits_one_batch() {
    let rows = [example(&[1, 2, 3, 4], 1), example(&[5, 6, 7, 8], 1)];
    let mut plan = TrainPlan { updates: 60, gradient_accumulation_steps: 2, ..plan() };
    plan.learn.clip = Clip::None;
    plan.learn.optimizer = plain_sgd();
    plan.learning_rate = 20.0;
    let (log, mut session) = train(&plan, &rows);
    let steps = log.steps();
    assert!((steps[0].loss - 16_f64.ln()).abs() < 1e-5, "it begins with a guess");
    assert!(steps[59].loss < 0.05, "{:?}", steps[59]);
    let mut held_out = HeldOut::new(&rows, None, 8, 100, 1).unwrap();
    assert!(held_out.evaluate(&mut session).unwrap().metric < 0.05);
}

#[test]
fn eight_times_one_row_is_once_eight_rows() {
    let of = |batch_size, gradient_accumulation_steps| {
        let plan = TrainPlan { batch_size, gradient_accumulation_steps, ..plan() };
        let (log, session) = train(&plan, &rows());
        (parameters(&session), session.probe().accumulated(), log.steps())
    };
    let (a, a_calls, a_steps) = of(8, 1);
    let (b, b_calls, b_steps) = of(1, 8);
    assert_eq!(a, b);
    assert_eq!((a_calls, b_calls), (10, 55), "windows of 8 and of 3 rows, five times");
    for (a, b) in a_steps.iter().zip(&b_steps) {
        assert!((a.loss - b.loss).abs() < 1e-9);
        assert_eq!((a.tokens_learnt, a.update), (b.tokens_learnt, b.update));
    }
}

#[test]
fn rows_keep_their_numbers_within_the_update() {
    let plan = TrainPlan { updates: 2, batch_size: 4, gradient_accumulation_steps: 2, ..plan() };
    let (_, session) = train(&plan, &rows());
    assert_eq!(session.probe().rows(), [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2]);
}

#[test]
fn the_last_window_of_an_epoch_is_averaged_over_its_own_rows() {
    let rows = rows();
    let mut plan = TrainPlan { updates: 2, batch_size: 4, shuffle: false, ..plan() };
    plan.gradient_accumulation_steps = 2;
    plan.learn.optimizer = plain_sgd();
    let (log, ragged) = train(&plan, &rows);
    let told: Vec<_> = log.steps().iter().map(|step| (step.tokens_learnt, step.epoch)).collect();
    assert_eq!(told, [(24, 8.0 / 11.0), (9, 1.0)]);
    // The first update is at a rate of 0, so the second is as if there were no other rows.
    let (_, alone) = train(&plan, &rows[8..]);
    assert_eq!(parameters(&ragged), parameters(&alone));
    assert!(parameters(&ragged).iter().any(|value| *value != 0.0));
}

#[test]
fn shared_beginnings_are_separate_rows_computed_once() {
    let of = |share_beginnings| {
        let plan = TrainPlan { batch_size: 3, share_beginnings, ..plan() };
        let (log, session) = train(&plan, &rows());
        let computed: u64 = log.steps().iter().map(|step| step.tokens_computed).sum();
        assert_eq!(computed, session.probe().tokens());
        let learnt: u64 = log.steps().iter().map(|step| step.tokens_learnt).sum();
        (parameters(&session), learnt, computed)
    };
    let (apart, apart_learnt, apart_computed) = of(None);
    let (shared, shared_learnt, shared_computed) = of(Some(1));
    assert_eq!(apart, shared);
    assert_eq!(apart_learnt, shared_learnt);
    assert!(shared_computed < apart_computed, "{shared_computed} of {apart_computed}");
}

#[test]
fn a_row_that_is_there_twice_counts_twice() {
    let (a, b) = (example(&[1, 2, 3], 2), example(&[1, 2, 4], 2));
    let rows = [a.clone(), a, b];
    let of = |share_beginnings| {
        let plan = TrainPlan { batch_size: 3, updates: 1, share_beginnings, ..plan() };
        let mut plan = TrainPlan { gradient_accumulation_steps: 1, ..plan };
        plan.schedule.warmup_updates = 0;
        plan.learn.clip = Clip::None;
        parameters(&train(&plan, &rows).1)
    };
    let shared = of(Some(1));
    assert_eq!(shared, of(None));
    // The gradient after token 2 is p - [share of each answer]: -29/48, -13/48.
    let (twice, once) = (shared[2 * 16 + 3], shared[2 * 16 + 4]);
    assert!((twice - 2.0 * (2.0 / 3.0 - 1.0 / 16.0)).abs() < 1e-6, "{twice}");
    assert!((once - 2.0 * (1.0 / 3.0 - 1.0 / 16.0)).abs() < 1e-6, "{once}");
}

#[test]
fn an_adapter_learns_and_the_model_under_it_stays() {
    let (mut session, rows, mut log) = (session(), rows(), Log::default());
    let lora = r#"{ "type": "lora", "r": 1, "lora_alpha": 1.0, "target_modules": "all-linear" }"#;
    let adapter = session.add_adapter(&serde_json::from_str(lora).unwrap(), None).unwrap();
    let mut plan = TrainPlan { updates: 60, plateau: None, ..plan() };
    plan.learn.trains = Trains::Adapter(adapter);
    Trainer::new(plan, &mut session, &rows, None, None, &mut log).unwrap().run().unwrap();
    let mut loss = |adapter| {
        let mut held_out = HeldOut::new(&rows, adapter, 8, 100, 1).unwrap();
        held_out.evaluate(&mut session).unwrap().metric
    };
    assert!((loss(None) - 16_f64.ln()).abs() < 1e-5, "it still guesses");
    assert!(loss(Some(adapter)) < 2.0, "{}", loss(Some(adapter)));
}

#[test]
fn held_out_loss_does_not_depend_on_batches() {
    let (_, mut session) = train(&plan(), &rows());
    let mut loss = |budget, min_shared| {
        let mut held_out = HeldOut::new(&rows(), None, 8, budget, min_shared).unwrap();
        held_out.evaluate(&mut session).unwrap()
    };
    let (all, few, alone) = (loss(1000, 1), loss(9, 1), loss(1, 100));
    assert!((all.metric - few.metric).abs() < 1e-9);
    assert!((all.metric - alone.metric).abs() < 1e-9);
    assert!((all.values["perplexity"] - all.metric.exp()).abs() < 1e-12);
    let others = held_out().evaluate(&mut session).unwrap().metric;
    assert!((all.metric - others).abs() > 1e-3, "other rows have another loss");
}

#[test]
fn the_rate_follows_the_schedule() {
    let (log, _) = train(&plan(), &rows());
    let rates: Vec<f64> = log.steps().iter().map(|step| step.learning_rate).collect();
    assert_eq!(rates[..4], [0.0, 1.0, 2.0, 1.75]);
}

#[test]
fn a_seed_decides_a_run_to_the_bit_and_another_seed_is_another_run() {
    let of = |seed| {
        let (log, session) = train(&TrainPlan { seed, ..plan() }, &rows());
        (parameters(&session), log.steps())
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7).0, of(8).0);
}

/// A long row at the end of the data is no surprise: the workload that is measured before the first
/// update holds it.
#[test]
fn the_largest_batch_is_known_before_the_first_update_wherever_it_comes() {
    let mut rows = rows();
    rows.push(example(&[1, 2, 3, 4, 5, 6, 7, 8], 1));
    for (batch_size, shuffle) in [(2, false), (1, true)] {
        let plan = TrainPlan { shuffle, batch_size, updates: 30, ..plan() };
        let plan = TrainPlan { gradient_accumulation_steps: 1, ..plan };
        let known = Workload::of(&plan, &rows).largest.forest.tokens.len() as u64;
        let (log, _) = train(&plan, &rows);
        let computed: Vec<u64> = log.steps().iter().map(|step| step.tokens_computed).collect();
        assert_eq!(computed.iter().max(), Some(&known), "rows at once: {batch_size}");
        assert!(computed[0] < known, "it does not come first");
    }
}
