//! The suite: it passes the example in C, and finds what an engine does wrong.

use std::path::Path;

use fidelio_backend::{Backend, BackendError, FakeBackend};
use fidelio_plugin::{
    PluginBackend,
    conformance::{Model, run, runnable, sample_models},
};

use crate::c::compile;

#[test]
fn the_example_in_c_passes() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/example-c/plugin.c");
    let compiled = compile(source.to_str().unwrap(), "example-c", &[]);
    let plugin = PluginBackend::load(&compiled.path).unwrap();
    assert_eq!(plugin.describe().name, "plugin:example-c");
    let samples = sample_models();
    let sample = runnable(&plugin, &samples).unwrap();
    let mut told = 0;
    let report = run(&plugin, &sample.model(), 1e-5, &mut |_| told += 1).unwrap();
    assert_eq!(report.failures(), 0, "{report:#?}");
    assert_eq!((told, report.outcomes.len()), (5 + 13, 5 + 13));
}

#[test]
fn an_engine_that_opens_anything_is_found_out() {
    let backend = FakeBackend::default();
    let samples = sample_models();
    let model = samples[1].model();
    let report = run(&backend, &model, 1e-5, &mut |_| {}).unwrap();
    let failed: Vec<&str> = report
        .outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .map(|outcome| outcome.check.as_str())
        .collect();
    // It reads no weights and no architecture, and its sessions are right.
    let expected = [
        "an unknown architecture is refused",
        "a missing tensor is refused",
        "a strange tensor is refused",
        "a misshapen tensor is refused",
    ];
    assert_eq!(failed, expected, "{report:#?}");
}

#[test]
fn a_model_that_is_too_small_is_not_tested_with() {
    let config = serde_json::json!({ "vocab_size": 4, "max_position_embeddings": 64 });
    let samples = sample_models();
    let model = Model { config: &config, ..samples[0].model() };
    let Err(error) = run(&FakeBackend::default(), &model, 0.0, &mut |_| {}) else {
        panic!("it was tested")
    };
    assert!(matches!(&error, BackendError::Engine(what) if what.contains("too small")), "{error}");
}
