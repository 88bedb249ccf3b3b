//! Root-mean-square norm (arxiv.org/abs/1910.07467).

use burn::tensor::Tensor;

use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
};

/// Divides each row by its root mean square and scales its channels.
pub(crate) struct RmsNorm {
    name: String,
    weight: Tensor<1>,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn load(at: &str, size: usize, eps: f64, loader: &mut Loader<'_>) -> Self {
        let name = format!("{at}.weight");
        Self { weight: loader.vector(&name, size), name, eps }
    }

    /// `[t, size]` to the same.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        fidelio_ops::rms_norm(x, self.weight.clone(), self.eps)
    }

    /// Keeps its operand.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let tracked = tracked || learns.parameter(&self.name);
        Kept { floats: if tracked { self.weight.dims()[0] } else { 0 }, tracked }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        each(&self.name, Slot::Vector(&mut self.weight));
    }
}
