//! Scheduling, sampling, stop rules: text out of a session.
//!
//! The main type is [`Engine`]: requests go in, and each round hands out the text they have become.
//! [`Decoding`] says how a request is decoded, a [`LogitRule`] edits logits, a [`Grammar`] says which
//! texts an answer may be, [`TextStream`] makes text of tokens as they come, and [`LabelScores`] is
//! the arithmetic of choosing among labels.
//!
//! It deliberately renders no prompt, knows no model's format and opens no session.

mod choose;
mod decoding;
mod engine;
mod error;
mod grammar;
mod job;
mod prefix;
mod request;
pub mod rules;
pub mod sample;
mod stats;
mod stop;
mod text;

pub use choose::{LabelScore, LabelScores};
pub use decoding::Decoding;
pub use engine::{Engine, Limits};
pub use error::GenerateError;
pub use grammar::{
    Grammar, GrammarError, GrammarRule, GrammarTokens, Grammars, SchemaPath, write_json,
};
pub use request::{Emitted, Finish, FinishReason, Request, RequestId, TokenLogprobs, Usage};
pub use rules::{LogitRule, RowView, Rules, Verdict};
pub use stats::EngineStats;
pub use stop::{Passed, StopStrings};
pub use text::TextStream;
