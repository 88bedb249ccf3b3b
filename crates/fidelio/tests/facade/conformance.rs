//! The suite that plugins are judged by, on the engines of this build.

use fidelio::plugin::conformance::{run, runnable, sample_models};

use crate::{devices, machine};

#[test]
fn built_in_engines_pass_the_suite_that_plugins_must_pass() {
    let machine = machine();
    let samples = sample_models();
    for name in devices() {
        let backend = machine.device(&name).unwrap().backend;
        let sample = runnable(backend.as_ref(), &samples).unwrap();
        assert_eq!(sample.name(), "llama", "{name}");
        let report = run(backend.as_ref(), &sample.model(), 1e-3, &mut |_| {}).unwrap();
        assert_eq!(report.failures(), 0, "{name}: {report:#?}");
        // What opening shows, rows and scores, and two poolings; engines that learn have more.
        assert!(report.outcomes.len() >= 5 + 13 + 10, "{name}: {:?}", report.skipped);
    }
}
