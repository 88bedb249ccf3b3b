//! HTTP on a generation engine, in OpenAI's shape.
//!
//! [`Inference`] is a thread that owns a [`fidelio_generate::Engine`] and batches the requests of
//! many listeners; [`Served`] is the model with the renderers that its training used, under one
//! name or, as [`Voice`]s with an adapter each, under several; [`Server`] answers HTTP with both.
//!
//! It deliberately opens no model and reads no run file: whoever starts it brings both.

mod adapters;
mod api;
mod embedding;
mod error;
mod inference;
mod keys;
mod metrics;
mod offers;
mod options;
mod rows;
mod served;
mod server;
mod signals;
mod tls;
mod token_texts;
mod voice;

pub use adapters::{AdapterError, FindAdapter, FoundAdapter};
pub use embedding::{EmbedError, EmbedTexts, Vectors};
pub use error::ServeError;
pub use inference::{Event, Inference, InferenceLimits, Listener, Place, Scoring};
pub use keys::Keys;
pub use metrics::Metrics;
pub use options::ServeOptions;
pub use rows::{AnswerRows, RowsError};
pub use served::Served;
pub use server::{Ended, Server};
pub use signals::stop_signal;
pub use tls::Tls;
pub use voice::Voice;
