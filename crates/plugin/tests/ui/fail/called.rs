//! The function is named, not called.

use fidelio_backend::FakeBackend;

fidelio_plugin::export!(FakeBackend::default());

fn main() {}
