//! The contest: arms ready to answer, the rows they answer, and the time that is left.

use std::{
    collections::HashSet,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use fidelio_backend::Session;
use fidelio_data::{Subset, shuffled};
use fidelio_eval::{Bootstrap, Choice, Contender, compare_scores};

use super::{
    Advice, AdviseOptions, Arm, ArmReport, Confirmed, Leaks, LeftOut, MoreLabels, RowScore,
    arms::Arms,
    chart,
    entry::{Entry, Way},
    leaks::Texts,
    race::{FEWEST, FIRST, Racer, Track, race},
};
use crate::{
    DataArgs, Error, Event, Flow, Job, Machine, Model, Observer, Results, RunFile, SplitChoice,
    dataset,
    plan::{self, AnswerPlan},
};

/// Rows that are measured, however many there are.
const MOST_ROWS: usize = 1_000;
/// Time kept for the test rows.
const CONFIRMING: f64 = 0.15;
/// The share of what is left then that they may take.
const TESTING: f64 = 0.6;
/// Time for the first round.
const FIRST_ROUND: f64 = 0.2;
/// Time for making an arm ready, such as for vectors of all training rows.
const ENTERING: f64 = 0.2;

/// Arms, rows and time.
pub(super) struct Contest<'a> {
    pub(super) machine: &'a Machine,
    pub(super) data: &'a DataArgs,
    pub(super) options: &'a AdviseOptions,
    pub(super) results: &'a Results,
    pub(super) arms: Arms<'a>,
    pub(super) entries: Vec<Entry>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) more_labels: Option<MoreLabels>,
    /// The session of all arms that learn nothing.
    pub(super) session: Box<dyn Session>,
    pub(super) clock: Clock,
    pub(super) score: RowScore,
    seed: u64,
    leaks: Leaks,
    /// The validation rows that are measured, in the order in which they are.
    order: Vec<usize>,
    pub(super) training_rows: usize,
    /// The share of validation rows that have the most frequent label; none for texts.
    pub(super) majority: Option<f64>,
    choice: Option<Choice>,
    /// Whether the observer wants no more of it.
    stopped: bool,
    confirmed: Option<Confirmed>,
    /// The texts of training and validation rows, which no test row may repeat.
    seen: HashSet<String>,
    pub(super) columns: Vec<String>,
}

/// How long it may take, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    pub(super) budget: f64,
}

impl Clock {
    fn elapsed(self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(super) fn left(self) -> f64 {
        self.budget - self.elapsed()
    }
}

impl<'a> Contest<'a> {
    /// Looks for leaks, settles which rows are measured, and makes the arms that only prompt ready.
    pub(super) fn prepare(
        machine: &'a Machine,
        run: &'a RunFile,
        data: &'a DataArgs,
        options: &'a AdviseOptions,
        results: &'a Results,
        began: Instant,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let clock = Clock { began, budget: options.budget.as_secs_f64() };
        let seed = run.config().random_seed;
        let part = |split| DataArgs { split, ..data.clone() };
        let learnt = dataset::rows(run.config(), &part(SplitChoice::Training), true)?.source;
        let labels = every_label(run, data)?;
        let mut arms = Arms { run, labels, chat: false };
        let alone = arms.prompted(Arm::ZeroShot)?;
        let job = prepared(machine, &alone, &part(SplitChoice::Validation))?;
        if matches!(job.plan.answer, AnswerPlan::Documents) {
            return Err(Error::NothingAsked);
        }
        arms.chat = job.plan.prompt.chat_template;
        let columns = columns(run, &job)?;
        let texts = Texts { columns: &columns };
        let mut leaks = Leaks::default();
        let mut seen = texts.of(learnt.as_ref())?;
        let unseen = texts.unseen(job.source.as_ref(), &seen, &mut leaks.validation)?;
        seen.extend(texts.of(job.source.as_ref())?);
        leaks.labels_inside =
            texts.labels_inside(learnt.as_ref(), run.config().output().column(), &arms.labels)?;
        if unseen.is_empty() {
            return Err(Error::EmptySplit { split: SplitChoice::Validation.name() });
        }
        let mut order = shuffled(unseen, seed);
        order.truncate(MOST_ROWS);
        let score = RowScore::of(&job);
        let mut entry = Entry::of(Arm::ZeroShot, alone, job, &order, observer)?;
        let Way::Prompts(prompts) = &mut entry.way else { unreachable!("it is made of a job") };
        let session = prompts.job.open()?;
        let majority = prompts.majority()?;
        let mut contest = Self {
            machine,
            data,
            options,
            results,
            arms,
            entries: vec![entry],
            left_out: Vec::new(),
            more_labels: None,
            session,
            clock,
            score,
            seed,
            leaks,
            order,
            training_rows: learnt.len(),
            majority,
            choice: None,
            stopped: false,
            confirmed: None,
            seen,
            columns,
        };
        for note in contest.leaks.notes() {
            observer.on(&Event::Note(note));
        }
        contest.enter_others(observer)?;
        Ok(contest)
    }

    /// Makes the other arms ready that only prompt. One that cannot be made is left out.
    fn enter_others(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        for arm in Arm::ALL.into_iter().filter(|&arm| arm != Arm::ZeroShot && arm != Arm::Lora) {
            if !self.wants(arm) {
                continue;
            }
            let mut until = Until { observer, at: self.until(ENTERING), over: false };
            let entered = self.entered(arm, &mut until);
            let over = until.over;
            match entered {
                Ok(entry) => self.entries.push(entry),
                Err(Error::Stopped) if over => {
                    let why = "making it ready takes more than a fifth of the time; what was made \
                               is kept for the next time";
                    self.leave_out(arm, why.to_owned(), observer);
                }
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => self.leave_out(arm, said(&error), observer),
            }
        }
        Ok(())
    }

    /// Whether an arm is to be tried. The prompt alone always is: the others are measured by it.
    pub(super) fn wants(&self, arm: Arm) -> bool {
        match &self.options.arms {
            Some(arms) => arms.contains(&arm),
            None => arm.is_usual(self.arms.run),
        }
    }

    pub(super) fn leave_out(&mut self, arm: Arm, why: String, observer: &mut dyn Observer) {
        observer.on(&Event::Note(format!("`{}` is left out: {why}", arm.name())));
        self.left_out.push(LeftOut { arm, why });
    }

    /// The moment when a share of the time, from now on, is used up.
    fn until(&self, share: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(share * self.clock.budget)
    }

    fn entered(&self, arm: Arm, observer: &mut dyn Observer) -> Result<Entry, Error> {
        if arm == Arm::Probe {
            return self.fitted(observer);
        }
        let run = self.arms.prompted(arm)?;
        self.enter(arm, run, observer)
    }

    /// An arm with the validation rows as prompts.
    pub(super) fn enter(
        &self,
        arm: Arm,
        run: RunFile,
        observer: &mut dyn Observer,
    ) -> Result<Entry, Error> {
        let data = DataArgs { split: SplitChoice::Validation, ..self.data.clone() };
        let job = prepared(self.machine, &run, &data)?;
        Entry::of(arm, run, job, &self.order, observer)
    }

    /// Lets every arm answer a few rows, so that it is known how fast each is: fewer where prompts
    /// are long and time is short.
    pub(super) fn first_round(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let most = FIRST.min(self.order.len());
        self.advance(0, FEWEST.min(most), observer)?;
        let per_token = self.entries[0].seconds_per_token();
        let per_row: f64 = self.entries.iter().map(|it| it.tokens_per_row() * per_token).sum();
        let affordable = FIRST_ROUND * self.clock.budget / per_row.max(1e-9);
        let rows = (affordable as usize).clamp(FEWEST.min(most), most);
        for number in 0..self.entries.len() {
            self.advance(number, rows, observer)?;
        }
        Ok(())
    }

    /// Lets an arm answer the rows up to `end` that it has not answered yet.
    pub(super) fn advance(
        &mut self,
        number: usize,
        end: usize,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let mut racer = std::mem::take(&mut self.entries[number].racer);
        let advanced = racer.advance(number, end, &mut On { contest: self, observer });
        self.entries[number].racer = racer;
        advanced
    }

    /// Lets arms answer rows until it is clear which is best, or time is up.
    pub(super) fn race(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let take = |entry: &mut Entry| std::mem::take(&mut entry.racer);
        let mut racers: Vec<Racer> = self.entries.iter_mut().map(take).collect();
        let rows = self.order.len();
        let raced = race(&mut racers, rows, &mut On { contest: self, observer });
        for (entry, racer) in self.entries.iter_mut().zip(racers) {
            entry.racer = racer;
        }
        raced
    }

    /// Seconds that are left for what comes before the test rows.
    pub(super) fn left(&self) -> f64 {
        self.clock.left() - CONFIRMING * self.clock.budget
    }

    pub(super) fn bootstrap(&self) -> Bootstrap {
        Bootstrap { seed: self.seed, ..Bootstrap::default() }
    }

    /// Chooses among what was measured.
    pub(super) fn choose(&mut self) -> Result<(), Error> {
        let answers = self.options.answers as f64;
        let costs: Vec<f64> = self.entries.iter().map(|it| it.cost(answers).total).collect();
        let contenders = self.entries.iter().zip(&costs);
        let contenders: Vec<Contender<'_>> =
            contenders.map(|(it, &cost)| Contender { scores: &it.racer.scores, cost }).collect();
        self.choice = Some(Choice::of(&contenders, &self.bootstrap())?);
        Ok(())
    }

    pub(super) fn chosen(&self) -> &Choice {
        self.choice.as_ref().expect("the arms were chosen among before")
    }

    /// Measures the recommended arm, and the prompt alone beside it, on test rows.
    pub(super) fn confirm(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let data = DataArgs { split: SplitChoice::Test, ..self.data.clone() };
        let mut order = self.test_rows(&data)?;
        if order.is_empty() {
            return Ok(());
        }
        let winner = self.chosen().recommended;
        let mut confirmed = Vec::new();
        let wanted = if winner == 0 { vec![0] } else { vec![winner, 0] };
        let per_row: f64 = wanted
            .iter()
            .map(|&it| self.entries[it].racer.seconds / self.entries[it].racer.scores.len() as f64)
            .sum();
        // The rest is for asking what more labels are worth.
        let left = TESTING * self.clock.left().max(0.0);
        let affordable = (left / per_row.max(1e-9)) as usize;
        // A verdict that is not confirmed is worth little: some rows are answered in any case.
        order.truncate(affordable.clamp(FIRST, MOST_ROWS));
        for &number in &wanted {
            confirmed.push(self.tested(number, &data, &order, observer)?);
        }
        let score = self.bootstrap().mean(&confirmed[0])?;
        let beside = |alone: &Vec<f64>| compare_scores(alone, &confirmed[0], &self.bootstrap());
        let beside_zero_shot = confirmed.get(1).map(beside).transpose()?;
        self.confirmed = Some(Confirmed { rows: confirmed[0].len(), score, beside_zero_shot });
        Ok(())
    }

    /// The test rows that repeat none of the others, in a random order.
    fn test_rows(&mut self, data: &DataArgs) -> Result<Vec<usize>, Error> {
        if !data.has_rows() {
            return Ok(Vec::new());
        }
        let source = match dataset::rows(self.arms.run.config(), data, true) {
            Err(Error::EmptySplit { .. }) => return Ok(Vec::new()),
            rows => rows?.source,
        };
        let texts = Texts { columns: &self.columns };
        let unseen = texts.unseen(source.as_ref(), &self.seen, &mut self.leaks.test)?;
        Ok(shuffled(unseen, self.seed))
    }

    /// What an arm scores on these rows of `data`.
    fn tested(
        &mut self,
        number: usize,
        data: &DataArgs,
        order: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Vec<f64>, Error> {
        // A head answers the rows that the prompt alone would.
        let run = match &self.entries[number].way {
            Way::Prompts(prompts) => prompts.run.clone(),
            Way::Vectors(_) => self.arms.prompted(Arm::ZeroShot)?,
        };
        let job = prepared(self.machine, &run, data)?;
        let rows = 0..order.len();
        let Contest { entries, session, score, .. } = &mut *self;
        let entry = &mut entries[number];
        match &mut entry.way {
            Way::Vectors(vectors) => {
                vectors.read(&job, &Subset::new(Arc::clone(&job.source), order.to_vec()))?;
                Ok(vectors.answer(rows, observer)?.0)
            }
            Way::Prompts(prompts) => {
                let learnt = prompts.learnt.clone();
                let mut test = Entry::of(entry.arm, run, job, order, observer)?.after(learnt);
                test.answer(session.as_mut(), rows, *score, observer)
            }
        }
    }

    /// Writes a run file for each arm and sums up.
    pub(super) fn advice(self) -> Result<Advice, Error> {
        let choice = self.chosen().clone();
        let answers = self.options.answers as f64;
        let mut reports = Vec::with_capacity(self.entries.len());
        for (entry, standing) in self.entries.iter().zip(&choice.standings) {
            let run_file = self.results.write_arm(entry.arm.name(), &entry.ready)?;
            let trained = entry.learnt().map(|it| it.folder.clone());
            reports.push(ArmReport {
                arm: entry.arm,
                rows: entry.racer.scores.len(),
                score: standing.score,
                beside_best: standing.beside_best,
                p_value: standing.p_value,
                worse: standing.worse,
                stopped: entry.racer.stopped,
                cost: entry.cost(answers),
                run_file,
                trained,
                notes: entry.notes.clone(),
            });
        }
        let chart = chart::of(&self, &choice)?;
        let (best, recommended) =
            (self.entries[choice.best].arm, self.entries[choice.recommended].arm);
        let verdict = chart::verdict(&choice, &reports, self.score);
        Ok(Advice {
            score: self.score,
            arms: reports,
            left_out: self.left_out,
            best,
            recommended,
            verdict,
            chart,
            least_difference: choice.least_difference,
            majority: self.majority,
            confirmed: self.confirmed,
            more_labels: self.more_labels,
            leaks: self.leaks,
            validation_rows: self.order.len(),
            training_rows: self.training_rows,
            budget: self.clock.budget,
            seconds: self.clock.elapsed(),
            stopped: self.stopped,
            answers: self.options.answers,
        })
    }

    /// Whether there is still something to do; what was measured before counts in any case.
    pub(super) fn goes_on(&mut self, done: Result<(), Error>) -> Result<bool, Error> {
        match done {
            Err(Error::Stopped) => self.stopped = true,
            done => done?,
        }
        if self.stopped {
            self.level();
        }
        Ok(!self.stopped)
    }

    /// Forgets answers to rows that not all arms in the race have answered.
    fn level(&mut self) {
        let racing = || self.entries.iter().filter(|it| it.racer.stopped.is_none());
        let rows = racing().map(|it| it.racer.scores.len()).min().unwrap_or(0);
        for entry in &mut self.entries {
            entry.racer.scores.truncate(rows);
        }
    }
}

/// An observer that ends work at a moment.
struct Until<'a> {
    observer: &'a mut dyn Observer,
    at: Instant,
    /// Whether it has.
    over: bool,
}

impl Observer for Until<'_> {
    fn on(&mut self, event: &Event) -> Flow {
        let flow = self.observer.on(event);
        self.over = flow == Flow::Continue && Instant::now() >= self.at;
        if self.over { Flow::Stop } else { flow }
    }
}

/// The contest as the race sees it.
struct On<'a, 'b> {
    contest: &'a mut Contest<'b>,
    observer: &'a mut dyn Observer,
}

impl Track for On<'_, '_> {
    fn answer(&mut self, arm: usize, rows: Range<usize>) -> Result<Vec<f64>, Error> {
        let Contest { entries, session, score, .. } = &mut *self.contest;
        entries[arm].answer(session.as_mut(), rows, *score, self.observer)
    }

    fn left(&self) -> f64 {
        self.contest.left()
    }

    fn now(&self) -> f64 {
        self.contest.clock.elapsed()
    }
}

fn prepared(machine: &Machine, run: &RunFile, data: &DataArgs) -> Result<Job, Error> {
    let model = Model::find(machine, &run.base_model(), &fidelio_weights::Silent)?;
    Job::prepare_to_measure(machine, run, model, data)
}

/// The labels of all rows, so that no arm knows others than another.
fn every_label(run: &RunFile, data: &DataArgs) -> Result<Vec<String>, Error> {
    let fidelio_config::OutputFeature::Category(category) = run.config().output() else {
        return Ok(Vec::new());
    };
    if let Some(given) = &category.preprocessing.vocab {
        return Ok(given.clone());
    }
    let data = DataArgs { split: SplitChoice::Full, ..data.clone() };
    let rows = dataset::rows(run.config(), &data, true)?;
    let labels = crate::job::labels(run.config(), rows.source.as_ref())?;
    Ok(labels.map(|labels| labels.labels().to_vec()).unwrap_or_default())
}

/// The columns that the prompt shows.
fn columns(run: &RunFile, job: &Job) -> Result<Vec<String>, Error> {
    Ok(match plan::prompt_source(run, job.source.as_ref())? {
        fidelio_prompting::Source::Layout(layout) => layout.fields_of_rows(),
        _ => run.config().prompt.messages.iter().cloned().collect(),
    })
}

/// An error with what it comes from, on one line.
pub(super) fn said(error: &Error) -> String {
    let first = std::error::Error::source(error);
    let causes = std::iter::successors(first, |cause| cause.source()).map(ToString::to_string);
    let problem = match error {
        Error::RunFile(problems) => problems.iter().next().map(|it| it.message.clone()),
        _ => None,
    };
    let all = std::iter::once(error.to_string()).chain(causes).chain(problem);
    all.collect::<Vec<_>>().join(": ")
}
