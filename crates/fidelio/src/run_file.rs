//! A checked run file.

use std::path::{Path, PathBuf};

use fidelio_config::{Document, Override, RunConfig};

use crate::{
    AnswerForm, Error,
    train::{DESCRIPTION, learnt_folder, model_folder},
};

/// A run file that passed every check, with its text, so that later mistakes point into it.
#[derive(Debug, Clone)]
pub struct RunFile {
    document: Document,
    /// What its answers are held to.
    form: Option<AnswerForm>,
    /// What was changed in its text.
    overrides: Vec<Override>,
    /// The folder of the training run that it belongs to.
    trained: Option<PathBuf>,
    /// Whether what that run learnt may be used on other base weights.
    other_weights: bool,
}

impl RunFile {
    /// Reads and checks a run file; `overrides` are `key=value` as after `--set`.
    ///
    /// # Errors
    /// [`Error::RunFile`] with every problem at once.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, Error> {
        let document = fidelio_config::load(path, overrides).map_err(Error::RunFile)?;
        Self::of(document, overrides.to_vec())
    }

    /// Checks a run file's text; `name` stands in messages.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Self, Error> {
        let document = fidelio_config::parse(name, text, overrides).map_err(Error::RunFile)?;
        Self::of(document, overrides.to_vec())
    }

    fn of(document: Document, overrides: Vec<Override>) -> Result<Self, Error> {
        let form = AnswerForm::of(&document).map_err(Error::RunFile)?;
        Ok(Self { document, form, overrides, trained: None, other_weights: false })
    }

    /// The same run file with more changes, checked anew.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn changed(&self, more: impl IntoIterator<Item = Override>) -> Result<Self, Error> {
        let written = &self.document.sources()[0];
        let overrides: Vec<Override> = self.overrides.iter().cloned().chain(more).collect();
        let changed = Self::parse(written.name(), written.text(), &overrides)?;
        Ok(Self { trained: self.trained.clone(), other_weights: self.other_weights, ..changed })
    }

    /// The run file of a training run's folder; the model is used as that run left it.
    ///
    /// # Errors
    /// [`Error::NoRun`] where the folder holds no finished training run, and as [`Self::load`].
    pub fn of_run(folder: &Path, overrides: &[Override]) -> Result<Self, Error> {
        let path = folder.join(crate::results::RUN_FILE);
        if !path.exists() || !folder.join(DESCRIPTION).exists() {
            return Err(Error::NoRun { path: folder.to_owned() });
        }
        Ok(Self { trained: Some(folder.to_owned()), ..Self::load(&path, overrides)? })
    }

    /// Whether what a training run learnt may be used on other base weights than it learnt on, which
    /// is an error otherwise.
    #[must_use]
    pub fn allow_other_weights(self, allowed: bool) -> Self {
        Self { other_weights: allowed, ..self }
    }

    pub(crate) fn allows_other_weights(&self) -> bool {
        self.other_weights
    }

    /// The folder of the training run that it belongs to.
    pub(crate) fn trained(&self) -> Option<&Path> {
        self.trained.as_deref()
    }

    /// The model: the one that its training run left behind, or the one that it names.
    pub fn base_model(&self) -> String {
        match self.trained() {
            Some(run) if self.config().adapter_in_use().is_none() => {
                model_folder(run).to_string_lossy().into_owned()
            }
            _ => self.config().base_model.clone(),
        }
    }

    /// Where its training run left the adapter in use; none where it belongs to none, or that learnt
    /// a whole model.
    pub(crate) fn learnt_adapter(&self) -> Option<PathBuf> {
        self.config().adapter_in_use()?;
        self.trained().map(|run| learnt_folder(run, self.config()))
    }

    /// What it says, every default filled.
    pub fn config(&self) -> &RunConfig {
        &self.document.config
    }

    /// The form that its answers are held to; none where they may be any text.
    pub fn answer_form(&self) -> Option<&AnswerForm> {
        self.form.as_ref()
    }

    /// The text, the places of its keys, and its rendering.
    pub fn document(&self) -> &Document {
        &self.document
    }
}
