//! The operations over Burn that decide a language model's speed.
//!
//! [`LlmBackend`] is Burn's backend trait with a few operations more, and their gradients.
//! Each has a default body of plain Burn operations, so that every backend works and every fast
//! path has an oracle; on the CPU backends they call `fidelio-kernels`.
//! A model uses the functions beside it, which take and give Burn's `Tensor`:
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::{Device, Tensor};
//! use fidelio_ops::rms_norm;
//!
//! let device = Device::flex();
//! let x = Tensor::<2>::from_data([[3.0, 4.0]], &device);
//! let weight = Tensor::<1>::ones([2], &device);
//! let y = rms_norm(x, weight, 0.0);
//! y.into_data().assert_approx_eq::<f32>(&[[0.848_528_1, 1.131_370_8]].into(), Default::default());
//! # }
//! ```
//!
//! It deliberately knows no architecture, no checkpoint and no session.

mod autodiff;
mod backend;
#[cfg(feature = "flex")]
mod flex;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod host;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(all(test, any(feature = "flex", feature = "ndarray")))]
mod oracle;
mod plain;
mod tensor;
mod weight;

pub use backend::{LlmBackend, Sees, StoredMatrix};
pub use fidelio_kernels::{
    Activation, Arithmetic, Asked, Format, Layout, Run, Scoring, Span, TokenScore, Top, Weighed,
    dequantize,
};
pub use tensor::{activate, attention, gated, layer_norm, low_rank, rms_norm, rotary, store};
pub use weight::{Loss, Weight};
