//! Lion: steps of one size, by the sign of a momentum.

use burn::tensor::Tensor;

use super::rule::{Keeps, Kept, Rule, Step, WeightDecay};

const MEAN: &str = "exp_avg";

/// Lion (arXiv 2302.06675, algorithm 2): `x -= lr * sign(beta1 * m + (1 - beta1) * g)`, and only
/// then `m = beta2 * m + (1 - beta2) * g`.
pub(super) struct Lion {
    pub(super) betas: [f64; 2],
    pub(super) decay: WeightDecay,
}

impl Rule for Lion {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let new = gradient.clone() * (1.0 - self.betas[0]);
        let direction = match kept.tensors.get(MEAN) {
            None => new,
            Some(mean) => mean.clone() * self.betas[0] + new,
        };
        kept.average(MEAN, self.betas[1], gradient);
        value - direction.sign() * step.lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps::alike(&[MEAN], shape)
    }
}
