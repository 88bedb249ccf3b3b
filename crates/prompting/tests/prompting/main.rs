//! The crate as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod cases;
mod chat_goldens;
mod documents;
mod examples;
mod mask_goldens;
mod pains;
mod properties;
mod renderer;
mod tools;
