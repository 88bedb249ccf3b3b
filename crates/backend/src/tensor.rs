//! Named tensors, as a checkpoint holds them.

use bytes::Bytes;

use crate::{BackendError, Encoding};

/// A tensor as it is stored: shape in elements, bytes in `encoding`, rows contiguous.
///
/// The bytes are shared, not copied: they may be a part of a mapped file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorView {
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// Elements per dimension, outermost first (`[out, in]` for a linear layer).
    pub shape: Vec<usize>,
    /// `encoding.bytes_of(product of shape)` bytes.
    pub bytes: Bytes,
}

/// Named tensors somewhere: one file, many shards, or a plugin's memory.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not hold named tensors",
    note = "implement `fidelio_backend::Weights`: `names` lists them, `get` returns one as it is stored"
)]
pub trait Weights: Send + Sync {
    /// Every tensor's name, in Hugging Face's spelling (`model.layers.0.self_attn.q_proj.weight`).
    fn names(&self) -> Vec<String>;

    /// One tensor.
    ///
    /// # Errors
    /// When no tensor has that name, or its bytes cannot be read.
    fn get(&self, name: &str) -> Result<TensorView, BackendError>;

    /// Says that a tensor's bytes were copied: memory that only mirrors a file may be given back.
    /// The tensor can still be had again.
    fn forget(&self, name: &str) {
        _ = name;
    }
}
