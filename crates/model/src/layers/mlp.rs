//! The gated feed-forward layer, SwiGLU (arxiv.org/abs/2002.05202).

use burn::tensor::Tensor;

use super::Linear;
use crate::{loader::Loader, parameter::Slot, pass::Pass};

/// `down(silu(gate(x)) · up(x))`.
pub(crate) struct GatedMlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl GatedMlp {
    pub(crate) fn load(
        at: &str,
        [hidden, inner]: [usize; 2],
        bias: bool,
        loader: &mut Loader<'_>,
    ) -> Self {
        Self {
            gate_proj: Linear::load(&format!("{at}.gate_proj"), [hidden, inner], bias, loader),
            up_proj: Linear::load(&format!("{at}.up_proj"), [hidden, inner], bias, loader),
            down_proj: Linear::load(&format!("{at}.down_proj"), [inner, hidden], bias, loader),
        }
    }

    /// `[t, hidden]` to the same.
    pub(crate) fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        let gate = self.gate_proj.forward(x.clone(), pass); // [t, inner]
        let up = self.up_proj.forward(x, pass);
        self.down_proj.forward(fidelio_ops::gated_silu(gate, up), pass)
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        for layer in [&mut self.gate_proj, &mut self.up_proj, &mut self.down_proj] {
            layer.parameters(each);
        }
    }
}
