//! What goes wrong is said, and loses nothing that was saved.

use std::error::Error;

use fidelio_backend::{BigramProbe, LearnSpec, OptimizerSpec};
use fidelio_trainer::{
    CheckpointError, Event, Example, Flow, HandedBack, Observer, Soup, SoupKind, TrainError,
    TrainPlan, Trainer, Unfit,
};

use crate::{Log, Scripted, checkpoints, example, parameters, plan, rows, session};

fn steady() -> TrainPlan {
    TrainPlan { plateau: None, ..plan() }
}

fn refused(plan: TrainPlan, rows: &[Example]) -> TrainError {
    Trainer::new(plan, &mut session(), rows, None, None, &mut Log::default()).unwrap_err()
}

#[test]
fn a_failing_engine_leaves_earlier_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let plan = TrainPlan { checkpoint_every: 4, ..steady() };
    let (mut failing, rows, kept) = (session(), rows(), checkpoints(folder.path()));
    failing.probe().fail_after(15);
    let mut log = Log::default();
    let run = Trainer::new(plan.clone(), &mut failing, &rows, None, Some(kept.clone()), &mut log);
    let error = run.unwrap().run().unwrap_err();
    assert!(matches!(error, TrainError::Engine { update: 5, .. }), "{error:?}");
    assert!(error.source().is_some());

    let (mut resumed, mut whole) = (session(), session());
    let run = Trainer::resume(plan.clone(), &mut resumed, &rows, None, kept, &mut log);
    assert_eq!(run.unwrap().run().unwrap().update, 10);
    let run = Trainer::new(plan, &mut whole, &rows, None, None, &mut log);
    run.unwrap().run().unwrap();
    assert_eq!(parameters(&resumed), parameters(&whole));
}

/// Gives so many updates after each of some a gradient that is not finite.
struct Poison<'a> {
    probe: &'a BigramProbe,
    after: &'a [u64],
    updates: u64,
    log: Log,
}

impl Observer for Poison<'_> {
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
        if matches!(event, Event::Step(step) if self.after.contains(&step.update)) {
            self.probe.poison(self.updates);
        }
        self.log.on(event)
    }
}

#[test]
fn gradients_that_are_not_finite_are_passed_over_twice() {
    let (mut session, rows) = (session(), rows());
    let probe = session.probe();
    let mut poison = Poison { probe: &probe, after: &[1, 5], updates: 2, log: Log::default() };
    let run = Trainer::new(steady(), &mut session, &rows, None, None, &mut poison);
    let summary = run.unwrap().run().unwrap();
    let steps = poison.log.steps();
    let failed = steps.iter().filter(|step| !step.applied).map(|step| step.update);
    assert_eq!(failed.collect::<Vec<_>>(), [2, 3, 6, 7]);
    assert_eq!((summary.update, probe.updates()), (10, 6));
}

#[test]
fn the_third_gradient_in_a_row_that_is_not_finite_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut session, rows, kept) = (session(), rows(), checkpoints(folder.path()));
    let probe = session.probe();
    let mut poison = Poison { probe: &probe, after: &[5], updates: 9, log: Log::default() };
    let plan = TrainPlan { checkpoint_every: 5, ..steady() };
    let run = Trainer::new(plan, &mut session, &rows, None, Some(kept), &mut poison);
    let error = run.unwrap().run().unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { update: 8, before: 2, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("learning rate"));
    assert_eq!(poison.log.steps().len(), 8, "the last one is told, too");
    assert!(folder.path().join("checkpoints/update-00000005/manifest.json").exists());
}

#[test]
fn rows_and_plans_that_cannot_be_are_refused() {
    assert!(matches!(refused(steady(), &[]), TrainError::NoRows));
    let mut rows = rows();
    rows[4].learn.fill(false);
    let error = refused(steady(), &rows);
    let unfit = Unfit::NothingToLearn { tokens: 5 };
    assert!(matches!(error, TrainError::Row { row: 4, unfit: found } if found == unfit));
    rows[4] = example(&[1; 9], 1);
    let unfit = Unfit::TooLong { tokens: 9, context: 8 };
    let error = refused(steady(), &rows);
    assert!(matches!(error, TrainError::Row { row: 4, unfit: found } if found == unfit));
    rows[4] = example(&[1, 2], 1);

    let key = |plan: TrainPlan| match refused(plan, &rows) {
        TrainError::Plan { key, .. } => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key(TrainPlan { updates: 0, ..steady() }), "updates");
    assert_eq!(key(TrainPlan { batch_size: 0, ..steady() }), "batch_size");
    assert_eq!(key(TrainPlan { learning_rate: f64::NAN, ..steady() }), "learning_rate");
    assert_eq!(key(plan()), "plateau", "there is no evaluator");
    assert_eq!(key(TrainPlan { early_stop: Some(3), ..steady() }), "early_stop");
    let learn = LearnSpec { neftune_alpha: 5.0, ..steady().learn };
    let noisy = TrainPlan { learn, share_beginnings: Some(1), ..steady() };
    assert_eq!(key(noisy), "share_beginnings");
}

#[test]
fn what_the_engine_lacks_is_said_before_anything_is_done() {
    let optimizer = OptimizerSpec::Lion { betas: [0.9, 0.99], weight_decay: 0.0 };
    let plan = TrainPlan { learn: LearnSpec { optimizer, ..plan().learn }, ..steady() };
    assert!(matches!(refused(plan, &rows()), TrainError::Engine { update: 0, .. }));
}

#[test]
fn a_failing_evaluation_says_when() {
    let (mut session, rows, mut log) = (session(), rows(), Log::default());
    let mut script = Scripted::new(&[1.0]);
    let run = Trainer::new(steady(), &mut session, &rows, Some(&mut script), None, &mut log);
    let error = run.unwrap().run().unwrap_err();
    assert!(matches!(error, TrainError::Evaluate { update: 4, .. }), "{error:?}");
    assert_eq!(error.source().unwrap().to_string(), "the script is over");
}

#[test]
fn best_parameters_that_were_damaged_are_not_handed_back() {
    struct Damage(std::path::PathBuf);
    impl Observer for Damage {
        fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
            if matches!(event, Event::Evaluated(evaluated) if evaluated.update == 4) {
                std::fs::write(self.0.join("parameters.safetensors"), "")?;
            }
            Ok(Flow::Continue)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut session, rows, kept) = (session(), rows(), checkpoints(folder.path()));
    let mut damage = Damage(folder.path().join("checkpoints/best/update-00000002"));
    let mut script = Scripted::new(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let run =
        Trainer::new(steady(), &mut session, &rows, Some(&mut script), Some(kept), &mut damage);
    let error = run.unwrap().run().unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint(CheckpointError::Broken { .. })), "{error:?}");
}

#[test]
fn without_checkpoints_the_last_parameters_are_the_result() {
    let soup = Some(Soup { kind: SoupKind::Uniform, top_k: 2 });
    let (mut session, rows, mut log) = (session(), rows(), Log::default());
    let mut script = Scripted::new(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let plan = TrainPlan { model_soup: soup, ..steady() };
    let run = Trainer::new(plan, &mut session, &rows, Some(&mut script), None, &mut log);
    assert!(matches!(run, Err(TrainError::Plan { key: "model_soup", .. })));
    drop(run);
    let run = Trainer::new(steady(), &mut session, &rows, Some(&mut script), None, &mut log);
    assert_eq!(run.unwrap().run().unwrap().handed_back, HandedBack::Last);
}
