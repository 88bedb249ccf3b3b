//! Layer norm (arxiv.org/abs/1607.06450).

use burn::tensor::{Tensor, module::layer_norm};

use crate::loader::Loader;

/// Moves each row to mean 0 and variance 1, then scales and shifts its channels.
pub(crate) struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(at: &str, size: usize, eps: f64, loader: &mut Loader<'_>) -> Self {
        Self {
            weight: loader.vector(&format!("{at}.weight"), size),
            bias: loader.vector(&format!("{at}.bias"), size),
            eps,
        }
    }

    /// `[t, size]` to the same.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.weight.clone(), Some(self.bias.clone()), self.eps)
    }
}
