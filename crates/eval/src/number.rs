//! Figures of number outputs: how far what was answered is from what is right.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, EvalError, error::same_length};

/// All figures of a number output. They are those of scikit-learn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberStatistics {
    /// Rows measured.
    pub rows: usize,
    /// The root of the mean square of what was missed.
    pub root_mean_squared_error: Estimate,
    /// The mean square of what was missed.
    pub mean_squared_error: Estimate,
    /// The mean of what was missed, whichever way.
    pub mean_absolute_error: Estimate,
    /// The share of the variance that the answers explain: 0 is what the mean of these rows explains,
    /// less is worse. Absent where all rows have the same number.
    pub r2: Option<Estimate>,
    /// What always answering the mean of these rows would reach.
    pub baseline: NumberBaseline,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
}

/// What always answering the mean would reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumberBaseline {
    /// The mean.
    pub mean: f64,
    /// The root of the mean square of what it misses.
    pub root_mean_squared_error: f64,
    /// The mean of what it misses, whichever way.
    pub mean_absolute_error: f64,
}

impl NumberStatistics {
    /// Measures answered numbers against the right ones.
    ///
    /// # Errors
    /// Without rows, or when the two differ in length.
    pub fn measure(
        truth: &[f64],
        predicted: &[f64],
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvalError> {
        same_length("the predicted column", predicted.len(), truth.len())?;
        let n = truth.len() as f64;
        let mean = truth.iter().sum::<f64>() / n;
        // Around the mean, so that large numbers of little variance keep their digits.
        let sums: Vec<[f64; 4]> = truth
            .iter()
            .zip(predicted)
            .map(|(truth, predicted)| {
                let (missed, apart) = (predicted - truth, truth - mean);
                [missed * missed, missed.abs(), apart, apart * apart]
            })
            .collect();
        let explained = |[missed, _, apart, square]: &[f64; 4]| {
            let spread = square - apart * apart / n;
            if spread > 0.0 { 1.0 - missed / spread } else { f64::NAN }
        };
        let r2 = bootstrap.sums(&sums, explained)?;
        let apart = |power: fn(f64) -> f64| sums.iter().map(|sum| power(sum[2])).sum::<f64>() / n;
        Ok(Self {
            rows: truth.len(),
            root_mean_squared_error: bootstrap.sums(&sums, |sum| (sum[0] / n).sqrt())?,
            mean_squared_error: bootstrap.sums(&sums, |sum| sum[0] / n)?,
            mean_absolute_error: bootstrap.sums(&sums, |sum| sum[1] / n)?,
            r2: Some(r2).filter(|r2| !r2.value.is_nan()),
            baseline: NumberBaseline {
                mean,
                root_mean_squared_error: apart(|it| it * it).sqrt(),
                mean_absolute_error: apart(f64::abs),
            },
            bootstrap: *bootstrap,
        })
    }

    /// Whether the interval of the root mean squared error lies wholly below what the mean reaches.
    pub fn beats_baseline(&self) -> bool {
        self.root_mean_squared_error.high < self.baseline.root_mean_squared_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `sklearn.metrics` for these rows.
    #[test]
    fn figures_are_those_of_scikit_learn() {
        let (truth, predicted) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        let got = NumberStatistics::measure(&truth, &predicted, &Bootstrap::default()).unwrap();
        assert_eq!((got.mean_squared_error.value, got.mean_absolute_error.value), (0.375, 0.5));
        assert!((got.root_mean_squared_error.value - 0.612_372_435_695_794_5).abs() < 1e-15);
        let r2 = got.r2.unwrap();
        assert!((r2.value - 0.948_608_137_044_967_9).abs() < 1e-14, "{r2:?}");
        assert!(r2.low <= r2.value && r2.value <= r2.high, "{r2:?}");
        assert_eq!(got.baseline.mean, 2.875);
        assert!(got.beats_baseline());
    }

    #[test]
    fn numbers_that_are_all_the_same_explain_nothing() {
        let got = NumberStatistics::measure(&[2.0, 2.0], &[2.0, 3.0], &Bootstrap::none()).unwrap();
        assert_eq!((got.r2, got.mean_squared_error.value), (None, 0.5));
        assert!(!got.beats_baseline());
        let none = NumberStatistics::measure(&[], &[], &Bootstrap::none());
        assert_eq!(none, Err(EvalError::NoRows));
    }
}
