//! The folder of a run's results.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use fidelio_data::{Format, TableWriter};
use fidelio_eval::Figure;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Error, Evaluation, Job, Predictions, RunFile, train::DESCRIPTION};

/// What a finished run leaves; written last, so that its presence says that the rest is whole.
pub(crate) const MANIFEST: &str = "run.json";
/// The figures of a measured run.
pub(crate) const STATISTICS: &str = "statistics.json";
/// Several ways of answering have their run files, and what they learnt, below it.
const ARMS: &str = "arms";
/// The run file with every default.
pub(crate) const RUN_FILE: &str = "run.yaml";

/// A folder for one run's results.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    overwrite: bool,
}

/// The first `{parent}/run_N` that does not exist, N from 1.
pub fn next_run_folder(parent: &Path) -> PathBuf {
    (1..u32::MAX)
        .map(|n| parent.join(format!("run_{n}")))
        .find(|folder| !folder.exists())
        .expect("there are fewer run folders than numbers")
}

impl Results {
    /// Makes the folder. One that holds results already is refused unless `overwrite` is set.
    ///
    /// # Errors
    /// [`Error::Occupied`] and [`Error::Write`].
    pub fn create(folder: &Path, overwrite: bool) -> Result<Self, Error> {
        let holds = |name| folder.join(name).exists();
        if (holds(MANIFEST) || holds(DESCRIPTION)) && !overwrite {
            return Err(Error::Occupied { path: folder.to_owned() });
        }
        fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), overwrite })
    }

    /// Whether what is there may be replaced.
    pub(crate) fn overwrites(&self) -> bool {
        self.overwrite
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes `predictions.<format>`: one row per answer, with the expected answer where known.
    /// Returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_predictions(
        &self,
        job: &Job,
        predictions: &Predictions,
        expected: Option<&[String]>,
        format: Format,
    ) -> Result<PathBuf, Error> {
        let piece = |id| job.model.vocabulary().piece(id);
        let cells = predictions.rows.iter().map(|row| predictions.cells(row, &piece));
        let expected = expected.map(|expected| (&*job.output.1, expected));
        self.write_answers(predictions.columns(), cells, expected, format)
    }

    /// The same for answers of any kind; `expected` is the column of what was expected, and what.
    pub(crate) fn write_answers(
        &self,
        mut columns: Vec<String>,
        answers: impl Iterator<Item = Vec<Value>>,
        expected: Option<(&str, &[String])>,
        format: Format,
    ) -> Result<PathBuf, Error> {
        let path = self.folder.join(format!("predictions.{}", extension(format)));
        columns.extend(expected.map(|(column, _)| column.to_owned()));
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut writer = TableWriter::create(&path, format, &names)?;
        for (i, mut cells) in answers.enumerate() {
            if let Some((_, expected)) = expected {
                cells.push(expected.get(i).map_or(Value::Null, |text| json!(text)));
            }
            writer.write(&cells)?;
        }
        writer.finish()?;
        self.keep_only(&path)?;
        Ok(path)
    }

    /// Removes the predictions of an earlier run in other formats: they must not stay beside.
    fn keep_only(&self, path: &Path) -> Result<(), Error> {
        for format in [Format::Csv, Format::Jsonl, Format::Parquet] {
            let old = self.folder.join(format!("predictions.{}", extension(format)));
            if old != path && old.exists() {
                fs::remove_file(&old).map_err(|source| Error::Write { path: old, source })?;
            }
        }
        Ok(())
    }

    /// Writes `statistics.json`. Returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_statistics(&self, evaluation: &Evaluation) -> Result<PathBuf, Error> {
        self.write_json(STATISTICS, &evaluation.report)
    }

    /// Writes the run file with every default (`run.yaml`) and, last, `run.json`: the plan, what
    /// the run took, and the figure it is judged by where it was measured.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(
        &self,
        run: &RunFile,
        job: &Job,
        predictions: &Predictions,
        headline: Option<&Figure>,
    ) -> Result<(), Error> {
        self.write(RUN_FILE, run.document().render().as_bytes())?;
        let manifest = json!({
            "plan": job.plan(),
            "headline": headline,
            "usage": predictions.usage,
            "complete": !predictions.stopped,
        });
        self.write_json(MANIFEST, &manifest)?;
        Ok(())
    }

    /// Writes the run file with every default.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_run_file(&self, run: &RunFile) -> Result<PathBuf, Error> {
        self.write(RUN_FILE, run.document().render().as_bytes())
    }

    /// Writes the run file of one of several ways of answering, below the folder. Returns the file.
    pub(crate) fn write_arm(&self, arm: &str, run_file: &str) -> Result<PathBuf, Error> {
        self.write_below(&format!("{ARMS}/{arm}.yaml"), run_file.as_bytes())
    }

    /// Where several ways of answering have their run files, and what they learnt.
    pub(crate) fn arms(&self) -> PathBuf {
        self.folder.join(ARMS)
    }

    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, Error> {
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(|error| self.failed(name, std::io::Error::other(error)))?;
        text.push(b'\n');
        self.write(name, &text)
    }

    pub(crate) fn write(&self, name: &str, text: &[u8]) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        write_whole(&path, text)?;
        Ok(path)
    }

    /// Writes a file below the folder, making folders for it.
    pub(crate) fn write_below(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        let folder = path.parent().unwrap_or(&self.folder).to_owned();
        fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder, source })?;
        write_whole(&path, bytes)?;
        Ok(path)
    }

    fn failed(&self, name: &str, source: std::io::Error) -> Error {
        Error::Write { path: self.folder.join(name), source }
    }
}

/// Writes a file to a temporary name, synced, renamed.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> Result<(), Error> {
    persist(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// The same, for whoever says himself what could not be written.
pub(crate) fn persist(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Tsv => "tsv",
        Format::Json => "json",
        Format::Jsonl => "jsonl",
        Format::Parquet => "parquet",
        Format::Excel => "xlsx",
        _ => "data",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_stand_in_one_format() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::create(folder.path(), true).unwrap();
        let old = results.write("predictions.csv", b"").unwrap();
        let new = results.write("predictions.jsonl", b"").unwrap();
        results.keep_only(&new).unwrap();
        assert!(new.exists() && !old.exists());
    }

    #[test]
    fn run_folders_count_up_and_results_are_not_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let first = next_run_folder(parent.path());
        assert_eq!(first, parent.path().join("run_1"));
        Results::create(&first, false).unwrap().write(MANIFEST, b"{}").unwrap();
        assert_eq!(next_run_folder(parent.path()), parent.path().join("run_2"));
        assert!(matches!(Results::create(&first, false), Err(Error::Occupied { .. })));
        Results::create(&first, true).unwrap();
    }
}
