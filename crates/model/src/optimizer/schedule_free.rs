//! Schedule-free AdamW: an average of all iterates in place of a falling rate.

use burn::tensor::Tensor;
use fidelio_backend::BackendError;

use super::rule::{Keeps, Kept, Rule, Step, bias_correction};

const FAST: &str = "z";
const SQUARE: &str = "exp_avg_sq";
const HIGHEST_RATE: &str = "lr_max";
const WEIGHTS: &str = "weight_sum";

/// Schedule-free AdamW (arXiv 2405.15682, algorithm 1, with the weights `lr_max²` of its section
/// on warm-up). Gradients are asked for at `y = (1 - beta1) * z + beta1 * x`, which is the
/// parameter's value here; `z` runs fast, and its average `x` is the model.
///
/// Only `y` and `z` are kept, as its authors do; `x` follows from them.
pub(super) struct Adamw {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    warmup_steps: u64,
}

impl Adamw {
    /// Without a first beta, `y` is `z` and holds nothing of `x`.
    pub(super) fn new(
        betas: [f64; 2],
        eps: f64,
        weight_decay: f64,
        warmup_steps: u64,
    ) -> Result<Self, BackendError> {
        if betas[0] > 0.0 {
            return Ok(Self { betas, eps, weight_decay, warmup_steps });
        }
        Err(BackendError::Engine(format!(
            "schedule_free_adamw needs a first beta above 0, not {}: it weighs the average",
            betas[0]
        )))
    }

    /// The share of the newest iterate in the average.
    fn share(lr: f64, kept: &mut Kept) -> f64 {
        let highest = kept.number(HIGHEST_RATE, 0.0, |highest| highest.max(lr));
        let weight = highest * highest;
        let weights = kept.number(WEIGHTS, 0.0, |sum| sum + weight);
        if weights == 0.0 { 0.0 } else { weight / weights }
    }
}

impl Rule for Adamw {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let warm = step.update as f64 / self.warmup_steps.max(1) as f64;
        let lr = step.lr * warm.min(1.0);
        let share = Self::share(lr, kept);

        let square = kept.average(SQUARE, self.betas[1], step.gradient.clone().square());
        let size = (square / bias_correction(self.betas[1], step.update)).sqrt() + self.eps;
        let direction = step.gradient / size + step.value.clone() * self.weight_decay;

        let fast = kept.take(FAST).unwrap_or_else(|| step.value.clone());
        let toward = mixed(step.value, fast.clone(), share);
        kept.put(FAST, fast - direction.clone() * lr);
        toward - direction * (lr * (1.0 - self.betas[0] * (1.0 - share)))
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        let numbers = vec![HIGHEST_RATE, WEIGHTS];
        Keeps { numbers, ..Keeps::alike(&[FAST, SQUARE], shape) }
    }

    fn averaged(&self, value: Tensor<2>, kept: &Kept) -> Tensor<2> {
        match kept.tensors.get(FAST) {
            Some(fast) => mixed(value, fast.clone(), 1.0 - 1.0 / self.betas[0]),
            None => value,
        }
    }
}

/// `a + share * (b - a)`
fn mixed(a: Tensor<2>, b: Tensor<2>, share: f64) -> Tensor<2> {
    a.clone() + (b - a) * share
}
