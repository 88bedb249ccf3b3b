//! Medians, and how sure a ratio of two of them is.

use serde::{Deserialize, Serialize};

/// The middle value; of an even number the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// A median with the smallest and the greatest value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

pub(super) fn spread(values: &[f64]) -> Option<Spread> {
    let (low, high) =
        (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    Some(Spread { median: median(values)?, low, high })
}

/// How often the medians are drawn anew.
const DRAWS: usize = 4000;

/// The ratio of the medians of two samples, with its 95 % bootstrap interval.
pub(super) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    let of = median(ours)? / median(theirs)?;
    // Always the same draws, so that a page made twice is the same.
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut ratios: Vec<f64> = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        ratios.push(median(&random.resample(ours))? / median(&random.resample(theirs))?);
    }
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[((DRAWS - 1) as f64 * share).round() as usize];
    of.is_finite().then(|| Spread { median: of, low: at(0.025), high: at(0.975) })
}

/// The mean difference of two figures of the same rows, with its 95 % bootstrap interval over rows.
pub(super) fn difference(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    if ours.is_empty() || ours.len() != theirs.len() {
        return None;
    }
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut means: Vec<f64> = (0..DRAWS).map(|_| mean(&random.resample(&differences))).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((DRAWS - 1) as f64 * share).round() as usize];
    Some(Spread { median: mean(&differences), low: at(0.025), high: at(0.975) })
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize) % below
    }

    fn resample(&mut self, values: &[f64]) -> Vec<f64> {
        values.iter().map(|_| values[self.next(values.len())]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), Some(3.0));
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, low: 1.0, high: 9.0 }));
    }

    #[test]
    fn a_ratio_of_what_does_not_vary_is_sure_and_of_what_varies_is_not() {
        let sure = ratio(&[6.0; 5], &[4.0; 5]).unwrap();
        assert_eq!(sure, Spread { median: 1.5, low: 1.5, high: 1.5 });
        let unsure = ratio(&[5.0, 6.0, 7.0, 5.5, 6.5], &[4.0, 3.0, 5.0, 3.5, 4.5]).unwrap();
        assert_eq!(Some(unsure.median), Some(1.5));
        assert!(unsure.low < 1.5 && unsure.high > 1.5, "{unsure:?}");
        // The most extreme medians that can be drawn.
        assert!(unsure.low >= 1.0 && unsure.high <= 7.0 / 3.0, "{unsure:?}");
        assert_eq!(ratio(&[], &[1.0]), None);
    }

    #[test]
    fn a_difference_is_as_sure_as_the_rows_that_differ_are_many() {
        let ours: Vec<f64> = (0..400).map(|row| f64::from(row % 10 != 0)).collect(); // 0.9
        let theirs: Vec<f64> = (0..400).map(|row| f64::from(row % 5 != 0)).collect(); // 0.8
        let all = difference(&ours, &theirs).unwrap();
        assert!((all.median - 0.1).abs() < 1e-12);
        // The standard error of a share of 0.1 in 400 is 0.015.
        assert!((all.low - 0.0706).abs() < 0.006 && (all.high - 0.1294).abs() < 0.006, "{all:?}");
        assert_eq!(difference(&ours, &ours).map(|it| (it.low, it.high)), Some((0.0, 0.0)));
        assert_eq!(difference(&ours, &theirs[1..]), None);
    }
}
