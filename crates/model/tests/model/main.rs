//! Architectures against independent references, and every engine against the contract.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says when it is skipped"
)]

mod batches;
mod brain;
mod checkpoint;
mod contract;
mod embedding;
mod golden;
mod learning;
mod merging;
mod quantized;
mod refusals;
