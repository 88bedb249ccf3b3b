//! Loss and perplexity from sums of negative log-probabilities.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, EvalError};

/// A weighted sum of losses, not yet averaged, so that parts of any size add up exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSum {
    /// Sum of weight times negative natural log-probability.
    pub sum: f64,
    /// Sum of the weights: the number of tokens, where each weighs 1.
    pub weight: f64,
}

impl LossSum {
    /// The sum over tokens of equal weight, from their log-probabilities.
    pub fn of_logprobs(logprobs: impl IntoIterator<Item = f32>) -> Self {
        logprobs.into_iter().fold(Self::default(), |all, logprob| Self {
            sum: all.sum - f64::from(logprob),
            weight: all.weight + 1.0,
        })
    }

    /// The mean loss in nats; not a number without any weight.
    pub fn mean(self) -> f64 {
        self.sum / self.weight
    }

    /// The exponential of the mean loss. (Ludwig feeds probabilities where logits belong, so
    /// that its figure is not the perplexity.)
    pub fn perplexity(self) -> f64 {
        self.mean().exp()
    }
}

impl Add for LossSum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, weight: self.weight + other.weight }
    }
}

impl AddAssign for LossSum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Mean loss and perplexity over rows: every token counts the same, rows are resampled whole.
///
/// # Errors
/// Without rows, or with a confidence outside 0 to 1.
pub fn perplexity(
    rows: &[LossSum],
    bootstrap: &Bootstrap,
) -> Result<(Estimate, Estimate), EvalError> {
    let sums: Vec<[f64; 2]> = rows.iter().map(|row| [row.sum, row.weight]).collect();
    let loss = bootstrap.sums(&sums, |[sum, weight]| sum / weight)?;
    // The exponential keeps the order, hence also the percentiles' place.
    let perplexity =
        Estimate { value: loss.value.exp(), low: loss.low.exp(), high: loss.high.exp(), ..loss };
    Ok((loss, perplexity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_guess_has_the_perplexity_of_its_choices() {
        let row = LossSum::of_logprobs([(1.0_f32 / 8.0).ln(); 5]);
        let other = LossSum::of_logprobs([(1.0_f32 / 8.0).ln(); 2]);
        let (loss, perplexity) = perplexity(&[row, other], &Bootstrap::default()).unwrap();
        assert!((loss.value - 8.0_f64.ln()).abs() < 1e-6);
        assert!((perplexity.value - 8.0).abs() < 1e-5);
        assert!((perplexity.high - perplexity.low).abs() < 1e-5);
    }

    #[test]
    fn long_rows_weigh_more() {
        let all = LossSum { sum: 2.0, weight: 2.0 } + LossSum { sum: 8.0, weight: 2.0 };
        let longer = all + LossSum { sum: 30.0, weight: 6.0 };
        assert_eq!((all.mean(), longer.mean()), (2.5, 4.0));
    }
}
