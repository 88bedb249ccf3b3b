//! What crosses the C border and what does not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "tests stand on either side of a C border")]

#[path = "../../examples/header.rs"]
#[allow(dead_code, reason = "its `main` prints what the test compares")]
mod header_text;

mod c;
mod double_close;
mod header;
mod hostile;
mod loopback;
mod misuse;
mod panics;
mod suite;
