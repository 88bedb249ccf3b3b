//! Adapters by themselves: where they lie, and several as one.

use std::path::{Path, PathBuf};

use fidelio_weights::peft::{self, Combination, Combined, PeftAdapter, Share};

use crate::{Error, RunFile, train::DESCRIPTION};

/// Adapters that become one.
#[derive(Debug, Clone)]
pub struct AdapterMerge {
    /// They, in their order.
    pub sources: Vec<MergeSource>,
    /// In which way.
    pub how: Combination,
    /// The model that the result says it stands on; where it is not given, the adapters must agree.
    pub base_model: Option<String>,
}

/// An adapter that becomes part of another.
#[derive(Debug, Clone)]
pub struct MergeSource {
    /// What messages call it.
    pub name: String,
    /// A training run's folder, or one in PEFT's format.
    pub path: PathBuf,
    /// What it is multiplied by.
    pub weight: f64,
}

impl AdapterMerge {
    /// Makes the one adapter.
    ///
    /// # Errors
    /// When an adapter cannot be read, or they cannot become one.
    pub fn merge(&self) -> Result<Combined, Error> {
        let adapters = self
            .sources
            .iter()
            .map(|source| Ok(peft::open(&adapter_folder(&source.path)?)?))
            .collect::<Result<Vec<PeftAdapter>, Error>>()?;
        let shares: Vec<Share<'_>> = self
            .sources
            .iter()
            .zip(&adapters)
            .map(|(source, adapter)| Share { name: &source.name, adapter, weight: source.weight })
            .collect();
        Ok(peft::combine(&shares, self.how, self.base_model.as_deref())?)
    }
}

/// The folder in PEFT's format that a path means: what a training run learnt, or the path itself.
///
/// # Errors
/// When the training run cannot be read or learnt no adapter.
pub fn adapter_folder(path: &Path) -> Result<PathBuf, Error> {
    if !path.join(DESCRIPTION).exists() {
        return Ok(path.to_owned());
    }
    RunFile::of_run(path, &[])?.adapter().ok_or(Error::NoAdapter)
}
