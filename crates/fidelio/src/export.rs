//! What was tuned, written for other programs, and proof that the result still answers the same.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use fidelio_backend::Weights;
use fidelio_eval::Drift;
use fidelio_weights::{
    ExportOptions, Merged, Progress, Silent, Staged, WeightsError, export_folder_of,
    gguf::{GgufPlan, Quantization, Reason, TensorPlan},
    peft::PeftAdapter,
};
use serde::Serialize;

use crate::{
    Error, Event, Flow, Generator, Machine, Model, Observer, Opening, RunFile, Stage,
    adapters::Trained,
    drift::{answers, drift},
    provenance::check_base,
    train::check_same,
};

/// A model that is to be written: of a training run, its adapter merged in 32 bits, or any other.
pub struct Export<'a> {
    machine: &'a Machine,
    model: Model,
    /// What it was tuned by.
    run: Option<RunFile>,
    /// What is merged into it.
    adapter: Option<PeftAdapter>,
    /// Where it is compared.
    device: String,
    note: Option<String>,
}

/// What a model is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A folder of safetensors that transformers loads.
    Folder(ExportOptions),
    /// A file that llama.cpp loads.
    Gguf(Quantization),
}

/// An export that is decided and not yet written.
#[derive(Debug)]
pub struct ExportPlan<'a> {
    export: &'a Export<'a>,
    form: Form,
}

/// What is decided about it.
#[derive(Debug)]
enum Form {
    Folder(ExportOptions),
    /// All of the file but the values.
    Gguf(GgufPlan),
}

/// Tensors that are written as the same for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorGroup {
    /// What they are written as.
    pub encoding: String,
    /// Why.
    pub reason: String,
    /// How many they are.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Target {
    /// The mean divergence in nats that is allowed where nobody says otherwise. Floats of 16 bits
    /// stay far below it. SmolLM2-135M, the most sensitive model in use, moves by 0.003 to 0.008 in
    /// `Q8_0`, by 0.01 in `Q6_K`, by 0.1 to 0.3 in `Q4_K_M`, and by 0.7 in `Q4_0`, which is refused.
    pub fn max_mean_kl(self) -> f64 {
        use Quantization::*;
        match self {
            Self::Folder(_) | Self::Gguf(F32 | BF16 | F16) => 0.01,
            Self::Gguf(Q8_0 | Q6_K) => 0.05,
            Self::Gguf(_) => 0.3,
        }
    }
}

impl std::fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("model", &self.model).finish_non_exhaustive()
    }
}

impl<'a> Export<'a> {
    /// The model of a training run, or of a run file that names an adapter, with what was learnt.
    ///
    /// # Errors
    /// When the model is not the one that the run trained: [`Error::OtherThanTrained`],
    /// [`Error::OtherWeights`].
    pub fn of_run(
        machine: &'a Machine,
        run: &RunFile,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let model = Model::find(machine, &run.base_model(), progress)?;
        if let Some(folder) = run.trained() {
            check_same(folder, &serde_json::json!({ "model": model.card() }))?;
        }
        let note = check_base(machine, run, &model)?;
        let adapter = Trained::in_use(machine, run)?.map(|trained| trained.adapter);
        let model = model.under(adapter.as_ref().map(|adapter| &adapter.spec))?;
        let device = run.config().device.clone();
        Ok(Self { machine, model, run: Some(run.clone()), adapter, device, note })
    }

    /// As [`Self::of_run`], for a run that learnt an adapter.
    ///
    /// # Errors
    /// As there, and [`Error::NoAdapter`].
    pub fn of_adapter(
        machine: &'a Machine,
        run: &RunFile,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let export = Self::of_run(machine, run, progress)?;
        if export.adapter.is_some() { Ok(export) } else { Err(Error::NoAdapter) }
    }

    /// Any model (folder, GGUF file, hub id or alias); `device` is where it is compared.
    ///
    /// # Errors
    /// When it cannot be found or read.
    pub fn of_model(
        machine: &'a Machine,
        model: &str,
        device: &str,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let model = Model::find(machine, model, progress)?;
        let device = device.to_owned();
        Ok(Self { machine, model, run: None, adapter: None, device, note: None })
    }

    /// What the user should know about it, where there is something.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Decides what each tensor becomes.
    ///
    /// # Errors
    /// When the target cannot hold the model as it is.
    pub fn plan(&self, target: Target) -> Result<ExportPlan<'_>, Error> {
        let checkpoint = self.model.checkpoint();
        let form = match target {
            Target::Folder(options) => Form::Folder(options),
            Target::Gguf(kind) => Form::Gguf(GgufPlan::new(checkpoint, &self.name(), kind)?),
        };
        Ok(ExportPlan { export: self, form })
    }

    /// What the file calls the model: the last part of the run's folder, or of the model's name.
    fn name(&self) -> String {
        let folder = self.run.as_ref().and_then(RunFile::trained);
        let card = self.model.card();
        let path = folder.unwrap_or_else(|| Path::new(&card.base_model));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        name.strip_suffix(".gguf").unwrap_or(&name).to_owned()
    }

    /// The weights, with what was learnt.
    fn weights(&self) -> Result<Box<dyn Weights>, Error> {
        let checkpoint = self.model.checkpoint();
        Ok(match &self.adapter {
            Some(adapter) => Box::new(Merged::new(checkpoint, adapter.clone())?),
            None => Box::new(checkpoint.weights().clone()),
        })
    }

    /// How far a written model answers from the run as it learnt, whose base was rounded; none
    /// where it was not. What is written has the base's own weights.
    ///
    /// # Errors
    /// When one of the two cannot be opened.
    pub fn drift_from_rounded(&self, written: &Path) -> Result<Option<Drift>, Error> {
        let rounded = |run: &&RunFile| Opening::of(run.config()).quantization.is_some();
        let Some(run) = self.run.as_ref().filter(rounded) else { return Ok(None) };
        let how = Opening::of(run.config()).exact();
        let mut learnt = Generator::of_run_as(self.machine, run, &how, &Silent)?;
        let expected = answers(&mut learnt, &mut crate::Silent)?;
        let found = answers(&mut self.open(&written.to_string_lossy())?, &mut crate::Silent)?;
        drift(&expected, &found).map(Some)
    }

    /// The model as it is used without being written, its base not rounded.
    fn original(&self) -> Result<Generator, Error> {
        match &self.run {
            Some(run) => {
                let how = Opening { quantization: None, ..Opening::of(run.config()).exact() };
                Generator::of_run_as(self.machine, run, &how, &Silent)
            }
            None => self.open(&self.model.card().base_model),
        }
    }

    /// Another model, where this one is compared.
    fn open(&self, model: &str) -> Result<Generator, Error> {
        Generator::open(self.machine, model, &self.device, &Opening::default(), &Silent)
    }
}

impl ExportPlan<'_> {
    /// What the tensors become, from the largest group to the smallest.
    pub fn groups(&self) -> Vec<TensorGroup> {
        let mut groups: BTreeMap<(String, String), (usize, u64)> = BTreeMap::new();
        let mut add = |plan: &TensorPlan, reason: Reason| {
            let key = (format!("{:?}", plan.encoding), reason.to_string());
            let group = groups.entry(key).or_default();
            *group = (group.0 + 1, group.1 + plan.bytes().unwrap_or(0));
        };
        match &self.form {
            Form::Gguf(file) => {
                for tensor in file.tensors() {
                    add(&tensor.plan, tensor.reason);
                }
            }
            Form::Folder(options) => {
                for plan in options.tensors(self.export.model.checkpoint()) {
                    add(&plan, Reason::Asked);
                }
            }
        }
        let mut groups: Vec<TensorGroup> = groups
            .into_iter()
            .map(|((encoding, reason), (tensors, bytes))| TensorGroup {
                encoding,
                reason,
                tensors,
                bytes,
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.bytes));
        groups
    }

    /// What is not as one might expect.
    pub fn notes(&self) -> &[String] {
        match &self.form {
            Form::Folder(_) => &[],
            Form::Gguf(file) => file.notes(),
        }
    }

    /// Writes beside `to`, opens what was written, compares it with the original, and gives it its
    /// place if it drifts no more than `max_mean_kl`; else nothing is left.
    ///
    /// # Errors
    /// [`Error::Drift`], [`Error::OtherTokens`] and [`Error::Stopped`]; and when the model cannot be
    /// run, an adapter does not fit, `to` exists or something cannot be written.
    pub fn write(
        &self,
        to: &Path,
        max_mean_kl: f64,
        observer: &mut dyn Observer,
    ) -> Result<Drift, Error> {
        let staged = Staged::beside(to)?;
        // One after the other: two models need not fit into memory.
        let expected = answers(&mut self.export.original()?, observer)?;
        self.write_weights(staged.path(), observer)?;
        let found = answers(&mut self.export.open(&staged.path().to_string_lossy())?, observer)?;
        let drift = drift(&expected, &found)?;
        if drift.mean_kl.is_nan() || drift.mean_kl > max_mean_kl {
            return Err(Error::Drift { drift, allowed: max_mean_kl });
        }
        staged.keep()?;
        Ok(drift)
    }

    fn write_weights(&self, to: &Path, observer: &mut dyn Observer) -> Result<(), Error> {
        let (weights, checkpoint) = (self.export.weights()?, self.export.model.checkpoint());
        let (mut done, total) = (0, checkpoint.weights().len());
        let mut each = || {
            done += 1;
            let event = Event::Progress { stage: Stage::Writing, done, total, tokens: 0 };
            match observer.on(&event) {
                Flow::Continue => ControlFlow::Continue(()),
                Flow::Stop => ControlFlow::Break(()),
            }
        };
        let written = match &self.form {
            Form::Folder(options) => {
                export_folder_of(checkpoint, weights.as_ref(), to, options, &mut each)
            }
            Form::Gguf(file) => file.write(weights.as_ref(), to, &mut each),
        };
        written.map_err(|error| match error {
            WeightsError::Stopped => Error::Stopped,
            error => error.into(),
        })
    }
}
