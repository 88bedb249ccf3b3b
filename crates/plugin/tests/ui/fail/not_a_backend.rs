//! What is exported must be a backend.

struct Mine;

impl Mine {
    fn new() -> Self {
        Self
    }
}

fidelio_plugin::export!(Mine::new);

fn main() {}
