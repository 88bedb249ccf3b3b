//! Llama 1 to 3 and their many copies: pre-norm blocks, rotary grouped attention, SwiGLU.
//! Paper: arxiv.org/abs/2302.13971. Golden logits: tests/golden/llama.

use fidelio_backend::{BackendError, OpenSpec};

use super::{config, stack::Stack};
use crate::{
    layers::{Attention, Block, GatedMlp},
    loader::Loader,
};

/// Nothing beside the shared keys.
#[derive(Debug, Clone, serde::Deserialize)]
struct LlamaConfig {}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, LlamaConfig {}) = config::read(spec)?;
    let (context, rotary) = config.rotary(spec)?;
    let (norm, activation) = (config.norm(), config.activation()?);
    Ok(Stack::load(&config, context, norm, loader, |_, at, loader| {
        let attention = Attention::load(at, &config.attention(), loader).turned(rotary.clone());
        let mlp = GatedMlp::load(at, config.mlp_sizes(), config.mlp_bias, activation, loader);
        Block::pre_norm(at, attention, mlp, config.hidden_size, norm, loader)
    }))
}
