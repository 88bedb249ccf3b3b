//! A run that is ready: plan settled, rows rendered, the model opened when it is first needed.

use std::sync::Arc;

use fidelio_backend::{AdapterId, AdapterSpec, Session};
use fidelio_config::{BatchSize, OutputFeature};
use fidelio_data::{Place, Row, Source, Vocabulary};
use fidelio_eval::LabelMatcher;
use fidelio_prompting::{
    Explanation, Ledger, Outcome, Purpose, Rendered, Renderer, Row as PromptRow,
};

use crate::{
    AnswerForm, DataArgs, Device, Error, Event, Flow, Machine, Model, Observer, Opening, Plan,
    RowError, RowProblem, RunFile, ShownPassage, Stage,
    adapters::Trained,
    dataset::{self, Rows},
    examples::{ExampleSurvey, Examples, RowExamples, ShownExamples},
    learning,
    plan::{self, AnswerPlan, Answering, DataPlan, PromptPlan},
    provenance, train,
};

/// Rows in work at once where the run file leaves it to the machine.
const ROWS_AT_ONCE: usize = 32;

/// A run file with its model and rows, ready to predict or to be measured.
pub struct Job {
    pub(crate) plan: Plan,
    pub(crate) model: Model,
    pub(crate) device: Device,
    opening: Opening,
    pub(crate) session: Option<Box<dyn Session>>,
    /// What the session computes with, once it is open.
    pub(crate) adapter: Option<AdapterId>,
    /// The adapter that was trained before.
    pub(crate) trained: Option<Trained>,
    /// The adapter that is used or learns.
    pub(crate) adapter_spec: Option<AdapterSpec>,
    /// Whether the run is one that learns, so that its rows are looked at with their answers.
    pub(crate) learns: bool,
    pub(crate) renderer: Renderer,
    pub(crate) matcher: Option<LabelMatcher>,
    /// The labels of a category output.
    pub(crate) labels: Option<Vocabulary>,
    pub(crate) source: Arc<dyn Source>,
    /// What generated answers are held to.
    pub(crate) form: Option<AnswerForm>,
    /// What chooses the examples of its prompts, where they show some.
    pub(crate) examples: Option<Examples>,
    /// The output feature's name and column.
    pub(crate) output: (String, String),
    pub(crate) top_k: usize,
}

/// A row that became a prompt.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its number within the run, from 0.
    pub(crate) number: usize,
    pub(crate) place: Place,
    pub(crate) prompt: Vec<u32>,
    /// In a run that learns: which of these tokens, which then hold the answer too, are learnt.
    pub(crate) learn: Vec<bool>,
    /// Where labels are scored: each label's tokens with its stop.
    pub(crate) answers: Vec<Vec<u32>>,
    /// What the prompt shows of its examples, where it shows some.
    pub(crate) examples: Option<ShownExamples>,
    /// Bytes of the text that its learnt tokens stand for.
    pub(crate) learnt_bytes: usize,
}

/// All rows, tried.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) prepared: Vec<Prepared>,
    pub(crate) problems: Vec<RowProblem>,
    pub(crate) ledger: Ledger,
    pub(crate) stopped: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Job {
    /// Settles everything: which rows, how they become prompts, how answers are found, what
    /// computes. Nothing is computed yet.
    ///
    /// # Errors
    /// When the run file does not fit the model or the data.
    pub fn prepare(
        machine: &Machine,
        run: &RunFile,
        model: Model,
        data: &DataArgs,
    ) -> Result<Self, Error> {
        let config = run.config();
        if learns(run) {
            return Self::prepare_with_answers(machine, run, model, data);
        }
        let device = machine.device(&config.device)?;
        let rows = dataset::rows(config, data, false)?;
        Self::settle(machine, run, model, device, rows, data)
    }

    /// As [`Self::prepare`], for a run that is measured: rows need expected answers.
    ///
    /// # Errors
    /// As there, and [`Error::NoAnswers`], [`Error::NotMeasured`] and [`Error::CandidatesMeasured`].
    pub fn prepare_to_measure(
        machine: &Machine,
        run: &RunFile,
        model: Model,
        data: &DataArgs,
    ) -> Result<Self, Error> {
        let config = run.config();
        if config.trainer.evaluation().skip_all_evaluation {
            return Err(Error::NotMeasured);
        }
        let job = Self::prepare_with_answers(machine, run, model, data)?;
        match job.rows_among_examples() {
            0 => Ok(job),
            rows => Err(Error::CandidatesMeasured { rows }),
        }
    }

    /// Rows of the run that may be shown, with their answers, as examples for its other rows.
    fn rows_among_examples(&self) -> usize {
        self.examples.as_ref().map_or(0, |examples| examples.rows_among(self.source.as_ref()))
    }

    /// As [`Self::prepare`], for rows whose expected answers are wanted.
    pub(crate) fn prepare_with_answers(
        machine: &Machine,
        run: &RunFile,
        model: Model,
        data: &DataArgs,
    ) -> Result<Self, Error> {
        let config = run.config();
        let device = machine.device(&config.device)?;
        let rows = dataset::rows(config, data, true)?;
        let column = config.output().column();
        let apart = config.prompt.messages.is_none() && config.prompt.document.is_none();
        if apart && !has(rows.source.as_ref(), column) {
            let have = rows.source.columns().to_vec();
            return Err(Error::NoAnswers { column: column.into(), have });
        }
        Self::settle(machine, run, model, device, rows, data)
    }

    /// Settles everything for rows that are there already.
    pub(crate) fn settle(
        machine: &Machine,
        run: &RunFile,
        model: Model,
        device: Device,
        rows: Rows,
        data: &DataArgs,
    ) -> Result<Self, Error> {
        let config = run.config();
        let opening = opening(run);
        let trained = Trained::in_use(machine, run)?;
        let adapter = match &trained {
            Some(trained) => Some(trained.adapter.spec.clone()),
            None => learning::begun(config, model.checkpoint().config()),
        };
        let model = model.under(adapter.as_ref())?;
        model.check(&opening)?;
        let context = plan::context(config, &model);
        let labels = labels(config, rows.source.as_ref())?;
        let names = labels.as_ref().map(|labels| labels.labels().to_vec()).unwrap_or_default();
        // The stops are the model's and its template's; they do not depend on the budget.
        let source = plan::prompt_source(run, rows.source.as_ref())?;
        let examples = Examples::of(machine, run, data, &source)?;
        let unlimited = plan::rules(config, context, 0);
        let stops = model.renderer(source.clone(), unlimited)?.stop_ids().to_vec();
        let Answering { plan: answer, matcher, reserved } =
            plan::answering(run, &model, &stops, &names, context)?;
        let renderer = model.renderer(source, plan::rules(config, context, reserved))?;
        let top_k = match config.output() {
            OutputFeature::Category(category) => category.top_k.unwrap_or(3),
            OutputFeature::Text(_) => 0,
        };
        let mut plan = Plan {
            fidelio_version: env!("CARGO_PKG_VERSION"),
            model: model.card(),
            device: device.name(),
            precision: opening.precision.name(),
            quantization: opening.quantization,
            weight_bytes: model.weight_bytes(opening.quantization),
            rope_scaling: opening.rotary,
            context,
            reserved_for_answer: reserved,
            prompt: PromptPlan::of(&renderer, examples.as_ref().map(Examples::plan)),
            answer,
            data: DataPlan {
                files: rows.files,
                split: data.split,
                rows_read: rows.read,
                rows: rows.source.len(),
                notes: rows.notes.iter().map(ToString::to_string).collect(),
            },
            validation_metric: config
                .trainer
                .evaluation()
                .validation_metric
                .clone()
                .unwrap_or_else(|| "loss".into()),
            rows_at_once: match config.trainer.evaluation().eval_batch_size {
                BatchSize::Rows(rows) => rows.max(1),
                BatchSize::Auto(_) => ROWS_AT_ONCE,
            },
            random_seed: config.random_seed,
        };
        if let Some(folder) = run.trained() {
            train::check_same(folder, &plan)?;
            plan.data.notes.extend(provenance::check_base(machine, run, &model)?);
        }
        let output = (config.output().name().to_owned(), config.output().column().to_owned());
        let mut job = Self {
            plan,
            model,
            device,
            opening,
            session: None,
            adapter: None,
            trained,
            adapter_spec: adapter,
            learns: learns(run),
            renderer,
            matcher,
            labels,
            source: rows.source,
            form: run.answer_form().cloned(),
            examples,
            output,
            top_k,
        };
        let tokenizer = job.plan.model.tokenizer_sha256.clone();
        let notes = job.examples.iter().flat_map(|examples| examples.notes(&tokenizer));
        job.plan.data.notes.extend(notes);
        let among = job.rows_among_examples();
        if among > 0 && !job.learns {
            let rows = job.source.len();
            job.plan.data.notes.push(format!(
                "{among} of {rows} rows are training rows: they are shown as examples for the others, \
                 none for itself"
            ));
        }
        Ok(job)
    }

    /// Everything that was decided.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How the model is put on its device.
    pub(crate) fn opening(&self) -> Opening {
        self.opening
    }

    /// The rows of the run.
    pub fn rows(&self) -> &dyn Source {
        self.source.as_ref()
    }

    /// The renderer of the run.
    pub fn renderer(&self) -> &Renderer {
        &self.renderer
    }

    /// What the model reads for a row (from 0), token by token: once, or in several windows for a
    /// long document; not at all if a rule drops the row.
    ///
    /// # Errors
    /// When the row does not exist or cannot become a prompt.
    pub fn explain(&self, number: usize) -> Result<Vec<Explanation>, Error> {
        let row = self.source.row(number)?;
        let chosen = self.choose(&row)?;
        let (outcome, _) = self.render(number, &row, chosen.as_ref())?;
        let windows = outcome.windows();
        Ok(windows.iter().map(|rendered| self.renderer.explain_rendered(rendered)).collect())
    }

    /// Where the examples stand that the prompt of a row (from 0) shows, in the order in which it
    /// shows them. Passages are no examples.
    ///
    /// # Errors
    /// As [`Self::explain`].
    pub fn shown_examples(&self, number: usize) -> Result<Vec<Place>, Error> {
        self.of_shown(number, |chosen| chosen.places.clone())
    }

    /// The passages that the prompt of a row (from 0) shows, in the order in which it shows them.
    ///
    /// # Errors
    /// As [`Self::explain`].
    pub fn shown_passages(&self, number: usize) -> Result<Vec<ShownPassage>, Error> {
        self.of_shown(number, |chosen| chosen.passages.clone())
    }

    /// What `list` says of all that was chosen for a row, as far as it is shown.
    fn of_shown<T: Clone>(
        &self,
        number: usize,
        list: fn(&RowExamples) -> Vec<T>,
    ) -> Result<Vec<T>, Error> {
        let row = self.source.row(number)?;
        let Some(chosen) = self.choose(&row)? else { return Ok(Vec::new()) };
        let (outcome, _) = self.render(number, &row, Some(&chosen))?;
        let shown = outcome.kept().and_then(|rendered| rendered.examples);
        let all = list(&chosen);
        Ok(shown.iter().flat_map(|it| &it.shown).filter_map(|&at| all.get(at).cloned()).collect())
    }

    /// The examples for a row, where the run shows some.
    pub(crate) fn choose(&self, row: &Row) -> Result<Option<RowExamples>, Error> {
        self.examples.as_ref().map(|examples| examples.choose(row)).transpose()
    }

    /// The session on the model, opened at the first call.
    pub(crate) fn open(&mut self) -> Result<Box<dyn Session>, Error> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        let how = self.opening;
        let Some(trained) = &self.trained else { return self.model.open(&self.device, &how) };
        let (session, adapter) = self.model.open_adapted(&self.device, &how, &trained.adapter)?;
        self.adapter = Some(adapter);
        Ok(session)
    }

    /// Renders every row and collects every problem.
    pub(crate) fn try_rows(&self, observer: &mut dyn Observer) -> Result<Tried, Error> {
        if let Some(examples) = &self.examples {
            examples.prepare(self.source.as_ref(), observer)?;
        }
        let mut tried = Tried::default();
        let total = self.source.len();
        for number in 0..total {
            let row = self.source.row(number)?;
            if let Some(error) = self.misfit(&row) {
                tried.problems.push(RowProblem { place: row.place, error });
                continue;
            }
            let chosen = self.choose(&row)?;
            match self.render(number, &row, chosen.as_ref()) {
                Ok((outcome, answers)) => {
                    tried.ledger.count(&outcome);
                    for window in outcome.windows() {
                        let (place, answers) = (row.place.clone(), answers.clone());
                        let examples = self.shown(chosen.as_ref(), &window);
                        let prepared = Prepared::of(number, place, window, answers);
                        tried.prepared.push(Prepared { examples, ..prepared });
                    }
                }
                Err(Error::Prompt(error)) => {
                    tried.problems.push(RowProblem { place: row.place, error: error.into() });
                }
                Err(error) => return Err(error),
            }
            let event =
                Event::Progress { stage: Stage::Rendering, done: number + 1, total, tokens: 0 };
            if (number + 1) % 64 == 0 && observer.on(&event) == Flow::Stop {
                tried.stopped = true;
                break;
            }
        }
        Ok(tried)
    }

    /// What is wrong with a row's answer where it is learnt and answers have a form.
    fn misfit(&self, row: &Row) -> Option<RowError> {
        let form = self.form.as_ref().filter(|_| self.learns)?;
        let column = &self.output.1;
        let label = fidelio_data::text(row.fields.get(column)?)?;
        let problem = form.misfit(&label)?;
        Some(RowError::Answer { column: column.clone(), problem })
    }

    /// The rows as prompts, or all that is wrong with them.
    pub(crate) fn prepared(&self, observer: &mut dyn Observer) -> Result<Tried, Error> {
        let mut tried = self.try_rows(observer)?;
        if tried.stopped {
            return Err(Error::Stopped);
        }
        if !tried.problems.is_empty() {
            let problems = std::mem::take(&mut tried.problems);
            return Err(Error::Rows { problems, rows: self.source.len() });
        }
        let ledger = &tried.ledger;
        if ledger.rows_dropped + ledger.rows_cut > 0 {
            observer.on(&Event::Note(format!(
                "{} rows dropped and {} rows cut by `prompt.overflow`: {} of {} tokens",
                ledger.rows_dropped,
                ledger.rows_cut,
                ledger.dropped + ledger.cut - ledger.left_out,
                ledger.read
            )));
        }
        if let Some(examples) = ExampleSurvey::of(&tried.prepared) {
            let plan = self.plan.prompt.examples.iter();
            for note in plan.flat_map(|plan| examples.notes(plan, self.skips_duplicates())) {
                observer.on(&Event::Note(note));
            }
        }
        Ok(tried)
    }

    fn skips_duplicates(&self) -> bool {
        self.examples.as_ref().is_some_and(Examples::skips_duplicates)
    }

    /// What a rendered row shows of the examples chosen for it.
    fn shown(&self, chosen: Option<&RowExamples>, row: &Rendered) -> Option<ShownExamples> {
        Some(self.examples.as_ref()?.shown(chosen?, row.examples.as_ref()?))
    }

    fn render(
        &self,
        number: usize,
        row: &Row,
        chosen: Option<&RowExamples>,
    ) -> Result<(Outcome, Vec<Vec<u32>>), Error> {
        let shots = chosen.map(RowExamples::shots);
        let cells = PromptRow { examples: shots.as_deref(), ..PromptRow::new(number, &row.fields) };
        if self.learns {
            return Ok((self.learnable(&cells, row)?, Vec::new()));
        }
        if let AnswerPlan::Score { labels, .. } = &self.plan.answer {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            if let Some(choice) = self.renderer.render_labels(&cells, &labels)? {
                return Ok((Outcome::Kept(choice.prompt), choice.answers));
            }
        }
        Ok((self.renderer.render(&cells, Purpose::Answer)?, Vec::new()))
    }
}

impl Prepared {
    /// A prompt with answers to score, of which nothing is learnt.
    pub(crate) fn new(
        number: usize,
        place: Place,
        prompt: Vec<u32>,
        answers: Vec<Vec<u32>>,
    ) -> Self {
        let learn = Vec::new();
        Self { number, place, prompt, learn, answers, examples: None, learnt_bytes: 0 }
    }

    fn of(number: usize, place: Place, rendered: Rendered, answers: Vec<Vec<u32>>) -> Self {
        let learnt = rendered.ranges.iter().zip(&rendered.learn).filter(|(_, learnt)| **learnt);
        let learnt_bytes = learnt.map(|(range, _)| range.len()).sum();
        let Rendered { ids: prompt, learn, .. } = rendered;
        Self { number, place, prompt, learn, answers, examples: None, learnt_bytes }
    }
}

/// How a run's model is put on its device: exactly where it learns.
fn opening(run: &RunFile) -> Opening {
    let how = Opening::of(run.config());
    if learns(run) { how.for_learning() } else { how }
}

/// Whether a run is to learn, and has not yet.
fn learns(run: &RunFile) -> bool {
    run.config().trainer.finetune().is_some() && run.trained().is_none()
}

fn has(source: &dyn Source, column: &str) -> bool {
    source.columns().iter().any(|have| have == column)
}

/// The labels of a category output: those the run file names, or those of the data.
pub(crate) fn labels(
    config: &fidelio_config::RunConfig,
    source: &dyn Source,
) -> Result<Option<Vocabulary>, Error> {
    let OutputFeature::Category(category) = config.output() else { return Ok(None) };
    let mut given = category.preprocessing.vocab.clone();
    if let (Some(given), Some(fallback)) =
        (&mut given, &category.decoder.extractor().fallback_label)
        && !given.contains(fallback)
    {
        given.push(fallback.clone());
    }
    if !has(source, &category.column)
        && let Some(given) = &given
    {
        // Rows without answers: the labels are known all the same.
        let rows = given.iter().map(|label| {
            serde_json::Map::from_iter([(category.column.clone(), label.as_str().into())])
        });
        let known = fidelio_data::Memory::new("vocab", rows.collect());
        return Ok(Some(Vocabulary::of(&known, &category.column, Some(given))?));
    }
    Ok(Some(Vocabulary::of(source, &category.column, given.as_deref())?))
}
