//! The facade on the real default model, against references made by other software.
//!
//! Tests that need the model read it from the user's cache and say so when it is not there.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says when it is skipped"
)]

mod adapters;
mod advise;
mod conformance;
mod corpus;
mod documents;
mod embedding;
mod examples;
mod export;
mod foreign;
mod jobs;
mod left;
mod peft_trace;
mod probes;
mod provenance;
mod reports;
mod smollm2;
mod structured;
mod training;

use std::path::PathBuf;

use fidelio::{Machine, config::Surroundings};

/// The machine as the tests see it: the user's cache, no network, no settings of the user.
pub(crate) fn machine() -> Machine {
    let process = Surroundings::of_process();
    let variables = process
        .variables
        .into_iter()
        .filter(|(name, _)| {
            matches!(name.as_str(), "HOME" | "XDG_CACHE_HOME" | "FIDELIO_CACHE_DIR")
        })
        .collect();
    let around = Surroundings { variables, folder: std::env::temp_dir() };
    Machine::new(&around, &[("offline", "true".into())]).unwrap()
}

/// The devices that the model is compared on, the default first: all that are compiled in, or the
/// one that `FIDELIO_TEST_DEVICE` names (`cargo xtask test --device`).
pub(crate) fn devices() -> Vec<String> {
    let wanted = std::env::var("FIDELIO_TEST_DEVICE").ok();
    let mut devices: Vec<String> =
        machine().backends().into_iter().map(|backend| backend.name).collect();
    devices.retain(|device| wanted.as_ref().is_none_or(|wanted| wanted == device));
    assert!(!devices.is_empty(), "this build has no engine for {wanted:?}");
    devices
}

/// A machine whose home and caches are in a folder.
pub(crate) fn machine_at(folder: &std::path::Path) -> Machine {
    let home = folder.to_string_lossy().into_owned();
    let variables = [("HOME".to_owned(), home)].into();
    let around = Surroundings { variables, folder: folder.to_owned() };
    Machine::new(&around, &[("offline", "true".into())]).unwrap()
}

/// The default model's file, or `None` with a word about it.
pub(crate) fn default_model(test: &str) -> Option<PathBuf> {
    let cache = machine().settings().cache_dir.value.clone();
    let path = cache.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    if path.exists() {
        return Some(path);
    }
    eprintln!("{test} was skipped: `{}` is missing; run `cargo xtask fetch`", path.display());
    None
}
