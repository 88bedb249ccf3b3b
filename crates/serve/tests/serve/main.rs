//! The server as its clients see it, on a session without a model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod inference;
mod speaker;
