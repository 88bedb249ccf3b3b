//! A session that learns: a table of logits, one row per token that came before.
//!
//! The smallest language model with a real loss, so that tests of what stands above the seam mean
//! something: it overfits, diverges and resumes as an engine does, in microseconds. Gradients are
//! added in fixed point, so that their sum does not depend on the order in which they come, and
//! what a trainer promises ("however rows are spread over micro-batches, the update is the same")
//! is tested with equality.

mod learn;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use self::learn::{ADAPTER, Learning, floats};
use super::{FakeLimits, score};
use crate::{
    AdapterId, AdapterSpec, Answers, Ask, BackendError, Batch, Capacity, Learn, LearnSpec, Parent,
    RowId, RowStep, Scores, Session, Target, Trains, Verb, Want, Weights,
};

/// A deterministic engine for tests of learning: the logits of the next token are a row of a
/// table, plus the same row of an adapter's table. It does not generate.
pub struct BigramSession {
    limits: FakeLimits,
    model: Vec<f32>,
    adapters: BTreeMap<AdapterId, Vec<f32>>,
    next_adapter: u32,
    learning: Option<Learning>,
    probe: Arc<BigramProbe>,
}

/// What a [`BigramSession`] has done, and what it shall do next. Tests keep it when the session is
/// lent out.
#[derive(Debug, Default)]
pub struct BigramProbe {
    accumulated: AtomicU64,
    updates: AtomicU64,
    tokens: AtomicU64,
    rows: Mutex<Vec<u64>>,
    fail_after: AtomicU64,
    fails: AtomicBool,
    poisoned: AtomicU64,
}

impl BigramProbe {
    /// Successful calls of `accumulate`.
    pub fn accumulated(&self) -> u64 {
        self.accumulated.load(Ordering::Relaxed)
    }

    /// Updates taken.
    pub fn updates(&self) -> u64 {
        self.updates.load(Ordering::Relaxed)
    }

    /// Tokens computed by `accumulate`.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// The numbers of the rows that `accumulate` was told, in its order.
    pub fn rows(&self) -> Vec<u64> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets one `accumulate` or `score` fail, after so many more that do not.
    pub fn fail_after(&self, calls: u64) {
        self.fail_after.store(calls, Ordering::Relaxed);
        self.fails.store(true, Ordering::Relaxed);
    }

    /// Gives the next updates a gradient that is not finite.
    pub fn poison(&self, updates: u64) {
        self.poisoned.store(updates, Ordering::Relaxed);
    }

    fn count(&self, batch: &Batch) {
        self.accumulated.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(batch.forest.tokens.len() as u64, Ordering::Relaxed);
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).extend(&batch.rows);
    }

    fn check_failure(&self) -> Result<(), BackendError> {
        if !self.fails.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.fail_after.load(Ordering::Relaxed) {
            0 => {
                self.fails.store(false, Ordering::Relaxed);
                Err(BackendError::Engine("the test asked for a failure".to_owned()))
            }
            left => {
                self.fail_after.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn take_poison(&self) -> bool {
        self.poisoned
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

impl BigramSession {
    /// A model that finds every token as likely as every other.
    pub fn new(limits: FakeLimits) -> Self {
        Self {
            limits,
            model: vec![0.0; limits.vocabulary * limits.vocabulary],
            adapters: BTreeMap::new(),
            next_adapter: 0,
            learning: None,
            probe: Arc::default(),
        }
    }

    /// The session's counters and switches.
    pub fn probe(&self) -> Arc<BigramProbe> {
        Arc::clone(&self.probe)
    }

    /// The logits of every token after `last`.
    fn logits(&self, adapter: Option<AdapterId>, last: u32) -> Vec<f32> {
        let v = self.limits.vocabulary;
        let row = last as usize * v..(last as usize + 1) * v;
        let model = &self.model[row.clone()];
        match adapter.and_then(|id| self.adapters.get(&id)) {
            Some(table) => model.iter().zip(&table[row]).map(|(a, b)| a + b).collect(),
            None => model.to_vec(),
        }
    }

    fn check(&self, batch: &Batch) -> Result<(), BackendError> {
        batch.check()?;
        let Capacity { vocabulary, context, .. } = self.capacity();
        let asked = batch.targets.iter().map(|Target { ask: Ask::Token(token), .. }| token);
        if let Some(&token) =
            batch.forest.tokens.iter().chain(asked).find(|token| **token as usize >= vocabulary)
        {
            return Err(BackendError::NoToken { token, vocabulary });
        }
        if let Some(Parent::Cached(row)) =
            batch.forest.nodes.iter().map(|n| n.parent).find(|p| matches!(p, Parent::Cached(_)))
        {
            return Err(BackendError::NoRow(row));
        }
        let tokens = batch.forest.depths().into_iter().max().map_or(0, |depth| depth as usize + 1);
        if tokens > context {
            return Err(BackendError::Context { tokens, context });
        }
        match batch.forest.adapter.filter(|id| !self.adapters.contains_key(id)) {
            Some(adapter) => Err(BackendError::NoAdapter(adapter)),
            None => self.probe.check_failure(),
        }
    }

    fn learned(&self) -> Option<(&Learning, &Vec<f32>)> {
        let learning = self.learning.as_ref()?;
        let table = match learning.trains {
            Trains::All => &self.model,
            Trains::Adapter(id) => self.adapters.get(&id)?,
        };
        Some((learning, table))
    }
}

impl Session for BigramSession {
    fn capacity(&self) -> Capacity {
        let FakeLimits { vocabulary, context, .. } = self.limits;
        Capacity { vocabulary, context, rows: 0, tokens: 0 }
    }

    fn extend(&mut self, _: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        Err(BackendError::Verb(Verb::Extend))
    }

    fn fork(&mut self, _: RowId) -> Result<RowId, BackendError> {
        Err(BackendError::Verb(Verb::Fork))
    }

    fn truncate(&mut self, _: RowId, _: usize) -> Result<(), BackendError> {
        Err(BackendError::Verb(Verb::Truncate))
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.check(batch)?;
        let mut scores = Scores::default();
        for target in &batch.targets {
            let Ask::Token(asked) = target.ask;
            let last = batch.forest.tokens[target.at as usize];
            let logits = self.logits(batch.forest.adapter, last);
            scores.scores.push(score(&logits, asked));
            if want.logits {
                scores.logits.push(logits);
            }
        }
        Ok(scores)
    }

    /// Adds a table of zeros, whatever the adapter's kind.
    fn add_adapter(
        &mut self,
        _: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        let v = self.limits.vocabulary;
        let table = match weights {
            Some(weights) => floats(weights, ADAPTER, v * v)?,
            None => vec![0.0; v * v],
        };
        self.next_adapter += 1;
        self.adapters.insert(AdapterId(self.next_adapter), table);
        Ok(AdapterId(self.next_adapter))
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        match &self.learning {
            Some(learning) if learning.trains == Trains::Adapter(adapter) => {
                Err(BackendError::Engine("the adapter learns".to_owned()))
            }
            _ => self.adapters.remove(&adapter).map(|_| ()).ok_or(BackendError::NoAdapter(adapter)),
        }
    }

    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        if let Trains::Adapter(id) = spec.trains
            && !self.adapters.contains_key(&id)
        {
            return Err(BackendError::NoAdapter(id));
        }
        self.learning = Some(Learning::begin(spec, self.model.len())?);
        Ok(self)
    }

    fn learning(&mut self) -> Option<&mut dyn Learn> {
        self.learning.is_some().then_some(self as &mut dyn Learn)
    }
}

impl fmt::Debug for BigramSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BigramSession")
            .field("limits", &self.limits)
            .field("adapters", &self.adapters.keys())
            .field("learns", &self.learning.as_ref().map(|learning| learning.trains))
            .finish_non_exhaustive()
    }
}
