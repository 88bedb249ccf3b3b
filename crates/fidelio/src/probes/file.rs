//! A checked run file of a head, or of any kind of model.

use std::path::{Path, PathBuf};

use fidelio_config::{AnyDocument, Document, Override, ProbeConfig};
use serde_json::json;

use crate::{Error, RunFile, results::RUN_FILE, train::DESCRIPTION};

/// A run file of any kind of model.
#[derive(Debug, Clone)]
pub enum AnyRunFile {
    /// A language model's.
    Llm(Box<RunFile>),
    /// A head's.
    Probe(Box<ProbeFile>),
}

/// A run file of a head that passed every check.
#[derive(Debug, Clone)]
pub struct ProbeFile {
    document: Document<ProbeConfig>,
    overrides: Vec<Override>,
    /// The folder of the training run that it belongs to.
    trained: Option<PathBuf>,
    /// Whether its head may be used on other base weights.
    other_weights: bool,
}

impl AnyRunFile {
    /// Reads and checks a run file.
    ///
    /// # Errors
    /// [`Error::RunFile`] with every problem at once.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, Error> {
        match fidelio_config::load_any(path, overrides).map_err(Error::RunFile)? {
            AnyDocument::Llm(_) => Ok(Self::Llm(Box::new(RunFile::load(path, overrides)?))),
            AnyDocument::Ecd(document) => Ok(Self::head(*document, overrides)),
        }
    }

    /// Checks a run file's text; `name` stands in messages.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Self, Error> {
        match fidelio_config::parse_any(name, text, overrides).map_err(Error::RunFile)? {
            AnyDocument::Llm(_) => Ok(Self::Llm(Box::new(RunFile::parse(name, text, overrides)?))),
            AnyDocument::Ecd(document) => Ok(Self::head(*document, overrides)),
        }
    }

    /// The run file of a training run's folder; `other_weights`: what it learnt may be used on other
    /// base weights.
    ///
    /// # Errors
    /// [`Error::NoRun`] where the folder holds no finished training run, and as [`Self::load`].
    pub fn of_run(
        folder: &Path,
        overrides: &[Override],
        other_weights: bool,
    ) -> Result<Self, Error> {
        let path = folder.join(RUN_FILE);
        if !path.exists() || !folder.join(DESCRIPTION).exists() {
            return Err(Error::NoRun { path: folder.to_owned() });
        }
        Ok(match Self::load(&path, overrides)? {
            Self::Llm(_) => {
                let run = RunFile::of_run(folder, overrides)?;
                Self::Llm(Box::new(run.allow_other_weights(other_weights)))
            }
            Self::Probe(run) => {
                let trained = Some(folder.to_owned());
                Self::Probe(Box::new(ProbeFile { trained, other_weights, ..*run }))
            }
        })
    }

    fn head(document: Document<ProbeConfig>, overrides: &[Override]) -> Self {
        Self::Probe(Box::new(ProbeFile::of(document, overrides.to_vec())))
    }

    /// The run file as canonical YAML with every default filled.
    pub fn render(&self) -> String {
        match self {
            Self::Llm(run) => run.document().render(),
            Self::Probe(run) => run.document().render(),
        }
    }

    /// The run file with every default filled, as a value.
    pub fn settled(&self) -> &serde_json::Value {
        match self {
            Self::Llm(run) => run.document().settled(),
            Self::Probe(run) => run.document().settled(),
        }
    }
}

impl ProbeFile {
    /// Checks the text of a head's run file; `name` stands in messages.
    ///
    /// # Errors
    /// [`Error::RunFile`] with every problem at once.
    pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Self, Error> {
        match AnyRunFile::parse(name, text, overrides)? {
            AnyRunFile::Probe(run) => Ok(*run),
            AnyRunFile::Llm(run) => {
                let kind = fidelio_config::Kind::NotAllowed;
                let problem = run
                    .document()
                    .problem(kind, "model_type", "this is for heads, and it is `model_type: llm`")
                    .hint("write `model_type: ecd`");
                Err(Error::RunFile(run.document().problems(vec![problem])))
            }
        }
    }

    /// A head beside a language model's run file: the same category, rows and split, from these columns
    /// with this encoder. Texts that are too long are cut.
    ///
    /// # Errors
    /// [`Error::RunFile`], where the output is no category.
    pub fn beside(run: &RunFile, columns: &[&str], encoder: &str) -> Result<Self, Error> {
        let settled = run.document().settled();
        let output = run.config().output();
        let inputs: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(number, column)| {
                json!({
                    "name": format!("input_{number}"),
                    "type": "text",
                    "column": column,
                    "encoder": {
                        "type": "auto_transformer",
                        "pretrained_model_name_or_path": encoder,
                    },
                    "preprocessing": {"long_texts": "truncate"},
                })
            })
            .collect();
        let answered = &settled["output_features"][0];
        let mut labels = answered["preprocessing"].clone();
        if let Some(labels) = labels.as_object_mut() {
            labels.shift_remove("fallback_label");
        }
        let mut rows = settled["preprocessing"].clone();
        if let Some(rows) = rows.as_object_mut() {
            rows.shift_remove("global_max_sequence_length");
        }
        let text = json!({
            "model_type": "ecd",
            "input_features": inputs,
            "output_features": [{
                "name": output.name(),
                "type": answered["type"],
                "column": output.column(),
                "preprocessing": labels,
            }],
            "preprocessing": rows,
            "device": run.config().device,
            "random_seed": run.config().random_seed,
        });
        // JSON is YAML.
        let name = run.document().sources().first().map_or("run.yaml", |source| source.name());
        Self::parse(&format!("a head beside {name}"), &text.to_string(), &[])
    }

    fn of(document: Document<ProbeConfig>, overrides: Vec<Override>) -> Self {
        Self { document, overrides, trained: None, other_weights: false }
    }

    /// The same run file with more changes, checked anew.
    ///
    /// # Errors
    /// [`Error::RunFile`] with every problem at once.
    pub fn changed(&self, more: impl IntoIterator<Item = Override>) -> Result<Self, Error> {
        let written = &self.document.sources()[0];
        let overrides: Vec<Override> = self.overrides.iter().cloned().chain(more).collect();
        let changed = Self::parse(written.name(), written.text(), &overrides)?;
        Ok(Self { trained: self.trained.clone(), other_weights: self.other_weights, ..changed })
    }

    pub(crate) fn allows_other_weights(&self) -> bool {
        self.other_weights
    }

    /// The folder of the training run that it belongs to.
    pub(crate) fn trained(&self) -> Option<&Path> {
        self.trained.as_deref()
    }

    /// What it says, every default filled.
    pub fn config(&self) -> &ProbeConfig {
        &self.document.config
    }

    /// The text, the places of its keys, and its rendering.
    pub fn document(&self) -> &Document<ProbeConfig> {
        &self.document
    }
}
