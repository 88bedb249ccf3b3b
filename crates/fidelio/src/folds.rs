//! What the folds of a cross-validation found, put together.

use std::{collections::BTreeMap, path::PathBuf};

use fidelio_config::catalogue::metrics_of;
use fidelio_eval::{FeatureStatistics, Report};
use serde::{Deserialize, Serialize};

use crate::{Error, Results};

/// The figures over the folds of a cross-validation.
pub(crate) const FOLDS: &str = "kfold.json";

/// The figures of one output over all folds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Across {
    /// Folds measured.
    pub folds: usize,
    /// By metric; only those that every fold defines.
    pub metrics: BTreeMap<String, Spread>,
}

/// A figure in each fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean over the folds.
    pub mean: f64,
    /// Their standard deviation (over one less than the folds).
    pub std: f64,
    /// Each fold's.
    pub values: Vec<f64>,
}

impl Spread {
    fn of(values: Vec<f64>) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (squares / (count - 1.0)).sqrt();
        Self { mean, std, values }
    }
}

impl Across {
    /// Puts the reports of the folds together.
    pub fn of(reports: &[Report]) -> Self {
        let features: Vec<&FeatureStatistics> =
            reports.iter().filter_map(|report| report.features.values().next()).collect();
        let names = features.first().map_or(&[][..], |first| metrics_of(kind(first)));
        let spread = |name: &str| {
            let figures = features.iter().map(|feature| feature.figure(name));
            let values: Option<Vec<f64>> = figures.map(|it| it.map(|it| it.value)).collect();
            Some((name.to_owned(), Spread::of(values?)))
        };
        let metrics = names.iter().filter_map(|metric| spread(metric.name)).collect();
        Self { folds: reports.len(), metrics }
    }
}

pub(crate) fn kind(feature: &FeatureStatistics) -> &'static str {
    match feature {
        FeatureStatistics::Category(_) => "category",
        FeatureStatistics::Document(_) => "document",
        FeatureStatistics::Text(_) => "text",
        FeatureStatistics::Number(_) => "number",
    }
}

impl Results {
    /// Writes `kfold.json`. Returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_folds(&self, across: &Across) -> Result<PathBuf, Error> {
        self.write_json(FOLDS, across)
    }
}

#[cfg(test)]
mod tests {
    use fidelio_eval::{Bootstrap, CategoryRows, CategoryStatistics};

    use super::*;

    #[test]
    fn figures_of_folds_have_mean_and_deviation() {
        let labels = ["a", "b"].map(String::from);
        let report = |predicted: &[usize]| {
            let rows = CategoryRows::new(&labels, &[0, 1, 1, 0], predicted);
            Report::of("label", CategoryStatistics::measure(&rows, &Bootstrap::none()).unwrap())
        };
        let across = Across::of(&[report(&[0, 1, 1, 0]), report(&[0, 1, 0, 1])]);
        let accuracy = &across.metrics["accuracy"];
        assert_eq!(accuracy.values, [1.0, 0.5]);
        assert!(
            (accuracy.mean - 0.75).abs() < 1e-12 && (accuracy.std - 0.125_f64.sqrt()).abs() < 1e-12
        );
        assert!(!across.metrics.contains_key("roc_auc"), "there are no probabilities");
    }
}
