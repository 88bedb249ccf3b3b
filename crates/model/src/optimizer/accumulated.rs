//! Adagrad and its kin: gradients over the accumulated size of past ones.

use burn::tensor::Tensor;

use super::rule::{Keeps, Kept, Rule, Step, WeightDecay};

const SUM: &str = "sum";
const SQUARE: &str = "square_avg";
const DELTA: &str = "acc_delta";
const MEAN: &str = "grad_avg";
const BUFFER: &str = "momentum_buffer";

/// Adagrad (Duchi et al., "Adaptive Subgradient Methods", 2011): `x -= lr * g / (sqrt(sum g²) +
/// eps)`, the rate falling as `lr / (1 + (t - 1) * lr_decay)`.
pub(super) struct Adagrad {
    pub(super) initial: f64,
    pub(super) lr_decay: f64,
    pub(super) decay: WeightDecay,
    pub(super) eps: f64,
}

impl Rule for Adagrad {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let lr = step.lr / (1.0 + (step.update - 1) as f64 * self.lr_decay);
        let square = gradient.clone().square();
        let sum = match kept.take(SUM) {
            None => square + self.initial,
            Some(old) => old + square,
        };
        let sum = kept.put(SUM, sum);
        value - gradient / (sum.sqrt() + self.eps) * lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps::alike(&[SUM], shape)
    }
}

/// Adadelta (arXiv 1212.5701, algorithm 1): steps in the unit of the parameter, by the ratio of
/// past steps to past gradients.
pub(super) struct Adadelta {
    pub(super) rho: f64,
    pub(super) eps: f64,
    pub(super) decay: WeightDecay,
}

impl Rule for Adadelta {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let square = kept.average(SQUARE, self.rho, gradient.clone().square());
        let past = match kept.tensors.get(DELTA) {
            None => value.zeros_like(),
            Some(past) => past.clone(),
        };
        let delta = (past + self.eps).sqrt() / (square + self.eps).sqrt() * gradient;
        kept.average(DELTA, self.rho, delta.clone().square());
        value - delta * step.lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps::alike(&[SQUARE, DELTA], shape)
    }
}

/// RMSprop (Hinton, "Neural Networks for Machine Learning", lecture 6e): Adagrad that forgets.
/// Centered (arXiv 1308.0850, equation 40) it divides by the deviation, not by the size.
pub(super) struct Rmsprop {
    pub(super) momentum: f64,
    pub(super) alpha: f64,
    pub(super) eps: f64,
    pub(super) centered: bool,
    pub(super) decay: WeightDecay,
}

impl Rule for Rmsprop {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let mut square = kept.average(SQUARE, self.alpha, gradient.clone().square());
        if self.centered {
            square = square - kept.average(MEAN, self.alpha, gradient.clone()).square();
        }
        let mut direction = gradient / (square.sqrt() + self.eps);
        if self.momentum > 0.0 {
            direction = kept.add(BUFFER, self.momentum, direction, 1.0);
        }
        value - direction * step.lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        let mut names = vec![SQUARE];
        names.extend(self.centered.then_some(MEAN));
        names.extend((self.momentum > 0.0).then_some(BUFFER));
        Keeps::alike(&names, shape)
    }
}
