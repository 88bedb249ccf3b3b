//! Checkpoints: what a run can go on from.
//!
//! ```text
//! checkpoints/update-00000120/   parameters.safetensors, optimizer.safetensors, state.json,
//!                                run.json, and manifest.json, which is written last
//! checkpoints/best/update-00000080/   parameters.safetensors of the best evaluations
//! ```

use std::path::{Path, PathBuf};

use fidelio_backend::{Learn, Part};
use fidelio_weights::Tensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    CheckpointError, Example, Flaw, TrainPlan, TrainState, example::digest_rows, folder, tensors,
};

const STATE: &str = "state.json";
const RUN: &str = "run.json";

/// The folder that a run's checkpoints stand in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

/// What tells one run from another: its plan and its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    plan: Value,
    rows: String,
}

impl Identity {
    pub(crate) fn new(plan: &TrainPlan, rows: &[Example]) -> Self {
        let plan = serde_json::to_value(plan).expect("a plan is plain data");
        Self { plan, rows: digest_rows(rows) }
    }

    /// The keys that are not the same in another run.
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &self.plan, &other.plan, &mut found);
        if self.rows != other.rows {
            found.push("rows".to_owned());
        }
        found
    }
}

/// Finds the innermost keys at which two values differ.
fn compare(at: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    let (Value::Object(a), Value::Object(b)) = (one, other) else {
        if one != other {
            found.push(at.to_owned());
        }
        return;
    };
    let only_there = b.keys().filter(|key| !a.contains_key(*key));
    for key in a.keys().chain(only_there) {
        let below = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        compare(
            &below,
            a.get(key).unwrap_or(&Value::Null),
            b.get(key).unwrap_or(&Value::Null),
            found,
        );
    }
}

/// A checkpoint that can be gone on from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) state: TrainState,
}

impl Checkpoints {
    /// Checkpoints in a folder, of which the newest `keep` (at least 1) stay.
    pub fn new(folder: impl Into<PathBuf>, keep: usize) -> Self {
        Self { folder: folder.into(), keep: keep.max(1) }
    }

    /// Where they stand.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether no run has saved into it, not even in part.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn is_empty(&self) -> Result<bool, CheckpointError> {
        Ok(folder::numbered(&self.folder)?.is_empty())
    }

    /// Refuses a folder that another run has saved into.
    pub(crate) fn check_unused(&self) -> Result<(), CheckpointError> {
        match folder::numbered(&self.folder)?.pop() {
            Some((_, path)) => Err(CheckpointError::Occupied { path }),
            None => Ok(()),
        }
    }

    /// Saves a checkpoint and removes those that are not needed any more.
    pub(crate) fn save(
        &self,
        run: &Identity,
        state: &TrainState,
        learner: &dyn Learn,
    ) -> Result<PathBuf, CheckpointError> {
        let path = folder::place(&self.folder, state.update);
        folder::write(&path, |to| {
            tensors::save(learner, Part::Parameters, to)?;
            tensors::save(learner, Part::Optimizer, to)?;
            folder::write_json(&to.join(STATE), state)?;
            folder::write_json(&to.join(RUN), run)
        })?;
        self.prune(state.update)?;
        Ok(path)
    }

    /// The newest checkpoint of this run that is whole, and the newer ones that are not.
    pub(crate) fn last(
        &self,
        run: &Identity,
    ) -> Result<(Found, Vec<(PathBuf, Flaw)>), CheckpointError> {
        let mut skipped = Vec::new();
        for (_, path) in folder::numbered(&self.folder)?.into_iter().rev() {
            match read(&path) {
                Err(flaw) => skipped.push((path, flaw)),
                Ok((state, saved)) => {
                    let differs = run.differences(&saved);
                    if differs.is_empty() {
                        return Ok((Found { path, state }, skipped));
                    }
                    return Err(CheckpointError::OtherRun { path, differs });
                }
            }
        }
        Err(CheckpointError::Nothing { folder: self.folder.clone(), skipped })
    }

    /// Keeps the parameters as they are after an evaluation.
    pub(crate) fn save_best(
        &self,
        update: u64,
        learner: &dyn Learn,
    ) -> Result<(), CheckpointError> {
        folder::write(&self.best(update), |to| tensors::save(learner, Part::Parameters, to))
    }

    /// The parameters of an evaluation that [`Self::save_best`] kept.
    pub(crate) fn open_best(&self, update: u64) -> Result<Tensors, CheckpointError> {
        let path = self.best(update);
        folder::verify(&path)
            .map_err(|flaw| CheckpointError::Broken { path: path.clone(), flaw })?;
        tensors::open_parameters(&path)
    }

    fn best(&self, update: u64) -> PathBuf {
        folder::place(&self.folder.join("best"), update)
    }

    /// Removes checkpoints before the newest `keep`, and parameters that no checkpoint left counts
    /// among its best. One that cannot be read, or that is from after the one gone on from, is
    /// damaged and stays: nobody has looked at it yet.
    fn prune(&self, newest: u64) -> Result<(), CheckpointError> {
        let mut kept = 0;
        let mut needed = Vec::new();
        for (update, path) in folder::numbered(&self.folder)?.into_iter().rev() {
            let Ok(state) = folder::read_json::<TrainState>(&path.join(STATE)) else { continue };
            if kept == self.keep {
                folder::remove(&path)?;
                continue;
            }
            kept += usize::from(update <= newest);
            needed.extend(state.best.iter().map(|best| best.update));
        }
        for (update, path) in folder::numbered(&self.folder.join("best"))? {
            if !needed.contains(&update) {
                folder::remove(&path)?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<(TrainState, Identity), Flaw> {
    folder::verify(path)?;
    Ok((folder::read_json(&path.join(STATE))?, folder::read_json(&path.join(RUN))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_to_the_innermost_key() {
        let run = |plan, rows: &str| Identity { plan, rows: rows.to_owned() };
        let a = run(json!({ "seed": 1, "learn": { "clip": "none", "lr": 1 }, "gone": 2 }), "x");
        let b = run(json!({ "seed": 1, "learn": { "clip": "norm", "lr": 1 }, "new": 3 }), "y");
        assert_eq!(a.differences(&b), ["learn.clip", "gone", "new", "rows"]);
        assert!(a.differences(&a).is_empty());
    }
}
