//! Folders that runs left, read again.

mod answers;
mod curves;

use std::{
    fs,
    path::{Path, PathBuf},
};

use fidelio_eval::{FeatureStatistics, Figure, Report};
use serde_json::Value;

use crate::{
    Across, Error, RunFile,
    folds::FOLDS,
    results::{MANIFEST, RUN_FILE, STATISTICS},
    train::{DESCRIPTION, METRICS},
};

use answers::By;
pub use answers::{Answer, Answers};
pub use curves::{Curves, EvaluationLine, StepLine};

/// Below an experiment's folder: what the test rows gave.
const TEST: &str = "test";

/// A run as its folder tells it: what `fidelio train`, `evaluate` and `experiment` left there.
#[derive(Debug)]
pub struct RunRecord {
    /// What it is called in pictures and tables.
    pub name: String,
    /// Where it lies.
    pub folder: PathBuf,
    /// Its run file.
    pub run: RunFile,
    /// What it learnt; none for a run that learns nothing.
    pub training: Option<TrainingRecord>,
    /// What was measured in it: its own rows, or the test rows of an experiment.
    pub measured: Vec<Measured>,
    /// The folds of a cross-validation.
    pub folds: Vec<RunRecord>,
    /// The figures over all folds.
    pub across: Option<Across>,
}

/// What a training run left.
#[derive(Debug)]
pub struct TrainingRecord {
    /// What was told at each update and each evaluation.
    pub curves: Curves,
    /// The plan, the rows, the tokens and the summary; none where the run is not finished.
    pub description: Option<Value>,
}

/// Rows that were answered, and how well.
#[derive(Debug)]
pub struct Measured {
    /// Where it lies.
    pub folder: PathBuf,
    /// The plan, the usage, and whether every row was answered.
    pub manifest: Value,
    /// The figure that the run is judged by.
    pub headline: Option<Figure>,
    /// The figures; none where they were not saved, or nothing was measured.
    pub report: Option<Report>,
    /// The answers; none where they were not saved, or nothing was asked.
    pub answers: Option<Answers>,
}

impl RunRecord {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// [`Error::NotARun`] where the folder holds no run, [`Error::Damaged`] with the file and the
    /// line where one is not what a run writes, and [`Error::RunFile`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let own = [folder.join(RUN_FILE), folder.join(TEST).join(RUN_FILE)];
        // First, since it says what the rest is of.
        let written = own.iter().find(|path| path.exists());
        let run = written.map(|path| RunFile::load(path, &[])).transpose()?;
        let folds = folds(folder)?;
        let training = TrainingRecord::open(folder)?;
        let mut measured = Vec::new();
        for place in [folder.to_owned(), folder.join(TEST)] {
            measured.extend(Measured::open(&place)?);
        }
        let nothing = folds.is_empty() && training.is_none() && measured.is_empty();
        if nothing {
            return Err(Error::NotARun { path: folder.to_owned() });
        }
        let run = match (run, folds.first()) {
            (Some(run), _) => run,
            (None, Some(fold)) => fold.run.clone(),
            (None, None) => {
                return Err(Error::Damaged {
                    path: own[0].clone(),
                    line: None,
                    reason: "it is missing; every run writes its run file".into(),
                });
            }
        };
        let path = folder.join(FOLDS);
        let across = if path.exists() { Some(read_json(&path)?) } else { None };
        let name = name_of(folder);
        Ok(Self { name, folder: folder.to_owned(), run, training, measured, folds, across })
    }

    /// Reads several runs. Those whose folders are called alike are called by their whole paths.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_all(folders: &[PathBuf]) -> Result<Vec<Self>, Error> {
        let mut runs = folders.iter().map(|it| Self::open(it)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        for (i, run) in runs.iter_mut().enumerate() {
            if names.iter().enumerate().any(|(j, name)| i != j && *name == run.name) {
                run.name = run.folder.display().to_string();
            }
        }
        Ok(runs)
    }

    /// The run and its folds.
    pub fn with_folds(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.folds)
    }

    /// Its plan: of what was measured last, else of what was learnt.
    pub fn plan(&self) -> Option<&Value> {
        let measured = self.measured.last().map(Measured::plan);
        let learnt = || self.training.as_ref()?.description.as_ref()?.get("plan");
        measured.or_else(learnt).or_else(|| self.folds.first()?.plan())
    }
}

impl TrainingRecord {
    fn open(folder: &Path) -> Result<Option<Self>, Error> {
        let [metrics, description] = [METRICS, DESCRIPTION].map(|name| folder.join(name));
        if !metrics.exists() && !description.exists() {
            return Ok(None);
        }
        let finished = description.exists();
        let description: Option<Value> =
            if finished { Some(read_json(&description)?) } else { None };
        let curves = Curves::read(&metrics, finished)?;
        Ok(Some(Self { curves, description }))
    }
}

impl Measured {
    fn open(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let manifest: Value = read_json(&path)?;
        let damaged = |reason: String| Error::Damaged { path: path.clone(), line: None, reason };
        let by = match manifest.pointer("/plan/answer/by").and_then(Value::as_str) {
            Some("text") => Some(By::Text),
            Some("match") => Some(By::Match),
            Some("score") => Some(By::Score),
            Some("documents") => None,
            _ => return Err(damaged("its `plan` does not say how answers were found".into())),
        };
        // A figure that is not a number is written as null.
        let headline = manifest.get("headline").filter(|it| !it["value"].is_null()).cloned();
        let headline = headline.map(serde_json::from_value).transpose();
        let headline = headline.map_err(|error| damaged(format!("`headline`: {error}")))?;
        let path = folder.join(STATISTICS);
        let report = if path.exists() { Some(read_json(&path)?) } else { None };
        let answers = by.map(|by| Answers::find(folder, by)).transpose()?.flatten();
        let measured = Self { folder: folder.to_owned(), manifest, headline, report, answers };
        measured.check_rows()?;
        Ok(Some(measured))
    }

    /// Refuses files that an earlier run left in the same folder: they tell of other rows.
    fn check_rows(&self) -> Result<(), Error> {
        let Some(answered) = self.manifest.pointer("/usage/rows").and_then(Value::as_u64) else {
            return Ok(());
        };
        let check = |path: PathBuf, rows: usize| {
            let reason = format!("it is of {rows} rows, and `{MANIFEST}` of {answered}");
            let same = rows as u64 == answered;
            if same { Ok(()) } else { Err(Error::Damaged { path, line: None, reason }) }
        };
        if let Some(answers) = &self.answers {
            check(answers.path.clone(), answers.rows.len())?;
        }
        for feature in self.report.iter().flat_map(|report| report.features.values()) {
            let rows = match feature {
                FeatureStatistics::Category(of) => of.rows,
                FeatureStatistics::Text(of) => of.rows,
                FeatureStatistics::Number(of) => of.rows,
                FeatureStatistics::Document(_) => continue,
            };
            check(self.folder.join(STATISTICS), rows)?;
        }
        Ok(())
    }

    /// The plan of what was measured.
    pub fn plan(&self) -> &Value {
        &self.manifest["plan"]
    }

    /// The part of the data that was measured.
    pub fn split(&self) -> &str {
        self.plan().pointer("/data/split").and_then(Value::as_str).unwrap_or("full")
    }

    /// The files that the rows came from.
    pub fn files(&self) -> Vec<PathBuf> {
        let files = self.plan().pointer("/data/files").and_then(Value::as_array);
        files.into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from).collect()
    }
}

fn folds(folder: &Path) -> Result<Vec<RunRecord>, Error> {
    let folders = (1..).map(|number| folder.join(format!("fold_{number}")));
    folders.take_while(|folder| folder.is_dir()).map(|folder| RunRecord::open(&folder)).collect()
}

/// A folder's own name, also where it is given as `.`.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match whole.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => folder.display().to_string(),
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_str(&read_text(path)?).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        line: (error.line() > 0).then(|| error.line()),
        reason: error.to_string(),
    })
}
