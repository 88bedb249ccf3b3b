//! Models without weights.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fidelio_backend::{
    AdapterId, AdapterSpec, Answers, BackendError, Batch, Capacity, FakeLimits, FakeSession, RowId,
    RowStep, Scores, Session, Want, Weights,
};
use tokenizers::Tokenizer;

/// Sizes that fit the tokenizer.
pub(crate) const SIZES: FakeLimits =
    FakeLimits { vocabulary: 422, context: 256, rows: 64, tokens: 8192 };

/// The token that ends an answer.
pub(crate) const END: u32 = 3;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../prompting/tests/prompting/fixtures")
        .join(name)
}

/// A byte-level tokenizer with ChatML's special tokens.
pub(crate) fn tokenizer() -> Arc<Tokenizer> {
    Arc::new(Tokenizer::from_file(fixture("tokenizer.json")).unwrap())
}

/// The ids of a text, nothing added.
pub(crate) fn ids(text: &str) -> Vec<u32> {
    tokenizer().encode(text, false).unwrap().get_ids().to_vec()
}

/// A session that answers a prompt that ends with one of these texts with the text beside it, then
/// its end; it goes on with `?` after everything else.
pub(crate) fn speaker(answers: &[(&str, &str)]) -> FakeSession {
    speaker_of(SIZES, answers)
}

/// The same with other sizes.
pub(crate) fn speaker_of(sizes: FakeLimits, answers: &[(&str, &str)]) -> FakeSession {
    let answers: BTreeMap<Vec<u32>, Vec<u32>> =
        answers.iter().map(|(prompt, answer)| (ids(prompt), ids(answer))).collect();
    let other = ids("?")[0];
    FakeSession::scripted(sizes, move |path| {
        let said = answers.iter().find_map(|(prompt, answer)| {
            // Where the prompt ends, and how much of the answer stands behind it.
            (0..=answer.len()).rev().find_map(|n| {
                let before = path.strip_suffix(&answer[..n])?;
                before.ends_with(prompt).then(|| answer.get(n).copied().unwrap_or(END))
            })
        });
        let mut logits: Vec<f32> =
            (0..SIZES.vocabulary).map(|id| -((id * 7 % 31) as f32) / 31.0).collect();
        logits[said.unwrap_or(other) as usize] = 20.0;
        logits
    })
}

/// A session whose calls wait while its gate is shut, and fail or panic when they are told to.
pub(crate) struct Gated<S> {
    session: S,
    gate: Gate,
}

/// Opens and shuts a [`Gated`] session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    shut: Arc<Mutex<()>>,
    entered: Arc<AtomicU64>,
    fail: Arc<AtomicBool>,
    panic: Arc<AtomicBool>,
}

impl Gate {
    /// No call ends before what this returns is dropped.
    pub(crate) fn shut(&self) -> MutexGuard<'_, ()> {
        self.shut.lock().unwrap()
    }

    /// Waits until one more call than `before` has come to the gate.
    pub(crate) fn wait(&self, before: u64) {
        while self.entered() <= before {
            std::thread::yield_now();
        }
    }

    /// Calls that have come to the gate.
    pub(crate) fn entered(&self) -> u64 {
        self.entered.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self) {
        self.fail.store(true, Ordering::SeqCst);
    }

    pub(crate) fn panic(&self) {
        self.panic.store(true, Ordering::SeqCst);
    }
}

impl<S: Session> Gated<S> {
    pub(crate) fn new(session: S) -> (Self, Gate) {
        let gate = Gate::default();
        (Self { session, gate: gate.clone() }, gate)
    }
}

impl<S: Session> Session for Gated<S> {
    fn capacity(&self) -> Capacity {
        self.session.capacity()
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.gate.entered.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.shut());
        assert!(!self.gate.panic.load(Ordering::SeqCst), "the test asked for a panic");
        if self.gate.fail.load(Ordering::SeqCst) {
            return Err(BackendError::Engine("the test asked for a failure".to_owned()));
        }
        self.session.extend(steps)
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        self.session.fork(row)
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        self.session.truncate(row, keep)
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.session.score(batch, want)
    }

    fn add_adapter(
        &mut self,
        spec: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        self.session.add_adapter(spec, weights)
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        self.session.remove_adapter(adapter)
    }
}
