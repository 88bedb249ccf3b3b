//! HTTP on a generation engine.
//!
//! The main type is [`Inference`]: a thread that owns a [`fidelio_generate::Engine`] and batches the
//! requests of many listeners.

mod error;
mod inference;
mod metrics;

pub use error::ServeError;
pub use inference::{Event, Inference, InferenceLimits, Listener, Place};
pub use metrics::Metrics;
