//! Figures of category outputs: which label was chosen, which one is right.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Estimate, EvalError, ProbabilityStatistics,
    confusion::{Tally, averages, tallies},
    error::same_length,
};

/// Above this many labels the confusion matrix is left out; the largest confusions remain.
const MATRIX_LABELS: usize = 200;
/// How many of the largest confusions are listed.
const CONFUSIONS: usize = 20;

/// What is measured: per row the number of the true and of the predicted label.
#[derive(Debug, Clone, Copy)]
pub struct CategoryRows<'a> {
    /// The labels, in the order of the confusion matrix. For two labels the second is the
    /// positive one.
    pub labels: &'a [String],
    /// Each row's true label.
    pub truth: &'a [usize],
    /// Each row's predicted label.
    pub predicted: &'a [usize],
    /// Each row's probability of each label, row after row.
    pub probabilities: Option<&'a [f32]>,
    /// `hits_at_k` counts a row when its label is among this many most probable ones.
    pub top_k: usize,
}

/// All figures of a category output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryStatistics {
    /// Rows measured.
    pub rows: usize,
    /// The share of rows that are right. (What Ludwig calls `accuracy_micro`.)
    pub accuracy: Estimate,
    /// Recall averaged over all labels that occur, as true or as predicted ones. This is what
    /// Ludwig calls `accuracy`: a label that is only ever predicted wrongly lowers it.
    pub accuracy_macro: Estimate,
    /// Recall averaged over the labels that have a true row.
    pub balanced_accuracy: Estimate,
    /// F1 averaged over all labels that occur.
    pub f1_macro: Estimate,
    /// What always answering the most frequent label would reach.
    pub baseline: Baseline,
    /// F1 over pooled counts; with one label per row this is the accuracy.
    pub f1_micro: f64,
    /// F1 averaged by how many rows each label has.
    pub f1_weighted: f64,
    /// Precision averaged over all labels that occur.
    pub precision_macro: f64,
    /// Precision averaged by how many rows each label has.
    pub precision_weighted: f64,
    /// Cohen's kappa: agreement beyond chance. Absent where chance alone always agrees.
    pub kappa: Option<f64>,
    /// What needs probabilities.
    pub probability: Option<ProbabilityStatistics>,
    /// Each label's figures, in order.
    pub per_class: IndexMap<String, ClassStatistics>,
    /// Rows per true label (outer) and predicted label (inner), in the order of the labels;
    /// absent above 200 labels.
    pub confusion_matrix: Option<Vec<Vec<u64>>>,
    /// The most frequent mistakes.
    pub confusions: Vec<Confused>,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
}

/// What always answering the most frequent label of these rows would reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The label (the first of equally frequent ones).
    pub label: String,
    /// Its share of rows.
    pub accuracy: f64,
    /// The macro-F1 of always answering it.
    pub f1_macro: f64,
}

/// One label against all others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassStatistics {
    /// How many of the rows given this label have it.
    pub precision: f64,
    /// How many of the rows that have this label were given it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Rows that have this label.
    pub support: u64,
    /// Rows that have it and were given it.
    pub true_positives: u64,
    /// Rows that were given it and have another.
    pub false_positives: u64,
    /// Rows that have it and were given another.
    pub false_negatives: u64,
    /// All other rows.
    pub true_negatives: u64,
}

/// A label taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confused {
    /// The true label.
    pub truth: String,
    /// The label it was taken for.
    pub predicted: String,
    /// How often.
    pub rows: u64,
}

impl<'a> CategoryRows<'a> {
    /// Rows without probabilities.
    pub fn new(labels: &'a [String], truth: &'a [usize], predicted: &'a [usize]) -> Self {
        Self { labels, truth, predicted, probabilities: None, top_k: 3 }
    }

    fn check(&self) -> Result<(), EvalError> {
        same_length("the predicted column", self.predicted.len(), self.truth.len())?;
        if self.truth.is_empty() {
            return Err(EvalError::NoRows);
        }
        let mut seen = std::collections::HashSet::new();
        if let Some(label) = self.labels.iter().find(|label| !seen.insert(*label)) {
            return Err(EvalError::DuplicateLabel { label: label.clone() });
        }
        let labels = self.labels.len();
        let pairs = self.truth.iter().zip(self.predicted);
        for (row, (&truth, &predicted)) in pairs.enumerate() {
            let label = truth.max(predicted);
            if label >= labels {
                return Err(EvalError::NoLabel { row, label, labels });
            }
        }
        Ok(())
    }
}

impl CategoryStatistics {
    /// Measures predicted labels against the true ones.
    ///
    /// # Errors
    /// Without rows, when columns differ in length, or when a label or probability is impossible.
    pub fn measure(rows: &CategoryRows<'_>, bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        rows.check()?;
        let labels = rows.labels.len();
        let (cells, kinds) = cells(rows.truth, rows.predicted);
        let [accuracy, accuracy_macro, balanced_accuracy, f1_macro] =
            bootstrap.kinds(&kinds, cells.len(), |counts| {
                let all = averages(&cells, counts, labels);
                [all.accuracy, all.recall_macro, all.balanced_accuracy, all.f1_macro]
            })?;
        let mut counts = vec![0; cells.len()];
        for kind in kinds {
            counts[kind as usize] += 1;
        }
        let all = averages(&cells, &counts, labels);
        let tallies = tallies(&cells, &counts, labels);
        let n = rows.truth.len();
        Ok(Self {
            rows: n,
            accuracy: bootstrap.widen_certain(accuracy),
            accuracy_macro,
            balanced_accuracy,
            f1_macro,
            baseline: Baseline::of(rows.labels, &tallies, n),
            f1_micro: all.accuracy,
            f1_weighted: all.f1_weighted,
            precision_macro: all.precision_macro,
            precision_weighted: all.precision_weighted,
            kappa: Some(all.kappa).filter(|kappa| !kappa.is_nan()),
            probability: rows
                .probabilities
                .map(|p| {
                    ProbabilityStatistics::measure(p, labels, rows.truth, rows.top_k, bootstrap)
                })
                .transpose()?,
            per_class: rows
                .labels
                .iter()
                .zip(&tallies)
                .map(|(label, &tally)| (label.clone(), ClassStatistics::of(tally, n as u64)))
                .collect(),
            confusion_matrix: (labels <= MATRIX_LABELS).then(|| matrix(&cells, &counts, labels)),
            confusions: confusions(rows.labels, &cells, &counts),
            bootstrap: *bootstrap,
        })
    }

    /// Whether the accuracy's interval lies wholly above the majority baseline.
    pub fn beats_baseline(&self) -> bool {
        self.accuracy.low > self.baseline.accuracy
    }
}

impl Baseline {
    fn of(labels: &[String], tallies: &[Tally], rows: usize) -> Self {
        let support = |i: usize| tallies[i].support;
        let most = (0..labels.len()).rev().max_by_key(|&i| support(i)).unwrap_or_default();
        let accuracy = support(most) as f64 / rows as f64;
        let classes = tallies.iter().filter(|tally| tally.support > 0).count();
        let f1 = 2.0 * accuracy / (1.0 + accuracy);
        Self { label: labels[most].clone(), accuracy, f1_macro: f1 / classes as f64 }
    }
}

impl ClassStatistics {
    fn of(tally: Tally, rows: u64) -> Self {
        let false_positives = tally.predicted - tally.hits;
        Self {
            precision: tally.precision(),
            recall: tally.recall(),
            f1: tally.f1(),
            support: tally.support,
            true_positives: tally.hits,
            false_positives,
            false_negatives: tally.support - tally.hits,
            true_negatives: rows - tally.support - false_positives,
        }
    }
}

/// The pairs of labels that occur, and each row's place among them. A table with thousands of
/// labels has far fewer pairs than its matrix has cells.
fn cells(truth: &[usize], predicted: &[usize]) -> (Vec<(usize, usize)>, Vec<u32>) {
    let mut found: HashMap<(usize, usize), u32> = HashMap::new();
    let mut cells = Vec::new();
    let mut kinds = Vec::with_capacity(truth.len());
    for (&truth, &predicted) in truth.iter().zip(predicted) {
        let kind = *found.entry((truth, predicted)).or_insert_with(|| {
            cells.push((truth, predicted));
            cells.len() as u32 - 1
        });
        kinds.push(kind);
    }
    (cells, kinds)
}

fn matrix(cells: &[(usize, usize)], counts: &[u32], labels: usize) -> Vec<Vec<u64>> {
    let mut matrix = vec![vec![0; labels]; labels];
    for (&(truth, predicted), &count) in cells.iter().zip(counts) {
        matrix[truth][predicted] = u64::from(count);
    }
    matrix
}

fn confusions(labels: &[String], cells: &[(usize, usize)], counts: &[u32]) -> Vec<Confused> {
    let mut wrong: Vec<_> =
        cells.iter().zip(counts).filter(|((truth, predicted), _)| truth != predicted).collect();
    wrong.sort_by_key(|&(&cell, &count)| (std::cmp::Reverse(count), cell));
    wrong.truncate(CONFUSIONS);
    wrong
        .into_iter()
        .map(|(&(truth, predicted), &count)| Confused {
            truth: labels[truth].clone(),
            predicted: labels[predicted].clone(),
            rows: u64::from(count),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn measure(truth: &[usize], predicted: &[usize]) -> CategoryStatistics {
        let names = labels(&["a", "b", "c", "unused"]);
        let rows = CategoryRows::new(&names, truth, predicted);
        CategoryStatistics::measure(&rows, &Bootstrap::default()).unwrap()
    }

    #[test]
    fn a_label_only_predicted_lowers_the_macro_accuracy_alone() {
        let got = measure(&[0, 0, 1, 1], &[0, 2, 1, 1]);
        assert_eq!(got.balanced_accuracy.value, 0.75);
        assert_eq!(got.accuracy_macro.value, 0.5);
    }

    #[test]
    fn the_baseline_of_a_tie_is_the_first_label() {
        let got = measure(&[1, 0, 1, 0, 2], &[0; 5]).baseline;
        assert_eq!((got.label.as_str(), got.accuracy), ("a", 0.4));
        assert!((got.f1_macro - 0.8 / 1.4 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn always_right_still_has_an_interval() {
        let got = measure(&[0; 10], &[0; 10]);
        assert!(got.accuracy.low < 0.7 && got.kappa.is_none(), "{got:?}");
        assert!(!got.beats_baseline());
    }

    #[test]
    fn the_largest_confusions_come_first() {
        let got = measure(&[0, 0, 0, 1, 2], &[1, 1, 2, 0, 2]);
        let found: Vec<_> =
            got.confusions.iter().map(|c| (&*c.truth, &*c.predicted, c.rows)).collect();
        assert_eq!(found, [("a", "b", 2), ("a", "c", 1), ("b", "a", 1)]);
    }

    #[test]
    fn impossible_rows_are_refused() {
        let names = labels(&["a", "b"]);
        let measure = |labels: &[String], truth: &[usize], predicted: &[usize]| {
            let rows = CategoryRows::new(labels, truth, predicted);
            CategoryStatistics::measure(&rows, &Bootstrap::default()).unwrap_err()
        };
        assert_eq!(measure(&names, &[], &[]), EvalError::NoRows);
        assert_eq!(
            measure(&names, &[0, 1], &[0, 2]),
            EvalError::NoLabel { row: 1, label: 2, labels: 2 }
        );
        assert!(matches!(measure(&names, &[0, 1], &[0]), EvalError::Lengths { .. }));
        let twice = labels(&["a", "a"]);
        assert_eq!(measure(&twice, &[0], &[0]), EvalError::DuplicateLabel { label: "a".into() });
    }
}
