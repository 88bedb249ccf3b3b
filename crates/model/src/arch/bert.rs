//! BERT, RoBERTa and XLM-R, and the sentence encoders made of them.
//! Papers: arxiv.org/abs/1810.04805, arxiv.org/abs/1907.11692, arxiv.org/abs/1911.02116.
//! Golden vectors: tests/golden/bert, tests/golden/roberta, tests/golden/xlm-roberta.

use fidelio_backend::{BackendError, OpenSpec};

use super::{
    config::{self, activation},
    post_norm::{BERT, PostNorm, Shape},
};
use crate::{layers::refuse, loader::Loader};

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
    pad_token_id: Option<u32>,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default)]
    pruned_heads: serde_json::Map<String, serde_json::Value>,
}

fn absolute() -> String {
    "absolute".into()
}

impl BertConfig {
    fn check(&self) -> Result<(), BackendError> {
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
        Ok(())
    }
}

/// Loads the encoder that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<PostNorm, BackendError> {
    load(spec, loader, "bert.", |_| None)
}

/// RoBERTa and XLM-R: the same with positions that are counted behind the padding token's number.
pub(super) fn build_roberta(
    spec: &OpenSpec,
    loader: &mut Loader<'_>,
) -> Result<PostNorm, BackendError> {
    load(spec, loader, "roberta.", |config| Some(config.pad_token_id.unwrap_or(1)))
}

/// A model with a head on top has its encoder below a name of its own.
fn load(
    spec: &OpenSpec,
    loader: &mut Loader<'_>,
    below: &str,
    padding: fn(&BertConfig) -> Option<u32>,
) -> Result<PostNorm, BackendError> {
    let config: BertConfig = config::read_encoder(spec)?;
    config.check()?;
    let shape = Shape {
        vocabulary: config.vocab_size,
        hidden: config.hidden_size,
        inner: config.intermediate_size,
        layers: config.num_hidden_layers,
        heads: config.num_attention_heads,
        positions: config.max_position_embeddings,
        types: Some(config.type_vocab_size),
        eps: config.layer_norm_eps,
        activation: activation("hidden_act", &config.hidden_act)?,
        padding: padding(&config),
    };
    shape.check([
        "hidden_size",
        "num_attention_heads",
        "num_hidden_layers",
        "intermediate_size",
        "max_position_embeddings",
    ])?;
    let named = loader.has(&format!("{below}embeddings.word_embeddings.weight"));
    let at = if named { below } else { "" };
    // What old exporters wrote down though it is only counted, and what is for pairs of texts.
    for name in ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"] {
        loader.pass_over(&format!("{at}{name}"));
    }
    // What guesses hidden words.
    for head in ["cls.predictions.", "cls.seq_relationship.", "lm_head."] {
        loader.pass_over_below(head);
    }
    Ok(PostNorm::load(at, &BERT, &shape, loader))
}
