//! BERT and the sentence encoders made of it: post-norm blocks, attention both ways, learnt positions.
//! Paper: arxiv.org/abs/1810.04805. Golden vectors: tests/golden/bert.

use burn::tensor::{Tensor, activation::gelu};
use fidelio_backend::{BackendError, OpenSpec};
use fidelio_ops::Weight;

use super::{Encoder, EncoderSizes, config_of};
use crate::{
    layers::{LayerNorm, Linear, refuse},
    loader::Loader,
    texts::Texts,
};

/// The checkpoint's `config.json`, its keys unchanged.
#[derive(Debug, Clone, serde::Deserialize)]
struct BertConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default)]
    pruned_heads: serde_json::Map<String, serde_json::Value>,
    /// What is not known here, and therefore may change what the model computes.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

fn absolute() -> String {
    "absolute".into()
}

/// Keys that change nothing of what an encoder computes: where it comes from, how it was or would be
/// trained, what stands on top of it, how its output is wrapped.
const WITHOUT_EFFECT: &[&str] = &[
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attention_probs_dropout_prob",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "directionality",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "model_type",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "pad_token_id",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "problem_type",
    "return_dict",
    "sep_token_id",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

impl BertConfig {
    fn check(&self) -> Result<(), BackendError> {
        if self.hidden_act != "gelu" {
            return refuse("hidden_act", format!("is `{}`; only `gelu` is built", self.hidden_act));
        }
        if self.position_embedding_type != "absolute" {
            let found = &self.position_embedding_type;
            return refuse(
                "position_embedding_type",
                format!("is `{found}`; only `absolute` is built"),
            );
        }
        if self.is_decoder || self.add_cross_attention {
            return refuse("is_decoder", "is set; only encoders are built".into());
        }
        if !self.pruned_heads.is_empty() {
            return refuse("pruned_heads", "is set; only whole heads are built".into());
        }
        if let Some(key) = self.rest.keys().find(|key| !WITHOUT_EFFECT.contains(&key.as_str())) {
            return refuse(key, "is not known, and may change what the model computes".into());
        }
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size == 0 {
                return refuse(key, "is 0".into());
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let heads = self.num_attention_heads;
            return refuse(
                "hidden_size",
                format!("is {}, which the {heads} attention heads do not divide", self.hidden_size),
            );
        }
        Ok(())
    }
}

/// Field names spell the checkpoint's tensor names.
pub(crate) struct Bert {
    embeddings: Embeddings,
    layer: Vec<Block>,
    sizes: EncoderSizes,
}

struct Embeddings {
    word_embeddings: Weight,
    position_embeddings: Weight,
    token_type_embeddings: Weight,
    layer_norm: LayerNorm,
}

struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    /// `attention.output.dense`
    attended: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    heads: usize,
}

impl Bert {
    pub(crate) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Self, BackendError> {
        let config: BertConfig = config_of(spec)?;
        config.check()?;
        // A model with a head on top has its encoder below a name of its own.
        let at = if loader.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
        // What old exporters wrote down though it is only counted, and what is for pairs of texts.
        for name in ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"] {
            loader.pass_over(&format!("{at}{name}"));
        }
        let embeddings = Embeddings::load(&format!("{at}embeddings"), &config, loader);
        let layer = (0..config.num_hidden_layers)
            .map(|i| Block::load(&format!("{at}encoder.layer.{i}"), &config, loader))
            .collect();
        let sizes =
            EncoderSizes { vocabulary: config.vocab_size, context: config.max_position_embeddings };
        Ok(Self { embeddings, layer, sizes })
    }
}

impl Encoder for Bert {
    fn forward(&self, ids: &[u32], texts: &Texts) -> Tensor<2> {
        let x = self.embeddings.forward(ids, texts); // [t, hidden]
        self.layer.iter().fold(x, |x, block| block.forward(x, texts))
    }

    fn sizes(&self) -> EncoderSizes {
        self.sizes
    }
}

impl Embeddings {
    fn load(at: &str, config: &BertConfig, loader: &mut Loader<'_>) -> Self {
        let hidden = config.hidden_size;
        let mut table =
            |name: &str, rows| loader.matrix(&format!("{at}.{name}.weight"), rows, hidden);
        Self {
            word_embeddings: table("word_embeddings", config.vocab_size),
            position_embeddings: table("position_embeddings", config.max_position_embeddings),
            token_type_embeddings: table("token_type_embeddings", config.type_vocab_size),
            layer_norm: norm(&format!("{at}.LayerNorm"), config, loader),
        }
    }

    /// Every text is a first one: token type 0 throughout.
    fn forward(&self, ids: &[u32], texts: &Texts) -> Tensor<2> {
        let words = self.word_embeddings.embed(ids); // [t, hidden]
        let first = self.token_type_embeddings.embed(&[0]); // [1, hidden]
        let x = words + first + self.position_embeddings.embed(texts.positions());
        self.layer_norm.forward(x)
    }
}

impl Block {
    fn load(at: &str, config: &BertConfig, loader: &mut Loader<'_>) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |name: &str, sizes| {
            Linear::load(&format!("{at}.{name}"), sizes, true, loader).for_many_rows()
        };
        Self {
            query: linear("attention.self.query", [hidden, hidden]),
            key: linear("attention.self.key", [hidden, hidden]),
            value: linear("attention.self.value", [hidden, hidden]),
            attended: linear("attention.output.dense", [hidden, hidden]),
            intermediate: linear("intermediate.dense", [hidden, inner]),
            output: linear("output.dense", [inner, hidden]),
            attention_norm: norm(&format!("{at}.attention.output.LayerNorm"), config, loader),
            output_norm: norm(&format!("{at}.output.LayerNorm"), config, loader),
            heads: config.num_attention_heads,
        }
    }

    /// `[t, hidden]` to the same; each token sees its whole text.
    fn forward(&self, x: Tensor<2>, texts: &Texts) -> Tensor<2> {
        let attended = self.attended.apply(self.attend(x.clone(), texts));
        let x = self.attention_norm.forward(attended + x);
        let inner = gelu(self.intermediate.apply(x.clone())); // [t, inner]
        self.output_norm.forward(self.output.apply(inner) + x)
    }

    fn attend(&self, x: Tensor<2>, texts: &Texts) -> Tensor<2> {
        let [t, hidden] = x.dims();
        let d = hidden / self.heads;
        // [t, h·d] -> [t, h, d]
        let heads = |layer: &Linear| layer.apply(x.clone()).reshape([t, self.heads, d]);
        let scale = 1.0 / (d as f32).sqrt();
        texts
            .attend(heads(&self.query), heads(&self.key), heads(&self.value), scale)
            .reshape([t, hidden])
    }
}

fn norm(at: &str, config: &BertConfig, loader: &mut Loader<'_>) -> LayerNorm {
    LayerNorm::load(at, config.hidden_size, config.layer_norm_eps, loader)
}
