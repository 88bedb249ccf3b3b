//! The gated feed-forward layer, SwiGLU (arxiv.org/abs/2002.05202).

use burn::tensor::Tensor;

use super::Linear;
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

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

    /// Keeps `gate` and `up`, and what its layers keep of their operands.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let [inner, hidden] = self.up_proj.dims();
        let gate = self.gate_proj.kept(tracked, learns);
        let up = self.up_proj.kept(tracked, learns);
        let tracked = gate.tracked || up.tracked;
        let down = self.down_proj.kept(tracked, learns);
        let floats = gate.floats
            + up.floats
            + down.floats
            + if gate.operand || up.operand { hidden } else { 0 }
            + if tracked { 2 * inner } else { 0 }
            + if down.operand { inner } else { 0 };
        Kept { floats, tracked: down.tracked }
    }

    /// Floats per token that it works with on the way back: the gradients of its operand, of the
    /// product (in place of the product itself, where that was kept), and of both its factors.
    pub(crate) fn working(&self, learns: &Learns<'_>) -> usize {
        let [inner, hidden] = self.up_proj.dims();
        let product_was_kept = self.down_proj.kept(true, learns).operand;
        hidden + inner * if product_was_kept { 2 } else { 3 }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        for layer in [&mut self.gate_proj, &mut self.up_proj, &mut self.down_proj] {
            layer.parameters(each);
        }
    }
}
