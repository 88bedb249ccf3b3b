//! What an engine that learns must keep.

use std::collections::BTreeMap;

use super::{ask, close, ids, refused};
use crate::{
    BackendError, Batch, Clip, Encoding, Learn, LearnSpec, LossSum, OptimizerSpec, Parent, Part,
    Session, TensorSink, TensorView, Trains, Want, Weights,
};

/// Runs every check of [`LEARNING_CHECKS`], each on sessions of its own.
///
/// `open` opens a session and says what of it learns: all of it, or an adapter that it was given.
/// Parameters that must be equal may differ by `tolerance` of the largest change of their tensor.
/// The session needs a vocabulary of at least 8 and a context of at least 32.
///
/// # Panics
/// When the engine breaks the contract; the message names the check and the place.
pub fn check_learning(open: &Open<'_>, tolerance: f32) {
    for (_, check) in LEARNING_CHECKS {
        check(open, tolerance);
    }
}

/// Opens a session, and says what of it learns.
pub type Open<'a> = dyn Fn() -> (Box<dyn Session>, Trains) + 'a;

/// One check. It panics when the engine breaks the contract.
pub type LearningCheck = fn(&Open<'_>, f32);

/// The checks, by name, for tests that run them one by one.
pub const LEARNING_CHECKS: &[(&str, LearningCheck)] = &[
    ("the loss is what scoring says", loss_is_the_score),
    ("an update goes downhill, by its rate", updates_go_downhill),
    ("batches add up", batches_add_up),
    ("a forest learns as its paths", forests_learn_as_paths),
    ("what was saved goes on as it was", saved_state_goes_on),
    ("failing calls teach nothing", failures_teach_nothing),
];

fn loss_is_the_score(open: &Open<'_>, tolerance: f32) {
    let (mut session, trains) = open();
    let batch = weighed(&separate(session.as_ref()), trains);
    let score = |session: &mut dyn Session| {
        let scores = session.score(&batch, Want::default()).expect("score").scores;
        let pairs = batch.targets.iter().zip(scores);
        pairs.map(|(target, score)| -target.weight * score.logprob).sum::<f32>()
    };
    let weight: f32 = batch.targets.iter().map(|target| target.weight).sum();
    for (at, rate) in [("at first", 0.5), ("after an update", 0.0)] {
        let expected = score(session.as_mut());
        let learner = learner(session.as_mut(), trains);
        let LossSum { sum, weight: found } = learner.accumulate(&batch).expect("accumulate");
        close(&format!("the loss {at}"), sum as f32, expected, 10.0 * tolerance);
        close(&format!("the weight {at}"), found as f32, weight, tolerance);
        learner.update(rate, found).expect("update");
    }
}

fn updates_go_downhill(open: &Open<'_>, _tolerance: f32) {
    let (mut session, trains) = open();
    let batch = weighed(&separate(session.as_ref()), trains);
    let still = learner(session.as_mut(), trains);
    let begun = parameters(still);
    let first = still.accumulate(&batch).expect("accumulate");
    let report = still.update(0.0, first.weight).expect("update at a rate of 0");
    assert!(report.applied, "an update at a rate of 0 is one");
    assert!(report.gradient_norm.is_finite() && report.gradient_norm > 0.0, "{report:?}");
    assert_eq!(parameters(still), begun, "a rate of 0 changes nothing");

    // So small a step takes off its length times the gradient's: a two-hundredth of the loss.
    let (mut session, trains) = open();
    let learner = learner(session.as_mut(), trains);
    let expected = first.mean() / 200.0;
    learner.accumulate(&batch).expect("accumulate");
    let rate = expected / (report.gradient_norm * report.gradient_norm);
    learner.update(rate, first.weight).expect("update");
    assert_ne!(parameters(learner), begun, "an update changes something");
    let second = learner.accumulate(&batch).expect("accumulate");
    let found = first.mean() - second.mean();
    assert!(
        (found - expected).abs() < expected / 4.0,
        "the loss falls by {found}, its gradient says {expected}"
    );
    let named: Vec<String> = learner.parameters().into_iter().map(|it| it.name).collect();
    let saved: Vec<String> = begun.0.into_keys().collect();
    assert_eq!(named.len(), saved.len(), "a tensor is saved per parameter");
    assert!(named.iter().all(|name| saved.contains(name)), "under its name");
}

fn batches_add_up(open: &Open<'_>, tolerance: f32) {
    let paths = separate(open().0.as_ref());
    let (one, other) = paths.split_at(1);
    let at_once = learnt(open, std::slice::from_ref(&paths));
    let one_by_one = learnt(open, &[one.to_vec(), other.to_vec()]);
    let other_way = learnt(open, &[other.to_vec(), one.to_vec()]);
    same("in two batches", &at_once, &one_by_one, tolerance);
    same("in another order", &at_once, &other_way, tolerance);
}

fn forests_learn_as_paths(open: &Open<'_>, tolerance: f32) {
    let (mut session, trains) = open();
    let [stem, left, right] = stem_and_branches(session.as_ref());
    let mut batch = Batch::default();
    batch.forest.adapter = adapter(trains);
    let root = batch.forest.push(Parent::Root, &stem);
    for branch in [&left, &right] {
        let first = batch.forest.tokens.len() as u32;
        batch.forest.push(Parent::Node(root), branch);
        (0..branch.len()).for_each(|i| ask(&mut batch, first + i as u32, branch[i / 2]));
    }
    let begun = parameters(learner(session.as_mut(), trains));
    let learner = learner(session.as_mut(), trains);
    let loss = learner.accumulate(&batch).expect("accumulate a forest");
    learner.update(RATE, loss.weight).expect("update");
    let shared = (begun, parameters(learner));
    same("a shared beginning", &learnt(open, &[separate_branches(open)]), &shared, tolerance);
}

fn saved_state_goes_on(open: &Open<'_>, _tolerance: f32) {
    let (mut session, trains) = open();
    let batch = weighed(&separate(session.as_ref()), trains);
    let update = |learner: &mut dyn Learn| {
        let loss = learner.accumulate(&batch).expect("accumulate");
        learner.update(1e-2, loss.weight).expect("update");
    };
    let went_on = learner(session.as_mut(), trains);
    update(went_on);
    let (halfway, moments) = (parameters(went_on), saved(went_on, Part::Optimizer));
    update(went_on);

    let (mut session, trains) = open();
    let resumed = learner(session.as_mut(), trains);
    update(resumed);
    update(resumed);
    // What was added and not yet taken is dropped.
    resumed.accumulate(&batch).expect("accumulate");
    resumed.restore(Part::Parameters, &halfway).expect("restore the parameters");
    resumed.restore(Part::Optimizer, &moments).expect("restore the optimizer");
    assert_eq!(parameters(resumed), halfway, "restored parameters");
    assert_eq!(saved(resumed, Part::Optimizer), moments, "restored moments");
    update(resumed);
    assert_eq!(parameters(resumed), parameters(went_on), "the next update, to the bit");
}

fn failures_teach_nothing(open: &Open<'_>, _tolerance: f32) {
    let (mut session, trains) = open();
    let batch = weighed(&separate(session.as_ref()), trains);
    let vocabulary = session.capacity().vocabulary as u32;
    let learner = learner(session.as_mut(), trains);
    let begun = parameters(learner);
    refused(learner.update(RATE, 1.0), "an update of nothing", |_| true);
    let mut outside = batch.clone();
    ask(&mut outside, 0, vocabulary);
    refused(learner.accumulate(&outside), "a target outside the vocabulary", |e| {
        matches!(e, BackendError::NoToken { .. })
    });
    refused(learner.update(RATE, 1.0), "an update of what failed", |_| true);
    let loss = learner.accumulate(&batch).expect("accumulate");
    for weight in [0.0, -1.0, f64::NAN] {
        refused(learner.update(RATE, weight), "an update by no weight", |_| true);
    }
    let mut short = begun.clone();
    let name = short.0.keys().next().expect("something learns").clone();
    short.0.remove(&name);
    refused(learner.restore(Part::Parameters, &short), "a state that lacks a tensor", |_| true);
    let mut long = begun.clone();
    long.0.insert("nobody.weight".to_owned(), begun.0[&name].clone());
    refused(learner.restore(Part::Parameters, &long), "a state with a strange tensor", |_| true);
    assert_eq!(parameters(learner), begun, "all that failed changed nothing");
    learner.update(RATE, loss.weight).expect("an update after all failures");
}

/// The rate of updates that are compared.
const RATE: f64 = 0.5;

/// A path of tokens, and from where on the next ones are asked for.
type Path = (Vec<u32>, usize);

/// Two rows of different lengths.
fn separate(session: &dyn Session) -> Vec<Path> {
    vec![(ids(session, 1, 9), 4), (ids(session, 2, 5), 0)]
}

fn stem_and_branches(session: &dyn Session) -> [Vec<u32>; 3] {
    [ids(session, 1, 6), ids(session, 2, 4), ids(session, 3, 3)]
}

/// The paths of [`stem_and_branches`].
fn separate_branches(open: &Open<'_>) -> Vec<Path> {
    let [stem, left, right] = stem_and_branches(open().0.as_ref());
    [left, right].map(|branch| ([&stem[..], &branch].concat(), stem.len())).into()
}

fn adapter(trains: Trains) -> Option<crate::AdapterId> {
    match trains {
        Trains::Adapter(adapter) => Some(adapter),
        Trains::All => None,
    }
}

/// The paths, each with questions behind every token from its start on.
fn asked(paths: &[Path], trains: Trains) -> Batch {
    let mut batch = Batch::default();
    batch.forest.adapter = adapter(trains);
    for (ids, from) in paths {
        let first = batch.forest.tokens.len() as u32;
        batch.forest.push(Parent::Root, ids);
        let rest = &ids[*from..];
        (0..rest.len()).for_each(|i| ask(&mut batch, first + (from + i) as u32, rest[i / 2]));
    }
    batch
}

/// The same with weights that are not all 1.
fn weighed(paths: &[Path], trains: Trains) -> Batch {
    let mut batch = asked(paths, trains);
    batch.targets.iter_mut().zip([0.5, 1.0, 2.0].into_iter().cycle()).for_each(
        |(target, weight)| {
            target.weight = weight;
        },
    );
    batch
}

fn learner(session: &mut dyn Session, trains: Trains) -> &mut dyn Learn {
    let spec = LearnSpec {
        trains,
        frozen: Vec::new(),
        optimizer: OptimizerSpec::Sgd {
            momentum: 0.5,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        },
        lora_plus_ratio: None,
        clip: Clip::None,
        neftune_alpha: 0.0,
        seed: 7,
        checkpoint_blocks: false,
    };
    session.learn(&spec).expect("learn")
}

/// Parameters before and after one update over batches.
fn learnt(open: &Open<'_>, batches: &[Vec<Path>]) -> (Kept, Kept) {
    let (mut session, trains) = open();
    let learner = learner(session.as_mut(), trains);
    let begun = parameters(learner);
    let mut loss = LossSum::default();
    for paths in batches {
        loss += learner.accumulate(&asked(paths, trains)).expect("accumulate");
    }
    learner.update(RATE, loss.weight).expect("update");
    (begun, parameters(learner))
}

/// Tensors in memory.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept(BTreeMap<String, TensorView>);

impl TensorSink for Kept {
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
        let before = self.0.insert(name.to_owned(), tensor);
        assert!(before.is_none(), "`{name}` is saved twice");
        Ok(())
    }
}

impl Weights for Kept {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        let problems = || BackendError::Weights { problems: vec![format!("`{name}` is missing")] };
        self.0.get(name).cloned().ok_or_else(problems)
    }
}

fn saved(learner: &dyn Learn, part: Part) -> Kept {
    let mut kept = Kept::default();
    learner.save(part, &mut kept).expect("save");
    kept
}

fn parameters(learner: &dyn Learn) -> Kept {
    saved(learner, Part::Parameters)
}

fn floats(tensor: &TensorView) -> Vec<f32> {
    assert_eq!(tensor.encoding, Encoding::F32, "parameters are saved as 32-bit floats");
    tensor.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Two updates must end alike, to a share of each tensor's largest change and its rounding.
fn same(at: &str, a: &(Kept, Kept), b: &(Kept, Kept), tolerance: f32) {
    for (name, after) in &a.1.0 {
        let [before, a, b] = [&a.0.0[name], after, &b.1.0[name]].map(floats);
        let largest = |x: &[f32]| x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let changes: Vec<f32> = a.iter().zip(&before).map(|(a, before)| a - before).collect();
        let allowed = tolerance * largest(&changes) + 4.0 * f32::EPSILON * largest(&before);
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            assert!((a - b).abs() <= allowed, "{at}: `{name}` {i}: {a} and {b}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{
        Answers, BigramSession, Capacity, FakeLimits, ParameterInfo, RowId, RowStep, Scores,
        UpdateReport,
    };

    fn open() -> (Box<dyn Session>, Trains) {
        let limits = FakeLimits { vocabulary: 16, context: 32, ..FakeLimits::default() };
        (Box::new(BigramSession::new(limits)), Trains::All)
    }

    #[test]
    fn an_engine_that_learns_keeps_it() {
        check_learning(&open, 1e-5);
    }

    #[test]
    fn so_does_one_whose_adapter_learns() {
        let with_adapter = || {
            let (mut session, _) = open();
            let lora = serde_json::json!({ "type": "lora", "r": 1, "lora_alpha": 1.0,
                "target_modules": "all-linear" });
            let spec = serde_json::from_value(lora).unwrap();
            let adapter = session.add_adapter(&spec, None).unwrap();
            (session, Trains::Adapter(adapter))
        };
        check_learning(&with_adapter, 1e-5);
    }

    /// What a faulty engine does.
    #[derive(Debug, Clone, Copy)]
    enum Fault {
        /// Forgets all batches but the last.
        Forgets,
        /// Adds every gradient twice, and tells the loss once.
        Doubles,
        /// Goes uphill.
        Climbs,
        /// Takes a step at a rate of 0.
        Steps,
        /// Loses what its optimizer remembers.
        NoMoments,
        /// Keeps half of a state that it refuses.
        HalfDone,
        /// Leaves a forest's parents out.
        Orphans,
    }

    struct Broken(BigramSession, Fault, Vec<Batch>);

    impl Learn for Broken {
        fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError> {
            let mut batch = batch.clone();
            match self.1 {
                Fault::Forgets => {
                    let sum = self.inner().accumulate(&batch)?;
                    self.2.push(batch);
                    return Ok(sum);
                }
                Fault::Doubles => {
                    batch.targets.iter_mut().for_each(|target| target.weight *= 2.0);
                }
                Fault::Orphans if batch.forest.nodes.len() > 2 => batch.targets.truncate(1),
                _ => {}
            }
            let LossSum { sum, weight } = self.inner().accumulate(&batch)?;
            let share = if matches!(self.1, Fault::Doubles) { 0.5 } else { 1.0 };
            Ok(LossSum { sum: sum * share, weight: weight * share })
        }

        fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
            let batches = std::mem::take(&mut self.2);
            if let [.., last] = &batches[..]
                && batches.len() > 1
            {
                let state = parameters(self.inner());
                self.inner().restore(Part::Parameters, &state)?;
                self.inner().accumulate(last)?;
            }
            let lr = match self.1 {
                Fault::Climbs => -lr,
                Fault::Steps => lr + 1e-3,
                _ => lr,
            };
            self.inner().update(lr, weight)
        }

        fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
            self.0.save(part, into)
        }

        fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError> {
            match (self.1, part) {
                (Fault::NoMoments, Part::Optimizer) => return Ok(()),
                (Fault::HalfDone, Part::Parameters) => {
                    let mut half = parameters(&self.0);
                    for tensor in half.0.values_mut() {
                        tensor.bytes = vec![0; tensor.bytes.len()].into();
                    }
                    self.inner().restore(part, &half)?;
                }
                _ => {}
            }
            self.inner().restore(part, from)
        }

        fn parameters(&self) -> Vec<ParameterInfo> {
            Learn::parameters(&self.0)
        }
    }

    impl Broken {
        fn inner(&mut self) -> &mut dyn Learn {
            &mut self.0
        }
    }

    impl Session for Broken {
        fn capacity(&self) -> Capacity {
            self.0.capacity()
        }

        fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
            self.0.extend(steps)
        }

        fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
            self.0.fork(row)
        }

        fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
            self.0.truncate(row, keep)
        }

        fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
            self.0.score(batch, want)
        }

        fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
            self.0.learn(spec)?;
            Ok(self)
        }
    }

    #[test]
    fn each_fault_is_found_by_the_checks_that_are_about_it() {
        let cases = [
            (Fault::Forgets, "batches add up"),
            (Fault::Doubles, "an update goes downhill, by its rate"),
            (Fault::Climbs, "an update goes downhill, by its rate"),
            (Fault::Steps, "an update goes downhill, by its rate"),
            (Fault::NoMoments, "what was saved goes on as it was"),
            (Fault::HalfDone, "failing calls teach nothing"),
            (Fault::Orphans, "a forest learns as its paths"),
        ];
        for (fault, name) in cases {
            let (_, check) = LEARNING_CHECKS.iter().find(|(it, _)| *it == name).unwrap();
            let broken = || -> (Box<dyn Session>, Trains) {
                let limits = FakeLimits { vocabulary: 16, context: 32, ..FakeLimits::default() };
                (Box::new(Broken(BigramSession::new(limits), fault, Vec::new())), Trains::All)
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&broken, 1e-5)));
            assert!(outcome.is_err(), "{fault:?} passes `{name}`");
        }
    }
}
