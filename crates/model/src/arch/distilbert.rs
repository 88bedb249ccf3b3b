//! DistilBERT: BERT with half of the layers, other names, and no kinds of tokens.
//! Paper: arxiv.org/abs/1910.01108. Golden vectors: tests/golden/distilbert.

use fidelio_backend::{BackendError, OpenSpec};
use serde::de::IgnoredAny;

use super::{
    config::{self, activation},
    post_norm::{Names, PostNorm, Shape},
};
use crate::loader::Loader;

/// The checkpoint's `config.json`, its keys unchanged.
#[derive(Debug, Clone, serde::Deserialize)]
struct DistilBertConfig {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    max_position_embeddings: usize,
    #[serde(default = "usual_gelu")]
    activation: String,
    /// How the table of positions began; it is in the file.
    #[serde(rename = "sinusoidal_pos_embds")]
    _sinusoidal_pos_embds: Option<IgnoredAny>,
}

fn usual_gelu() -> String {
    "gelu".into()
}

/// It stands in no `config.json`.
const EPS: f64 = 1e-12;

const NAMES: Names = Names {
    layers: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attended: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// Loads the encoder that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<PostNorm, BackendError> {
    let config: DistilBertConfig = config::read_encoder(spec)?;
    let shape = Shape {
        vocabulary: config.vocab_size,
        hidden: config.dim,
        inner: config.hidden_dim,
        layers: config.n_layers,
        heads: config.n_heads,
        positions: config.max_position_embeddings,
        types: None,
        eps: EPS,
        activation: activation("activation", &config.activation)?,
        padding: None,
    };
    shape.check(["dim", "n_heads", "n_layers", "hidden_dim", "max_position_embeddings"])?;
    let named = loader.has("distilbert.embeddings.word_embeddings.weight");
    let at = if named { "distilbert." } else { "" };
    loader.pass_over(&format!("{at}embeddings.position_ids"));
    // What guesses hidden words.
    for head in ["vocab_transform.", "vocab_layer_norm.", "vocab_projector."] {
        loader.pass_over_below(head);
    }
    Ok(PostNorm::load(at, &NAMES, &shape, loader))
}
