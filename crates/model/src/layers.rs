//! The parts that architectures share.

mod attention;
mod head;
mod layer_norm;
mod linear;
mod mlp;
mod norm;
mod rotary;

use fidelio_backend::BackendError;

pub(crate) use attention::{Attention, AttentionConfig};
pub(crate) use head::Head;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use mlp::GatedMlp;
pub(crate) use norm::RmsNorm;
pub(crate) use rotary::{Rotary, RotaryConfig, Turn};

/// Refuses a value of `config.json`.
pub(crate) fn refuse<T>(key: &str, problem: String) -> Result<T, BackendError> {
    Err(BackendError::ModelConfig { key: key.into(), problem })
}
