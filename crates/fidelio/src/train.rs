//! Learning the answers of a table's rows.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use fidelio_backend::{AdapterId, AdapterSpec, LearnSpec, LoraInit, Part, Session, Trains};
use fidelio_config::{Finetune, RunConfig};
use fidelio_prompting::{Ledger, Outcome, Purpose, Row as PromptRow};
use fidelio_trainer::{
    Checkpoints, Ended, Evaluate, Example, MetricsFile, Observer as Watcher, Summary, TensorBoard,
    TrainError, TrainPlan, Trainer,
};
use fidelio_weights::{
    ExportOptions, FloatType, Overlay, TensorBuffer, export_folder_of, peft, unwatched,
};
use serde::Serialize;

use crate::{
    DataArgs, Error, Event, Job, Machine, Model, Observer, Opening, Results, RunFile, Seen,
    SplitChoice,
    adapters::Bystanders,
    hashes::{FileHash, Hashes},
    job::Tried,
    learning,
    plan::Plan,
    provenance::{PROVENANCE, Provenance},
    seen::SEEN,
    validation::ValidationRows,
};

/// What a training run tells while it learns.
pub use fidelio_trainer::Event as TrainingEvent;

/// What a training run was; written last, so that its presence says that the rest is whole.
pub(crate) const DESCRIPTION: &str = "description.json";
/// What a training run tells while it learns.
pub(crate) const METRICS: &str = "metrics.jsonl";
/// Checkpoints that a run keeps.
const KEPT: usize = 2;
/// Everything that a training run decided before its first update.
const PLAN: &str = "plan.json";
/// What was learnt stands below it.
const MODEL: &str = "model";
/// Where event files for TensorBoard stand in a run's folder.
const LOGS: &str = "logs";

/// A training run that is ready: rows rendered, nothing learnt yet.
pub struct Training {
    pub(crate) run: RunFile,
    pub(crate) job: Job,
    pub(crate) rows: Vec<Example>,
    validation: ValidationRows,
    ledger: Ledger,
    others: Bystanders,
    /// Where `rows` and `validation` come from.
    data: Vec<FileHash>,
    hashes: Hashes,
}

/// Everything that a training run decides before its first update.
#[derive(Debug, Clone, Serialize)]
pub struct TrainingPlan<'a> {
    /// Model, prompt, answers, data.
    pub plan: &'a Plan,
    /// Updates, batches, rates, what learns and how.
    pub training: TrainPlan,
    /// How many rows.
    pub rows: RowCounts,
    /// What becomes of the training rows' tokens.
    pub tokens: Ledger,
}

/// Rows of a training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// They are learnt.
    pub training: usize,
    /// They are measured while it learns.
    pub validation: usize,
}

/// What stands in the run's folder.
#[derive(Serialize)]
struct Description<'a> {
    #[serde(flatten)]
    told: TrainingPlan<'a>,
    summary: &'a Summary,
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
        let how = run.config().trainer.finetune().ok_or(Error::NothingLearns)?;
        let part = |split| DataArgs { split, ..data.clone() };
        let validation = match part(SplitChoice::Validation) {
            data if data.has_rows() && !how.evaluation.skip_all_evaluation => {
                validation_rows(machine, run, how, &data, observer)?
            }
            _ => ValidationRows::default(),
        };
        let job = Job::prepare_with_answers(machine, run, model, &part(SplitChoice::Training))?;
        let asked = Opening::of(run.config()).precision;
        if asked != job.opening().precision {
            observer.on(&Event::Note(format!(
                "learning computes in {}; {} is for answers",
                job.opening().precision.name(),
                asked.name()
            )));
        }
        let others = Bystanders::of(machine, run.config())?;
        for name in &others.new {
            observer.on(&Event::Note(format!(
                "adapter `{name}` is neither trained nor in use: it is left out"
            )));
        }
        let (rows, ledger) = job.examples(observer)?;
        let hashes = machine.hashes();
        let data = hashes.of(&data.learnt_from())?;
        let learnt: BTreeSet<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
        let held_out = &validation.examples;
        let leaked = held_out.iter().filter(|row| learnt.contains(row.ids.as_slice())).count();
        if leaked > 0 {
            observer.on(&Event::Note(format!(
                "{leaked} of {} validation rows are training rows too, so their loss says little",
                held_out.len()
            )));
        }
        let run = run.clone();
        Ok(Self { run, job, rows, validation, ledger, others, data, hashes })
    }

    /// What became of the training rows' tokens.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Training and validation rows.
    pub fn rows(&self) -> (usize, usize) {
        (self.rows.len(), self.validation.examples.len())
    }

    /// Everything that is decided before the first update.
    ///
    /// # Errors
    /// When nothing would learn.
    pub fn plan(&self) -> Result<TrainingPlan<'_>, Error> {
        let how = self.run.config().trainer.finetune().ok_or(Error::NothingLearns)?;
        // The adapter is the session's first.
        Ok(self.told(how, self.job.adapter_spec.as_ref().map(|_| AdapterId(0))))
    }

    fn told(&self, how: &Finetune, adapter: Option<AdapterId>) -> TrainingPlan<'_> {
        TrainingPlan {
            plan: &self.job.plan,
            training: self.settled(how, adapter),
            rows: RowCounts {
                training: self.rows.len(),
                validation: self.validation.examples.len(),
            },
            tokens: self.ledger,
        }
    }

    /// Learns, writing checkpoints, metrics and what was learnt into the folder of `results`. Goes on
    /// from the last checkpoint there where `resume` says so; a run that was ended before its first
    /// one begins anew.
    ///
    /// # Errors
    /// When the engine or the trainer fails, or a file cannot be written; [`Error::OtherThanBegun`]
    /// where a run would go on with something else than it began with.
    pub fn run(
        &mut self,
        results: &Results,
        resume: bool,
        watcher: &mut dyn Watcher,
    ) -> Result<Summary, Error> {
        let folder = results.folder();
        let how = self.run.config().trainer.finetune().ok_or(Error::NothingLearns)?.clone();
        let checkpoints = Checkpoints::new(folder.join("checkpoints"), KEPT);
        let resume = resume && !checkpoints.is_empty().map_err(TrainError::from)?;
        let provenance = self.provenance()?;
        if resume {
            provenance.check_begun(folder, &Provenance::read(folder)?)?;
        }
        let mut session = self.begin()?;
        let plan = self.settled(&how, self.job.adapter);
        let start = start_of(self.job.adapter_spec.as_ref(), session.as_mut(), &plan.learn)?;
        let (adapter, context) = (self.job.adapter, self.job.plan.context);
        if !resume && results.overwrites() {
            remove(&folder.join("checkpoints"))?;
            remove(&folder.join(LOGS))?;
            remove(&folder.join(MODEL))?;
            remove(&folder.join(DESCRIPTION))?;
            remove(&folder.join(SEEN))?;
        }
        let planned = serde_json::to_value(self.told(&how, adapter));
        let planned = planned
            .map_err(|error| Error::Write { path: folder.join(PLAN), source: error.into() })?;
        let mut metrics = MetricsFile::new(folder.join(METRICS));
        let mut board = TensorBoard::new(&folder.join(LOGS));
        let mut watchers: [&mut dyn Watcher; 3] = [watcher, &mut metrics, &mut board];
        let mut validation = self.validation.evaluator(&how, adapter, context)?;
        let evaluator = validation.as_mut().map(|it| it as &mut dyn Evaluate);
        let trainer = if resume {
            let rows = &self.rows;
            Trainer::resume(plan, session.as_mut(), rows, evaluator, checkpoints, &mut watchers)?
        } else {
            let checkpoints = Some(checkpoints);
            let rows = &self.rows;
            Trainer::new(plan, session.as_mut(), rows, evaluator, checkpoints, &mut watchers)?
        };
        // Only now, so that a run that could not begin leaves nothing behind.
        results.write_run_file(&self.run)?;
        results.write_json(PROVENANCE, &provenance)?;
        results.write_json(PLAN, &planned)?;
        let summary = trainer.run()?;
        let mut learnt = TensorBuffer::new();
        if let Some(learner) = session.learning() {
            learner.save(Part::Parameters, &mut learnt)?;
        }
        self.save(folder, learnt, start.as_ref())?;
        if summary.ended != Ended::Stopped {
            Seen::write(&self.job, &self.rows, session.as_mut(), results)?;
            let told = self.told(&how, self.job.adapter);
            let description = Description { told, summary: &summary };
            results.write_json(DESCRIPTION, &description)?;
        }
        self.job.session = Some(session);
        Ok(summary)
    }

    /// Learns from so many rows only, drawn by the seed, and measures none while it learns.
    pub(crate) fn in_short(mut self, rows: usize) -> Self {
        let seed = self.run.config().random_seed;
        let order = fidelio_data::shuffled((0..self.rows.len()).collect(), seed);
        let kept: BTreeSet<usize> = order.into_iter().take(rows).collect();
        let all = std::mem::take(&mut self.rows).into_iter().enumerate();
        self.rows = all.filter(|(row, _)| kept.contains(row)).map(|(_, row)| row).collect();
        self.validation = ValidationRows::default();
        self
    }

    fn provenance(&self) -> Result<Provenance, Error> {
        let Job { model, plan, .. } = &self.job;
        let adapter = self.job.trained.as_ref();
        Provenance::of(&self.hashes, model, plan, self.data.clone(), adapter)
    }

    pub(crate) fn settled(&self, how: &Finetune, adapter: Option<AdapterId>) -> TrainPlan {
        let trains = adapter.map_or(Trains::All, Trains::Adapter);
        let mut plan = learning::plan(
            self.run.config(),
            how,
            trains,
            self.job.adapter_spec.as_ref(),
            self.rows.len(),
        );
        if self.validation.examples.is_empty() {
            // Nothing is measured, so nothing can be waited for.
            plan.early_stop = None;
        }
        plan
    }

    fn save(
        &self,
        folder: &Path,
        learnt: TensorBuffer,
        start: Option<&TensorBuffer>,
    ) -> Result<(), Error> {
        let config = self.run.config();
        let into = learnt_folder(folder, config);
        let Some(AdapterSpec::Lora(lora)) = &self.job.adapter_spec else {
            return self.save_model(&into, learnt);
        };
        let base = Some(config.base_model.as_str());
        match start {
            Some(start) => {
                let (lora, learnt) = peft::without_start(lora, &learnt, start)?;
                peft::save(&into, &lora, base, &learnt)?;
            }
            None => peft::save(&into, lora, base, &learnt)?,
        }
        self.others.write(&model_folder(folder))
    }

    /// The whole model in 32 bits, as a folder that transformers loads.
    fn save_model(&self, into: &Path, learnt: TensorBuffer) -> Result<(), Error> {
        let checkpoint = self.job.model.checkpoint();
        let weights = Overlay::new(checkpoint.weights().clone(), learnt)?;
        let options = ExportOptions { float_type: FloatType::F32, ..ExportOptions::default() };
        remove(into)?;
        export_folder_of(checkpoint, &weights, into, &options, &mut unwatched)?;
        Ok(())
    }
}

/// The validation rows; none where the split gives it none.
fn validation_rows(
    machine: &Machine,
    run: &RunFile,
    how: &Finetune,
    data: &DataArgs,
    observer: &mut dyn Observer,
) -> Result<ValidationRows, Error> {
    let model = Model::find(machine, &run.base_model(), &fidelio_weights::Silent)?;
    match Job::prepare_with_answers(machine, run, model, data) {
        Ok(job) => ValidationRows::of(job, how, observer),
        Err(Error::EmptySplit { .. }) => Ok(ValidationRows::default()),
        Err(error) => Err(error),
    }
}

/// Removes what an earlier run left.
fn remove(path: &Path) -> Result<(), Error> {
    let removed = match () {
        () if path.is_dir() => std::fs::remove_dir_all(path),
        () if path.exists() => std::fs::remove_file(path),
        () => Ok(()),
    };
    removed.map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Where a run keeps what it learnt: an adapter in PEFT's format, or a whole model.
pub fn model_folder(run: &Path) -> PathBuf {
    run.join(MODEL).join("model_weights")
}

/// Where a run keeps the whole model with its adapter worked into it, where its run file asks for
/// one (`postprocessor.merge_adapter_into_base_model`).
pub fn merged_folder(run: &Path) -> PathBuf {
    run.join(MODEL).join("merged")
}

/// Where a run keeps what it learnt: [`model_folder`], or of several adapters the folder of the one
/// in use.
pub(crate) fn learnt_folder(run: &Path, config: &RunConfig) -> PathBuf {
    let model = model_folder(run);
    config.adapter_name().map_or_else(|| model.clone(), |name| model.join(name))
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
        ("/prompt/examples/vectors/weights_sha256", "model that chooses its examples"),
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
        let Tried { prepared, ledger, .. } = self.prepared(observer)?;
        let rows = prepared.into_iter().map(|row| Example { ids: row.prompt, learn: row.learn });
        Ok((rows.collect(), ledger))
    }

    /// A row's prompt with its answer and stop. A category's answer is its label, as it will be
    /// scored.
    pub(crate) fn learnable(
        &self,
        cells: &PromptRow<'_>,
        row: &fidelio_data::Row,
    ) -> Result<Outcome, Error> {
        let Some(labels) = &self.labels else {
            return Ok(self.renderer.render(cells, Purpose::Train)?);
        };
        let label = labels.number_of(row)?.map(|label| labels.labels()[label].as_str());
        let label = label.expect("rows without an answer were treated before the run");
        Ok(self.renderer.render_labeled(cells, label)?)
    }
}

/// The factors of an adapter that begins with a part of the model's weights: what is added over the
/// weights themselves lacks them.
fn start_of(
    spec: Option<&AdapterSpec>,
    session: &mut dyn Session,
    learn: &LearnSpec,
) -> Result<Option<TensorBuffer>, Error> {
    let Some(AdapterSpec::Lora(lora)) = spec else { return Ok(None) };
    if !matches!(lora.init_lora_weights, LoraInit::Pissa | LoraInit::Olora) {
        return Ok(None);
    }
    let mut start = TensorBuffer::new();
    session.learn(learn)?.save(Part::Parameters, &mut start)?;
    Ok(Some(start))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan() -> Value {
        json!({
            "model": { "tokenizer_sha256": "aa", "chat_template_sha256": "bb" },
            "prompt": { "fingerprint":
                { "source": "cc", "chat_template": "bb", "bos": 1, "stops": [2, 7] },
                "examples": { "vectors": { "weights_sha256": "dd" } } },
        })
    }

    /// A model that is asked otherwise than it was taught answers worse, without a word.
    #[test]
    fn what_is_asked_otherwise_than_it_was_taught_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let described = json!({ "plan": plan() }).to_string();
        std::fs::write(folder.path().join(DESCRIPTION), described).unwrap();
        check_same(folder.path(), &plan()).unwrap();
        for (place, other, expected) in [
            ("/model/tokenizer_sha256", json!("xx"), "tokenizer"),
            ("/model/chat_template_sha256", Value::Null, "chat template"),
            ("/prompt/fingerprint/source", json!("xx"), "prompt template"),
            ("/prompt/fingerprint/chat_template", Value::Null, "use of the chat template"),
            ("/prompt/fingerprint/bos", Value::Null, "BOS token"),
            ("/prompt/fingerprint/stops", json!([2]), "set of stop tokens"),
            (
                "/prompt/examples/vectors/weights_sha256",
                json!("xx"),
                "model that chooses its examples",
            ),
        ] {
            let mut now = plan();
            *now.pointer_mut(place).unwrap() = other;
            match check_same(folder.path(), &now) {
                Err(Error::OtherThanTrained { what, .. }) => assert_eq!(what, expected),
                other => panic!("{place}: {other:?}"),
            }
        }
    }
}
