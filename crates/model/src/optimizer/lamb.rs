//! LAMB: Adam with steps in proportion to each parameter's norm.

use burn::tensor::Tensor;

use super::rule::{Keeps, Kept, Rule, Step, bias_correction, norm};

const MEAN: &str = "exp_avg";
const SQUARE: &str = "exp_avg_sq";

/// LAMB (arXiv 1904.00962, algorithm 2): Adam's direction plus `weight_decay * x`, scaled to the
/// norm of `x`. Gradients are clipped elsewhere, if at all.
pub(super) struct Lamb {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    pub(super) weight_decay: f64,
    pub(super) bias_correction: bool,
}

impl Rule for Lamb {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let [mean_bias, square_bias] = if self.bias_correction {
            self.betas.map(|beta| bias_correction(beta, step.update))
        } else {
            [1.0, 1.0]
        };
        let mean = kept.average(MEAN, self.betas[0], step.gradient.clone());
        let square = kept.average(SQUARE, self.betas[1], step.gradient.square());
        let adam = (mean / mean_bias) / (square.sqrt() / square_bias.sqrt() + self.eps);
        let direction = adam + step.value.clone() * self.weight_decay;
        let trust = trust(norm(step.value.clone()), norm(direction.clone()));
        step.value - direction * trust * step.lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps::alike(&[MEAN, SQUARE], shape)
    }
}

/// The ratio of both norms; 1 where one of them is 0, so that `lora_B` leaves its zeros.
fn trust(value: Tensor<2>, direction: Tensor<2>) -> Tensor<2> {
    let undefined = value.clone().equal_scalar(0.0).bool_or(direction.clone().equal_scalar(0.0));
    (value / direction).mask_fill(undefined, 1.0)
}
