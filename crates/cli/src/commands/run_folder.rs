//! The folder that a run's results go to.

use std::path::{Path, PathBuf};

use fidelio::{Results, next_run_folder};

use crate::{args::ResultFlags, failure::Failure};

/// Where runs go that name no folder.
const PARENT: &str = "results";

/// A folder for results, taken away again if nothing was written to it.
#[derive(Debug)]
pub(super) struct RunFolder {
    results: Results,
}

impl RunFolder {
    /// Makes the folder, before the work whose results it is for.
    pub(super) fn create(flags: &ResultFlags) -> Result<Self, Failure> {
        let folder: PathBuf = match &flags.output_directory {
            Some(folder) => folder.clone(),
            None => next_run_folder(Path::new(PARENT)),
        };
        Ok(Self { results: Results::create(&folder, flags.overwrite)? })
    }

    /// The folder of a run that goes on.
    pub(super) fn at(folder: &Path) -> Result<Self, Failure> {
        Ok(Self { results: Results::create(folder, true)? })
    }

    pub(super) fn results(&self) -> &Results {
        &self.results
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Refused by the system where the folder is not empty, which is what is wanted.
        drop(std::fs::remove_dir(self.results.folder()));
    }
}
