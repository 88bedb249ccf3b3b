//! The loss of asked tokens, and its gradient, from a few rows of logits at a time.

use rayon::prelude::*;

use crate::{
    activation::exp,
    simd::{Kernel, Path, Simd},
};

/// A token asked at a row of logits, and what its loss weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    /// The row.
    pub row: u32,
    /// The token.
    pub token: u32,
    /// The factor of its loss.
    pub weight: f32,
}

/// The sum over `targets` of weight times minus the log-probability of the token, in nats; and in
/// place of the logits (rows of `vocabulary`) that sum's gradient for them.
///
/// The targets stand in the order of their rows.
///
/// # Panics
/// When the sizes do not fit, a target's row or token does not exist, or the order is another.
pub fn cross_entropy(logits: &mut [f32], vocabulary: usize, targets: &[Weighed]) -> f64 {
    cross_entropy_on(Path::active(), logits, vocabulary, targets)
}

pub(crate) fn cross_entropy_on(
    path: Path,
    logits: &mut [f32],
    vocabulary: usize,
    targets: &[Weighed],
) -> f64 {
    assert!(logits.len().is_multiple_of(vocabulary), "logits are not rows of {vocabulary}");
    let rows = logits.len() / vocabulary;
    assert!(targets.is_sorted_by_key(|target| target.row), "targets are not in order");
    assert!(targets.last().is_none_or(|last| (last.row as usize) < rows), "a row beyond {rows}");
    let sums: Vec<f64> = logits
        .par_chunks_mut(vocabulary)
        .enumerate()
        .map(|(row, logits)| {
            let first = targets.partition_point(|target| (target.row as usize) < row);
            let count = targets[first..].partition_point(|target| target.row as usize == row);
            path.run(CrossEntropy { logits, targets: &targets[first..first + count] })
        })
        .collect();
    sums.iter().sum() // in the order of rows, whoever computed them
}

struct CrossEntropy<'a> {
    logits: &'a mut [f32],
    targets: &'a [Weighed],
}

impl Kernel for CrossEntropy<'_> {
    type Out = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let Self { logits, targets } = self;
        let mut largest = [f32::NEG_INFINITY; 8];
        let (chunks, rest) = logits.as_chunks::<8>();
        for chunk in chunks {
            for (largest, &logit) in largest.iter_mut().zip(chunk) {
                *largest = if logit > *largest { logit } else { *largest };
            }
        }
        let largest = largest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
        let mut loss = 0.0;
        let mut weight = 0.0;
        let asked: Vec<f32> =
            targets.iter().map(|target| logits[target.token as usize] - largest).collect();
        // One loop for each step: a compiler makes vectors of these, and not of both together.
        for logit in logits.iter_mut() {
            *logit = exp(*logit - largest);
        }
        let mut sums = [0.0_f32; 16];
        let (chunks, rest) = logits.as_chunks::<16>();
        for chunk in chunks {
            for (sum, weight) in sums.iter_mut().zip(chunk) {
                *sum += weight;
            }
        }
        for (sum, weight) in sums.iter_mut().zip(rest) {
            *sum += weight;
        }
        let sum: f32 = sums.iter().sum();
        for (target, asked) in targets.iter().zip(asked) {
            loss += f64::from(target.weight) * (f64::from(sum).ln() - f64::from(asked));
            weight += target.weight;
        }
        let share = weight / sum;
        for logit in logits.iter_mut() {
            *logit *= share;
        }
        for target in targets {
            logits[target.token as usize] -= target.weight;
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central differences of the formula in `f64`.
    #[test]
    fn the_gradient_is_the_slope_on_every_path() {
        let (rows, vocabulary) = (5, 37);
        let logits: Vec<f32> =
            (0..rows * vocabulary).map(|i| (i as f32 * 0.73).sin() * 6.0).collect();
        let ask = |row, token, weight| Weighed { row, token, weight };
        let targets = [ask(0, 3, 1.0), ask(1, 36, 0.5), ask(1, 0, 2.0), ask(4, 8, 1.0)];
        let loss = |logits: &[f64]| -> f64 {
            let of = |target: &Weighed| {
                let row = &logits[target.row as usize * vocabulary..][..vocabulary];
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                f64::from(target.weight) * (sum.ln() - row[target.token as usize])
            };
            targets.iter().map(of).sum()
        };
        let wide: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        for path in Path::all() {
            let mut gradient = logits.clone();
            let found = cross_entropy_on(path, &mut gradient, vocabulary, &targets);
            assert!((found - loss(&wide)).abs() < 1e-5, "{found}");
            for i in 0..logits.len() {
                let moved = |by: f64| {
                    let mut moved = wide.clone();
                    moved[i] += by;
                    loss(&moved)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((f64::from(gradient[i]) - slope).abs() < 1e-6, "{i}: {slope}");
            }
        }
    }

    #[test]
    fn huge_logits_stay_finite() {
        let mut logits = [1e4, -1e4, 0.0];
        let target = Weighed { row: 0, token: 1, weight: 1.0 };
        assert!((cross_entropy(&mut logits, 3, &[target]) - 2e4).abs() < 1e-6);
        for (found, expected) in logits.iter().zip([1.0_f32, -1.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{found}");
        }
    }
}
