//! The function takes no arguments.

use fidelio_backend::FakeBackend;

fn new(_threads: usize) -> FakeBackend {
    FakeBackend::default()
}

fidelio_plugin::export!(new);

fn main() {}
