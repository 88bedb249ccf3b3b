//! GPT-NeoX and Pythia: attention and feed-forward layer side by side, layer norms, a part of each
//! head turned. Paper: arxiv.org/abs/2204.06745. Golden logits: tests/golden/gpt-neox,
//! tests/golden/gpt-neox-serial.

use std::sync::Arc;

use fidelio_backend::{BackendError, OpenSpec};

use super::{
    config::{self, activation},
    config_of,
    stack::{Names, Stack},
};
use crate::{
    layers::{Attention, Block, Branches, Linear, Mlp, NormConfig, NormKind, Rotary, RotaryConfig},
    loader::Loader,
};

/// The keys beside the shared ones, and those whose defaults are other ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct GptNeoxConfig {
    #[serde(default = "yes")]
    use_parallel_residual: bool,
    #[serde(default = "yes")]
    attention_bias: bool,
    #[serde(default = "usual_gelu")]
    hidden_act: String,
}

fn yes() -> bool {
    true
}

fn usual_gelu() -> String {
    "gelu".into()
}

/// The share of each head that is turned where `config.json` does not say.
const USUAL_SHARE: f64 = 0.25;

/// Its names of shared keys.
const KEYS: [(&str, &str); 3] = [
    ("rotary_pct", "partial_rotary_factor"),
    ("rotary_emb_base", "rope_theta"),
    ("layer_norm_eps", "rms_norm_eps"),
];

const NAMES: Names = Names {
    table: "gpt_neox.embed_in.weight",
    positions: None,
    layers: "gpt_neox.layers",
    norm: "gpt_neox.final_layer_norm",
    head: "embed_out.weight",
};

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    config::under_own_names(&KEYS, spec, |spec| build_renamed(spec, loader))
}

fn build_renamed(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, own): (_, GptNeoxConfig) = config::read(spec)?;
    let mut rotary: RotaryConfig = config_of(spec)?;
    rotary.partial_rotary_factor.get_or_insert(USUAL_SHARE);
    let context = config.max_position_embeddings;
    let (context, rotary) = Rotary::partial(&rotary, spec.rotary, config.head_dim(), context)?;
    let rotary = Arc::new(rotary);
    let norm = NormConfig { kind: NormKind::Layer, ..config.norm() };
    let activation = activation("hidden_act", &own.hidden_act)?;
    let ([hidden, inner], heads) = (config.mlp_sizes(), config.attention());
    let width = heads.query_heads * heads.head_dim;
    Ok(Stack::load_named(&NAMES, &config, context, norm, loader, |_, at, loader| {
        // Masks that older files have as tensors.
        for mask in ["attention.masked_bias", "attention.bias"] {
            loader.pass_over(&format!("{at}.{mask}"));
        }
        let mut linear =
            |name: &str, sizes, bias| Linear::load(&format!("{at}.{name}"), sizes, bias, loader);
        let qkv = linear("attention.query_key_value", [hidden, 3 * width], own.attention_bias);
        // Each head's query, key and value stand together.
        let qkv = Branches::of(qkv, [width; 3], heads.query_heads);
        let out = linear("attention.dense", [width, hidden], own.attention_bias);
        let attention = Attention::of(qkv, out, &heads).turned(rotary.clone());
        let up = linear("mlp.dense_h_to_4h", [hidden, inner], true);
        let mlp = Mlp { up, down: linear("mlp.dense_4h_to_h", [inner, hidden], true), activation };
        let block = Block::pre_norm(at, attention, mlp, hidden, norm, loader);
        Block { parallel: own.use_parallel_residual, ..block }
    }))
}
