//! `fidelio plugin`: what authors of backend plugins need.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use fidelio::{
    Error,
    backend::{Backend as _, BackendError, BackendInfo},
    plugin::{
        PluginBackend,
        conformance::{self, Model, Outcome, Report, sample_models},
    },
    weights::Checkpoint,
};
use serde::Serialize;

use crate::{
    failure::Failure,
    ui::{self, Ui},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to do with it.
#[derive(Debug, Subcommand)]
enum What {
    /// Load a plugin, and check what every engine must keep.
    Test(Test),
}

#[derive(Debug, clap::Args)]
struct Test {
    /// The shared library; loading it runs its code.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Test with this model instead of a tiny one: a folder with `config.json` and safetensors, or a
    /// GGUF file.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// How much numbers may differ that must be equal but for rounding.
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    tolerance: f32,
}

/// The result for programs.
#[derive(Debug, Serialize)]
struct Tested {
    plugin: BackendInfo,
    #[serde(flatten)]
    report: Report,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    let What::Test(args) = &args.what;
    let plugin = PluginBackend::load(&args.path).map_err(Error::from)?;
    let info = plugin.describe();
    ui.note(format!("{}: {}", info.name, info.about));
    let report = quietly(|| match &args.model {
        Some(path) => with_checkpoint(&plugin, path, args.tolerance, ui),
        None => with_sample(&plugin, args.tolerance, ui),
    })?;
    let failed = report.failures();
    let tested = Tested { plugin: info, report };
    ui.result(&tested, || text(&tested.report))?;
    if failed > 0 { Err(Failure::Found) } else { Ok(()) }
}

fn with_checkpoint(
    plugin: &PluginBackend,
    path: &Path,
    tolerance: f32,
    ui: &Ui,
) -> Result<Report, Failure> {
    let checkpoint = Checkpoint::open(path).map_err(Error::from)?;
    let name = path.display().to_string();
    let model = Model { name: &name, config: checkpoint.config(), weights: checkpoint.weights() };
    Ok(conformance::run(plugin, &model, tolerance, &mut |it| say(ui, it)).map_err(Error::from)?)
}

fn with_sample(plugin: &PluginBackend, tolerance: f32, ui: &Ui) -> Result<Report, Failure> {
    let samples = sample_models();
    let sample = conformance::runnable(plugin, &samples).map_err(|error| match error {
        BackendError::Architecture { supported, .. } => Failure::usage_with(
            "the plugin runs none of the suite's own models",
            format!("it runs {}; give one with `--model`", supported.join(", ")),
        ),
        other => Error::from(other).into(),
    })?;
    let run = conformance::run(plugin, &sample.model(), tolerance, &mut |it| say(ui, it));
    Ok(run.map_err(Error::from)?)
}

/// One line for each check as it ends.
fn say(ui: &Ui, outcome: &Outcome) {
    match &outcome.failure {
        None => ui.note(format!("ok      {}", outcome.check)),
        Some(failure) => ui.note(format!("FAILED  {}: {failure}", outcome.check)),
    }
}

/// Runs checks that tell a failure by a panic, which the report will name: nobody else need hear.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = work();
    std::panic::set_hook(usual);
    outcome
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> =
        report.skipped.iter().map(|what| format!("not checked: {what}")).collect();
    let failed: Vec<&Outcome> =
        report.outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    let checks = ui::count(report.outcomes.len(), "check");
    lines.push(match failed.len() {
        0 => format!("{checks} passed, on the model `{}`", report.model),
        count => format!("{count} of {checks} failed, on the model `{}`", report.model),
    });
    lines.join("\n") + "\n"
}
