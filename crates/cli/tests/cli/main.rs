//! What the binary says and the codes it ends with: each command as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

mod place;

mod adapters;
mod data;
mod embed;
mod export;
mod index;
mod kills;
mod load;
mod machine;
mod memory;
mod plugin_guide;
mod plugins;
mod probe;
mod real_model;
mod refusals;
mod reports;
mod run_files;
mod serve;
mod serve_adapters;
mod structured;
mod verify;
