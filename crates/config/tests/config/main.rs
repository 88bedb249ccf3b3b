//! Run files as a whole: good ones, wrong ones, every key, the schema, machine settings.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says when it is skipped"
)]

mod files;
mod good;
mod keys;
mod properties;
mod schema;
mod settings;
mod wrong;
