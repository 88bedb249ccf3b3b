//! The parts that architectures share.

mod attention;
mod block;
mod branches;
mod feed_forward;
mod head;
mod linear;
mod mlp;
mod norm;
mod rotary;

use fidelio_backend::BackendError;

pub(crate) use attention::{Attention, AttentionConfig};
pub(crate) use block::{Added, Block};
pub(crate) use branches::Branches;
pub(crate) use feed_forward::{FeedForward, Mlp};
pub(crate) use head::Head;
pub(crate) use linear::Linear;
pub(crate) use mlp::GatedMlp;
pub(crate) use norm::{Norm, NormConfig, NormKind};
pub(crate) use rotary::{Rotary, RotaryConfig, RotaryParameters, Turn};

/// What is wrong with a key of `config.json` that nobody has looked at.
pub(crate) const UNKNOWN: &str = "is not known, and may change what the model computes";

/// Refuses a value of `config.json`.
pub(crate) fn refuse<T>(key: &str, problem: String) -> Result<T, BackendError> {
    Err(BackendError::ModelConfig { key: key.into(), problem })
}
