//! Adapters that a server offers beside its first model.

use std::path::{Component, Path, PathBuf};

use fidelio::{Error, Machine, RunFile, ServedAdapter, ServedBase, weights::Silent};
use fidelio_serve::{AdapterError, AnswerRows, FindAdapter, FoundAdapter};

use super::rows::Rows;
use crate::failure::Failure;

/// Finds the adapters of training runs below one folder.
pub(super) struct Finder {
    pub(super) machine: Machine,
    pub(super) base: ServedBase,
    pub(super) folder: PathBuf,
}

impl FindAdapter for Finder {
    fn find(&self, name: &str) -> Result<FoundAdapter, AdapterError> {
        let folder = self.below(name)?;
        let run = RunFile::of_run(&folder, &[]).map_err(|error| reason(&error))?;
        found(&self.machine, &self.base, &run).map_err(|error| reason(&error))
    }
}

impl Finder {
    /// The folder of this name, which leads nowhere else: neither by its parts nor by links.
    fn below(&self, name: &str) -> Result<PathBuf, AdapterError> {
        let missing = || AdapterError::Missing(format!("there is no run `{name}`"));
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if name.contains(['\0', '\\']) || !Path::new(name).components().all(plain) {
            return Err(missing());
        }
        let all = self.folder.canonicalize().map_err(|_| missing())?;
        let folder = all.join(name).canonicalize().map_err(|_| missing())?;
        if folder.starts_with(&all) && folder.is_dir() { Ok(folder) } else { Err(missing()) }
    }
}

/// A run's adapter with what answers its rows, where that needs no table.
pub(super) fn found(
    machine: &Machine,
    base: &ServedBase,
    run: &RunFile,
) -> Result<FoundAdapter, Error> {
    let ServedAdapter { adapter, chat, grammar } = base.adapter(machine, run)?;
    let rows = Rows::of_run(machine, run, &Silent)?;
    Ok(FoundAdapter {
        spec: adapter.spec,
        weights: Box::new(adapter.weights),
        chat,
        grammar,
        rows: rows.map(|rows| Box::new(rows) as Box<dyn AnswerRows>),
    })
}

/// What a client is told; where things lie on this machine is not for it.
fn reason(error: &Error) -> AdapterError {
    match error {
        Error::NoRun { .. } => {
            AdapterError::Missing("the folder holds no finished training run".to_owned())
        }
        Error::NoAdapter => AdapterError::Unfit("the run learnt no adapter".to_owned()),
        Error::OtherThanTrained { what, .. } => {
            AdapterError::Unfit(format!("the run learnt with another {what}"))
        }
        Error::OtherThanServed { key, .. } => {
            AdapterError::Unfit(format!("the run learnt with another `{key}`"))
        }
        Error::OtherWeights { then, now, .. } => {
            let hash = |named: &fidelio::Named| named.sha256.clone().unwrap_or_default();
            AdapterError::Unfit(format!(
                "the run learnt on other base weights: of sha256 {}, and those of sha256 {} are served",
                hash(then),
                hash(now)
            ))
        }
        other => {
            tracing::warn!(error = %other, "an adapter cannot be read");
            AdapterError::Failed("the run cannot be read; the server's log says why".to_owned())
        }
    }
}

/// `NAME=RUN` as a flag has it.
pub(super) fn named(flag: &str) -> Result<(&str, &Path), Failure> {
    match flag.split_once('=') {
        Some((name, run)) if !name.is_empty() && !run.is_empty() => Ok((name, Path::new(run))),
        _ => Err(Failure::usage_with(
            format!("`--adapter {flag}` is not a name and a run"),
            "write it as `--adapter NAME=RUN`",
        )),
    }
}
