//! Token embeddings, blocks, a norm and an output projection: what decoders of today are made of.

use burn::tensor::Tensor;
use fidelio_ops::Weight;

use super::{Decoder, Sizes, config::DecoderConfig};
use crate::{
    footprint::{Kept, Learns},
    layers::{Block, Head, NormConfig, RmsNorm},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

const EMBED_TOKENS: &str = "model.embed_tokens.weight";
const LM_HEAD: &str = "lm_head.weight";

/// A decoder; its parameters have the names that most checkpoints of Hugging Face's give them.
pub(super) struct Stack {
    embed_tokens: Weight,
    /// What embeddings are multiplied with.
    pub(super) embedding_scale: Option<f32>,
    layers: Vec<Block>,
    norm: RmsNorm,
    /// None where it is tied to `embed_tokens`.
    lm_head: Option<Weight>,
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
        mut block: impl FnMut(usize, &str, &mut Loader<'_>) -> Block,
    ) -> Self {
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let embed_tokens = loader.matrix(EMBED_TOKENS, vocabulary, hidden);
        let layers = (0..config.num_hidden_layers)
            .map(|layer| block(layer, &format!("model.layers.{layer}"), loader))
            .collect();
        let norm = RmsNorm::load("model.norm", hidden, norm, loader);
        let lm_head = if config.tie_word_embeddings.unwrap_or(false) {
            loader.accept_copy(LM_HEAD, EMBED_TOKENS);
            None
        } else {
            Some(loader.matrix(LM_HEAD, vocabulary, hidden))
        };
        let sizes = Sizes {
            context,
            layers: config.num_hidden_layers,
            hidden,
            key_value_heads: config.key_value_heads(),
            head_dim: config.head_dim(),
        };
        Self { embed_tokens, embedding_scale: None, layers, norm, lm_head, softcap: None, sizes }
    }
}

impl Decoder for Stack {
    fn embed(&self, ids: &[u32]) -> Tensor<2> {
        let x = self.embed_tokens.embed(ids); // [t, hidden]
        match self.embedding_scale {
            Some(scale) => x * scale,
            None => x,
        }
    }

    fn embedding_scale(&self) -> Option<f32> {
        self.embedding_scale
    }

    fn block(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.layers[layer].forward(layer, x, pass)
    }

    fn kept(&self, layer: usize, tracked: bool, learns: &Learns<'_>) -> Kept {
        self.layers[layer].kept(tracked, learns)
    }

    fn working(&self, learns: &Learns<'_>) -> usize {
        self.layers.iter().map(|block| block.working(learns)).max().unwrap_or(0)
    }

    fn head(&self) -> Head<'_> {
        Head::new(&self.norm, self.lm_head.as_ref().unwrap_or(&self.embed_tokens), self.softcap)
    }

    fn output_name(&self) -> &'static str {
        if self.lm_head.is_some() { LM_HEAD } else { EMBED_TOKENS }
    }

    fn table_name(&self) -> &'static str {
        EMBED_TOKENS
    }

    fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        each(EMBED_TOKENS, Slot::Matrix(&mut self.embed_tokens));
        for block in &mut self.layers {
            block.parameters(each);
        }
        self.norm.parameters(each);
        if let Some(head) = &mut self.lm_head {
            each(LM_HEAD, Slot::Matrix(head));
        }
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }
}
