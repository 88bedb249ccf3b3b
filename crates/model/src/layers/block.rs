//! One of a decoder's layers: attention, then a feed-forward layer, each added to the hidden states.

use burn::tensor::Tensor;

use super::{Attention, FeedForward, Norm, NormConfig};
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// `x + attention`, then `x + mlp`; in parallel, both read the same `x`.
pub(crate) struct Block {
    pub(crate) attention: Added<Attention>,
    pub(crate) mlp: Added<Box<dyn FeedForward>>,
    pub(crate) parallel: bool,
}

/// A part of a block, and the norms of what it reads and of what it gives.
pub(crate) struct Added<T> {
    pub(crate) before: Option<Norm>,
    pub(crate) part: T,
    pub(crate) after: Option<Norm>,
}

impl Block {
    /// With a norm before each part, as Llama has it: `input_layernorm` and
    /// `post_attention_layernorm`.
    pub(crate) fn pre_norm(
        at: &str,
        attention: Attention,
        mlp: impl FeedForward + 'static,
        hidden: usize,
        norm: NormConfig,
        loader: &mut Loader<'_>,
    ) -> Self {
        let names = ["input_layernorm", "post_attention_layernorm"];
        Self::pre_norms(at, names, attention, mlp, hidden, norm, loader)
    }

    /// The same with norms of other names.
    pub(crate) fn pre_norms(
        at: &str,
        names: [&str; 2],
        attention: Attention,
        mlp: impl FeedForward + 'static,
        hidden: usize,
        norm: NormConfig,
        loader: &mut Loader<'_>,
    ) -> Self {
        let [before_attention, before_mlp] =
            names.map(|name| Some(Norm::load(&format!("{at}.{name}"), hidden, norm, loader)));
        Self {
            attention: Added { before: before_attention, part: attention, after: None },
            mlp: Added { before: before_mlp, part: Box::new(mlp), after: None },
            parallel: false,
        }
    }

    /// One of [`crate::arch::Sizes::layers`]: `[t, hidden]` to the same.
    pub(crate) fn forward(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let attended = self.attention.given(&x, |x| self.attention.part.forward(layer, x, pass));
        let mix = |x: &Tensor<2>| self.mlp.given(x, |x| self.mlp.part.forward(x, pass));
        if self.parallel {
            let mixed = mix(&x);
            return x + attended + mixed;
        }
        let x = x + attended;
        let mixed = mix(&x);
        x + mixed
    }

    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let attended = self
            .attention
            .kept(tracked, learns, |tracked| self.attention.part.kept(tracked, learns));
        let read = if self.parallel { tracked } else { attended.tracked };
        let mixed = self.mlp.kept(read, learns, |tracked| self.mlp.part.kept(tracked, learns));
        Kept { floats: attended.floats + mixed.floats, tracked: attended.tracked || mixed.tracked }
    }

    pub(crate) fn working(&self, learns: &Learns<'_>) -> usize {
        self.mlp.part.working(learns)
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        let Self { attention, mlp, .. } = self;
        attention.before.iter_mut().for_each(|norm| norm.parameters(each));
        attention.part.parameters(each);
        attention.after.iter_mut().for_each(|norm| norm.parameters(each));
        mlp.before.iter_mut().for_each(|norm| norm.parameters(each));
        mlp.part.parameters(each);
        mlp.after.iter_mut().for_each(|norm| norm.parameters(each));
    }
}

impl<T> Added<T> {
    /// What is added to `x`.
    fn given(&self, x: &Tensor<2>, part: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let read = match &self.before {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let given = part(read);
        match &self.after {
            Some(norm) => norm.forward(given),
            None => given,
        }
    }

    fn kept(&self, tracked: bool, learns: &Learns<'_>, part: impl FnOnce(bool) -> Kept) -> Kept {
        let nothing = |tracked| Kept { floats: 0, tracked };
        let of = |norm: &Option<Norm>, tracked| match norm {
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
