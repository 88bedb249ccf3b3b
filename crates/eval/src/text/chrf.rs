//! chrF (Popović, 2015) as sacrebleu computes it: runs of 1 to 6 characters without white space,
//! recall weighing twice.

use super::{ngrams::overlap, words};

const ORDERS: usize = 6;
const BETA_SQUARED: f64 = 4.0;

/// What one row contributes; the sum over rows gives corpus chrF.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChrfStats([f64; 3 * ORDERS]);

impl ChrfStats {
    /// Counts one row.
    pub fn of(prediction: &str, reference: &str) -> Self {
        let chars = |text: &str| words(text).flat_map(str::chars).collect::<Vec<char>>();
        let (prediction, reference) = (chars(prediction), chars(reference));
        let mut stats = [0.0; 3 * ORDERS];
        for (n, of_order) in stats.chunks_exact_mut(3).enumerate() {
            let runs = overlap(&prediction, &reference, n + 1);
            // Runs that are too long for the expected text count against nobody.
            let predicted = if runs.expected > 0 { runs.predicted } else { 0 };
            of_order[0] = predicted as f64;
            of_order[1] = runs.expected as f64;
            of_order[2] = runs.shared as f64;
        }
        Self(stats)
    }

    /// chrF of these counts, from 0 to 100.
    pub fn score(&self) -> f64 {
        Self::score_of_row(&self.0)
    }

    /// As plain numbers, for [`Bootstrap::sums`](crate::Bootstrap::sums).
    pub fn row(&self) -> [f64; 18] {
        self.0
    }

    /// Corpus chrF from added [`ChrfStats::row`]s.
    pub fn score_of_row(sums: &[f64; 18]) -> f64 {
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for of_order in sums.chunks_exact(3) {
            let (predicted, expected, shared) = (of_order[0], of_order[1], of_order[2]);
            if predicted > 0.0 && expected > 0.0 {
                precision += shared / predicted;
                recall += shared / expected;
                orders += 1.0;
            }
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / orders, recall / orders);
        100.0 * (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    }
}
