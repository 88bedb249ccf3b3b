//! Heads on the vectors of frozen encoders: run files of `model_type: ecd`.

mod answers;
mod encoders;
mod file;
mod fitting;
mod known;
mod output;
mod provenance;

pub use answers::{ProbeAnswer, ProbeEvaluation, ProbePredictions, ProbeRows};
pub use encoders::Encoders;
pub use file::{AnyRunFile, ProbeFile};
pub use fitting::{FittedProbe, ProbeSummary, ProbeTraining, RegularizedBy};
