//! A session without a model: its logits are a hash of the token ids on the path.
//!
//! What an engine computes only up to rounding holds here exactly: cached equals uncached, a row
//! in a batch equals the row alone, a forest equals its paths. Schedulers, trainers and servers
//! are tested with it in milliseconds; a script can make it spell any text.

mod bigram;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    Answer, Answers, Ask, Backend, BackendError, BackendInfo, Batch, Capacity, DeviceId,
    DeviceInfo, Forest, Logits, OpenSpec, Parent, Pooling, Precision, RowId, RowStep, RowTo, Score,
    Scores, Session, Shape, Verb, Want, Wanted, Weights,
};

pub use bigram::{BigramProbe, BigramSession};

/// The hash of a path without tokens.
const ROOT: u64 = 0x243f_6a88_85a3_08d3;

/// Numbers of a text's vector.
const EMBEDDING: usize = 24;

/// Sizes of a [`FakeSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeLimits {
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Tokens that a row may hold.
    pub context: usize,
    /// Rows that may be open at once.
    pub rows: usize,
    /// Tokens that may be cached at once; those that rows share count once.
    pub tokens: usize,
}

impl Default for FakeLimits {
    fn default() -> Self {
        Self { vocabulary: 96, context: 512, rows: 64, tokens: 8192 }
    }
}

/// Logits for the tokens of a path.
type Script = Arc<dyn Fn(&[u32]) -> Vec<f32> + Send + Sync>;

/// A deterministic engine for tests.
#[derive(Clone)]
pub struct FakeSession {
    limits: FakeLimits,
    script: Option<Script>,
    cells: Vec<Cell>,
    unused: Vec<u32>,
    rows: BTreeMap<RowId, Row>,
    next_row: u64,
    probe: Arc<FakeProbe>,
}

/// What a [`FakeSession`] has been asked to do so far. Tests keep it when the session is boxed.
#[derive(Debug, Default)]
pub struct FakeProbe {
    extends: AtomicU64,
    scores: AtomicU64,
    embedded: AtomicU64,
    tokens: AtomicU64,
    full_logits: AtomicU64,
    widest: AtomicU64,
    fail_next: AtomicBool,
}

impl FakeProbe {
    /// Successful calls of `extend`.
    pub fn extends(&self) -> u64 {
        self.extends.load(Ordering::Relaxed)
    }

    /// Successful calls of `score`.
    pub fn scores(&self) -> u64 {
        self.scores.load(Ordering::Relaxed)
    }

    /// Texts that `embed` made vectors of.
    pub fn embedded(&self) -> u64 {
        self.embedded.load(Ordering::Relaxed)
    }

    /// Tokens computed by all of these.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Positions whose logits were handed out in full.
    pub fn full_logits(&self) -> u64 {
        self.full_logits.load(Ordering::Relaxed)
    }

    /// The most steps that one `extend` had.
    pub fn widest(&self) -> u64 {
        self.widest.load(Ordering::Relaxed)
    }

    /// Lets the next `extend`, `score` or `embed` fail as an engine would.
    pub fn fail_next(&self) {
        self.fail_next.store(true, Ordering::Relaxed);
    }

    fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}

/// A cached token. Rows that share tokens share their cells.
#[derive(Debug, Clone)]
struct Cell {
    parent: Option<u32>,
    token: u32,
    hash: u64,
    /// Rows that end here, and cells that continue it.
    users: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    last: Option<u32>,
    len: usize,
}

/// A path while logits are computed: its hash, and its tokens where a script wants them.
#[derive(Debug, Clone)]
struct Path {
    hash: u64,
    tokens: Vec<u32>,
}

impl FakeSession {
    /// A session whose logits lie evenly between -8 and 8.
    pub fn new(limits: FakeLimits) -> Self {
        Self {
            limits,
            script: None,
            cells: Vec::new(),
            unused: Vec::new(),
            rows: BTreeMap::new(),
            next_row: 0,
            probe: Arc::default(),
        }
    }

    /// A session whose logits after a path are what `script` says: one per token of the
    /// vocabulary.
    pub fn scripted(
        limits: FakeLimits,
        script: impl Fn(&[u32]) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        Self { script: Some(Arc::new(script)), ..Self::new(limits) }
    }

    /// The session's counters.
    pub fn probe(&self) -> Arc<FakeProbe> {
        Arc::clone(&self.probe)
    }

    fn cached(&self) -> usize {
        self.cells.len() - self.unused.len()
    }

    fn row(&self, row: RowId) -> Result<Row, BackendError> {
        self.rows.get(&row).copied().ok_or(BackendError::NoRow(row))
    }

    fn check_token(&self, token: u32) -> Result<(), BackendError> {
        let vocabulary = self.limits.vocabulary;
        if (token as usize) < vocabulary {
            return Ok(());
        }
        Err(BackendError::NoToken { token, vocabulary })
    }

    fn check_length(&self, tokens: usize) -> Result<(), BackendError> {
        let context = self.limits.context;
        if tokens <= context {
            return Ok(());
        }
        Err(BackendError::Context { tokens, context })
    }

    fn check_failure(&self) -> Result<(), BackendError> {
        if self.probe.fail_next.swap(false, Ordering::Relaxed) {
            return Err(BackendError::Engine("the test asked for a failure".to_owned()));
        }
        Ok(())
    }

    /// Everything that can be wrong with `extend`, before anything is changed.
    fn check_steps(&self, steps: &[RowStep<'_>]) -> Result<(), BackendError> {
        let mut needed = 0;
        let mut new_rows = 0;
        for (i, step) in steps.iter().enumerate() {
            if step.tokens.is_empty() {
                return Err(BackendError::Forest(format!("step {i} has no tokens")));
            }
            let held = match step.row {
                RowTo::New => {
                    new_rows += 1;
                    0
                }
                RowTo::Row(row) => {
                    if steps[..i].iter().any(|earlier| earlier.row == step.row) {
                        return Err(BackendError::Forest(format!("{row:?} appears twice")));
                    }
                    self.row(row)?.len
                }
            };
            self.check_length(held.saturating_add(step.tokens.len()))?;
            step.tokens.iter().try_for_each(|&token| self.check_token(token))?;
            if let Wanted::Last(Shape::Top { also, .. }) | Wanted::All(Shape::Top { also, .. }) =
                step.wanted
            {
                also.iter().try_for_each(|&token| self.check_token(token))?;
            }
            needed += step.tokens.len();
        }
        if self.rows.len() + new_rows > self.limits.rows {
            return Err(BackendError::Engine(format!(
                "{new_rows} new rows asked for, {} of {} are open",
                self.rows.len(),
                self.limits.rows
            )));
        }
        let free = self.capacity().tokens;
        if needed > free {
            return Err(BackendError::CacheFull { needed, free });
        }
        Ok(())
    }

    fn push(&mut self, row: &mut Row, token: u32) {
        let hash = row.last.map_or(ROOT, |cell| self.cells[cell as usize].hash);
        // The row's claim on its last cell becomes the new cell's.
        let cell = Cell { parent: row.last, token, hash: hash_token(hash, token), users: 1 };
        let at = if let Some(at) = self.unused.pop() {
            self.cells[at as usize] = cell;
            at
        } else {
            self.cells.push(cell);
            self.cells.len() as u32 - 1
        };
        *row = Row { last: Some(at), len: row.len + 1 };
    }

    /// Gives up one claim on a cell, and the cells that nobody claims any more.
    fn release(&mut self, mut cell: Option<u32>) {
        while let Some(at) = cell {
            let it = &mut self.cells[at as usize];
            it.users -= 1;
            if it.users > 0 {
                return;
            }
            cell = it.parent;
            self.unused.push(at);
        }
    }

    fn path(&self, row: Row) -> Path {
        let mut path = Path { hash: ROOT, tokens: Vec::new() };
        if let Some(last) = row.last {
            path.hash = self.cells[last as usize].hash;
        }
        if self.script.is_some() {
            let mut cell = row.last;
            while let Some(at) = cell {
                path.tokens.push(self.cells[at as usize].token);
                cell = self.cells[at as usize].parent;
            }
            path.tokens.reverse();
        }
        path
    }

    fn step(&self, path: &mut Path, token: u32) {
        path.hash = hash_token(path.hash, token);
        if self.script.is_some() {
            path.tokens.push(token);
        }
    }

    fn logits(&self, path: &Path) -> Vec<f32> {
        match &self.script {
            Some(script) => {
                let logits = script(&path.tokens);
                assert_eq!(logits.len(), self.limits.vocabulary, "the script's logits");
                logits
            }
            None => (0..self.limits.vocabulary as u32)
                .map(|token| even(hash_token(!path.hash, token)))
                .collect(),
        }
    }

    fn answer(&self, path: &Path, shape: Shape<'_>) -> Logits {
        let logits = self.logits(path);
        match shape {
            Shape::Full => {
                FakeProbe::add(&self.probe.full_logits, 1);
                Logits::Full(logits)
            }
            Shape::Top { k, also } => {
                let logsumexp = logsumexp(&logits);
                let mut order: Vec<u32> = (0..logits.len() as u32).collect();
                // A stable sort leaves equals in the order of their ids.
                order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
                order.truncate(k);
                let entries =
                    order.iter().chain(also).map(|&id| (id, logits[id as usize])).collect();
                Logits::Top { entries, logsumexp }
            }
        }
    }
}

impl Session for FakeSession {
    fn capacity(&self) -> Capacity {
        Capacity {
            vocabulary: self.limits.vocabulary,
            context: self.limits.context,
            rows: self.limits.rows - self.rows.len(),
            tokens: self.limits.tokens - self.cached(),
        }
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.check_steps(steps)?;
        self.check_failure()?;
        let mut answers = Answers::with_capacity(steps.len());
        for step in steps {
            let (id, mut row) = match step.row {
                RowTo::New => {
                    self.next_row += 1;
                    (RowId(self.next_row), Row::default())
                }
                RowTo::Row(id) => (id, self.row(id)?),
            };
            let mut path = self.path(row);
            let mut logits = Vec::new();
            for (i, &token) in step.tokens.iter().enumerate() {
                self.push(&mut row, token);
                self.step(&mut path, token);
                match step.wanted {
                    Wanted::All(shape) => logits.push(self.answer(&path, shape)),
                    Wanted::Last(shape) if i + 1 == step.tokens.len() => {
                        logits.push(self.answer(&path, shape));
                    }
                    Wanted::Last(_) | Wanted::Nothing => {}
                }
            }
            self.rows.insert(id, row);
            FakeProbe::add(&self.probe.tokens, step.tokens.len());
            answers.push(Answer { row: id, logits });
        }
        FakeProbe::add(&self.probe.extends, 1);
        self.probe.widest.fetch_max(steps.len() as u64, Ordering::Relaxed);
        Ok(answers)
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        let row = self.row(row)?;
        if self.rows.len() == self.limits.rows {
            return Err(BackendError::Engine(format!("all {} rows are open", self.limits.rows)));
        }
        if let Some(last) = row.last {
            self.cells[last as usize].users += 1;
        }
        self.next_row += 1;
        self.rows.insert(RowId(self.next_row), row);
        Ok(RowId(self.next_row))
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        let held = self.row(row)?;
        if keep > held.len {
            return Err(BackendError::Engine(format!(
                "{row:?} holds {} tokens, {keep} are to be kept",
                held.len
            )));
        }
        let mut last = held.last;
        for _ in keep..held.len {
            last = last.and_then(|cell| self.cells[cell as usize].parent);
        }
        if let Some(last) = last {
            self.cells[last as usize].users += 1;
        }
        self.release(held.last);
        if keep == 0 {
            self.rows.remove(&row);
        } else {
            self.rows.insert(row, Row { last, len: keep });
        }
        Ok(())
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        batch.check()?;
        let forest = &batch.forest;
        forest.tokens.iter().try_for_each(|&token| self.check_token(token))?;
        for target in &batch.targets {
            match target.ask {
                Ask::Token(token) => self.check_token(token)?,
            }
        }
        // The path up to each token, and how long it is.
        let mut paths: Vec<(Path, usize)> = Vec::with_capacity(forest.tokens.len());
        for node in &forest.nodes {
            let (mut path, mut len) = match node.parent {
                Parent::Root => (self.path(Row::default()), 0),
                Parent::Node(parent) => {
                    let parent = forest.nodes[parent as usize];
                    paths[(parent.start + parent.len) as usize - 1].clone()
                }
                Parent::Cached(row) => {
                    let row = self.row(row)?;
                    (self.path(row), row.len)
                }
            };
            self.check_length(len.saturating_add(node.len as usize))?;
            for &token in &forest.tokens[node.start as usize..][..node.len as usize] {
                self.step(&mut path, token);
                len += 1;
                paths.push((path.clone(), len));
            }
        }
        self.check_failure()?;

        let mut scores = Scores::default();
        for target in &batch.targets {
            let Ask::Token(asked) = target.ask;
            let logits = self.logits(&paths[target.at as usize].0);
            scores.scores.push(score(&logits, asked));
            if want.logits {
                FakeProbe::add(&self.probe.full_logits, 1);
                scores.logits.push(logits);
            }
        }
        FakeProbe::add(&self.probe.scores, 1);
        FakeProbe::add(&self.probe.tokens, forest.tokens.len());
        Ok(scores)
    }

    /// A token's state is a hash of the token, with a little of what stands before it in its text:
    /// texts of the same tokens have like means.
    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        forest.check_texts()?;
        forest.tokens.iter().try_for_each(|&token| self.check_token(token))?;
        forest.nodes.iter().try_for_each(|node| self.check_length(node.len as usize))?;
        if pooling == Pooling::Cls {
            let reason = "a token sees only what stands before it".into();
            return Err(BackendError::Pooling { pooling, reason });
        }
        self.check_failure()?;
        let mut states = Vec::with_capacity(forest.tokens.len() * EMBEDDING);
        for node in &forest.nodes {
            let mut path = ROOT;
            for &token in &forest.tokens[node.start as usize..][..node.len as usize] {
                path = hash_token(path, token);
                let own = hash_token(ROOT, token);
                let number = |c| even(hash_token(own, c)) + even(hash_token(path, c)) / 64.0;
                states.extend((0..EMBEDDING as u32).map(number));
            }
        }
        let picked: Vec<f32> = forest
            .pooled_tokens(pooling)
            .into_iter()
            .flat_map(|at| states[at as usize * EMBEDDING..][..EMBEDDING].iter().copied())
            .collect();
        FakeProbe::add(&self.probe.embedded, forest.nodes.len());
        FakeProbe::add(&self.probe.tokens, forest.tokens.len());
        Ok(forest.pool(&picked, EMBEDDING, pooling))
    }
}

impl fmt::Debug for FakeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSession")
            .field("limits", &self.limits)
            .field("scripted", &self.script.is_some())
            .field("rows", &self.rows)
            .field("cached", &self.cached())
            .finish_non_exhaustive()
    }
}

/// Opens [`FakeSession`]s from a `config.json` with `vocab_size` and `max_position_embeddings`.
/// It reads no weights.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeBackend {
    /// Sizes that the configuration does not say.
    pub limits: FakeLimits,
}

impl Backend for FakeBackend {
    fn describe(&self) -> BackendInfo {
        BackendInfo {
            name: "fake".to_owned(),
            about: "logits from a hash of the token ids, for tests".to_owned(),
            devices: vec![DeviceInfo { id: DeviceId(0), name: "hash".to_owned(), memory: None }],
            precisions: vec![Precision::F32],
            verbs: vec![Verb::Extend, Verb::Fork, Verb::Truncate, Verb::Score, Verb::Embed],
        }
    }

    fn open(
        &self,
        device: DeviceId,
        spec: &OpenSpec,
        _weights: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        if device != DeviceId(0) {
            return Err(BackendError::NoDevice {
                backend: "fake".to_owned(),
                device: device.0,
                reason: "it has device 0 only".to_owned(),
            });
        }
        if let Some(asked) = spec.quantization {
            return Err(BackendError::Engine(format!("{asked:?}: it has no weights to round")));
        }
        let size = |key: &str| -> Result<usize, BackendError> {
            spec.config.get(key).and_then(serde_json::Value::as_u64).map(|n| n as usize).ok_or_else(
                || BackendError::ModelConfig {
                    key: key.to_owned(),
                    problem: "must be a whole number".to_owned(),
                },
            )
        };
        Ok(Box::new(FakeSession::new(FakeLimits {
            vocabulary: size("vocab_size")?,
            context: size("max_position_embeddings")?,
            rows: self.limits.rows,
            tokens: spec.cached_tokens.unwrap_or(self.limits.tokens),
        })))
    }
}

fn score(logits: &[f32], asked: u32) -> Score {
    let it = logits[asked as usize];
    let mut top = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[top] {
            top = i;
        }
    }
    Score {
        logprob: it - logsumexp(logits),
        rank: logits.iter().filter(|&&logit| logit > it).count() as u32,
        top: top as u32,
    }
}

fn logsumexp(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return largest;
    }
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    (f64::from(largest) + sum.ln()) as f32
}

/// The hash of a path that goes on with `token` (the finalizer of `SplitMix64`).
fn hash_token(hash: u64, token: u32) -> u64 {
    let mut z = hash
        .wrapping_add((u64::from(token) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .rotate_left(23);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash as a number between -8 and 8.
fn even(hash: u64) -> f32 {
    (hash >> 40) as f32 / (1_u32 << 20) as f32 - 8.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{check_embedding, check_session};

    #[test]
    fn it_keeps_the_contract_exactly() {
        let open = || Box::new(FakeSession::new(FakeLimits::default())) as Box<dyn Session>;
        check_session(&open, 0.0);
        check_embedding(&open, &[Pooling::Mean, Pooling::Last], 0.0);
    }

    #[test]
    fn a_scripted_session_keeps_it_too() {
        let limits = FakeLimits { vocabulary: 16, ..FakeLimits::default() };
        let script = |path: &[u32]| {
            let sum: u32 = path.iter().enumerate().map(|(i, id)| (i as u32 + 1) * id).sum();
            (0..16).map(|id| ((sum * 7 + id * 5) % 23) as f32 / 4.0).collect()
        };
        check_session(&|| Box::new(FakeSession::scripted(limits, script)), 0.0);
    }

    #[test]
    fn shared_tokens_are_cached_once() {
        let mut session = FakeSession::new(FakeLimits { tokens: 6, ..FakeLimits::default() });
        let steps = |row, tokens| [RowStep { row, tokens, adapter: None, wanted: Wanted::Nothing }];
        let a = session.extend(&steps(RowTo::New, &[1, 2, 3, 4])).unwrap()[0].row;
        let b = session.fork(a).unwrap();
        session.extend(&steps(RowTo::Row(b), &[5])).unwrap();
        assert_eq!(session.capacity().tokens, 1);
        session.truncate(a, 0).unwrap();
        assert_eq!(session.capacity().tokens, 1, "the fork keeps what it shares");
        assert!(matches!(
            session.extend(&steps(RowTo::Row(b), &[6, 7])),
            Err(BackendError::CacheFull { needed: 2, free: 1 })
        ));
        session.truncate(b, 0).unwrap();
        assert_eq!(session.capacity().tokens, 6);
        assert_eq!(session.probe().tokens(), 5);
    }

    #[test]
    fn rows_are_limited() {
        let mut session = FakeSession::new(FakeLimits { rows: 1, ..FakeLimits::default() });
        let step =
            RowStep { row: RowTo::New, tokens: &[1], adapter: None, wanted: Wanted::Nothing };
        assert!(session.extend(&[step, step]).is_err());
        let row = session.extend(&[step]).unwrap()[0].row;
        assert!(session.fork(row).is_err());
        assert_eq!(session.capacity().rows, 0);
    }

    #[test]
    fn a_failure_that_a_test_asks_for_changes_nothing() {
        let mut session = FakeSession::new(FakeLimits::default());
        let step =
            RowStep { row: RowTo::New, tokens: &[1], adapter: None, wanted: Wanted::Nothing };
        session.probe().fail_next();
        assert!(matches!(session.extend(&[step]), Err(BackendError::Engine(_))));
        assert_eq!(session.capacity().tokens, FakeLimits::default().tokens);
        assert!(session.extend(&[step]).is_ok());
    }
}
