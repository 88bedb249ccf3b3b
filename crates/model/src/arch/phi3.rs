//! Phi 3 and 4: Llama with fused projections, which may turn a part of each head.
//! Paper: arxiv.org/abs/2404.14219. Golden logits: tests/golden/phi3.

use std::sync::Arc;

use fidelio_backend::{BackendError, OpenSpec};

use super::{config, config_of, stack::Stack};
use crate::{
    layers::{Attention, Block, GatedMlp, Rotary},
    loader::Loader,
};

/// The key beside the shared ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct Phi3Config {
    sliding_window: Option<u32>,
}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, Phi3Config { sliding_window }) = config::read(spec)?;
    config.refuse_biases()?;
    let windows = config.windows(sliding_window, |_| sliding_window.is_some())?;
    let context = config.max_position_embeddings;
    let (context, rotary) =
        Rotary::partial(&config_of(spec)?, spec.rotary, config.head_dim(), context)?;
    let (rotary, norm, activation) = (Arc::new(rotary), config.norm(), config.activation()?);
    Ok(Stack::load(&config, context, norm, loader, |layer, at, loader| {
        let attention = Attention::load_fused(at, &config.attention(), loader)
            .turned(rotary.clone())
            .within(windows[layer]);
        let mlp = GatedMlp::load_fused(at, config.mlp_sizes(), activation, loader);
        Block::pre_norm(at, attention, mlp, config.hidden_size, norm, loader)
    }))
}
