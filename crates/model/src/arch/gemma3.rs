//! Gemma 3, its text models: Gemma 2 without caps on scores, with norms of each head's queries and
//! keys, and with other angles where it looks near than where it looks far.
//! Paper: arxiv.org/abs/2503.19786. Golden logits: tests/golden/gemma3, tests/golden/gemma3-variant.

use std::sync::Arc;

use fidelio_backend::{BackendError, OpenSpec};

use super::{
    config::{self, activation},
    config_of,
    gemma2::{Family, gelu, usual_head, usual_window},
    stack::Stack,
};
use crate::{
    layers::{Attention, GatedMlp, Rotary, RotaryConfig, RotaryParameters, UNKNOWN, refuse},
    loader::Loader,
};

/// The keys beside the shared ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct Gemma3Config {
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "usual_head")]
    query_pre_attn_scalar: f32,
    #[serde(default = "usual_window")]
    sliding_window: Option<u32>,
    /// Where there is no `layer_types`, every so-manieth layer sees everything.
    sliding_window_pattern: Option<usize>,
    /// What newer files call it.
    #[serde(rename = "_sliding_window_pattern")]
    newer_pattern: Option<usize>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    use_bidirectional_attention: Option<bool>,
    rope_local_base_freq: Option<f64>,
}

/// The rotary keys, in their older and newer places.
#[derive(Debug, Clone, serde::Deserialize)]
struct Gemma3Rotary {
    rope_theta: Option<f64>,
    rope_scaling: Option<RotaryParameters>,
    rope_parameters: Option<ByLayerType>,
}

#[derive(Debug, Clone, Default, serde::Deserialize)]
struct ByLayerType {
    full_attention: Option<RotaryParameters>,
    sliding_attention: Option<RotaryParameters>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// The context, and the angles of layers that see far and near.
fn rotaries(
    spec: &OpenSpec,
    near_base: Option<f64>,
    head_dim: usize,
    context: usize,
) -> Result<(usize, [Arc<Rotary>; 2]), BackendError> {
    let written: Gemma3Rotary = config_of(spec)?;
    let by_type = written.rope_parameters.unwrap_or_default();
    if let Some(key) = by_type.rest.keys().next() {
        return refuse(&format!("rope_parameters.{key}"), UNKNOWN.into());
    }
    let far = RotaryConfig {
        rope_theta: Some(written.rope_theta.unwrap_or(1_000_000.0)),
        rope_scaling: written.rope_scaling,
        rope_parameters: by_type.full_attention,
        ..RotaryConfig::default()
    };
    let near = RotaryConfig {
        rope_theta: Some(near_base.unwrap_or(10_000.0)),
        rope_scaling: None,
        rope_parameters: by_type.sliding_attention,
        ..RotaryConfig::default()
    };
    let (stretched, far) = Rotary::new(&far, spec.rotary, head_dim, context)?;
    let (_, near) = Rotary::new(&near, None, head_dim, context)?;
    Ok((stretched, [Arc::new(far), Arc::new(near)]))
}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, own): (_, Gemma3Config) = config::read(spec)?;
    if own.attn_logit_softcapping.is_some() {
        return refuse("attn_logit_softcapping", "is set, which Gemma 3 does not heed".into());
    }
    let both_ways = own.use_bidirectional_attention;
    let family = Family::new(config, own.query_pre_attn_scalar, None, both_ways)?;
    let (config, norm) = (&family.config, family.norm);
    let every = own.sliding_window_pattern.or(own.newer_pattern).unwrap_or(6);
    if every == 0 {
        return refuse("sliding_window_pattern", "is 0".into());
    }
    let windows = config.windows(own.sliding_window, |layer| !(layer + 1).is_multiple_of(every))?;
    let (d, context) = (config.head_dim(), config.max_position_embeddings);
    let (context, [far, near]) = rotaries(spec, own.rope_local_base_freq, d, context)?;
    let activation = activation("hidden_activation", &own.hidden_activation)?;
    family.load(context, own.final_logit_softcapping, loader, |layer, at, loader| {
        let window = windows[layer];
        let attention = Attention::load(at, &config.attention(), loader)
            .normed(at, [d; 2], norm, loader)
            .turned(if window.is_some() { near.clone() } else { far.clone() })
            .within(window)
            .scored(family.scoring);
        let mlp = GatedMlp::load(at, config.mlp_sizes(), false, activation, loader);
        family.block(at, attention, mlp, loader)
    })
}
