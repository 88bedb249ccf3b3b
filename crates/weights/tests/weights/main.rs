//! Checkpoints, tokenizers and model sources, against independent references and hostile input.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and says what it skips"
)]

mod adapters;
mod caches;
mod checkpoints;
mod combined_adapters;
mod export;
mod gguf_export;
mod hostile;
mod hub;
mod hub_server;
mod tokenizers_of_folders;
mod tokenizers_of_gguf;
