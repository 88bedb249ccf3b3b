//! SmolLM 3: Llama with layers in which positions play no part.
//! Source: huggingface.co/blog/smollm3. Golden logits: tests/golden/smollm3.

use fidelio_backend::{BackendError, OpenSpec};

use super::{config, stack::Stack};
use crate::{
    layers::{Attention, Block, GatedMlp, refuse},
    loader::Loader,
};

/// The keys beside the shared ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct SmolLm3Config {
    /// For each layer whether it turns, 1 or 0: what its name says is not what it holds.
    no_rope_layers: Option<Vec<u8>>,
    /// Where there is no such list, every so-manieth layer does not turn.
    #[serde(default = "four")]
    no_rope_layer_interval: usize,
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<u32>,
    /// For files that call it so; `layer_types` is what counts.
    #[serde(rename = "max_window_layers")]
    _max_window_layers: Option<usize>,
}

fn four() -> usize {
    4
}

impl SmolLm3Config {
    fn turns(&self, layers: usize) -> Result<Vec<bool>, BackendError> {
        match &self.no_rope_layers {
            Some(listed) if listed.len() < layers => {
                let problem = format!("has {} entries for {layers} layers", listed.len());
                refuse("no_rope_layers", problem)
            }
            Some(listed) => Ok(listed.iter().map(|&turns| turns != 0).collect()),
            None if self.no_rope_layer_interval == 0 => {
                refuse("no_rope_layer_interval", "is 0".into())
            }
            None => {
                let every = self.no_rope_layer_interval;
                Ok((1..=layers).map(|nth| !nth.is_multiple_of(every)).collect())
            }
        }
    }
}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (mut config, own): (config::DecoderConfig, SmolLm3Config) = config::read(spec)?;
    config.tie_word_embeddings.get_or_insert(true);
    let turns = own.turns(config.num_hidden_layers)?;
    let window = own.sliding_window.filter(|_| own.use_sliding_window);
    let windows = config.windows(window, |layer| window.is_some() && !turns[layer])?;
    let (context, rotary) = config.rotary_of_base(spec, 2_000_000.0)?;
    let (norm, activation) = (config.norm(), config.activation()?);
    Ok(Stack::load(&config, context, norm, loader, |layer, at, loader| {
        let attention = Attention::load(at, &config.attention(), loader).within(windows[layer]);
        let attention = if turns[layer] { attention.turned(rotary.clone()) } else { attention };
        let mlp = GatedMlp::load(at, config.mlp_sizes(), config.mlp_bias, activation, loader);
        Block::pre_norm(at, attention, mlp, config.hidden_size, norm, loader)
    }))
}
