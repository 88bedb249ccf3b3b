//! One suite for every engine behind the seam: `fidelio plugin test` runs it on a plugin.
//!
//! It holds the contract of `fidelio-backend`, as far as the engine claims the verbs for it, and
//! what only opening shows. It needs a model that the engine can run: [`sample_models`] has two that
//! are made of nothing, an author may bring another.

mod opening;
mod samples;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use fidelio_backend::{
    AdapterSpec, Backend, BackendError, BackendInfo, Capacity, DeviceId, Forest, OpenSpec, Parent,
    Pooling, Session, Trains, Verb, Weights,
    contract::{CHECKS, EMBEDDING_CHECKS, LEARNING_CHECKS},
};

pub use samples::{SampleModel, sample_models};

/// A model to test with.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// What it is called in the report.
    pub name: &'a str,
    /// Its `config.json`.
    pub config: &'a serde_json::Value,
    /// Its tensors.
    pub weights: &'a dyn Weights,
}

impl std::fmt::Debug for Model<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What became of one check.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Outcome {
    /// What is checked.
    pub check: String,
    /// What was found instead; none where the engine keeps it.
    pub failure: Option<String>,
}

/// What became of all.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The model that was tested with.
    pub model: String,
    /// The checks, in the order in which they ran.
    pub outcomes: Vec<Outcome>,
    /// What was not checked, and why.
    pub skipped: Vec<String>,
}

impl Report {
    /// How many checks failed.
    pub fn failures(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some()).count()
    }
}

/// The first of the models whose architecture the engine has.
///
/// # Errors
/// When it has none, or fails in another way than that.
pub fn runnable<'a>(
    backend: &dyn Backend,
    models: &'a [SampleModel],
) -> Result<&'a SampleModel, BackendError> {
    let mut refused = None;
    for sample in models {
        match open(backend, &sample.model()) {
            Ok(_) => return Ok(sample),
            Err(error @ BackendError::Architecture { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| BackendError::Engine("there is no model to test with".into())))
}

/// Runs the suite, and tells each outcome as it comes. Numbers that must be equal may differ by
/// `tolerance`.
///
/// A check that fails panics inside and is caught here; the process's panic hook still hears of it.
///
/// # Errors
/// When the model cannot be opened, or is too small for the checks.
pub fn run(
    backend: &dyn Backend,
    model: &Model<'_>,
    tolerance: f32,
    told: &mut dyn FnMut(&Outcome),
) -> Result<Report, BackendError> {
    check_size(open(backend, model)?.capacity())?;
    let has = |verb| backend.describe().verbs.contains(&verb);
    let mut suite = Suite {
        report: Report { model: model.name.to_owned(), outcomes: Vec::new(), skipped: Vec::new() },
        told,
    };
    let opened = || open(backend, model).expect("the model opened before");

    for (name, check) in opening::CHECKS {
        suite.check(name, &|| check(backend, model));
    }
    if [Verb::Extend, Verb::Fork, Verb::Truncate, Verb::Score].into_iter().all(has) {
        for (name, check) in CHECKS {
            suite.check(name, &|| check(opened().as_mut(), tolerance));
        }
    } else {
        suite.skip("rows and scores: that takes extend, fork, truncate and score");
    }
    embedding(&mut suite, has(Verb::Embed), &opened, tolerance);
    learning(&mut suite, &has, &opened, tolerance);
    Ok(suite.report)
}

type Opened<'a> = dyn Fn() -> Box<dyn Session> + 'a;

fn embedding(suite: &mut Suite<'_>, embeds: bool, opened: &Opened<'_>, tolerance: f32) {
    if !embeds {
        return suite.skip("vectors: that takes embed");
    }
    let mut text = Forest::default();
    text.push(Parent::Root, &[0, 1]);
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
        if let Err(error @ BackendError::Pooling { .. }) = opened().embed(&text, pooling) {
            suite.skip(&error.to_string());
            continue;
        }
        for (name, check) in EMBEDDING_CHECKS {
            let name = format!("{name} (pooling {})", pooling.name());
            suite.check(&name, &|| check(opened().as_mut(), pooling, tolerance));
        }
    }
}

fn learning(
    suite: &mut Suite<'_>,
    has: &dyn Fn(Verb) -> bool,
    opened: &Opened<'_>,
    tolerance: f32,
) {
    if !has(Verb::Learn) || !has(Verb::Score) {
        return suite.skip("learning: that takes learn and score");
    }
    let whole = || (opened(), Trains::All);
    for (name, check) in LEARNING_CHECKS {
        suite.check(&format!("{name} (all of it learns)"), &|| check(&whole, tolerance));
    }
    if !has(Verb::Adapt) {
        return suite.skip("adapters that learn: that takes adapters");
    }
    let adapted = || {
        let mut session = opened();
        let adapter = session.add_adapter(&lora(), None).expect("a LoRA adapter of rank 2");
        (session, Trains::Adapter(adapter))
    };
    for (name, check) in LEARNING_CHECKS {
        suite.check(&format!("{name} (an adapter learns)"), &|| check(&adapted, tolerance));
    }
}

fn lora() -> AdapterSpec {
    let lora = serde_json::json!({ "type": "lora", "r": 2, "lora_alpha": 4.0,
        "target_modules": "all-linear" });
    serde_json::from_value(lora).expect("what is written above is an adapter")
}

/// Opens a model on the first device, with its own settings.
fn open(backend: &dyn Backend, model: &Model<'_>) -> Result<Box<dyn Session>, BackendError> {
    let BackendInfo { devices, .. } = backend.describe();
    let device = devices.first().map_or(DeviceId(0), |device| device.id);
    backend.open(device, &OpenSpec::new(model.config.clone()), model.weights)
}

fn check_size(capacity: Capacity) -> Result<(), BackendError> {
    let Capacity { vocabulary, context, rows, tokens } = capacity;
    if vocabulary >= 8 && context >= 32 && rows >= 6 && tokens >= 160 {
        return Ok(());
    }
    Err(BackendError::Engine(format!(
        "a session of {vocabulary} tokens of vocabulary, {context} of context, {rows} rows and \
         {tokens} cached tokens is too small to test; 8, 32, 6 and 160 are needed"
    )))
}

struct Suite<'a> {
    report: Report,
    told: &'a mut dyn FnMut(&Outcome),
}

impl Suite<'_> {
    fn check(&mut self, name: &str, check: &dyn Fn()) {
        let failure = catch_unwind(AssertUnwindSafe(check)).err().map(|panic| words(&*panic));
        let outcome = Outcome { check: name.to_owned(), failure };
        (self.told)(&outcome);
        self.report.outcomes.push(outcome);
    }

    fn skip(&mut self, what: &str) {
        self.report.skipped.push(what.to_owned());
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
