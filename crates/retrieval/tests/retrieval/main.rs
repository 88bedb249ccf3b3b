//! Choosing examples, against other software and for every way of choosing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod choosing;
#[cfg(feature = "corpus")]
mod corpus;
mod goldens;
mod never_itself;
