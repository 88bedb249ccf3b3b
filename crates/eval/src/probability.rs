//! Figures of the probabilities a classifier gives its labels.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, EvalError, error::same_length};

/// How far the probabilities of a row may sum from 1: they come from 32-bit arithmetic and
/// perhaps from a file with a few digits.
const SUM_TOLERANCE: f64 = 1e-3;
/// The calibration error's number of equally wide bins.
const BINS: usize = 10;

/// What the probabilities are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityStatistics {
    /// Mean of minus the logarithm of the true label's probability, which counts as at least
    /// 2^-52 (as in scikit-learn), so that one impossible row does not make it infinite.
    pub loss: Estimate,
    /// The share of rows whose label is among the `k` most probable; absent where `k` would
    /// cover every label.
    pub hits_at_k: Option<HitsAtK>,
    /// The area under the ROC curve: of the second label where there are two, else averaged
    /// over labels, each against the rest. Labels that all rows or no rows have are left out;
    /// absent where none remains.
    pub roc_auc: Option<f64>,
    /// Squared distance from the truth, summed over labels: 0 is best, 2 worst.
    pub brier: f64,
    /// How far the stated confidence is from the share that is right, over ten equally wide
    /// bins of the largest probability.
    pub calibration_error: f64,
}

/// Hits among the most probable labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HitsAtK {
    /// How many labels count.
    pub k: usize,
    /// The share of rows whose label is among them.
    pub share: Estimate,
}

impl ProbabilityStatistics {
    pub(crate) fn measure(
        probabilities: &[f32],
        labels: usize,
        truth: &[usize],
        top_k: usize,
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvalError> {
        same_length("the table of probabilities", probabilities.len(), truth.len() * labels)?;
        let rows: Vec<&[f32]> = probabilities.chunks_exact(labels).collect();
        for (row, of_row) in rows.iter().enumerate() {
            let sum = of_row.iter().copied().map(f64::from).sum::<f64>();
            let possible = of_row.iter().all(|p| (0.0..=1.0 + SUM_TOLERANCE as f32).contains(p));
            if !possible || (sum - 1.0).abs() > SUM_TOLERANCE {
                return Err(EvalError::NoDistribution { row, sum });
            }
        }
        let losses: Vec<f64> = rows
            .iter()
            .zip(truth)
            .map(|(row, &truth)| -f64::from(row[truth]).clamp(f64::EPSILON, 1.0).ln())
            .collect();
        let hits_at_k = (top_k > 0 && top_k < labels)
            .then(|| {
                let hits: Vec<bool> =
                    rows.iter().zip(truth).map(|(row, &truth)| rank(row, truth) < top_k).collect();
                Ok(HitsAtK { k: top_k, share: bootstrap.share(&hits)? })
            })
            .transpose()?;
        Ok(Self {
            loss: bootstrap.mean(&losses)?,
            hits_at_k,
            roc_auc: macro_auc(&rows, labels, truth),
            brier: brier(&rows, truth),
            calibration_error: calibration_error(&rows, truth),
        })
    }
}

/// The area under the ROC curve: the chance that a positive row scores above a negative one,
/// equal scores counting half. `None` without rows of either kind.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let positives = positive.iter().filter(|&&is| is).count() as f64;
    let negatives = positive.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut ordered: Vec<(f32, bool)> =
        scores.iter().copied().zip(positive.iter().copied()).collect();
    ordered.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // Mann and Whitney: the sum of the positives' ranks, equal scores sharing their mean rank.
    let (mut ranks, mut before) = (0.0, 0_usize);
    #[expect(clippy::float_cmp, reason = "equal scores are what shares a rank")]
    for equal in ordered.chunk_by(|a, b| a.0 == b.0) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        ranks += rank * equal.iter().filter(|(_, is)| *is).count() as f64;
        before += equal.len();
    }
    Some((ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

fn macro_auc(rows: &[&[f32]], labels: usize, truth: &[usize]) -> Option<f64> {
    let of = |label: usize| {
        let scores: Vec<f32> = rows.iter().map(|row| row[label]).collect();
        let positive: Vec<bool> = truth.iter().map(|&truth| truth == label).collect();
        roc_auc(&scores, &positive)
    };
    if labels == 2 {
        return of(1);
    }
    let areas: Vec<f64> = (0..labels).filter_map(of).collect();
    (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
}

/// How many labels stand before `label`; of equally probable ones the first listed.
fn rank(row: &[f32], label: usize) -> usize {
    let own = row[label];
    row.iter().enumerate().filter(|&(i, &p)| p > own || (p >= own && i < label)).count()
}

fn brier(rows: &[&[f32]], truth: &[usize]) -> f64 {
    let of_row = |row: &[f32], truth: usize| -> f64 {
        let is = |i| f64::from(u8::from(i == truth));
        row.iter().enumerate().map(|(i, &p)| (f64::from(p) - is(i)).powi(2)).sum()
    };
    rows.iter().zip(truth).map(|(row, &truth)| of_row(row, truth)).sum::<f64>() / rows.len() as f64
}

fn calibration_error(rows: &[&[f32]], truth: &[usize]) -> f64 {
    let mut bins = [(0.0, 0.0); BINS]; // right answers, stated confidence
    for (row, &truth) in rows.iter().zip(truth) {
        let confidence = f64::from(row.iter().copied().fold(0.0, f32::max));
        let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += f64::from(u8::from(rank(row, truth) == 0));
        bin.1 += confidence;
    }
    bins.iter().map(|(right, stated)| (right - stated).abs()).sum::<f64>() / rows.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_count_half() {
        assert_eq!(roc_auc(&[0.5; 4], &[true, false, false, true]), Some(0.5));
        assert_eq!(roc_auc(&[0.1, 0.5, 0.5, 0.9], &[false, false, true, true]), Some(0.875));
        assert_eq!(roc_auc(&[0.1, 0.5], &[true, true]), None);
    }

    #[test]
    fn equal_probabilities_rank_in_the_order_of_labels() {
        assert_eq!([0, 1, 2].map(|label| rank(&[0.25, 0.5, 0.25], label)), [1, 0, 2]);
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        let measure = |p: &[f32]| ProbabilityStatistics::measure(p, 2, &[0], 1, &Bootstrap::none());
        assert!(measure(&[0.7, 0.3]).is_ok());
        for wrong in [[0.7, 0.7], [1.5, -0.5], [f32::NAN, 1.0]] {
            assert!(matches!(measure(&wrong), Err(EvalError::NoDistribution { row: 0, .. })));
        }
        assert!(matches!(measure(&[0.7]), Err(EvalError::Lengths { .. })));
    }

    #[test]
    fn an_impossible_row_costs_a_bounded_loss() {
        let got = ProbabilityStatistics::measure(&[0.0, 1.0], 2, &[0], 1, &Bootstrap::none());
        let got = got.unwrap();
        assert!((got.loss.value - 52.0 * std::f64::consts::LN_2).abs() < 1e-9);
        assert_eq!((got.brier, got.calibration_error), (2.0, 1.0));
    }
}
