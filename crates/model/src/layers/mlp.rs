//! The gated feed-forward layer, SwiGLU and GeGLU (arxiv.org/abs/2002.05202).

use burn::tensor::Tensor;
use fidelio_ops::Activation;

use super::{Branches, FeedForward, Linear};
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// `down(activation(gate(x)) · up(x))`.
pub(crate) struct GatedMlp {
    /// `gate_proj` and `up_proj`, or `gate_up_proj`.
    gate_up: Branches<2>,
    down_proj: Linear,
    activation: Activation,
}

impl GatedMlp {
    /// `{at}.mlp`
    pub(crate) fn load(
        at: &str,
        [hidden, inner]: [usize; 2],
        bias: bool,
        activation: Activation,
        loader: &mut Loader<'_>,
    ) -> Self {
        let (at, names) = (format!("{at}.mlp"), ["gate_proj", "up_proj"]);
        Self {
            gate_up: Branches::apart(&at, names, hidden, [inner, inner], bias, loader),
            down_proj: Linear::load(&format!("{at}.down_proj"), [inner, hidden], bias, loader),
            activation,
        }
    }

    /// With gate and up in one layer, the gate first; without biases.
    pub(crate) fn load_fused(
        at: &str,
        [hidden, inner]: [usize; 2],
        activation: Activation,
        loader: &mut Loader<'_>,
    ) -> Self {
        let at = format!("{at}.mlp");
        let fused = format!("{at}.gate_up_proj");
        Self {
            gate_up: Branches::fused(&fused, hidden, [inner, inner], loader),
            down_proj: Linear::load(&format!("{at}.down_proj"), [inner, hidden], false, loader),
            activation,
        }
    }
}

impl FeedForward for GatedMlp {
    fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        let [gate, up] = self.gate_up.forward(x, pass); // [t, inner]
        self.down_proj.forward(fidelio_ops::gated(gate, up, self.activation), pass)
    }

    /// Keeps `gate` and `up`, and what its layers keep of their operands.
    fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let [_, inner] = self.down_proj.dims();
        let gate_up = self.gate_up.kept(tracked, learns);
        let down = self.down_proj.kept(gate_up.tracked, learns);
        let floats = gate_up.floats
            + down.floats
            + if gate_up.tracked { 2 * inner } else { 0 }
            + if down.operand { inner } else { 0 };
        Kept { floats, tracked: down.tracked }
    }

    /// Floats per token that it works with on the way back: the gradients of its operand, of the
    /// product (in place of the product itself, where that was kept), and of both its factors.
    fn working(&self, learns: &Learns<'_>) -> usize {
        let [hidden, inner] = self.down_proj.dims();
        let product_was_kept = self.down_proj.kept(true, learns).operand;
        hidden + inner * if product_was_kept { 2 } else { 3 }
    }

    fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        self.gate_up.parameters(each);
        self.down_proj.parameters(each);
    }
}
