//! How far a model has moved from the one that it was made of.

use serde::Serialize;

/// What a merged, quantised or exported model does otherwise than its original.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Positions whose logits were compared.
    pub positions: usize,
    /// The largest difference of two logits.
    pub largest_logit_difference: f64,
    /// Kullback-Leibler divergence of the next token's distributions, in nats: the mean over
    /// positions of `Σ p · ln(p / q)`, with `p` the original's.
    pub mean_kl: f64,
    /// Share of positions where the likeliest token is the same.
    pub top1_agreement: f64,
    /// Share of greedily continued prompts whose continuation is the same, token for token.
    pub greedy_match: f64,
    /// Prompts that were continued.
    pub prompts: usize,
}

/// Adds up what a [`Drift`] is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct DriftMeter {
    positions: usize,
    largest: f64,
    kl: f64,
    same_top: usize,
    prompts: usize,
    same_text: usize,
}

impl DriftMeter {
    /// Compares the logits of one position.
    ///
    /// # Panics
    /// When the vocabularies differ.
    pub fn position(&mut self, original: &[f32], other: &[f32]) {
        assert_eq!(original.len(), other.len(), "vocabularies of one size");
        let (p, q) = (LogSoftmax::of(original), LogSoftmax::of(other));
        self.positions += 1;
        self.same_top += usize::from(p.top == q.top);
        for (&x, &y) in original.iter().zip(other) {
            let (x, y) = (f64::from(x), f64::from(y));
            self.largest = self.largest.max((x - y).abs());
            let p_ln = x - p.ln_sum;
            self.kl += p_ln.exp() * (p_ln - (y - q.ln_sum));
        }
    }

    /// Compares the greedy continuations of one prompt.
    pub fn continuation(&mut self, original: &[u32], other: &[u32]) {
        self.prompts += 1;
        self.same_text += usize::from(original == other);
    }

    /// The figures; not numbers where nothing was compared.
    pub fn finish(self) -> Drift {
        Drift {
            positions: self.positions,
            largest_logit_difference: self.largest,
            mean_kl: self.kl / self.positions as f64,
            top1_agreement: self.same_top as f64 / self.positions as f64,
            greedy_match: self.same_text as f64 / self.prompts as f64,
            prompts: self.prompts,
        }
    }
}

struct LogSoftmax {
    ln_sum: f64,
    top: usize,
}

impl LogSoftmax {
    fn of(logits: &[f32]) -> Self {
        let mut top = 0;
        for (i, logit) in logits.iter().enumerate() {
            if *logit > logits[top] {
                top = i;
            }
        }
        let largest = f64::from(logits[top]);
        let sum: f64 = logits.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
        Self { ln_sum: largest + sum.ln(), top }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_logits_do_not_drift() {
        let mut meter = DriftMeter::default();
        meter.position(&[1.0, 3.0, -2.0], &[1.0, 3.0, -2.0]);
        meter.continuation(&[1, 2], &[1, 2]);
        let drift = meter.finish();
        assert!(drift.mean_kl.abs() < 1e-12 && drift.largest_logit_difference < 1e-12);
        assert!((drift.top1_agreement - 1.0).abs() < 1e-12);
        assert!((drift.greedy_match - 1.0).abs() < 1e-12);
    }

    /// `p = (1/2, 1/2)`, `q = (1/4, 3/4)`: `KL = ln(2) / 2 + ln(2/3) / 2`.
    #[test]
    fn divergence_is_that_of_the_formula() {
        let mut meter = DriftMeter::default();
        meter.position(&[0.0, 0.0], &[5.0, 5.0 + 3.0_f32.ln()]);
        meter.position(&[2.0, 0.0], &[0.0, 2.0]);
        meter.continuation(&[1], &[2]);
        let drift = meter.finish();
        let second = 2.0 * ((2.0_f64.exp() - 1.0) / (2.0_f64.exp() + 1.0));
        let first = 2.0_f64.ln() / 2.0 + (2.0_f64 / 3.0).ln() / 2.0;
        assert!((drift.mean_kl - f64::midpoint(first, second)).abs() < 1e-6, "{drift:?}");
        assert!((drift.top1_agreement - 0.0).abs() < 1e-12, "{drift:?}");
        assert!(drift.greedy_match.abs() < 1e-12);
    }
}
