//! What the binary says and the codes it ends with: each command as a user runs it.

mod place;

mod data;
mod machine;
mod real_model;
mod refusals;
mod run_files;
