//! One of a decoder's layers: attention, then a feed-forward layer, each added to the hidden states.

use burn::tensor::Tensor;

use super::{Attention, GatedMlp, NormConfig, RmsNorm};
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// `x + attention`, then `x + mlp`.
pub(crate) struct Block {
    pub(crate) attention: Added<Attention>,
    pub(crate) mlp: Added<GatedMlp>,
}

/// A part of a block, and the norms of what it reads and of what it gives.
pub(crate) struct Added<T> {
    pub(crate) before: Option<RmsNorm>,
    pub(crate) part: T,
    pub(crate) after: Option<RmsNorm>,
}

impl Block {
    /// With a norm before each part, as Llama has it: `input_layernorm` and
    /// `post_attention_layernorm`.
    pub(crate) fn pre_norm(
        at: &str,
        attention: Attention,
        mlp: GatedMlp,
        hidden: usize,
        norm: NormConfig,
        loader: &mut Loader<'_>,
    ) -> Self {
        let mut norm =
            |name: &str| Some(RmsNorm::load(&format!("{at}.{name}"), hidden, norm, loader));
        let before = norm("input_layernorm");
        let attention = Added { before, part: attention, after: None };
        let before = norm("post_attention_layernorm");
        Self { attention, mlp: Added { before, part: mlp, after: None } }
    }

    /// One of [`crate::arch::Sizes::layers`]: `[t, hidden]` to the same.
    pub(crate) fn forward(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let attend = |x| self.attention.part.forward(layer, x, pass);
        let x = self.attention.forward(x, attend);
        self.mlp.forward(x, |x| self.mlp.part.forward(x, pass))
    }

    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let attended = self
            .attention
            .kept(tracked, learns, |tracked| self.attention.part.kept(tracked, learns));
        let mixed =
            self.mlp.kept(attended.tracked, learns, |tracked| self.mlp.part.kept(tracked, learns));
        Kept { floats: attended.floats + mixed.floats, tracked: mixed.tracked }
    }

    pub(crate) fn working(&self, learns: &Learns<'_>) -> usize {
        self.mlp.part.working(learns)
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        let Self { attention, mlp } = self;
        attention.before.iter_mut().for_each(|norm| norm.parameters(each));
        attention.part.parameters(each);
        attention.after.iter_mut().for_each(|norm| norm.parameters(each));
        mlp.before.iter_mut().for_each(|norm| norm.parameters(each));
        mlp.part.parameters(each);
        mlp.after.iter_mut().for_each(|norm| norm.parameters(each));
    }
}

impl<T> Added<T> {
    fn forward(&self, x: Tensor<2>, part: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let read = match &self.before {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let given = part(read);
        match &self.after {
            Some(norm) => x + norm.forward(given),
            None => x + given,
        }
    }

    fn kept(&self, tracked: bool, learns: &Learns<'_>, part: impl FnOnce(bool) -> Kept) -> Kept {
        let nothing = |tracked| Kept { floats: 0, tracked };
        let of = |norm: &Option<RmsNorm>, tracked| match norm {
            Some(norm) => norm.kept(tracked, learns),
            None => nothing(tracked),
        };
        let read = of(&self.before, tracked);
        let given = part(read.tracked);
        let normed = of(&self.after, given.tracked);
        Kept {
            floats: read.floats + given.floats + normed.floats,
            tracked: tracked || normed.tracked,
        }
    }
}
