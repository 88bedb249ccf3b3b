//! Muon: momentum, orthogonalised.

use burn::tensor::Tensor;

use super::adam::Adam;
use super::rule::{Keeps, Kept, Rule, Step, WeightDecay, norm};

const BUFFER: &str = "momentum_buffer";
/// Of the quintic that drives singular values towards 1.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;
const LEAST_NORM: f64 = 1e-7;

/// Muon (Jordan et al., <https://kellerjordan.github.io/posts/muon/>), as `torch.optim.Muon` has
/// it: the step is the momentum with its singular values made about equal, times
/// `lr * sqrt(max(1, rows / columns))`.
///
/// It is for the matrices of hidden layers. As in its author's recipe, vectors, embeddings and the
/// head take steps of AdamW, at the same rate; a matrix of one row counts as a vector.
pub(super) struct Muon {
    pub(super) momentum: f64,
    pub(super) nesterov: bool,
    pub(super) weight_decay: f64,
}

impl Muon {
    /// For everything else.
    fn adamw(&self) -> Adam {
        let decay = WeightDecay::Decoupled(self.weight_decay);
        Adam { betas: [0.9, 0.95], eps: 1e-10, decay, amsgrad: false }
    }
}

impl Rule for Muon {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let [rows, columns] = step.value.dims();
        if !is_hidden_matrix(step.name, rows) {
            return self.adamw().step(step, kept);
        }
        let buffer = kept.average(BUFFER, self.momentum, step.gradient.clone());
        let momentum = if self.nesterov {
            step.gradient * (1.0 - self.momentum) + buffer * self.momentum
        } else {
            buffer
        };
        let lr = step.lr * (rows as f64 / columns as f64).max(1.0).sqrt();
        let value = step.value * (1.0 - step.lr * self.weight_decay);
        value - orthogonalized(momentum) * lr
    }

    fn keeps(&self, name: &str, shape: [usize; 2]) -> Keeps {
        if is_hidden_matrix(name, shape[0]) {
            Keeps::alike(&[BUFFER], shape)
        } else {
            self.adamw().keeps(name, shape)
        }
    }
}

/// By name, since an embedding's shape tells nothing.
fn is_hidden_matrix(name: &str, rows: usize) -> bool {
    const OUTER: [&str; 6] = ["embed_tokens", "lm_head", "wte", "wpe", "embed_in", "embed_out"];
    let is_outer = OUTER.iter().any(|outer| name.contains(outer));
    rows > 1 && !is_outer
}

/// Newton-Schulz iterations towards the nearest matrix with orthonormal rows or columns, in the
/// precision of its argument.
fn orthogonalized(x: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    if rows > columns {
        // The product with its own transpose is smaller on this side.
        return orthogonalized(x.transpose()).transpose();
    }
    let [a, b, c] = COEFFICIENTS;
    let mut x = x.clone() / norm(x).clamp_min(LEAST_NORM);
    for _ in 0..ITERATIONS {
        let gram = x.clone().matmul(x.clone().transpose()); // [rows, rows]
        let quartic = gram.clone().matmul(gram.clone()) * c + gram * b;
        x = quartic.matmul(x.clone()) + x * a;
    }
    x
}
