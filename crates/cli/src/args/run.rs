//! Flags of the commands that need a run file, data, or a place for results.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fidelio::{
    AnyRunFile, DataArgs, Generator, Machine, Opening, RunFile, SplitChoice, backend::Precision,
    config::Override, data,
};
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    ui::{Ui, progress::Downloads},
};

/// Which run file, and what is changed in it.
#[derive(Debug, Args)]
#[command(next_help_heading = "The run")]
pub(crate) struct RunFlags {
    /// The run file.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The run file's text instead of a file.
    #[arg(long, value_name = "YAML", conflicts_with = "config")]
    config_str: Option<String>,
    /// Change one key, as in `generation.max_new_tokens=64`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of the split, of row sampling and of token sampling (`random_seed`).
    #[arg(long, value_name = "N")]
    random_seed: Option<u64>,
    /// What computes (`device`), for example `flex` or `cuda:1`.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// How exactly it computes (`precision`): `f32`, `bf16` or `int8-activations`.
    #[arg(long, value_name = "PRECISION")]
    precision: Option<String>,
    /// Keys of `generation` as a JSON map, or a JSON file that holds one.
    #[arg(long, value_name = "JSON")]
    generation_config: Option<String>,
    /// Most rows in work at once (`trainer.eval_batch_size`).
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// The folder of a training run: its run file, prompt and adapter.
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["config", "config_str"])]
    model_path: Option<PathBuf>,
    #[command(flatten)]
    base: BaseFlags,
}

/// What a training run's folder is used on.
#[derive(Debug, Args)]
pub(crate) struct BaseFlags {
    /// With `-m`: use what the run learnt on other base weights than it learnt on.
    #[arg(long, requires = "model_path")]
    pub(crate) allow_other_weights: bool,
}

impl BaseFlags {
    /// The run file of a training run's folder.
    pub(crate) fn run(&self, folder: &Path, overrides: &[Override]) -> Result<RunFile, Failure> {
        Ok(RunFile::of_run(folder, overrides)?.allow_other_weights(self.allow_other_weights))
    }
}

impl RunFlags {
    /// Reads and checks the run file. Flags win over the file, `--set` over other flags.
    pub(crate) fn load(&self) -> Result<RunFile, Failure> {
        let overrides = self.overrides()?;
        if let Some(folder) = &self.model_path {
            return self.base.run(folder, &overrides);
        }
        match (&self.config, &self.config_str) {
            (Some(path), _) => Ok(RunFile::load(path, &overrides)?),
            (None, Some(text)) => Ok(RunFile::parse("--config-str", text, &overrides)?),
            (None, None) => Err(no_run_file()),
        }
    }

    /// The same for a run file of any kind of model.
    pub(crate) fn load_any(&self) -> Result<AnyRunFile, Failure> {
        let overrides = self.overrides()?;
        if let Some(folder) = &self.model_path {
            let other_weights = self.base.allow_other_weights;
            return Ok(AnyRunFile::of_run(folder, &overrides, other_weights)?);
        }
        match (&self.config, &self.config_str) {
            (Some(path), _) => Ok(AnyRunFile::load(path, &overrides)?),
            (None, Some(text)) => Ok(AnyRunFile::parse("--config-str", text, &overrides)?),
            (None, None) => Err(no_run_file()),
        }
    }

    /// Whether it is the run file of a training run's folder.
    pub(crate) fn is_of_training_run(&self) -> bool {
        self.model_path.is_some()
    }

    fn overrides(&self) -> Result<Vec<Override>, Failure> {
        let mut overrides = Vec::new();
        let mut set = |key: &str, value: &dyn std::fmt::Display| {
            overrides.push(Override::new(format!("{key}={value}")));
        };
        if let Some(seed) = self.random_seed {
            set("random_seed", &seed);
        }
        if let Some(device) = &self.device {
            set("device", &Value::from(device.as_str()));
        }
        if let Some(precision) = &self.precision {
            set("precision", &Value::from(precision.as_str()));
        }
        if let Some(rows) = self.batch_size {
            set("trainer.eval_batch_size", &rows);
        }
        if let Some(given) = &self.generation_config {
            for (key, value) in generation_config(given)? {
                // JSON is YAML, so the value is read as it was meant.
                set(&format!("generation.{key}"), &value);
            }
        }
        overrides.extend(self.set.iter().map(Override::new));
        Ok(overrides)
    }
}

fn no_run_file() -> Failure {
    Failure::usage_with(
        "no run file is given",
        "name one with `-c run.yaml`; `fidelio init` writes one for a table",
    )
}

fn generation_config(given: &str) -> Result<Map<String, Value>, Failure> {
    let text = if given.trim_start().starts_with('{') {
        given.to_owned()
    } else {
        let path = Path::new(given);
        std::fs::read_to_string(path)
            .map_err(|source| Failure::Read { path: path.to_owned(), source })?
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage_with(
            format!("`--generation-config` is not a JSON map: {error}"),
            "write `{\"max_new_tokens\": 64}`, or `--set generation.max_new_tokens=64`",
        )
    })
}

/// Which model continues a text.
#[derive(Debug, Args)]
pub(crate) struct ModelFlags {
    /// The model: an alias, a folder, a GGUF file, or a hub id.
    #[arg(long, value_name = "MODEL", default_value = "smollm2-135m")]
    model: String,
    /// The folder of a training run: its model with what it learnt.
    #[arg(short, long, value_name = "DIR", conflicts_with = "model")]
    model_path: Option<PathBuf>,
    /// What computes, for example `flex` or `cuda:1`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// How exactly it computes; `int8-activations` is for quantised weights on the CPU
    /// [default: f32, or what the run says].
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Arithmetic>,
    #[command(flatten)]
    base: BaseFlags,
}

/// How exactly a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arithmetic {
    /// Single precision.
    F32,
    /// Products of brain floats.
    Bf16,
    /// Activations of 8 bits over weights that are integers.
    Int8Activations,
}

impl Arithmetic {
    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
            Self::Int8Activations => Precision::Int8Activations,
        }
    }
}

impl ModelFlags {
    /// As the user named it.
    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        match &self.model_path {
            Some(folder) => folder.to_string_lossy(),
            None => self.model.as_str().into(),
        }
    }

    /// What computes.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// The folder of the training run, where one is named.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.model_path.as_deref()
    }

    /// Puts it on its device.
    pub(crate) fn open(&self, machine: &Machine, ui: &Ui) -> Result<Generator, Failure> {
        let progress = Downloads::new(ui);
        let Some(run) = self.run()? else {
            let precision = self.precision.map(Arithmetic::precision).unwrap_or_default();
            let how = Opening { precision, ..Opening::default() };
            return Ok(Generator::open(machine, &self.model, &self.device, &how, &progress)?);
        };
        let generator = Generator::of_run(machine, &run, &progress)?;
        if let Some(note) = generator.note() {
            ui.note(format!("note: {note}"));
        }
        Ok(generator)
    }

    /// The training run, where one is named.
    pub(crate) fn run(&self) -> Result<Option<RunFile>, Failure> {
        let Some(folder) = &self.model_path else { return Ok(None) };
        let mut overrides =
            vec![Override::new(format!("device={}", Value::from(self.device.as_str())))];
        if let Some(precision) = self.precision {
            let precision = precision.precision().name();
            overrides.push(Override::new(format!("precision={precision}")));
        }
        self.base.run(folder, &overrides).map(Some)
    }
}

/// Which rows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataFlags {
    /// The table: CSV, TSV, JSON, JSON Lines, Parquet or Excel; repeat it for several files.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    dataset: Vec<PathBuf>,
    /// A table of training rows; repeat it for several files.
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    training_set: Vec<PathBuf>,
    /// A table of validation rows.
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    validation_set: Vec<PathBuf>,
    /// A table of test rows.
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    test_set: Vec<PathBuf>,
    /// The files' format; by their extension when not given.
    #[arg(long, value_name = "FORMAT")]
    data_format: Option<String>,
    /// The part of the table.
    #[arg(short, long, value_name = "SPLIT", default_value = "full")]
    split: Split,
}

/// A part of the table, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    /// All rows.
    Full,
    /// The training rows.
    Training,
    /// The validation rows.
    Validation,
    /// The test rows.
    Test,
}

impl DataFlags {
    /// Whether any table is named.
    pub(crate) fn is_given(&self) -> bool {
        [&self.dataset, &self.training_set, &self.validation_set, &self.test_set]
            .iter()
            .any(|files| !files.is_empty())
    }

    /// Whether it is one table, which a command may divide itself.
    pub(crate) fn is_whole(&self) -> bool {
        !self.dataset.is_empty()
    }

    /// What the library wants to know.
    pub(crate) fn to_args(&self) -> Result<DataArgs, Failure> {
        let wanted = match self.split {
            Split::Full => SplitChoice::Full,
            Split::Training => SplitChoice::Training,
            Split::Validation => SplitChoice::Validation,
            Split::Test => SplitChoice::Test,
        };
        if !self.is_given() {
            return Err(Failure::usage_with(
                "no data is given",
                "name a table with `--dataset FILE`",
            ));
        }
        self.check_sets(wanted)?;
        Ok(DataArgs {
            dataset: self.dataset.clone(),
            training_set: self.training_set.clone(),
            validation_set: self.validation_set.clone(),
            test_set: self.test_set.clone(),
            options: read_options(self.data_format.as_deref())?,
            split: wanted,
            fold: None,
        })
    }

    /// A split of tables that are divided already must be among them.
    fn check_sets(&self, wanted: SplitChoice) -> Result<(), Failure> {
        let files = match wanted {
            SplitChoice::Training => &self.training_set,
            SplitChoice::Validation => &self.validation_set,
            SplitChoice::Test => &self.test_set,
            SplitChoice::Full => return Ok(()),
        };
        if files.is_empty() && self.dataset.is_empty() {
            let name = wanted.name();
            return Err(Failure::usage_with(
                format!("`--split {name}` is asked for, but no `--{name}-set` is given"),
                format!("add `--{name}-set FILE`, or give the whole table with `--dataset`"),
            ));
        }
        Ok(())
    }
}

/// How files are read, given the format's name.
pub(crate) fn read_options(format: Option<&str>) -> Result<data::ReadOptions, Failure> {
    // Ludwig's default has a name.
    let named = format.filter(|name| *name != "auto").map(data::Format::named).transpose()?;
    Ok(data::ReadOptions { data_format: named, ..data::ReadOptions::default() })
}

/// Where results go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct ResultFlags {
    /// The folder for results; `results/run_1`, `run_2`, … when not given.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output_directory: Option<PathBuf>,
    /// Replace results that are in the folder already.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// The format of the predictions.
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    pub(crate) predictions_format: PredictionsFormat,
    /// Write no predictions.
    #[arg(long, alias = "skip-save-test-predictions")]
    pub(crate) skip_save_predictions: bool,
}

/// A format that predictions are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PredictionsFormat {
    /// Comma-separated values.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl From<PredictionsFormat> for data::Format {
    fn from(format: PredictionsFormat) -> Self {
        match format {
            PredictionsFormat::Csv => Self::Csv,
            PredictionsFormat::Jsonl => Self::Jsonl,
            PredictionsFormat::Parquet => Self::Parquet,
        }
    }
}
