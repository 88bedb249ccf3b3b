//! Continuous batching: many requests on one session.
//!
//! Each round is one call of the session: one token for every row that decodes, and a chunk of the
//! prompts that are not read yet. Older requests go first; where they wait, clients take turns. A prompt that begins like a row's is
//! forked from it; one that begins like a prompt being read waits until it can be. When the cache
//! is full the youngest row makes room and is computed again later; since a request's draws depend
//! on its seed and its own tokens only, that changes nothing in what it says.

mod admit;
mod waiting;

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use fidelio_backend::{AdapterId, BackendError, Capacity, RowId, RowStep, RowTo, Session, Wanted};
use tokenizers::Tokenizer;

use crate::{
    Emitted, EngineStats, FinishReason, GenerateError, Grammars, Request, RequestId, job::Job,
};
use waiting::Waiting;

/// How much an engine does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that run at the same time.
    pub max_rows: usize,
    /// Prompt tokens read in one round, over all rows. Smaller ones let decoding rows go on sooner.
    pub prefill_chunk: usize,
    /// Prompts are forked where they have at least so many tokens in common.
    pub min_shared_prefix: usize,
    /// Beginnings kept, after the requests that had them have ended, for requests that wait.
    pub kept_prefixes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_rows: 32, prefill_chunk: 512, min_shared_prefix: 8, kept_prefixes: 4 }
    }
}

/// Generates text for many requests on one session.
///
/// ```
/// # use std::sync::Arc;
/// # use fidelio_backend::{FakeLimits, FakeSession};
/// # use fidelio_generate::{Decoding, Engine, Limits, Request};
/// # fn tokenizer() -> tokenizers::Tokenizer {
/// #     tokenizers::Tokenizer::new(tokenizers::models::bpe::BPE::default())
/// # }
/// let session = Box::new(FakeSession::new(FakeLimits::default()));
/// let mut engine = Engine::new(session, Arc::new(tokenizer()), Limits::default())?;
/// let request = engine.submit(Request::new([5, 6, 7], Decoding::default()))?;
/// engine.run_all(|emitted| {
///     if let Some(finish) = emitted.finish {
///         assert_eq!((emitted.request, finish.ids.len()), (request, 32));
///     }
/// })?;
/// # Ok::<(), fidelio_generate::GenerateError>(())
/// ```
pub struct Engine<'s> {
    session: Box<dyn Session + 's>,
    tokenizer: Arc<Tokenizer>,
    grammars: Grammars,
    limits: Limits,
    /// The session's room when this engine had no rows.
    room: Capacity,
    next: u64,
    waiting: Waiting,
    active: BTreeMap<RequestId, Active>,
    kept: Vec<Kept>,
    outbox: Vec<Emitted>,
    /// A row had to make room: nothing new begins before another has ended.
    crowded: bool,
    stats: EngineStats,
    clock: Box<dyn Fn() -> Duration + Send>,
}

/// A request that has a place in the cache.
#[derive(Debug)]
struct Active {
    job: Job,
    /// `None` until its first tokens are computed.
    row: Option<RowId>,
    /// How many of its ids are cached.
    done: usize,
}

impl Active {
    fn left(&self) -> usize {
        self.job.ids.len() - self.done
    }

    /// Whether all that is left was taken together last: then it is computed at once.
    fn decodes(&self) -> bool {
        self.row.is_some() && self.left() <= self.job.fresh
    }

    fn is_short(&self) -> bool {
        self.left() == 1 || self.decodes()
    }
}

/// A beginning of prompts that wait.
#[derive(Debug)]
struct Kept {
    row: RowId,
    ids: Vec<u32>,
    adapter: Option<AdapterId>,
}

impl<'s> Engine<'s> {
    /// An engine on `session`, its own or a borrowed one, which should have no rows of others.
    ///
    /// # Errors
    /// [`GenerateError::Limits`].
    pub fn new(
        session: Box<dyn Session + 's>,
        tokenizer: Arc<Tokenizer>,
        limits: Limits,
    ) -> Result<Self, GenerateError> {
        for (limit, value) in
            [("max_rows", limits.max_rows), ("prefill_chunk", limits.prefill_chunk)]
        {
            if value == 0 {
                return Err(GenerateError::Limits { limit });
            }
        }
        let start = Instant::now();
        Ok(Self {
            room: session.capacity(),
            session,
            grammars: Grammars::new(Arc::clone(&tokenizer)),
            tokenizer,
            limits,
            next: 0,
            waiting: Waiting::default(),
            active: BTreeMap::new(),
            kept: Vec::new(),
            outbox: Vec::new(),
            crowded: false,
            stats: EngineStats::default(),
            clock: Box::new(move || start.elapsed()),
        })
    }

    /// Measures time with `clock` instead of the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Queues a request.
    ///
    /// # Errors
    /// When its decoding settings cannot be, a token does not exist, or prompt and answer could
    /// never fit: nothing is ever cut.
    pub fn submit(&mut self, mut request: Request) -> Result<RequestId, GenerateError> {
        let Request { prompt, decoding, .. } = &request;
        decoding.check()?;
        decoding.check_tokens(self.room.vocabulary)?;
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let vocabulary = self.room.vocabulary;
        if let Some(position) = prompt.iter().position(|&id| id as usize >= vocabulary) {
            let token = prompt[position];
            return Err(GenerateError::PromptToken { token, position, vocabulary });
        }
        let (prompt, max_new_tokens) = (prompt.len(), decoding.max_new_tokens);
        let total = prompt.saturating_add(max_new_tokens);
        if total > self.room.context {
            let context = self.room.context;
            return Err(GenerateError::TooLong { prompt, max_new_tokens, context });
        }
        // The last token generated is never fed back.
        if total - 1 > self.room.tokens {
            let cache = self.room.tokens;
            return Err(GenerateError::CacheTooSmall { prompt, max_new_tokens, cache });
        }
        if let Some(grammar) = request.grammar.take() {
            let rule = self.grammars.rule(&grammar, &request.decoding.eos_token_id)?;
            request.rules.push(Box::new(rule));
        }
        let id = RequestId(self.next);
        self.next += 1;
        let turn = self.waiting.turn(request.client);
        let mut job = Job::new(id, turn, request, &self.tokenizer);
        let beginning = job.begin();
        self.stats.forced_tokens += job.forced as u64;
        if beginning.as_ref().is_none_or(|emitted| emitted.finish.is_none()) {
            self.waiting.insert(job);
        }
        self.outbox.extend(beginning);
        Ok(id)
    }

    /// Ends a request; its rows are free at once, and the next round reports its end. False when
    /// it has ended already.
    ///
    /// # Errors
    /// When the session cannot free its row.
    pub fn cancel(&mut self, request: RequestId) -> Result<bool, GenerateError> {
        if let Some(mut job) = self.waiting.remove(request) {
            self.outbox.push(job.finish(FinishReason::Cancelled));
            return Ok(true);
        }
        if !self.active.contains_key(&request) {
            return Ok(false);
        }
        self.end(request, |job| job.finish(FinishReason::Cancelled))?;
        Ok(true)
    }

    /// One scheduling round: prefills or decodes everything that fits, in one call of the session.
    ///
    /// # Errors
    /// When the session fails. No request has lost anything; the round may be tried again.
    pub fn step(&mut self) -> Result<Vec<Emitted>, GenerateError> {
        self.end_late_ones()?;
        self.admit()?;
        self.compute()?;
        Ok(std::mem::take(&mut self.outbox))
    }

    /// Rounds until nothing is left to do.
    ///
    /// # Errors
    /// As [`Engine::step`].
    pub fn run_all(&mut self, mut on: impl FnMut(Emitted)) -> Result<(), GenerateError> {
        while !self.is_idle() {
            self.step()?.into_iter().for_each(&mut on);
        }
        Ok(())
    }

    /// Whether nothing is left to do or to report.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.active.is_empty() && self.outbox.is_empty()
    }

    /// Requests that wait, and requests that run.
    pub fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.active.len())
    }

    /// What has been done so far.
    pub fn stats(&self) -> &EngineStats {
        &self.stats
    }

    /// The session, for scoring between rounds. Its rows are the engine's.
    pub fn session(&mut self) -> &mut (dyn Session + 's) {
        self.session.as_mut()
    }

    /// Forgets an adapter of the session, and all beginnings that were computed with it. False while
    /// a request needs it: then nothing has changed.
    ///
    /// # Errors
    /// When the session has no such adapter, or cannot free a row.
    pub fn remove_adapter(&mut self, adapter: AdapterId) -> Result<bool, GenerateError> {
        let mut jobs = self.waiting.jobs().chain(self.active.values().map(|it| &it.job));
        if jobs.any(|job| job.adapter == Some(adapter)) {
            return Ok(false);
        }
        for i in (0..self.kept.len()).rev() {
            if self.kept[i].adapter == Some(adapter) {
                self.session.truncate(self.kept[i].row, 0)?;
                self.kept.remove(i);
            }
        }
        self.session.remove_adapter(adapter)?;
        Ok(true)
    }

    /// Gives the session back, without rows. Requests that have not ended are dropped.
    ///
    /// # Errors
    /// When the session cannot free a row.
    pub fn into_session(mut self) -> Result<Box<dyn Session + 's>, GenerateError> {
        let rows = self.active.values().filter_map(|it| it.row);
        for row in rows.chain(self.kept.iter().map(|kept| kept.row)) {
            self.session.truncate(row, 0)?;
        }
        Ok(self.session)
    }

    fn end_late_ones(&mut self) -> Result<(), GenerateError> {
        let now = (self.clock)();
        let late = |it: &&Active| it.job.is_late(now);
        let late: Vec<RequestId> = self.active.values().filter(late).map(|it| it.job.id).collect();
        for request in late {
            self.end(request, |job| job.finish(FinishReason::Time))?;
        }
        // A row that had to make room keeps its time.
        let late: Vec<RequestId> =
            self.waiting.jobs().filter(|job| job.is_late(now)).map(|job| job.id).collect();
        for mut job in late.into_iter().filter_map(|id| self.waiting.remove(id)) {
            self.outbox.push(job.finish(FinishReason::Time));
        }
        Ok(())
    }

    /// Runs the session on as much as fits, making room where it must.
    fn compute(&mut self) -> Result<(), GenerateError> {
        while !self.active.is_empty() {
            let plan = self.plan()?;
            let Err(error) = self.run(&plan) else { return Ok(()) };
            match error {
                GenerateError::Backend(BackendError::CacheFull { .. }) => {
                    if !self.make_room()? {
                        return self.end_last_one();
                    }
                }
                error => return Err(error),
            }
        }
        Ok(())
    }

    /// How many tokens of which request to compute next, older requests first.
    fn plan(&mut self) -> Result<Vec<(RequestId, usize)>, GenerateError> {
        loop {
            let short: usize =
                self.active.values().filter(|it| it.is_short()).map(Active::left).sum();
            let least = short + usize::from(!self.active.values().all(Active::is_short));
            let free = self.session.capacity().tokens;
            if free < least && self.make_room()? {
                continue;
            }
            let mut chunk = self.limits.prefill_chunk.min(free.saturating_sub(short).max(1));
            let mut plan = Vec::with_capacity(self.active.len());
            for (&id, it) in &self.active {
                let tokens = if it.is_short() { it.left() } else { it.left().min(chunk) };
                if !it.is_short() {
                    chunk -= tokens;
                }
                if tokens > 0 {
                    plan.push((id, tokens));
                }
            }
            return Ok(plan);
        }
    }

    /// One call of the session, and what follows from its answers.
    fn run(&mut self, plan: &[(RequestId, usize)]) -> Result<(), GenerateError> {
        let mut prefill = 0;
        let mut decode = 0;
        let mut steps = Vec::with_capacity(plan.len());
        for (id, tokens) in plan {
            let it = &self.active[id];
            let ends = *tokens == it.left();
            if it.decodes() {
                decode += tokens;
            } else {
                prefill += tokens;
            }
            steps.push(RowStep {
                row: it.row.map_or(RowTo::New, RowTo::Row),
                tokens: &it.job.ids[it.done..it.done + tokens],
                adapter: it.job.adapter,
                wanted: if ends { Wanted::Last(it.job.shape()) } else { Wanted::Nothing },
            });
        }
        let start = (self.clock)();
        let answers = self.session.extend(&steps)?;
        let time = (self.clock)().saturating_sub(start);
        self.stats.count_call(prefill, decode, time);

        // First all rows, so that an error below leaves none of them behind the session's.
        let mut chosen = Vec::new();
        for ((id, tokens), answer) in plan.iter().zip(answers) {
            if let Some(it) = self.active.get_mut(id) {
                it.row = Some(answer.row);
                it.done += tokens;
                chosen.extend(answer.logits.into_iter().next_back().map(|logits| (*id, logits)));
            }
        }
        // A row that cannot be freed must not keep the others from their tokens.
        let mut outcome = Ok(());
        for (id, logits) in chosen {
            let Some(it) = self.active.get_mut(&id) else { continue };
            let forced = it.job.forced;
            let emitted = it.job.take(logits);
            self.stats.forced_tokens += (it.job.forced - forced) as u64;
            if emitted.finish.is_none() {
                self.outbox.push(emitted);
            } else if let Err(error) = self.end(id, |_| emitted) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Frees tokens: of a kept beginning, else of the youngest row. False when only one row is
    /// left.
    fn make_room(&mut self) -> Result<bool, GenerateError> {
        if let Some(kept) = self.kept.first() {
            self.session.truncate(kept.row, 0)?;
            self.kept.remove(0);
            return Ok(true);
        }
        if self.active.len() < 2 {
            return Ok(false);
        }
        if let Some((_, Active { row: Some(row), done, .. })) = self.active.last_key_value() {
            self.session.truncate(*row, 0)?;
            self.stats.preemptions += 1;
            self.stats.preempted_tokens += *done as u64;
        }
        if let Some((_, it)) = self.active.pop_last() {
            self.waiting.insert(it.job);
        }
        self.crowded = true;
        Ok(true)
    }

    /// Ends the only row, which cannot grow although the cache should have had room for it.
    fn end_last_one(&mut self) -> Result<(), GenerateError> {
        while let Some(id) = self.active.keys().next().copied() {
            self.end(id, |job| job.finish(FinishReason::CacheFull))?;
        }
        Ok(())
    }

    /// Ends an active request: frees its row or keeps its beginning, and reports it.
    fn end(
        &mut self,
        id: RequestId,
        last: impl FnOnce(&mut Job) -> Emitted,
    ) -> Result<(), GenerateError> {
        let Some(mut it) = self.active.remove(&id) else { return Ok(()) };
        self.crowded = false;
        self.outbox.push(last(&mut it.job));
        match it.row {
            Some(row) => self.retire(row, &it.job.ids[..it.done], it.job.adapter),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .field("waiting", &self.waiting.len())
            .field("active", &self.active.len())
            .field("kept", &self.kept.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
