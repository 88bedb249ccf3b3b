//! CPU kernels over slices: products with quantised weights, attention, norms, scoring.
//!
//! Everything is plain functions over `f32` activations and weights as a file stores them.
//! The main type is [`Matrix`], a stored weight; the main function is [`linear`], in one of two
//! [arithmetics](Arithmetic).
//! The instruction set is chosen at run time ([`active_path`]), work that is large enough is
//! spread over rayon's global pool, and what a row gets never depends on the other rows of a call:
//! each number is summed in an order that only its own inputs decide.
//!
//! ```
//! use fidelio_kernels::{Arithmetic, Format, Layout, Matrix, linear};
//!
//! let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|w| w.to_le_bytes()).collect();
//! let (format, layout) = (Format::F32, Layout::Rows);
//! let weight = Matrix { format, bytes: &bytes, rows: 2, cols: 2, layout };
//! let mut out = [0.0; 2];
//! linear(&[10.0, 1.0], weight, None, Arithmetic::F32, &mut out);
//! assert_eq!(out, [12.0, 34.0]);
//! ```
//!
//! It deliberately knows no tensor type and no model. Sizes that do not fit together
//! are the caller's mistakes and panic; what a stranger wrote is to be checked before it comes here.

#![expect(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that has the features of their path"
)]

mod format;
mod packed;
mod simd;
mod threads;

mod dequantize;
mod dynamic;
mod linear;
mod quantize;

mod activation;
mod norm;
mod rotary;
mod softcap;

mod attention;
mod limits;
mod loss;
mod scores;

#[cfg(test)]
mod random;

pub use activation::{Activation, activate, activate_backward, gated, gated_backward};
pub use attention::{
    AttentionGradients, Heads, Run, Scoring, Sees, Span, attention, attention_backward,
};
pub use dequantize::{dequantize, dequantize_rows};
pub use dynamic::Dynamic;
pub use format::{Format, Matrix};
pub use limits::{Limits, limits};
pub use linear::{Arithmetic, embed, linear, linear_backward};
pub use loss::{Weighed, cross_entropy};
pub use norm::{layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};
pub use packed::{Layout, Packed, pack};
pub use quantize::quantize;
pub use rotary::rotary;
pub use scores::{Asked, TokenScore, Top, TopAsked, token_scores, top_logits, top_of};
pub use simd::active_path;
pub use softcap::{softcap, softcap_backward};
pub use threads::on_pool;
