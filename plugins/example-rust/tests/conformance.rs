//! The example keeps what every plugin must keep, loaded from its library as a host loads it.

use std::{env::consts::DLL_EXTENSION, env::consts::DLL_PREFIX};

use fidelio_plugin::{
    PluginBackend,
    conformance::{run, runnable, sample_models},
};

#[test]
fn the_example_passes_the_suite() {
    let test = std::env::current_exe().expect("a test has a file");
    // Cargo puts a crate's library beside its tests.
    let name = format!("{DLL_PREFIX}fidelio_plugin_example_rust.{DLL_EXTENSION}");
    let plugin = PluginBackend::load(&test.with_file_name(name)).expect("the example loads");
    let samples = sample_models();
    let sample = runnable(&plugin, &samples).expect("it runs one of the suite's models");
    assert_eq!(sample.name(), "ngram");
    let report = run(&plugin, &sample.model(), 1e-5, &mut |_| {}).expect("the model opens");
    assert_eq!(report.failures(), 0, "{report:#?}");
    assert_eq!(report.outcomes.len(), 5 + 13 + 6, "{report:#?}");
    assert_eq!(report.skipped.len(), 2, "vectors and adapters: {:?}", report.skipped);
}
