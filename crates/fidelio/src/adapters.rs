//! Adapters by themselves: where they lie, which of a run file's is in use, and several as one.

use std::path::{Path, PathBuf};

use fidelio_config::{Adapter, AdapterInUse, Adapters, CombinationType, MergedAdapter, RunConfig};
use fidelio_weights::{
    Silent, Source,
    peft::{self, Combination, Combined, PeftAdapter, Share},
};
use indexmap::IndexMap;

use crate::{Error, Machine, RunFile, train::DESCRIPTION};

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
    RunFile::of_run(path, &[])?.learnt_adapter().ok_or(Error::NoAdapter)
}

/// An adapter that was trained before.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(crate) adapter: PeftAdapter,
    /// Where it was read from; several folders where it was made of several adapters.
    pub(crate) folders: Vec<PathBuf>,
}

impl Trained {
    fn open(folder: PathBuf) -> Result<Self, Error> {
        Ok(Self { adapter: peft::open(&folder)?, folders: vec![folder] })
    }

    /// That of a run file: the one in use, as its training run left it or as the file names it;
    /// none where there is none or it is new.
    ///
    /// # Errors
    /// When it cannot be found, fetched, read or made.
    pub(crate) fn in_use(machine: &Machine, run: &RunFile) -> Result<Option<Self>, Error> {
        if let Some(folder) = run.learnt_adapter() {
            return Self::open(folder).map(Some);
        }
        let config = run.config();
        match config.adapter_in_use() {
            None => Ok(None),
            Some(AdapterInUse::Written(adapter)) => Self::find(machine, adapter),
            Some(AdapterInUse::Merged(merged, named)) => {
                Self::merged(machine, config, merged, named).map(Some)
            }
        }
    }

    /// The trained adapter that one of a run file is; none where it is new.
    fn find(machine: &Machine, adapter: &Adapter) -> Result<Option<Self>, Error> {
        adapter.trained().map(|name| Self::open(find_folder(machine, name)?)).transpose()
    }

    fn merged(
        machine: &Machine,
        config: &RunConfig,
        merged: &MergedAdapter,
        named: &IndexMap<String, Adapter>,
    ) -> Result<Self, Error> {
        let weight = |at: usize| merged.weights.as_ref().map_or(1.0, |weights| weights[at]);
        let source = |(at, name): (usize, &String)| {
            let trained = named.get(name).and_then(Adapter::trained);
            let trained = trained.expect("the checks ask for sources that were trained");
            let path = find_folder(machine, trained)?;
            Ok(MergeSource { name: name.clone(), path, weight: weight(at) })
        };
        let sources =
            merged.sources.iter().enumerate().map(source).collect::<Result<Vec<_>, Error>>()?;
        let folders = sources.iter().map(|source| source.path.clone()).collect();
        let how = combination(merged, config.random_seed);
        let merge = AdapterMerge { sources, how, base_model: Some(config.base_model.clone()) };
        Ok(Self { adapter: merge.merge()?.adapter, folders })
    }
}

/// What a training run keeps beside the adapter that learns: the other ones that `adapters` names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bystanders {
    trained: Vec<(String, PeftAdapter)>,
    /// They are new, and stay so: nothing of them is kept.
    pub(crate) new: Vec<String>,
}

impl Bystanders {
    /// Of a run file.
    ///
    /// # Errors
    /// When one cannot be found, fetched, read or made.
    pub(crate) fn of(machine: &Machine, config: &RunConfig) -> Result<Self, Error> {
        let mut found = Self::default();
        let Some(Adapters { adapters, active, merge }) = &config.adapters else {
            return Ok(found);
        };
        for (name, adapter) in adapters.iter().filter(|(name, _)| *name != active) {
            match Trained::find(machine, adapter)? {
                Some(trained) => found.trained.push((name.clone(), trained.adapter)),
                None => found.new.push(name.clone()),
            }
        }
        if let Some(merge) = merge.as_ref().filter(|merge| merge.name != *active) {
            let merged = Trained::merged(machine, config, merge, adapters)?;
            found.trained.push((merge.name.clone(), merged.adapter));
        }
        Ok(found)
    }

    /// Writes each into a folder of its name.
    pub(crate) fn write(&self, into: &Path) -> Result<(), Error> {
        for (name, adapter) in &self.trained {
            adapter.write(&into.join(name), true)?;
        }
        Ok(())
    }
}

fn find_folder(machine: &Machine, name: &str) -> Result<PathBuf, Error> {
    let found = Source::resolve_adapter(name, &machine.sources(), &Silent)?;
    adapter_folder(&found.path)
}

fn combination(merged: &MergedAdapter, seed: u64) -> Combination {
    let density = merged.density.unwrap_or(1.0);
    match merged.combination_type {
        CombinationType::Linear => Combination::Linear,
        CombinationType::Svd => Combination::Svd,
        CombinationType::Ties => Combination::Ties { density },
        CombinationType::DareLinear => Combination::DareLinear { density, seed },
        CombinationType::DareTies => Combination::DareTies { density, seed },
        CombinationType::MagnitudePrune => Combination::MagnitudePrune { density },
    }
}
