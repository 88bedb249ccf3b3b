//! Mistral 7B and what was made of it: Llama within a sliding window, without biases.
//! Paper: arxiv.org/abs/2310.06825. Golden logits: tests/golden/mistral.

use fidelio_backend::{BackendError, OpenSpec};

use super::{config, stack::Stack};
use crate::{
    layers::{Attention, Block, GatedMlp},
    loader::Loader,
};

/// The key beside the shared ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct MistralConfig {
    /// Null in versions after the first.
    #[serde(default = "of_first_version")]
    sliding_window: Option<u32>,
}

#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
fn of_first_version() -> Option<u32> {
    Some(4096)
}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, MistralConfig { sliding_window }) = config::read(spec)?;
    config.refuse_biases()?;
    let windows = config.windows(sliding_window, |_| sliding_window.is_some())?;
    let (context, rotary) = config.rotary(spec)?;
    let (norm, activation) = (config.norm(), config.activation()?);
    Ok(Stack::load(&config, context, norm, loader, |layer, at, loader| {
        let attention = Attention::load(at, &config.attention(), loader)
            .turned(rotary.clone())
            .within(windows[layer]);
        let mlp = GatedMlp::load(at, config.mlp_sizes(), false, activation, loader);
        Block::pre_norm(at, attention, mlp, config.hidden_size, norm, loader)
    }))
}
