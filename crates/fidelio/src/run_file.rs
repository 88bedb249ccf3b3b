//! A checked run file.

use std::path::Path;

use fidelio_config::{Document, Kind, Override, RunConfig};

use crate::Error;

/// A run file that passed every check, with its text, so that later mistakes point into it.
#[derive(Debug, Clone)]
pub struct RunFile {
    document: Document,
}

impl RunFile {
    /// Reads and checks a run file; `overrides` are `key=value` as after `--set`.
    ///
    /// # Errors
    /// [`Error::RunFile`] with every problem at once.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, Error> {
        Self::of(fidelio_config::load(path, overrides).map_err(Error::RunFile)?)
    }

    /// Checks a run file's text; `name` stands in messages.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Self, Error> {
        Self::of(fidelio_config::parse(name, text, overrides).map_err(Error::RunFile)?)
    }

    /// Refuses what can be written and checked, but that nothing acts on yet.
    fn of(document: Document) -> Result<Self, Error> {
        let refuse = |path: &str, feature: &str| {
            let message = format!("{feature} is checked, but not run yet");
            let problem = document.problem(Kind::NotBuilt, path, message);
            Err(Error::RunFile(document.problems(vec![problem])))
        };
        if document.config.trainer.finetune().is_some() {
            return refuse("trainer.type", "fine-tuning");
        }
        if document.config.adapter.is_some() {
            return refuse("adapter", "an adapter");
        }
        Ok(Self { document })
    }

    /// What it says, every default filled.
    pub fn config(&self) -> &RunConfig {
        &self.document.config
    }

    /// The text, the places of its keys, and its rendering.
    pub fn document(&self) -> &Document {
        &self.document
    }
}
