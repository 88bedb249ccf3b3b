//! Qwen 2 and 2.5: Llama with biases of queries, keys and values; windows in upper layers, if any.
//! Paper: arxiv.org/abs/2407.10671. Golden logits: tests/golden/qwen2, tests/golden/qwen2-window.

use fidelio_backend::{BackendError, OpenSpec};

use super::{
    config::{self, DecoderConfig},
    stack::Stack,
};
use crate::{
    layers::{Attention, AttentionConfig, Block, GatedMlp},
    loader::Loader,
};

/// The keys beside the shared ones; Qwen 3 has the same.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct QwenConfig {
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<u32>,
    /// So many layers see everything.
    #[serde(default = "twenty_eight")]
    max_window_layers: usize,
}

fn twenty_eight() -> usize {
    28
}

impl QwenConfig {
    /// The window of each layer.
    pub(super) fn windows(&self, config: &DecoderConfig) -> Result<Vec<Option<u32>>, BackendError> {
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        config.windows(window, |layer| window.is_some() && layer >= self.max_window_layers)
    }
}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, own): (_, QwenConfig) = config::read(spec)?;
    let windows = own.windows(&config)?;
    let heads = AttentionConfig { bias: true, output_bias: false, ..config.attention() };
    let (context, rotary) = config.rotary(spec)?;
    let (norm, activation) = (config.norm(), config.activation()?);
    Ok(Stack::load(&config, context, norm, loader, |layer, at, loader| {
        let attention =
            Attention::load(at, &heads, loader).turned(rotary.clone()).within(windows[layer]);
        let mlp = GatedMlp::load(at, config.mlp_sizes(), false, activation, loader);
        Block::pre_norm(at, attention, mlp, config.hidden_size, norm, loader)
    }))
}
