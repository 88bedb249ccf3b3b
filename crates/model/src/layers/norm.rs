//! Root-mean-square norm (arxiv.org/abs/1910.07467) and layer norm (arxiv.org/abs/1607.06450).

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
    pub(crate) kind: NormKind,
}

/// What a norm does with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// Divides it by its root mean square and scales its channels.
    RootMeanSquare,
    /// The same with the scale `1 + weight`, as in the Gemma family.
    AroundOne,
    /// Moves it to mean 0 and variance 1, then scales and shifts its channels.
    Layer,
    /// The same without a shift.
    LayerWithoutBias,
}

/// Brings each row to one size.
pub(crate) struct Norm {
    at: String,
    weight: Tensor<1>,
    /// Zeros where the kind has none.
    bias: Option<Tensor<1>>,
    config: NormConfig,
}

impl Norm {
    pub(crate) fn load(at: &str, size: usize, config: NormConfig, loader: &mut Loader<'_>) -> Self {
        let weight = loader.vector(&format!("{at}.weight"), size);
        let bias = match config.kind {
            NormKind::RootMeanSquare | NormKind::AroundOne => None,
            NormKind::Layer => Some(loader.vector(&format!("{at}.bias"), size)),
            NormKind::LayerWithoutBias => Some(weight.zeros_like()),
        };
        Self { at: at.into(), weight, bias, config }
    }

    /// `[t, size]` to the same.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, eps) = (self.weight.clone(), self.config.eps);
        match &self.bias {
            Some(bias) => fidelio_ops::layer_norm(x, weight, bias.clone(), eps),
            None if self.config.kind == NormKind::AroundOne => {
                fidelio_ops::rms_norm(x, weight + 1.0, eps)
            }
            None => fidelio_ops::rms_norm(x, weight, eps),
        }
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
        let learns = |kind: &str| learns.parameter(&format!("{}.{kind}", self.at));
        let tracked = tracked || learns("weight") || learns("bias");
        Kept { floats: if tracked { width } else { 0 }, tracked }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        each(&format!("{}.weight", self.at), Slot::Vector(&mut self.weight));
        if let Some(bias) = self.bias.as_mut().filter(|_| self.config.kind == NormKind::Layer) {
            each(&format!("{}.bias", self.at), Slot::Vector(bias));
        }
    }
}
