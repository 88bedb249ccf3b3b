//! A linear layer over a weight as its file stores it.

use burn::tensor::Tensor;
use fidelio_ops::Weight;

use crate::loader::Loader;

/// `x · wᵀ + b`.
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Loads `{at}.weight` `[output, input]` and, where the model has one, `{at}.bias`.
    pub(crate) fn load(
        at: &str,
        [input, output]: [usize; 2],
        bias: bool,
        loader: &mut Loader<'_>,
    ) -> Self {
        Self {
            weight: loader.matrix(&format!("{at}.weight"), output, input),
            bias: bias.then(|| loader.vector(&format!("{at}.bias"), output)),
        }
    }

    /// `[t, input]` to `[t, output]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = self.weight.linear(x);
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }
}
