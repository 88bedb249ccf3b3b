//! Root-mean-square norm (arxiv.org/abs/1910.07467).

use burn::tensor::Tensor;

use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
};

/// How a model's norms are computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormConfig {
    /// Added to the mean of the squares.
    pub(crate) eps: f64,
    /// Whether channels are scaled by `1 + weight`, as in the Gemma family, and not by `weight`.
    pub(crate) around_one: bool,
}

/// Divides each row by its root mean square and scales its channels.
pub(crate) struct RmsNorm {
    name: String,
    weight: Tensor<1>,
    config: NormConfig,
}

impl RmsNorm {
    pub(crate) fn load(at: &str, size: usize, config: NormConfig, loader: &mut Loader<'_>) -> Self {
        let name = format!("{at}.weight");
        Self { weight: loader.vector(&name, size), name, config }
    }

    /// `[t, size]` to the same.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.clone();
        let weight = if self.config.around_one { weight + 1.0 } else { weight };
        fidelio_ops::rms_norm(x, weight, self.config.eps)
    }

    /// Rows of several times its size, each part for itself: `[t, n·size]` to the same.
    pub(crate) fn forward_parts(&self, x: Tensor<2>) -> Tensor<2> {
        let ([t, width], size) = (x.dims(), self.size());
        if width == size {
            return self.forward(x);
        }
        // [t, n·size] -> [t·n, size]
        let parts = x.reshape([t * (width / size), size]);
        self.forward(parts).reshape([t, width])
    }

    fn size(&self) -> usize {
        self.weight.dims()[0]
    }

    /// Keeps its operand.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        self.kept_of_parts(self.size(), tracked, learns)
    }

    /// The same of [`Self::forward_parts`] with rows of `width`.
    pub(crate) fn kept_of_parts(&self, width: usize, tracked: bool, learns: &Learns<'_>) -> Kept {
        let tracked = tracked || learns.parameter(&self.name);
        Kept { floats: if tracked { width } else { 0 }, tracked }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        each(&self.name, Slot::Vector(&mut self.weight));
    }
}
