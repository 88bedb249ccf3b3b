//! The binary `fidelio`.

fn main() {}
