//! Learning the answers of a table's rows.

use std::path::{Path, PathBuf};

use fidelio_backend::{AdapterId, AdapterSpec, Part, Trains};
use fidelio_config::Finetune;
use fidelio_prompting::{Ledger, Outcome, Purpose, Rendered, Row as PromptRow};
use fidelio_trainer::{
    Checkpoints, Ended, Evaluate, Example, HeldOut, MetricsFile, Observer as Watcher, Summary,
    TrainPlan, Trainer,
};
use fidelio_weights::{TensorBuffer, peft};
use serde::Serialize;

use crate::{
    DataArgs, Error, Event, Flow, Job, Machine, Model, Observer, Results, RowProblem, RunFile,
    SplitChoice, Stage, learning,
};

/// What a training run tells while it learns.
pub use fidelio_trainer::Event as TrainingEvent;

/// What a training run was; written last, so that its presence says that the rest is whole.
pub(crate) const DESCRIPTION: &str = "description.json";
/// Tokens of one forest while the loss of held-out rows is measured.
const FOREST_TOKENS: usize = 1024;
/// Beginnings that held-out rows share are computed once from so many tokens on.
const SHARED_TOKENS: usize = 8;
/// Checkpoints that a run keeps.
const KEPT: usize = 2;

/// A training run that is ready: rows rendered, nothing learnt yet.
pub struct Training {
    run: RunFile,
    job: Job,
    rows: Vec<Example>,
    held_out: Vec<Example>,
    ledger: Ledger,
}

impl std::fmt::Debug for Training {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Training").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

impl Training {
    /// Renders the training and validation rows of `data`.
    ///
    /// # Errors
    /// When nothing would learn, or any row cannot be learnt from; all such rows at once.
    pub fn prepare(
        machine: &Machine,
        run: &RunFile,
        model: Model,
        data: &DataArgs,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        if run.config().trainer.finetune().is_none() {
            return Err(Error::NothingLearns);
        }
        let part = |split| DataArgs { split, ..data.clone() };
        let validation = part(SplitChoice::Validation);
        let held_out =
            match Model::find(machine, &run.config().base_model, &fidelio_weights::Silent)
                .and_then(|model| Job::prepare_with_answers(machine, run, model, &validation))
            {
                Ok(job) => job.examples(observer)?.0,
                Err(Error::EmptySplit { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
        let job = Job::prepare_with_answers(machine, run, model, &part(SplitChoice::Training))?;
        let (rows, ledger) = job.examples(observer)?;
        Ok(Self { run: run.clone(), job, rows, held_out, ledger })
    }

    /// What became of the training rows' tokens.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Training and validation rows.
    pub fn rows(&self) -> (usize, usize) {
        (self.rows.len(), self.held_out.len())
    }

    /// Learns, writing checkpoints, metrics and the adapter below `folder`. Goes on from the last
    /// checkpoint there where `resume` says so.
    ///
    /// # Errors
    /// When the engine or the trainer fails, or a file cannot be written.
    pub fn run(
        &mut self,
        results: &Results,
        resume: bool,
        watcher: &mut dyn Watcher,
    ) -> Result<Summary, Error> {
        let folder = results.folder();
        results.write_run_file(&self.run)?;
        let config = self.run.config();
        let how = config.trainer.finetune().ok_or(Error::NothingLearns)?.clone();
        let mut session = self.job.open()?;
        let spec = learning::begun(config);
        if let Some(spec) = &spec {
            self.job.adapter = Some(session.add_adapter(spec, None)?);
        }
        let plan = self.plan(&how, self.job.adapter);
        let mut held_out = self.held_out(self.job.adapter)?;
        let checkpoints = Checkpoints::new(folder.join("checkpoints"), KEPT);
        let mut metrics = MetricsFile::new(folder.join("metrics.jsonl"));
        let mut watchers: [&mut dyn Watcher; 2] = [watcher, &mut metrics];
        let evaluator = held_out.as_mut().map(|it| it as &mut dyn Evaluate);
        let train_plan = plan.clone();
        let trainer = if resume {
            let rows = &self.rows;
            Trainer::resume(plan, session.as_mut(), rows, evaluator, checkpoints, &mut watchers)?
        } else {
            let checkpoints = Some(checkpoints);
            let rows = &self.rows;
            Trainer::new(plan, session.as_mut(), rows, evaluator, checkpoints, &mut watchers)?
        };
        let summary = trainer.run()?;
        let mut learnt = TensorBuffer::new();
        if let Some(learner) = session.learning() {
            learner.save(Part::Parameters, &mut learnt)?;
        }
        self.save(folder, spec, &learnt)?;
        if summary.ended != Ended::Stopped {
            let description = serde_json::json!({
                "plan": self.job.plan,
                "training": train_plan,
                "rows": { "training": self.rows.len(), "validation": self.held_out.len() },
                "tokens": self.ledger,
                "summary": summary,
            });
            results.write_json(DESCRIPTION, &description)?;
        }
        self.job.session = Some(session);
        Ok(summary)
    }

    fn plan(&self, how: &Finetune, adapter: Option<AdapterId>) -> TrainPlan {
        let trains = adapter.map_or(Trains::All, Trains::Adapter);
        let mut plan = learning::plan(self.run.config(), how, trains, self.rows.len());
        if self.held_out.is_empty() {
            // Nothing is measured, so nothing can be waited for.
            plan.early_stop = None;
        }
        plan
    }

    fn held_out(&self, adapter: Option<AdapterId>) -> Result<Option<HeldOut>, Error> {
        if self.held_out.is_empty() {
            return Ok(None);
        }
        let context = self.job.plan.context;
        let rows = &self.held_out;
        Ok(Some(HeldOut::new(rows, adapter, context, FOREST_TOKENS, SHARED_TOKENS)?))
    }

    fn save(
        &self,
        folder: &Path,
        begun: Option<AdapterSpec>,
        learnt: &TensorBuffer,
    ) -> Result<(), Error> {
        let config = self.run.config();
        let spec = match (begun, learning::trained(config)) {
            (Some(spec), _) => spec,
            (None, Some(folder)) => peft::open(&folder)?.spec,
            (None, None) => return Ok(()),
        };
        let AdapterSpec::Lora(lora) = spec else { return Ok(()) };
        peft::save(&adapter_folder(folder), &lora, Some(&config.base_model), learnt)?;
        Ok(())
    }
}

/// Where a run keeps its adapter, in PEFT's format.
pub fn adapter_folder(run: &Path) -> PathBuf {
    run.join("model").join("model_weights")
}

/// Refuses to use a run's adapter under another template, rule or tokenizer than it learnt with.
/// Only what `plan` says is compared.
pub(crate) fn check_same(run: &Path, plan: &impl Serialize) -> Result<(), Error> {
    let path = run.join(DESCRIPTION);
    let fail = |source| Error::Read { path: path.clone(), source };
    let text = std::fs::read(&path).map_err(fail)?;
    let then: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| fail(std::io::Error::other(error)))?;
    let now = serde_json::to_value(plan).map_err(|error| fail(std::io::Error::other(error)))?;
    for (place, what) in [
        ("/model/tokenizer_sha256", "tokenizer"),
        ("/model/chat_template_sha256", "chat template"),
        ("/prompt/fingerprint/source", "prompt template"),
        ("/prompt/fingerprint/chat_template", "use of the chat template"),
        ("/prompt/fingerprint/bos", "BOS token"),
        ("/prompt/fingerprint/stops", "set of stop tokens"),
    ] {
        let now = now.pointer(place);
        if now.is_some() && now != then.pointer(&format!("/plan{place}")) {
            return Err(Error::OtherThanTrained { path: run.to_owned(), what });
        }
    }
    Ok(())
}

impl Job {
    /// The rows as sequences to learn from, or all that is wrong with them.
    fn examples(&self, observer: &mut dyn Observer) -> Result<(Vec<Example>, Ledger), Error> {
        let total = self.source.len();
        let (mut rows, mut problems, mut ledger) = (Vec::new(), Vec::new(), Ledger::default());
        for number in 0..total {
            let row = self.source.row(number)?;
            match self.learnable(number, &row) {
                Ok(outcome) => {
                    ledger.count(&outcome);
                    if let Outcome::Kept(Rendered { ids, learn, .. }) = outcome {
                        rows.push(Example { ids, learn });
                    }
                }
                Err(Error::Prompt(error)) => {
                    problems.push(RowProblem { place: row.place, error });
                }
                Err(error) => return Err(error),
            }
            let stage = Stage::Rendering;
            let event = Event::Progress { stage, done: number + 1, total, tokens: 0 };
            if (number + 1) % 64 == 0 && observer.on(&event) == Flow::Stop {
                return Err(Error::Stopped);
            }
        }
        if !problems.is_empty() {
            return Err(Error::Rows { problems, rows: total });
        }
        Ok((rows, ledger))
    }

    /// A row's prompt with its answer and stop. A category's answer is its label, as it will be
    /// scored.
    fn learnable(&self, number: usize, row: &fidelio_data::Row) -> Result<Outcome, Error> {
        let cells = PromptRow::new(number, &row.fields);
        let Some(labels) = &self.labels else {
            return Ok(self.renderer.render(&cells, Purpose::Train)?);
        };
        let label = labels.number_of(row)?.map(|label| labels.labels()[label].as_str());
        let label = label.expect("rows without an answer were treated before the run");
        let Some(choice) = self.renderer.render_labels(&cells, &[label])? else {
            return Ok(self.renderer.render(&cells, Purpose::Answer)?);
        };
        let mut rendered = choice.prompt;
        let answer = choice.answers.into_iter().next().unwrap_or_default();
        rendered.learn = vec![false; rendered.ids.len()];
        rendered.learn.resize(rendered.ids.len() + answer.len(), true);
        rendered.read += answer.len();
        rendered.ids.extend(answer);
        Ok(Outcome::Kept(rendered))
    }
}
