//! Gradient descent, with momentum if asked for.

use burn::tensor::Tensor;

use super::rule::{Keeps, Kept, Rule, Step, WeightDecay};

const BUFFER: &str = "momentum_buffer";

/// Heavy-ball and Nesterov momentum in the form of Sutskever et al., "On the importance of
/// initialization and momentum in deep learning" (2013), with the rate outside of the buffer:
/// `b = momentum * b + (1 - dampening) * g`, the first `b` being `g`;
/// `x -= lr * b`, or with Nesterov `x -= lr * (g + momentum * b)`.
pub(super) struct Sgd {
    pub(super) momentum: f64,
    pub(super) dampening: f64,
    pub(super) decay: WeightDecay,
    pub(super) nesterov: bool,
}

impl Rule for Sgd {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        if self.momentum == 0.0 {
            return value - gradient * step.lr;
        }
        let buffer = match kept.take(BUFFER) {
            None => gradient.clone(),
            Some(old) => old * self.momentum + gradient.clone() * (1.0 - self.dampening),
        };
        let buffer = kept.put(BUFFER, buffer);
        let direction = if self.nesterov { gradient + buffer * self.momentum } else { buffer };
        value - direction * step.lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        if self.momentum == 0.0 { Keeps::default() } else { Keeps::alike(&[BUFFER], shape) }
    }
}
