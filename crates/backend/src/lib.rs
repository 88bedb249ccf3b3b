//! The seam between what runs models and everything else.
//!
//! The rest of the program never sees a tensor of an engine.
//! Token ids go in; logits and log-probabilities come out, one call per step.
//! The main types are [`Backend`] and [`Session`]; what a batch looks like is a [`Forest`].
//!
//! ```
//! use fidelio_backend::{Forest, Parent};
//!
//! // A prompt of three tokens, and two answers below it that do not see each other.
//! let mut forest = Forest::default();
//! let prompt = forest.push(Parent::Root, &[5, 6, 7]);
//! forest.push(Parent::Node(prompt), &[8]);
//! forest.push(Parent::Node(prompt), &[9, 10]);
//! assert_eq!(forest.depths(), [0, 1, 2, 3, 3, 4]);
//! ```
//!
//! It deliberately holds no model, no tokenizer, no file format and no configuration of a user.

mod adapter;
#[cfg(feature = "testing")]
pub mod contract;
mod encoding;
mod error;
#[cfg(feature = "testing")]
mod fake;
mod forest;
mod learn;
mod pooling;
mod quantization;
mod session;
mod spec;
mod tensor;

pub use adapter::{AdapterId, AdapterSpec, LoraBias, LoraInit, LoraRanks, LoraSpec, TargetModules};
pub use encoding::Encoding;
pub use error::BackendError;
#[cfg(feature = "testing")]
pub use fake::{BigramProbe, BigramSession, FakeBackend, FakeLimits, FakeProbe, FakeSession};
pub use forest::{Ask, Batch, Forest, Node, Parent, Target};
pub use learn::{
    Clip, Footprint, Learn, LearnSpec, LossSum, OptimizerSpec, ParameterInfo, Part, TensorSink,
    Trains, UpdateReport,
};
pub use pooling::Pooling;
pub use quantization::Quantization;
pub use session::{
    Answer, Answers, Backend, BackendInfo, Capacity, DeviceId, DeviceInfo, Logits, RowId, RowStep,
    RowTo, Score, Scores, Session, Shape, Verb, Want, Wanted,
};
pub use spec::{CacheFormat, OpenSpec, Precision, RotaryScaling};
pub use tensor::{TensorView, Weights};
