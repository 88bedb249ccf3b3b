//! Qwen 3: Llama with a norm of each head's queries and keys, and Qwen 2's windows.
//! Paper: arxiv.org/abs/2505.09388. Golden logits: tests/golden/qwen3.

use fidelio_backend::{BackendError, OpenSpec};

use super::{config, qwen2::QwenConfig, stack::Stack};
use crate::{
    layers::{Attention, Block, GatedMlp},
    loader::Loader,
};

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, own): (_, QwenConfig) = config::read(spec)?;
    let windows = own.windows(&config)?;
    let (context, rotary) = config.rotary(spec)?;
    let (norm, activation) = (config.norm(), config.activation()?);
    let of_a_head = [config.head_dim(); 2];
    Ok(Stack::load(&config, context, norm, loader, |layer, at, loader| {
        let attention = Attention::load(at, &config.attention(), loader)
            .normed(at, of_a_head, norm, loader)
            .turned(rotary.clone())
            .within(windows[layer]);
        let mlp = GatedMlp::load(at, config.mlp_sizes(), false, activation, loader);
        Block::pre_norm(at, attention, mlp, config.hidden_size, norm, loader)
    }))
}
