//! GPT-2: learnt positions, layer norms, fused projections, and weights that stand the other way
//! round. Paper: openai.com/index/better-language-models. Golden logits: tests/golden/gpt2,
//! tests/golden/gpt2-variant.

use fidelio_backend::{BackendError, OpenSpec};
use fidelio_ops::Scoring;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{
    config::{self, activation},
    stack::{Names, Stack},
};
use crate::{
    layers::{Attention, Block, Branches, Linear, Mlp, NormConfig, NormKind, refuse},
    loader::Loader,
};

/// The keys beside the shared ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct Gpt2Config {
    #[serde(default = "usual_gelu")]
    activation_function: String,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    /// How scores are rounded where numbers are short; here they never are.
    #[serde(rename = "reorder_and_upcast_attn")]
    _reorder_and_upcast_attn: Option<bool>,
    /// What older files repeat `n_positions` in.
    #[serde(rename = "n_ctx")]
    _n_ctx: Option<IgnoredAny>,
}

fn usual_gelu() -> String {
    "gelu_new".into()
}

fn yes() -> bool {
    true
}

impl Gpt2Config {
    fn scale(&self, layer: usize, head_dim: usize) -> f32 {
        let scale = if self.scale_attn_weights { (head_dim as f32).powf(-0.5) } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx { scale / (layer + 1) as f32 } else { scale }
    }
}

/// Its names of shared keys.
const KEYS: [(&str, &str); 6] = [
    ("n_embd", "hidden_size"),
    ("n_inner", "intermediate_size"),
    ("n_layer", "num_hidden_layers"),
    ("n_head", "num_attention_heads"),
    ("n_positions", "max_position_embeddings"),
    ("layer_norm_epsilon", "rms_norm_eps"),
];

const NAMES: Names = Names {
    table: "transformer.wte.weight",
    positions: Some("transformer.wpe.weight"),
    layers: "transformer.h",
    norm: "transformer.ln_f",
    head: "lm_head.weight",
};

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    if spec.rotary.is_some() {
        return refuse("model_type", "is `gpt2`, which has no rotary positions".into());
    }
    let mut spec = spec.clone();
    if spec.config.get("n_inner").is_none_or(serde_json::Value::is_null)
        && let Some(hidden) = spec.config.get("n_embd").and_then(serde_json::Value::as_u64)
    {
        spec.config["n_inner"] = json!(4 * hidden);
    }
    config::under_own_names(&KEYS, &spec, |spec| build_renamed(spec, loader))
}

fn build_renamed(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (mut config, own): (_, Gpt2Config) = config::read(spec)?;
    config.tie_word_embeddings.get_or_insert(true);
    let norm = NormConfig { kind: NormKind::Layer, ..config.norm() };
    let activation = activation("activation_function", &own.activation_function)?;
    let ([hidden, inner], context) = (config.mlp_sizes(), config.max_position_embeddings);
    let heads = config.attention();
    let width = heads.query_heads * heads.head_dim;
    Ok(Stack::load_named(&NAMES, &config, context, norm, loader, |layer, at, loader| {
        // Masks that older files have as tensors.
        for mask in ["attn.bias", "attn.masked_bias"] {
            loader.pass_over(&format!("{at}.{mask}"));
        }
        let mut linear =
            |name: &str, sizes| Linear::load_turned(&format!("{at}.{name}"), sizes, true, loader);
        let qkv = Branches::of(linear("attn.c_attn", [hidden, 3 * width]), [width; 3], 1);
        let attention = Attention::of(qkv, linear("attn.c_proj", [width, hidden]), &heads)
            .scored(Scoring::scaled(own.scale(layer, heads.head_dim)));
        let up = linear("mlp.c_fc", [hidden, inner]);
        let mlp = Mlp { up, down: linear("mlp.c_proj", [inner, hidden]), activation };
        Block::pre_norms(at, ["ln_1", "ln_2"], attention, mlp, hidden, norm, loader)
    }))
}
