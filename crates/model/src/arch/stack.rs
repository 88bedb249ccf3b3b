//! Token embeddings, blocks, a norm and an output projection: what decoders of today are made of.

use burn::tensor::Tensor;
use fidelio_ops::Weight;

use super::{Decoder, Sizes, config::DecoderConfig};
use crate::{
    footprint::{Kept, Learns},
    layers::{Block, Head, Norm, NormConfig},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// What a decoder's tensors outside of its layers are called, and where its layers stand.
pub(super) struct Names {
    pub(super) table: &'static str,
    /// The table of learnt positions.
    pub(super) positions: Option<&'static str>,
    pub(super) layers: &'static str,
    pub(super) norm: &'static str,
    pub(super) head: &'static str,
}

/// The names that most checkpoints of Hugging Face's have.
const USUAL: Names = Names {
    table: "model.embed_tokens.weight",
    positions: None,
    layers: "model.layers",
    norm: "model.norm",
    head: "lm_head.weight",
};

/// A decoder; its parameters have the names of its checkpoint.
pub(super) struct Stack {
    names: &'static Names,
    table: Weight,
    /// Learnt positions: what is added to the embedding of a token that stands there.
    positions: Option<Weight>,
    /// What embeddings are multiplied with.
    pub(super) embedding_scale: Option<f32>,
    layers: Vec<Block>,
    norm: Norm,
    /// None where it is tied to `table`.
    head: Option<Weight>,
    /// Bends logits to stay between it and its negative.
    pub(super) softcap: Option<f32>,
    sizes: Sizes,
}

impl Stack {
    /// Loads everything; `block` loads the layer of a number, whose tensors stand at a name.
    pub(super) fn load(
        config: &DecoderConfig,
        context: usize,
        norm: NormConfig,
        loader: &mut Loader<'_>,
        block: impl FnMut(usize, &str, &mut Loader<'_>) -> Block,
    ) -> Self {
        Self::load_named(&USUAL, config, context, norm, loader, block)
    }

    /// The same of a checkpoint with other names.
    pub(super) fn load_named(
        names: &'static Names,
        config: &DecoderConfig,
        context: usize,
        norm: NormConfig,
        loader: &mut Loader<'_>,
        mut block: impl FnMut(usize, &str, &mut Loader<'_>) -> Block,
    ) -> Self {
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let table = loader.matrix(names.table, vocabulary, hidden);
        let positions = names.positions.map(|name| loader.matrix(name, context, hidden));
        let layers = (0..config.num_hidden_layers)
            .map(|layer| block(layer, &format!("{}.{layer}", names.layers), loader))
            .collect();
        let norm = Norm::load(names.norm, hidden, norm, loader);
        let head = if config.tie_word_embeddings.unwrap_or(false) {
            loader.accept_copy(names.head, names.table);
            None
        } else {
            Some(loader.matrix(names.head, vocabulary, hidden))
        };
        let sizes = Sizes {
            context,
            layers: config.num_hidden_layers,
            hidden,
            key_value_heads: config.key_value_heads(),
            head_dim: config.head_dim(),
        };
        let (embedding_scale, softcap) = (None, None);
        Self { names, table, positions, embedding_scale, layers, norm, head, softcap, sizes }
    }
}

impl Decoder for Stack {
    fn embed(&self, ids: &[u32]) -> Tensor<2> {
        let x = self.table.embed(ids); // [t, hidden]
        match self.embedding_scale {
            Some(scale) => x * scale,
            None => x,
        }
    }

    fn embedding_scale(&self) -> Option<f32> {
        self.embedding_scale
    }

    fn block(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let x = match &self.positions {
            Some(table) if layer == 0 => x + table.embed(pass.positions()),
            _ => x,
        };
        self.layers[layer].forward(layer, x, pass)
    }

    fn kept(&self, layer: usize, tracked: bool, learns: &Learns<'_>) -> Kept {
        let positions = self.names.positions.filter(|_| layer == 0);
        let tracked = tracked || positions.is_some_and(|name| learns.parameter(name));
        self.layers[layer].kept(tracked, learns)
    }

    fn working(&self, learns: &Learns<'_>) -> usize {
        self.layers.iter().map(|block| block.working(learns)).max().unwrap_or(0)
    }

    fn head(&self) -> Head<'_> {
        Head::new(&self.norm, self.head.as_ref().unwrap_or(&self.table), self.softcap)
    }

    fn output_name(&self) -> &'static str {
        if self.head.is_some() { self.names.head } else { self.names.table }
    }

    fn table_name(&self) -> &'static str {
        self.names.table
    }

    fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        each(self.names.table, Slot::Matrix(&mut self.table));
        if let (Some(name), Some(positions)) = (self.names.positions, &mut self.positions) {
            each(name, Slot::Matrix(positions));
        }
        for block in &mut self.layers {
            block.parameters(each);
        }
        self.norm.parameters(each);
        if let Some(head) = &mut self.head {
            each(self.names.head, Slot::Matrix(head));
        }
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }
}
