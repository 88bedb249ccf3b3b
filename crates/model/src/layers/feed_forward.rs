//! The feed-forward layer without a gate.

use burn::tensor::Tensor;
use fidelio_ops::Activation;

use super::Linear;
use crate::{
    footprint::{Kept, Learns},
    parameter::Slot,
    pass::Pass,
};

/// What a block mixes each token's channels with.
pub(crate) trait FeedForward: Send {
    /// `[t, hidden]` to the same.
    fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2>;

    /// What a graph keeps of it; `tracked`: whether its operand has gradients.
    fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept;

    /// Floats per token that it works with on the way back.
    fn working(&self, learns: &Learns<'_>) -> usize;

    fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>));
}

/// `down(activation(up(x)))`.
pub(crate) struct Mlp {
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) activation: Activation,
}

impl FeedForward for Mlp {
    fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        let inner = self.up.forward(x, pass); // [t, inner]
        self.down.forward(fidelio_ops::activate(inner, self.activation), pass)
    }

    /// Keeps what goes into the activation, and what its layers keep of their operands.
    fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let [inner, hidden] = self.up.dims();
        let up = self.up.kept(tracked, learns);
        let down = self.down.kept(up.tracked, learns);
        let floats = up.floats
            + down.floats
            + if up.operand { hidden } else { 0 }
            + if up.tracked { inner } else { 0 }
            + if down.operand { inner } else { 0 };
        Kept { floats, tracked: down.tracked }
    }

    /// The gradients of its operand, of the activation's result and of what goes into it.
    fn working(&self, _: &Learns<'_>) -> usize {
        let [hidden, inner] = self.down.dims();
        hidden + 2 * inner
    }

    fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        self.up.parameters(each);
        self.down.parameters(each);
    }
}
