//! The server as its clients see it, on a session without a model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod abuse;
mod adapters;
mod chat;
mod choir;
mod client;
mod completions;
mod embeddings;
mod forms;
mod inference;
mod operation;
mod page;
mod place;
mod properties;
mod responses;
mod rows;
mod speaker;
mod tls;
mod tools;
