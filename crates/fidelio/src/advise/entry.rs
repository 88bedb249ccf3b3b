//! An arm that is ready to answer, and what it took.

use std::{ops::Range, sync::Arc, time::Instant};

use fidelio_backend::Session;
use fidelio_data::{Row, Source, Subset};

use super::{Arm, ArmCost, RowScore, learnt::Learnt, race::Racer};
use crate::{
    Error, FittedProbe, Job, Observer, ProbeAnswer, RunFile, Usage,
    job::Prepared,
    memory::{peak_memory, reset_peak_memory},
};

/// An arm that is ready to answer.
pub(super) struct Entry {
    pub(super) arm: Arm,
    pub(super) way: Way,
    /// The run file that is handed over.
    pub(super) ready: String,
    pub(super) racer: Racer,
    pub(super) preparing: f64,
    pub(super) notes: Vec<String>,
    usage: Used,
}

/// How an arm answers.
pub(super) enum Way {
    /// A language model reads prompts.
    Prompts(Box<Prompts>),
    /// A head reads vectors.
    Vectors(Box<Vectors>),
}

/// Rows as prompts.
pub(super) struct Prompts {
    pub(super) run: RunFile,
    pub(super) job: Job,
    /// The rows in order; none where a rule of the run file drops one.
    rows: Vec<Option<Prepared>>,
    /// What it learnt before, if it did.
    pub(super) learnt: Option<Learnt>,
    /// Its own session, where it learnt something.
    session: Option<Box<dyn Session>>,
}

/// Rows for a head.
pub(super) struct Vectors {
    pub(super) fitted: FittedProbe,
    rows: Vec<Row>,
    /// The label of each row.
    expected: Vec<String>,
    pub(super) learnt: Learnt,
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
        let ready = run.document().render();
        let prompts = Prompts { run, job, rows, learnt: None, session: None };
        let preparing = if arm.shows_rows() { began.elapsed().as_secs_f64() } else { 0.0 };
        Ok(Self { preparing, notes, ..Self::ready(arm, Way::Prompts(Box::new(prompts)), ready) })
    }

    /// A fitted head, for the rows of a job.
    pub(super) fn of_probe(fitted: FittedProbe, learnt: Learnt, job: &Job) -> Result<Self, Error> {
        let ready = fitted.run_file().document().render();
        let mut vectors = Vectors { fitted, rows: Vec::new(), expected: Vec::new(), learnt };
        vectors.read(job, job.source.as_ref())?;
        Ok(Self::ready(Arm::Probe, Way::Vectors(Box::new(vectors)), ready))
    }

    fn ready(arm: Arm, way: Way, ready: String) -> Self {
        Self {
            arm,
            way,
            ready,
            racer: Racer::default(),
            preparing: 0.0,
            notes: Vec::new(),
            usage: Used::default(),
        }
    }

    /// An arm of prompts, after it learnt something.
    pub(super) fn after(mut self, learnt: Option<Learnt>) -> Self {
        if let Way::Prompts(prompts) = &mut self.way {
            prompts.learnt = learnt;
        }
        self
    }

    /// What it learnt, if it did.
    pub(super) fn learnt(&self) -> Option<&Learnt> {
        match &self.way {
            Way::Prompts(prompts) => prompts.learnt.as_ref(),
            Way::Vectors(vectors) => Some(&vectors.learnt),
        }
    }

    /// Answers some of its rows; one score for each. Arms that learnt nothing share a session.
    pub(super) fn answer(
        &mut self,
        shared: &mut dyn Session,
        rows: Range<usize>,
        score: RowScore,
        observer: &mut dyn Observer,
    ) -> Result<Vec<f64>, Error> {
        reset_peak_memory();
        let (scores, usage) = match &mut self.way {
            Way::Prompts(prompts) => prompts.answer(shared, rows.clone(), score, observer)?,
            Way::Vectors(vectors) => vectors.answer(rows.clone(), observer)?,
        };
        self.usage.count(&usage, rows.len());
        Ok(scores)
    }

    /// What a token has taken so far.
    pub(super) fn seconds_per_token(&self) -> f64 {
        self.racer.seconds / (self.usage.tokens as f64).max(1.0)
    }

    /// Tokens of a row's prompt and of the answers that are scored, on average over those that it
    /// has not answered yet; 0 for one that reads no prompts.
    pub(super) fn tokens_per_row(&self) -> f64 {
        let Way::Prompts(prompts) = &self.way else { return 0.0 };
        let tokens =
            |row: &Prepared| row.prompt.len() + row.answers.iter().map(Vec::len).sum::<usize>();
        let rows = prompts.rows.iter().flatten();
        let (rows, tokens) =
            rows.fold((0_usize, 0_usize), |(count, sum), row| (count + 1, sum + tokens(row)));
        tokens as f64 / rows.max(1) as f64
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

impl Prompts {
    /// With its own session where it learnt something, else with the shared one.
    fn answer(
        &mut self,
        shared: &mut dyn Session,
        rows: Range<usize>,
        score: RowScore,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<f64>, Usage), Error> {
        let asked: Vec<Prepared> =
            self.rows[rows.clone()].iter_mut().filter_map(Option::take).collect();
        let answered = if self.learnt.is_some() {
            let mut own = match self.session.take() {
                Some(own) => own,
                None => self.job.open()?,
            };
            let answered = self.job.answer(own.as_mut(), &asked, observer);
            self.session = Some(own);
            answered?
        } else {
            self.job.answer(shared, &asked, observer)?
        };
        if answered.stopped {
            return Err(Error::Stopped);
        }
        let scores = self.job.scores(&answered, score)?;
        let scores = rows.map(|row| scores.get(&row).copied().unwrap_or(0.0)).collect();
        Ok((scores, answered.usage))
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
}

impl Vectors {
    /// Takes rows in place of those it has; the labels are a job's.
    pub(super) fn read(&mut self, job: &Job, source: &dyn Source) -> Result<(), Error> {
        let labels = job.labels.as_ref().ok_or(Error::NoHead)?;
        self.rows = fidelio_data::rows(source).collect::<Result<_, _>>()?;
        self.expected.clear();
        for row in &self.rows {
            let label = labels.number_of(row)?.map(|it| labels.labels()[it].clone());
            self.expected.push(label.unwrap_or_default());
        }
        Ok(())
    }

    pub(super) fn answer(
        &mut self,
        rows: Range<usize>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<f64>, Usage), Error> {
        let (answers, usage) = self.fitted.answer(&self.rows[rows.clone()], observer)?;
        let right = |(answer, expected): (&ProbeAnswer, &String)| {
            f64::from(u8::from(answer.label.as_ref() == Some(expected)))
        };
        let scores = answers.iter().zip(&self.expected[rows]).map(right).collect();
        let tokens = usage.tokens;
        Ok((scores, Usage { computed_tokens: tokens, prompt_tokens: tokens, ..Usage::default() }))
    }
}

impl Used {
    fn count(&mut self, usage: &Usage, rows: usize) {
        self.rows += rows;
        self.tokens += usage.prompt_tokens + usage.completion_tokens;
        self.computed += usage.computed_tokens;
        self.peak_memory = self.peak_memory.max(peak_memory());
    }
}
