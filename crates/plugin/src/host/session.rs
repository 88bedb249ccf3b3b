//! A session behind the border.

use std::{cell::Cell, ffi::c_void, ptr, sync::Arc};

use fidelio_backend::{
    AdapterId, AdapterSpec, Answers, BackendError, Batch, Capacity, Footprint, Forest, Learn,
    LearnSpec, LossSum, ParameterInfo, Part, Pooling, RowId, RowStep, Score, Scores, Session,
    Shape, TensorSink, UpdateReport, Verb, Want, Wanted, Weights,
};

use super::{JSON, Plugin, function, json};
use crate::{
    abi::{self, Status},
    failure::{Failure, bit, pooling_number},
    forest::SentBatch,
    reading::{NONE, head, lend},
    steps::SentSteps,
    tensors::{LentSink, LentWeights},
};

/// The largest vocabulary and the longest context that are believed.
const LARGEST: u64 = 1 << 31;

/// A session of a plugin.
#[derive(Debug)]
pub(super) struct PluginSession {
    plugin: Arc<Plugin>,
    raw: *mut c_void,
    vocabulary: usize,
    context: usize,
    /// What learns; none before anything does.
    learns: Option<Vec<ParameterInfo>>,
    /// The verb in which it panicked.
    poisoned: Cell<Option<&'static str>>,
}

// SAFETY: the border promises that a session may be called from any thread, one call at a time.
unsafe impl Send for PluginSession {}

impl PluginSession {
    pub(super) fn new(plugin: Arc<Plugin>, raw: *mut c_void) -> Result<Self, BackendError> {
        if raw.is_null() {
            return Err(plugin.broken("open", "it gave no session"));
        }
        let poisoned = Cell::new(None);
        let mut session = Self { plugin, raw, vocabulary: 0, context: 0, learns: None, poisoned };
        let found = session.room()?;
        for (what, size) in [("vocabulary", found.vocabulary), ("context", found.context)] {
            if !(1..=LARGEST).contains(&size) {
                let what = format!("it has a {what} of {size}");
                return Err(session.plugin.broken("capacity", &what));
            }
        }
        session.vocabulary = found.vocabulary as usize;
        session.context = found.context as usize;
        Ok(session)
    }

    /// Calls an entry of the table.
    fn call<F>(
        &self,
        verb: &'static str,
        entry: Option<F>,
        call: impl FnOnce(F, *mut c_void, *mut abi::Error) -> Status,
    ) -> Result<(), BackendError> {
        let poisoned = |before| {
            BackendError::Engine(format!(
                "the plugin `{}` panicked before, in `{before}`, and this session answers nothing more",
                self.plugin.name
            ))
        };
        if let Some(before) = self.poisoned.get() {
            return Err(poisoned(before));
        }
        let entry = function(entry, verb)?;
        self.plugin.outcome(|error| call(entry, self.raw, error)).map_err(|failure: Failure| {
            if matches!(failure.status, abi::STATUS_PANICKED | abi::STATUS_POISONED) {
                self.poisoned.set(Some(verb));
            }
            failure.error(&self.plugin.name)
        })
    }

    fn room(&self) -> Result<abi::Capacity, BackendError> {
        let mut out = abi::Capacity { head: head::<abi::Capacity>(), ..Default::default() };
        // SAFETY: the plugin's session, and a place that lives until the call returns.
        self.call("capacity", self.plugin.table.capacity, |call, raw, error| unsafe {
            call(raw, &raw mut out, error)
        })?;
        Ok(out)
    }

    fn has(&self, verb: Verb) -> Result<(), BackendError> {
        if self.plugin.verbs & bit(verb) == 0 { Err(BackendError::Verb(verb)) } else { Ok(()) }
    }

    fn broken(&self, verb: &str, what: &str) -> BackendError {
        self.plugin.broken(verb, what)
    }

    /// Tokens whose logits the host itself takes out of all of them.
    fn check_named(&self, steps: &[RowStep<'_>]) -> Result<(), BackendError> {
        for step in steps {
            if let Wanted::Last(Shape::Top { also, .. }) | Wanted::All(Shape::Top { also, .. }) =
                step.wanted
                && let Some(&token) = also.iter().find(|id| **id as usize >= self.vocabulary)
            {
                return Err(BackendError::NoToken { token, vocabulary: self.vocabulary });
            }
        }
        Ok(())
    }

    fn check_token(&self, verb: &str, token: u32) -> Result<(), BackendError> {
        if (token as usize) < self.vocabulary {
            return Ok(());
        }
        let what = format!("it names token {token}, the vocabulary is {}", self.vocabulary);
        Err(self.broken(verb, &what))
    }
}

impl Session for PluginSession {
    /// What the plugin says; no room where it cannot say, so that nothing more is asked of it.
    fn capacity(&self) -> Capacity {
        let found = self.room().unwrap_or_default();
        Capacity {
            vocabulary: self.vocabulary,
            context: self.context,
            rows: usize::try_from(found.rows).unwrap_or(usize::MAX),
            tokens: usize::try_from(found.tokens).unwrap_or(usize::MAX),
        }
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.has(Verb::Extend)?;
        let top = self.plugin.verbs & abi::VERB_TOP != 0;
        if !top {
            self.check_named(steps)?;
        }
        let mut sent = SentSteps::new(steps, self.vocabulary, top);
        let args = sent.table();
        // SAFETY: the plugin's session; the arguments and all their arrays live until the call
        // returns, and nobody else uses the rooms in them.
        self.call("extend", self.plugin.table.extend, |call, raw, error| unsafe {
            call(raw, &raw const args, error)
        })?;
        sent.answers(self.vocabulary).map_err(|what| self.broken("extend", &what))
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        self.has(Verb::Fork)?;
        let mut new = u64::MAX;
        // SAFETY: the plugin's session, and a place that lives until the call returns.
        self.call("fork", self.plugin.table.fork, |call, raw, error| unsafe {
            call(raw, row.0, &raw mut new, error)
        })?;
        if new == u64::MAX || new == row.0 {
            return Err(self.broken("fork", "it did not write a row of its own"));
        }
        Ok(RowId(new))
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        self.has(Verb::Truncate)?;
        // SAFETY: the plugin's session.
        self.call("truncate", self.plugin.table.truncate, |call, raw, error| unsafe {
            call(raw, row.0, keep as u64, error)
        })
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.has(Verb::Score)?;
        let sent = SentBatch::new(batch)?;
        let table = sent.table();
        let count = batch.targets.len();
        let mut scores = vec![abi::Score::default(); count];
        let floats = if want.logits { count.saturating_mul(self.vocabulary) } else { 0 };
        let mut logits = vec![0.0_f32; floats];
        let mut out = abi::ScoreOut {
            head: head::<abi::ScoreOut>(),
            scores: scores.as_mut_ptr(),
            written: 0,
            logits: if want.logits { logits.as_mut_ptr() } else { ptr::null_mut() },
            logits_written: 0,
        };
        // SAFETY: the plugin's session; the batch, its arrays and the rooms live until the call
        // returns, and nobody else uses the rooms.
        self.call("score", self.plugin.table.score, |call, raw, error| unsafe {
            call(raw, &raw const table, &raw mut out, error)
        })?;
        if out.written != count {
            let what = format!("it answered {} targets of {count}", out.written);
            return Err(self.broken("score", &what));
        }
        if out.logits_written != floats {
            let what = format!("it wrote {} logits, {floats} are wanted", out.logits_written);
            return Err(self.broken("score", &what));
        }
        scores.iter().try_for_each(|score| self.check_token("score", score.top))?;
        let score = |it: &abi::Score| Score { logprob: it.logprob, rank: it.rank, top: it.top };
        Ok(Scores {
            scores: scores.iter().map(score).collect(),
            logits: logits.chunks_exact(self.vocabulary).map(<[f32]>::to_vec).collect(),
        })
    }

    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        self.has(Verb::Embed)?;
        let sent = SentBatch::of_forest(forest);
        let table = sent.table();
        let mut out = abi::Vectors { head: head::<abi::Vectors>(), width: 0, floats: NONE };
        let pooling = pooling_number(pooling);
        // SAFETY: the plugin's session; the batch, its arrays and the place live until the call
        // returns.
        self.call("embed", self.plugin.table.embed, |call, raw, error| unsafe {
            call(raw, &raw const table, pooling, &raw mut out, error)
        })?;
        let nodes = forest.nodes.len();
        let expected = nodes.checked_mul(out.width).and_then(|n| n.checked_mul(4));
        let limit = expected.unwrap_or(0);
        let bytes = self.plugin.take(out.floats, limit);
        let bytes = bytes.map_err(|what| self.broken("embed", &what))?;
        if Some(bytes.len()) != expected || nodes > 0 && out.width == 0 {
            let (found, width) = (bytes.len(), out.width);
            let what = format!("it gave {found} bytes for {nodes} vectors of {width} floats");
            return Err(self.broken("embed", &what));
        }
        let floats = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        Ok(floats.collect())
    }

    fn add_adapter(
        &mut self,
        spec: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        self.has(Verb::Adapt)?;
        let spec = json(spec)?;
        let lent = weights.map(LentWeights::new);
        let tensors = lent.as_ref().map(LentWeights::table);
        let args = abi::SpecArgs {
            head: head::<abi::SpecArgs>(),
            spec: lend(&spec),
            weights: tensors.as_ref().map_or(ptr::null(), ptr::from_ref),
        };
        let mut adapter = 0;
        // SAFETY: the plugin's session; the arguments, what they point to and the place live until
        // the call returns.
        let called =
            self.call("add_adapter", self.plugin.table.add_adapter, |call, raw, error| unsafe {
                call(raw, &raw const args, &raw mut adapter, error)
            });
        match (called, lent) {
            (Ok(()), _) => Ok(AdapterId(adapter)),
            (Err(error), Some(lent)) => Err(lent.explain(error)),
            (Err(error), None) => Err(error),
        }
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        self.has(Verb::Adapt)?;
        // SAFETY: the plugin's session.
        self.call("remove_adapter", self.plugin.table.remove_adapter, |call, raw, error| unsafe {
            call(raw, adapter.0, error)
        })
    }

    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        self.has(Verb::Learn)?;
        let spec = json(spec)?;
        let args = spec_args(&spec);
        let mut parameters = NONE;
        // SAFETY: the plugin's session; the arguments, what they point to and the place live until
        // the call returns.
        self.call("learn", self.plugin.table.learn, |call, raw, error| unsafe {
            call(raw, &raw const args, &raw mut parameters, error)
        })?;
        let parameters: Result<Vec<ParameterInfo>, String> = self.plugin.take_json(parameters);
        self.learns = Some(parameters.map_err(|what| self.broken("learn", &what))?);
        Ok(self)
    }

    fn footprint(
        &mut self,
        spec: &LearnSpec,
        batch: &Batch,
        micro_batches: usize,
    ) -> Result<Option<Footprint>, BackendError> {
        if self.plugin.verbs & abi::VERB_FOOTPRINT == 0 {
            return Ok(None);
        }
        let spec = json(spec)?;
        let args = spec_args(&spec);
        let sent = SentBatch::new(batch)?;
        let table = sent.table();
        let mut out = NONE;
        let batches = micro_batches as u64;
        // SAFETY: the plugin's session; the arguments, what they point to and the place live until
        // the call returns.
        self.call("footprint", self.plugin.table.footprint, |call, raw, error| unsafe {
            call(raw, &raw const args, &raw const table, batches, &raw mut out, error)
        })?;
        let faulty = |what: String| self.broken("footprint", &what);
        let bytes = self.plugin.take(out, JSON).map_err(faulty)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map_err(|error| faulty(error.to_string()))
    }

    fn learning(&mut self) -> Option<&mut dyn Learn> {
        self.learns.is_some().then_some(self as &mut dyn Learn)
    }
}

impl Learn for PluginSession {
    fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError> {
        let sent = SentBatch::new(batch)?;
        let table = sent.table();
        let mut out = abi::LossSum { head: head::<abi::LossSum>(), ..Default::default() };
        // SAFETY: the plugin's session; the batch, its arrays and the place live until the call
        // returns.
        self.call("accumulate", self.plugin.table.accumulate, |call, raw, error| unsafe {
            call(raw, &raw const table, &raw mut out, error)
        })?;
        Ok(LossSum { sum: out.sum, weight: out.weight })
    }

    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        let mut out = abi::UpdateReport { head: head::<abi::UpdateReport>(), ..Default::default() };
        // SAFETY: the plugin's session, and a place that lives until the call returns.
        self.call("update", self.plugin.table.update, |call, raw, error| unsafe {
            call(raw, lr, weight, &raw mut out, error)
        })?;
        let abi::UpdateReport { gradient_norm, clipped, applied, .. } = out;
        Ok(UpdateReport { gradient_norm, clipped: clipped != 0, applied: applied != 0 })
    }

    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let mut lent = LentSink::new(into);
        let table = lent.table();
        // SAFETY: the plugin's session, and a sink that lives until the call returns.
        let called = self.call("save", self.plugin.table.save, |call, raw, error| unsafe {
            call(raw, number(part), &raw const table, error)
        });
        match lent.failed() {
            Some(error) => Err(error),
            None => called,
        }
    }

    fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError> {
        let lent = LentWeights::new(from);
        let table = lent.table();
        // SAFETY: the plugin's session, and weights that live until the call returns.
        self.call("restore", self.plugin.table.restore, |call, raw, error| unsafe {
            call(raw, number(part), &raw const table, error)
        })
        .map_err(|error| lent.explain(error))
    }

    fn parameters(&self) -> Vec<ParameterInfo> {
        self.learns.clone().unwrap_or_default()
    }
}

impl Drop for PluginSession {
    fn drop(&mut self) {
        if let Some(close) = self.plugin.table.close {
            // SAFETY: the plugin's session, closed once. How that ends changes nothing any more.
            let call = |error: *mut abi::Error| unsafe { close(self.raw, error) };
            drop(self.plugin.outcome(call));
        }
    }
}

fn number(part: Part) -> u32 {
    match part {
        Part::Parameters => abi::PART_PARAMETERS,
        Part::Optimizer => abi::PART_OPTIMIZER,
    }
}

fn spec_args(spec: &str) -> abi::SpecArgs {
    abi::SpecArgs { head: head::<abi::SpecArgs>(), spec: lend(spec), weights: ptr::null() }
}
