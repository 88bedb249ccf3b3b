//! Two runs: what was set otherwise, and whether one answers better than chance lets it seem.

mod answered;
mod settings;

use std::path::{Path, PathBuf};

use fidelio_eval::{Bootstrap, Comparison, Estimate};
use serde::Serialize;

use crate::{
    Error, Picture, PictureFormat, RunRecord,
    pictures::{figures, learning_curves},
    results::write_whole,
};

pub use settings::Difference;

/// The comparison as data.
const COMPARISON: &str = "comparison.json";

/// What two runs have differently, and which of them answers better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunComparison {
    /// The first run's name.
    pub first: String,
    /// The second run's name.
    pub second: String,
    /// Keys of the run files, defaults filled, that differ.
    pub settings: Vec<Difference>,
    /// What else differs: model, prompt, data.
    pub plan: Vec<Difference>,
    /// The answers, compared on the same rows; none where they cannot be.
    pub answers: Option<AnswersCompared>,
    /// Why the answers are not compared.
    pub not_compared: Option<String>,
    /// Whether both runs were measured, so that one would expect their answers compared.
    pub measured: bool,
    /// Which run is better, and whether that is beyond chance, in a sentence.
    pub verdict: String,
}

/// Answers to the same rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswersCompared {
    /// How many rows.
    pub rows: usize,
    /// The figures.
    pub figures: Vec<FigureCompared>,
    /// Which run is better beyond chance, by the first of the figures.
    pub better: Option<Which>,
}

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureCompared {
    /// Its name.
    pub metric: String,
    /// The first run's.
    pub first: f64,
    /// The second run's.
    pub second: f64,
    /// Second minus first, with the interval of the paired bootstrap.
    pub difference: Estimate,
    /// For shares of right answers: McNemar's exact test.
    pub p_value: Option<f64>,
    /// Rows on which the second is right and the first is not, and the other way round; for shares
    /// of right answers.
    pub changed: Option<(u64, u64)>,
}

/// One of two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The first.
    First,
    /// The second.
    Second,
}

impl FigureCompared {
    /// A share of right answers.
    fn share(metric: &str, of: &Comparison) -> Self {
        let changed = Some((of.higher, of.lower));
        Self { p_value: Some(of.p_value), changed, ..Self::plain(metric, of) }
    }

    fn plain(metric: &str, of: &Comparison) -> Self {
        let (first, second, difference) = (of.first, of.second, of.difference);
        let metric = metric.to_owned();
        Self { metric, first, second, difference, p_value: None, changed: None }
    }

    /// Whether the figures differ beyond chance: the interval lies on one side of 0, and the test,
    /// where there is one, agrees.
    fn differs(&self, confidence: f64) -> bool {
        let interval = self.difference.low > 0.0 || self.difference.high < 0.0;
        interval && self.p_value.is_none_or(|p| p < 1.0 - confidence)
    }
}

impl RunComparison {
    /// Compares two runs. Their answers are compared where both answered the same rows, which are
    /// known by their lines and by what was expected of them.
    ///
    /// # Errors
    /// When figures cannot be made of the answers.
    pub fn of(first: &RunRecord, second: &RunRecord, bootstrap: &Bootstrap) -> Result<Self, Error> {
        let names = [first.name.as_str(), second.name.as_str()];
        let measured = [first, second].iter().all(|run| answered::is_measured(run));
        let (answers, not_compared) = match answered::pair([first, second]) {
            Ok(pair) => (Some(answered::compare(&pair, bootstrap)?), None),
            Err(reason) => (None, Some(reason)),
        };
        let verdict = match (&answers, &not_compared) {
            (Some(answers), _) => answers.verdict(names),
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or_default();
                format!("Which run answers better is not known: {reason}.")
            }
        };
        Ok(Self {
            first: first.name.clone(),
            second: second.name.clone(),
            settings: settings::of_run_files(first, second),
            plan: settings::of_plans(first, second),
            answers,
            not_compared,
            measured,
            verdict,
        })
    }

    /// Writes `comparison.json`, and the runs' curves and figures in common pictures. Returns the
    /// files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(
        &self,
        runs: &[RunRecord; 2],
        folder: &Path,
        format: PictureFormat,
    ) -> Result<Vec<PathBuf>, Error> {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        let path = folder.join(COMPARISON);
        let failed =
            |error| Error::Write { path: path.clone(), source: std::io::Error::other(error) };
        let mut text = serde_json::to_vec_pretty(self).map_err(failed)?;
        text.push(b'\n');
        write_whole(&path, &text)?;
        let drawn: Vec<Picture> = [learning_curves(runs)?, figures(runs)?].concat();
        let pictures = drawn.iter().map(|picture| picture.write(folder, format));
        std::iter::once(Ok(path)).chain(pictures).collect()
    }
}

impl AnswersCompared {
    fn new(rows: usize, figures: Vec<FigureCompared>, bootstrap: &Bootstrap) -> Self {
        let first = figures.first().filter(|figure| figure.differs(bootstrap.confidence));
        let better = first
            .map(|figure| if figure.difference.value > 0.0 { Which::Second } else { Which::First });
        Self { rows, figures, better }
    }

    fn verdict(&self, [first, second]: [&str; 2]) -> String {
        let Some(figure) = self.figures.first() else { return String::new() };
        let FigureCompared { metric, first: a, second: b, difference, .. } = figure;
        let test =
            figure.p_value.map_or_else(String::new, |p| format!(", McNemar's p {}", p_of(p)));
        let numbers = format!(
            "{metric} {a:.3} and {b:.3}, difference {:+.3} [{:+.3}, {:+.3}]{test}, on the same {} rows",
            difference.value, difference.low, difference.high, self.rows
        );
        match self.better {
            Some(Which::Second) => {
                format!("`{second}` is better than `{first}` beyond chance: {numbers}.")
            }
            Some(Which::First) => {
                format!("`{first}` is better than `{second}` beyond chance: {numbers}.")
            }
            None => {
                format!("`{first}` and `{second}` differ by no more than chance may do: {numbers}.")
            }
        }
    }
}

fn p_of(p: f64) -> String {
    if p < 0.001 { "below 0.001".to_owned() } else { format!("= {p:.3}") }
}
