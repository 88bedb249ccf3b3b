//! Architectures on Burn behind the seam.
//!
//! [`BurnBackend`] opens a checkpoint on one of Burn's devices; what comes back is a
//! [`fidelio_backend::Session`].
//!
//! ```
//! use fidelio_backend::Backend as _;
//!
//! for backend in fidelio_model::backends() {
//!     let info = backend.describe();
//!     assert!(!info.devices.is_empty(), "{} is compiled in, so it has a device", info.name);
//! }
//! ```
//!
//! It deliberately knows no file, no tokenizer and no text: tensors come by name, tokens by id.

#![allow(
    dead_code,
    reason = "the learner that stands on adapters, noise and optimizers is to come"
)]

mod adapter;
mod arch;
mod backend;
mod cache;
mod footprint;
mod layers;
mod loader;
mod noise;
mod optimizer;
mod parameter;
mod pass;
mod session;
mod texts;

pub use arch::{ENCODER_TYPES, MODEL_TYPES};
pub use backend::{BurnBackend, Engine, backends};
