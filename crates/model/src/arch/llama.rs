//! Llama 2/3, Mistral and their many copies: pre-norm blocks, rotary grouped attention, SwiGLU.
//! Papers: arxiv.org/abs/2302.13971, arxiv.org/abs/2310.06825. Golden logits: tests/golden/llama.

use burn::tensor::Tensor;
use fidelio_backend::{BackendError, OpenSpec};
use fidelio_ops::Weight;

use super::{Decoder, Sizes, config_of};
use crate::{
    footprint::{Kept, Learns},
    layers::{Attention, AttentionConfig, GatedMlp, Head, RmsNorm, Rotary, RotaryConfig, refuse},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

const EMBED_TOKENS: &str = "model.embed_tokens.weight";
const LM_HEAD: &str = "lm_head.weight";

/// The checkpoint's `config.json`, its keys unchanged. What stands there besides changes nothing.
#[derive(Debug, Clone, serde::Deserialize)]
struct LlamaConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    /// Mistral's first version; null or absent in the others.
    sliding_window: Option<u32>,
    partial_rotary_factor: Option<f64>,
    #[serde(flatten)]
    rotary: RotaryConfig,
}

fn silu() -> String {
    "silu".into()
}

impl LlamaConfig {
    fn check(&self) -> Result<(), BackendError> {
        if !matches!(self.hidden_act.as_str(), "silu" | "swish") {
            return refuse("hidden_act", format!("is `{}`; only `silu` is built", self.hidden_act));
        }
        if self.partial_rotary_factor.is_some_and(|factor| (factor - 1.0).abs() > f64::EPSILON) {
            return refuse("partial_rotary_factor", "other than 1 is not built".into());
        }
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if size == 0 {
                return refuse(key, "is 0".into());
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.key_value_heads()) {
            return refuse(
                "num_key_value_heads",
                format!(
                    "is {}, which does not divide the {} attention heads",
                    self.key_value_heads(),
                    self.num_attention_heads
                ),
            );
        }
        Ok(())
    }

    fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            hidden_size: self.hidden_size,
            query_heads: self.num_attention_heads,
            key_value_heads: self.key_value_heads(),
            head_dim: self.head_dim(),
            bias: self.attention_bias,
        }
    }
}

/// Field names spell the checkpoint's tensor names.
pub(crate) struct Llama {
    embed_tokens: Weight,
    layers: Vec<Block>,
    norm: RmsNorm,
    /// None where it is tied to `embed_tokens`.
    lm_head: Option<Weight>,
    rotary: Rotary,
    sizes: Sizes,
}

struct Block {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
}

impl Llama {
    pub(crate) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Self, BackendError> {
        let config: LlamaConfig = config_of(spec)?;
        config.check()?;
        let (context, rotary) = Rotary::new(
            &config.rotary,
            spec.rotary,
            config.head_dim(),
            config.max_position_embeddings,
        )?;
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let embed_tokens = loader.matrix(EMBED_TOKENS, vocabulary, hidden);
        let layers = (0..config.num_hidden_layers)
            .map(|i| Block::load(&format!("model.layers.{i}"), &config, loader))
            .collect();
        let norm = RmsNorm::load("model.norm", hidden, config.rms_norm_eps, loader);
        let lm_head = if config.tie_word_embeddings {
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
            window: config.sliding_window,
        };
        Ok(Self { embed_tokens, layers, norm, lm_head, rotary, sizes })
    }
}

impl Decoder for Llama {
    fn embed(&self, ids: &[u32]) -> Tensor<2> {
        self.embed_tokens.embed(ids) // [t, hidden]
    }

    fn block(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let block = &self.layers[layer];
        let normed = block.input_layernorm.forward(x.clone());
        let x = x + block.self_attn.forward(normed, &self.rotary, pass, layer);
        let normed = block.post_attention_layernorm.forward(x.clone());
        x + block.mlp.forward(normed, pass)
    }

    fn kept(&self, layer: usize, tracked: bool, learns: &Learns<'_>) -> Kept {
        let block = &self.layers[layer];
        let normed = block.input_layernorm.kept(tracked, learns);
        let attended = block.self_attn.kept(normed.tracked, learns);
        let tracked = tracked || attended.tracked;
        let normed_again = block.post_attention_layernorm.kept(tracked, learns);
        let mixed = block.mlp.kept(normed_again.tracked, learns);
        Kept {
            floats: normed.floats + attended.floats + normed_again.floats + mixed.floats,
            tracked: tracked || mixed.tracked,
        }
    }

    fn working(&self, learns: &Learns<'_>) -> usize {
        self.layers.iter().map(|block| block.mlp.working(learns)).max().unwrap_or(0)
    }

    fn head(&self) -> Head<'_> {
        Head::new(&self.norm, self.lm_head.as_ref().unwrap_or(&self.embed_tokens))
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
            block.input_layernorm.parameters(each);
            block.self_attn.parameters(each);
            block.post_attention_layernorm.parameters(each);
            block.mlp.parameters(each);
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

impl Block {
    fn load(at: &str, config: &LlamaConfig, loader: &mut Loader<'_>) -> Self {
        let norm = |name: &str, loader: &mut Loader<'_>| {
            RmsNorm::load(&format!("{at}.{name}"), config.hidden_size, config.rms_norm_eps, loader)
        };
        Self {
            input_layernorm: norm("input_layernorm", loader),
            self_attn: Attention::load(&format!("{at}.self_attn"), &config.attention(), loader),
            post_attention_layernorm: norm("post_attention_layernorm", loader),
            mlp: GatedMlp::load(
                &format!("{at}.mlp"),
                [config.hidden_size, config.intermediate_size],
                config.mlp_bias,
                loader,
            ),
        }
    }
}
