//! What a training run told at each update and each evaluation.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::read_text;
use crate::Error;

/// A run's learning, in the order of its updates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// Its updates.
    pub steps: Vec<StepLine>,
    /// Its evaluations.
    pub evaluations: Vec<EvaluationLine>,
}

/// An update.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct StepLine {
    /// Its number; the first is 1.
    pub update: u64,
    /// The mean loss per learnt token, in nats; none where it is not finite.
    pub loss: Option<f64>,
    /// The learning rate.
    pub learning_rate: Option<f64>,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EvaluationLine {
    /// After how many updates.
    pub update: u64,
    /// Everything that was measured, by name; none where it is not finite.
    pub values: BTreeMap<String, Option<f64>>,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Step(StepLine),
    Evaluated(EvaluationLine),
}

impl Curves {
    /// Reads a metrics file. Of a run that is not finished the last line may be there by half: it
    /// is being written, or its writer was stopped.
    pub(super) fn read(path: &Path, finished: bool) -> Result<Self, Error> {
        let text = read_text(path)?;
        let mut curves = Self::default();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if !line.ends_with('\n') && !finished {
                break;
            }
            let line = serde_json::from_str(line).map_err(|error| Error::Damaged {
                path: path.to_owned(),
                line: Some(number + 1),
                reason: error.to_string(),
            })?;
            match line {
                Line::Step(step) => curves.steps.push(step),
                Line::Evaluated(evaluation) => curves.evaluations.push(evaluation),
            }
        }
        Ok(curves)
    }

    /// The loss at each update: what is not finite is not a number.
    pub fn training_loss(&self) -> Vec<(f64, f64)> {
        let point = |step: &StepLine| (step.update as f64, step.loss.unwrap_or(f64::NAN));
        self.steps.iter().map(point).collect()
    }

    /// The learning rate at each update.
    pub fn learning_rate(&self) -> Vec<(f64, f64)> {
        let point = |step: &StepLine| (step.update as f64, step.learning_rate.unwrap_or(f64::NAN));
        self.steps.iter().map(point).collect()
    }

    /// What the evaluations found of one metric.
    pub fn evaluated(&self, metric: &str) -> Vec<(f64, f64)> {
        let point = |it: &EvaluationLine| {
            let value = it.values.get(metric)?;
            Some((it.update as f64, value.unwrap_or(f64::NAN)))
        };
        self.evaluations.iter().filter_map(point).collect()
    }

    /// The names of everything that was measured.
    pub fn metrics(&self) -> std::collections::BTreeSet<&str> {
        self.evaluations.iter().flat_map(|it| it.values.keys().map(String::as_str)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str =
        "{\"event\":\"step\",\"update\":1,\"of\":2,\"loss\":null,\"learning_rate\":0.1}\n";
    const EVALUATED: &str =
        "{\"event\":\"evaluated\",\"update\":1,\"values\":{\"loss\":2.5,\"roc_auc\":null}}\n";

    fn read(text: &str, finished: bool) -> Result<Curves, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Curves::read(file.path(), finished)
    }

    #[test]
    fn what_is_not_finite_is_a_gap() {
        let curves = read(&[STEP, EVALUATED].concat(), true).unwrap();
        assert!(curves.training_loss()[0].1.is_nan());
        assert_eq!(curves.evaluated("loss"), [(1.0, 2.5)]);
        assert!(curves.evaluated("roc_auc")[0].1.is_nan());
        assert!(curves.evaluated("bleu").is_empty());
    }

    #[test]
    fn half_a_line_is_damage_once_the_run_is_finished() {
        let half = [STEP, &EVALUATED[..30]].concat();
        assert_eq!(read(&half, false).unwrap().steps.len(), 1);
        let error = read(&half, true).unwrap_err();
        assert!(matches!(error, Error::Damaged { line: Some(2), .. }), "{error}");
        let error = read(&[STEP, "{}\n", STEP].concat(), false).unwrap_err();
        assert!(matches!(error, Error::Damaged { line: Some(2), .. }), "{error}");
    }
}
