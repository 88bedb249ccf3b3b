//! Whole documents, as files have them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cutting;
mod pdf;
