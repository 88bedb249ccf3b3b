//! When a run ends, and with which parameters.

use fidelio_backend::BigramSession;
use fidelio_trainer::{
    Ended, Evaluate, Event, Flow, Goal, HandedBack, Observer, Soup, SoupKind, Summary, TrainError,
    TrainPlan, Trainer,
};

use crate::{Log, Scripted, checkpoints, held_out, parameters, plan, rows, session};

fn run(plan: TrainPlan, evaluator: &mut dyn Evaluate) -> (Summary, BigramSession, Log) {
    let folder = tempfile::tempdir().unwrap();
    let (mut session, rows, mut log) = (session(), rows(), Log::default());
    let kept = Some(checkpoints(folder.path()));
    let trainer = Trainer::new(plan, &mut session, &rows, Some(evaluator), kept, &mut log);
    let summary = trainer.unwrap().run().unwrap();
    (summary, session, log)
}

/// The parameters after so many updates of the same run, and nothing else.
fn parameters_after(plan: &TrainPlan, updates: u64) -> Vec<f32> {
    let (mut session, rows) = (session(), rows());
    let mut log = Log::stopping_at(updates);
    let plan = TrainPlan { plateau: None, early_stop: None, model_soup: None, ..plan.clone() };
    Trainer::new(plan, &mut session, &rows, None, None, &mut log).unwrap().run().unwrap();
    parameters(&session)
}

fn steady() -> TrainPlan {
    TrainPlan { plateau: None, ..plan() }
}

#[test]
fn early_stopping_hands_back_the_best() {
    let plan = TrainPlan { early_stop: Some(2), ..steady() };
    let mut script = Scripted::new(&[3.0, 1.0, 1.0, 2.0]);
    let (summary, session, _) = run(plan.clone(), &mut script);
    assert_eq!((summary.ended, summary.update), (Ended::Early, 8));
    assert_eq!(summary.handed_back, HandedBack::Best { update: 4 });
    assert_eq!(parameters(&session), parameters_after(&plan, 4));
    assert_ne!(parameters(&session), parameters_after(&plan, 8));
}

#[test]
fn where_more_is_better_the_largest_is_the_best() {
    let plan = TrainPlan { goal: Goal::Maximize, ..steady() };
    let mut script = Scripted::new(&[0.1, 0.2, 0.9, f64::NAN, 0.3]);
    let (summary, session, _) = run(plan.clone(), &mut script);
    assert_eq!((summary.ended, summary.update), (Ended::Complete, 10));
    assert_eq!(summary.best.unwrap().update, 6);
    assert_eq!(parameters(&session), parameters_after(&plan, 6));
}

#[test]
fn a_plateau_lowers_the_rate() {
    let script = [3.0, 3.0, 3.0, 3.0, 3.0];
    let mut plan = plan();
    plan.plateau.as_mut().unwrap().watch = fidelio_trainer::Watch::Validation;
    let (_, _, log) = run(plan.clone(), &mut Scripted::new(&script));
    let factor = |step: &fidelio_trainer::Step| {
        step.learning_rate / plan.learning_rate_at(step.update - 1).max(1e-9)
    };
    let factors: Vec<f64> = log.steps().iter().skip(1).map(factor).collect();
    assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]);
}

#[test]
fn a_plateau_may_be_of_another_metric_than_the_best_model() {
    let lowered = |name: &str, goal| {
        let name = name.to_owned();
        let mut plan = plan();
        plan.plateau.as_mut().unwrap().watch = fidelio_trainer::Watch::Value { name, goal };
        let mut script = Scripted::new(&[0.5, 0.4, 0.3, 0.2, 0.1]);
        let mut session = session();
        let rows = rows();
        let mut log = Log::default();
        let trainer =
            Trainer::new(plan.clone(), &mut session, &rows, Some(&mut script), None, &mut log);
        trainer.unwrap().run()?;
        let rate = log.steps().last().unwrap().learning_rate;
        Ok::<bool, TrainError>(rate < plan.learning_rate_at(9))
    };
    // What the script calls `worse` grows at each evaluation.
    assert!(!lowered("worse", Goal::Maximize).unwrap());
    assert!(lowered("worse", Goal::Minimize).unwrap());
    let error = lowered("unknown", Goal::Minimize).unwrap_err();
    assert!(matches!(error, TrainError::Plan { key: "plateau", .. }), "{error}");
}

fn mean(of: &[Vec<f32>]) -> Vec<f32> {
    let sum = |i: usize| of.iter().map(|values| f64::from(values[i])).sum::<f64>();
    (0..of[0].len()).map(|i| (sum(i) / of.len() as f64) as f32).collect()
}

#[test]
fn a_uniform_soup_is_the_mean_of_the_best() {
    let soup = Some(Soup { kind: SoupKind::Uniform, top_k: 3 });
    let plan = TrainPlan { model_soup: soup, ..steady() };
    // Five evaluations, then the soup's.
    let mut script = Scripted::new(&[5.0, 1.0, 4.0, 2.0, 3.0, 1.5]);
    let (summary, session, _) = run(plan.clone(), &mut script);
    let updates = vec![4, 8, 10];
    assert_eq!(summary.handed_back, HandedBack::Soup { updates, metric: 1.5 });
    let each = [4, 8, 10].map(|update| parameters_after(&plan, update));
    assert_eq!(parameters(&session), mean(&each));
}

#[test]
fn a_greedy_soup_leaves_out_what_makes_it_worse() {
    let soup = Some(Soup { kind: SoupKind::Greedy, top_k: 3 });
    let plan = TrainPlan { model_soup: soup, ..steady() };
    // With 8 it gets worse (1.2), with 10 instead it does not (1.0).
    let mut script = Scripted::new(&[5.0, 1.0, 4.0, 2.0, 3.0, 1.2, 1.0]);
    let (summary, session, _) = run(plan.clone(), &mut script);
    assert_eq!(summary.handed_back, HandedBack::Soup { updates: vec![4, 10], metric: 1.0 });
    let each = [4, 10].map(|update| parameters_after(&plan, update));
    assert_eq!(parameters(&session), mean(&each));
}

#[test]
fn a_greedy_soup_takes_nothing_that_cannot_be_measured() {
    let soup = Some(Soup { kind: SoupKind::Greedy, top_k: 2 });
    let mut script = Scripted::new(&[5.0, 1.0, 4.0, 2.0, 3.0, f64::NAN]);
    let (summary, ..) = run(TrainPlan { model_soup: soup, ..steady() }, &mut script);
    assert_eq!(summary.handed_back, HandedBack::Soup { updates: vec![4], metric: 1.0 });
}

#[test]
fn an_evaluation_tells_the_training_loss_since_the_one_before() {
    let (_, _, log) = run(steady(), &mut held_out());
    let (mut sum, mut tokens, mut evaluations) = (0.0, 0.0, 0);
    for event in &log.events {
        match event {
            Event::Step(step) => {
                sum += step.loss * step.tokens_learnt as f64;
                tokens += step.tokens_learnt as f64;
            }
            Event::Evaluated(evaluated) => {
                assert!((evaluated.training_loss - sum / tokens).abs() < 1e-9);
                (sum, tokens, evaluations) = (0.0, 0.0, evaluations + 1);
            }
            _ => {}
        }
    }
    assert_eq!(evaluations, 5);
}

#[test]
fn a_greedy_soup_is_never_worse_than_the_best() {
    let soup = Some(Soup { kind: SoupKind::Greedy, top_k: 4 });
    let (summary, mut session, _) =
        run(TrainPlan { model_soup: soup, ..steady() }, &mut held_out());
    let HandedBack::Soup { metric, .. } = summary.handed_back else { panic!() };
    assert!(metric <= summary.best.unwrap().metric);
    let measured = held_out().evaluate(&mut session).unwrap().metric;
    assert!((measured - metric).abs() < 1e-12);
}

#[test]
fn a_stop_saves_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (mut session, rows, mut log) = (session(), rows(), Log::stopping_at(4));
    let kept = Some(checkpoints(folder.path()));
    let mut held_out = held_out();
    let trainer =
        Trainer::new(steady(), &mut session, &rows, Some(&mut held_out), kept, &mut log).unwrap();
    let summary = trainer.run().unwrap();
    assert_eq!((summary.ended, summary.update), (Ended::Stopped, 4));
    assert_eq!(log.metrics().len(), 1, "whoever says stop does not wait for an evaluation");
    assert_eq!(summary.handed_back, HandedBack::Last);
    assert!(folder.path().join("checkpoints/update-00000004/manifest.json").exists());
    let last = &log.events[log.events.len() - 2..];
    assert!(
        matches!(last, [Event::Checkpointed { update: 4, .. }, Event::Finished(told)] if *told == summary)
    );
    assert_eq!(parameters(&session), parameters_after(&steady(), 4));
}

#[test]
fn one_observer_of_several_is_enough_to_stop() {
    let (mut session, rows) = (session(), rows());
    let (mut a, mut b) = (Log::stopping_at(2), Log::default());
    let mut both: [&mut dyn Observer; 2] = [&mut a, &mut b];
    let summary =
        Trainer::new(steady(), &mut session, &rows, None, None, &mut both).unwrap().run().unwrap();
    assert_eq!(summary.update, 2);
    assert_eq!(a.events, b.events);
    assert_eq!(Log::default().on(&a.events[0]).unwrap(), Flow::Continue);
}
