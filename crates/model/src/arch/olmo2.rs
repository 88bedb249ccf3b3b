//! OLMo 2: norms after each part and none before, and norms of all queries and all keys together.
//! Paper: arxiv.org/abs/2501.00656. Golden logits: tests/golden/olmo2.

use fidelio_backend::{BackendError, OpenSpec};

use super::{config, stack::Stack};
use crate::{
    layers::{Added, Attention, Block, GatedMlp, Norm},
    loader::Loader,
};

/// Nothing beside the shared keys.
#[derive(Debug, Clone, serde::Deserialize)]
struct Olmo2Config {}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, Olmo2Config {}) = config::read(spec)?;
    let (context, rotary) = config.rotary(spec)?;
    let (norm, activation) = (config.norm(), config.activation()?);
    let (queries, keys) = (config.num_attention_heads, config.key_value_heads());
    let of_all_heads = [queries, keys].map(|heads| heads * config.head_dim());
    Ok(Stack::load(&config, context, norm, loader, |_, at, loader| {
        let attention = Attention::load(at, &config.attention(), loader)
            .normed(at, of_all_heads, norm, loader)
            .turned(rotary.clone());
        let mlp = GatedMlp::load(at, config.mlp_sizes(), false, activation, loader);
        let mut after = |name: &str| {
            Some(Norm::load(&format!("{at}.{name}"), config.hidden_size, norm, loader))
        };
        let attended = after("post_attention_layernorm");
        let mixed = after("post_feedforward_layernorm");
        Block {
            attention: Added { before: None, part: attention, after: attended },
            mlp: Added { before: None, part: Box::new(mlp), after: mixed },
            parallel: false,
        }
    }))
}
