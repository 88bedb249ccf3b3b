//! An arm that is ready to answer, and what it took.

use std::{ops::Range, sync::Arc, time::Instant};

use fidelio_backend::Session;
use fidelio_data::Subset;

use super::{Arm, ArmCost, RowScore, learnt::Learnt, race::Racer};
use crate::{
    Error, Job, Observer, Predictions, RunFile,
    job::Prepared,
    memory::{peak_memory, reset_peak_memory},
};

/// An arm that is ready to answer.
pub(super) struct Entry {
    pub(super) arm: Arm,
    pub(super) run: RunFile,
    /// What is handed over: the same, or all of what was tried in short.
    pub(super) ready: RunFile,
    pub(super) job: Job,
    /// The rows in order; none where a rule of the run file drops one.
    rows: Vec<Option<Prepared>>,
    pub(super) racer: Racer,
    pub(super) preparing: f64,
    pub(super) learnt: Option<Learnt>,
    pub(super) notes: Vec<String>,
    /// Its own session, where it learnt something.
    session: Option<Box<dyn Session>>,
    usage: Used,
}

/// What answering took.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    rows: usize,
    tokens: u64,
    computed: u64,
    peak_memory: Option<u64>,
}

impl Entry {
    /// A job whose rows are those of `order`, as prompts.
    pub(super) fn of(
        arm: Arm,
        run: RunFile,
        mut job: Job,
        order: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        job.source = Arc::new(Subset::new(Arc::clone(&job.source), order.to_vec()));
        let mut rows: Vec<Option<Prepared>> = order.iter().map(|_| None).collect();
        for row in job.prepared(observer)?.prepared {
            let number = row.number;
            rows[number] = Some(row);
        }
        let dropped = rows.iter().filter(|row| row.is_none()).count();
        let mut notes = Vec::new();
        if dropped > 0 {
            notes.push(format!(
                "{dropped} rows are dropped by `prompt.overflow`; they count as wrong"
            ));
        }
        Ok(Self {
            arm,
            ready: run.clone(),
            run,
            job,
            rows,
            racer: Racer::default(),
            preparing: if arm.shows_rows() { began.elapsed().as_secs_f64() } else { 0.0 },
            learnt: None,
            notes,
            session: None,
            usage: Used::default(),
        })
    }

    /// Answers some of its rows on its own session; one score for each.
    pub(super) fn answer_alone(
        &mut self,
        rows: Range<usize>,
        score: RowScore,
        observer: &mut dyn Observer,
    ) -> Result<Vec<f64>, Error> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.job.open()?,
        };
        let answered = self.answer(session.as_mut(), rows, score, observer);
        self.session = Some(session);
        answered
    }

    /// Answers some of its rows; one score for each.
    pub(super) fn answer(
        &mut self,
        session: &mut dyn Session,
        rows: Range<usize>,
        score: RowScore,
        observer: &mut dyn Observer,
    ) -> Result<Vec<f64>, Error> {
        reset_peak_memory();
        let asked: Vec<Prepared> =
            self.rows[rows.clone()].iter_mut().filter_map(Option::take).collect();
        let answered = self.job.answer(session, &asked, observer)?;
        if answered.stopped {
            return Err(Error::Stopped);
        }
        self.usage.count(&answered, rows.len());
        let scores = self.job.scores(&answered, score)?;
        Ok(rows.map(|row| scores.get(&row).copied().unwrap_or(0.0)).collect())
    }

    /// What a token has taken so far.
    pub(super) fn seconds_per_token(&self) -> f64 {
        self.racer.seconds / (self.usage.tokens as f64).max(1.0)
    }

    /// Tokens of a row's prompt and of the answers that are scored, on average over those that it
    /// has not answered yet.
    pub(super) fn tokens_per_row(&self) -> f64 {
        let rows = self.rows.iter().flatten();
        let tokens =
            |row: &Prepared| row.prompt.len() + row.answers.iter().map(Vec::len).sum::<usize>();
        let (rows, tokens) =
            rows.fold((0_usize, 0_usize), |(count, sum), row| (count + 1, sum + tokens(row)));
        tokens as f64 / rows.max(1) as f64
    }

    /// The score of the most frequent label on its rows; none for texts.
    pub(super) fn majority(&self) -> Result<Option<f64>, Error> {
        let Some(labels) = &self.job.labels else { return Ok(None) };
        let mut counts = vec![0_usize; labels.labels().len()];
        for row in fidelio_data::rows(self.job.source.as_ref()) {
            if let Some(label) = labels.number_of(&row?)? {
                counts[label] += 1;
            }
        }
        let most = counts.iter().max().copied().unwrap_or_default();
        Ok(Some(most as f64 / self.rows.len() as f64))
    }

    pub(super) fn cost(&self, answers: f64) -> ArmCost {
        let thousand = 1_000.0 / self.usage.rows.max(1) as f64;
        let seconds_per_thousand = self.racer.seconds * thousand;
        ArmCost {
            tokens_per_thousand: self.usage.tokens as f64 * thousand,
            computed_per_thousand: self.usage.computed as f64 * thousand,
            seconds_per_thousand,
            preparing: self.preparing,
            peak_memory: self.usage.peak_memory,
            total: self.preparing + seconds_per_thousand * answers / 1_000.0,
        }
    }
}

impl Used {
    fn count(&mut self, answered: &Predictions, rows: usize) {
        self.rows += rows;
        self.tokens += answered.usage.prompt_tokens + answered.usage.completion_tokens;
        self.computed += answered.usage.computed_tokens;
        self.peak_memory = self.peak_memory.max(peak_memory());
    }
}
