//! `fidelio merge`: what an adapter adds, worked into its model.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fidelio::{
    Export, Machine, RunFile, Target,
    eval::Drift,
    weights::{ExportOptions, FloatType},
};

use super::export;
use crate::{
    args::{BaseFlags, Global},
    failure::Failure,
    ui::{Ui, progress::Downloads},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the training run.
    #[arg(short, long, value_name = "DIR")]
    model_path: PathBuf,
    /// The folder for the merged model; it must not be there yet.
    #[arg(short, long, value_name = "DIR")]
    output_directory: PathBuf,
    /// What the weights are written as, after they were merged in 32 bits.
    #[arg(long, value_name = "TYPE", default_value = "bf16")]
    float_type: Float,
    /// Refuse a result whose next-token distributions diverge more than this on average, in nats
    /// [default: 0.01].
    #[arg(long, value_name = "X")]
    max_mean_kl: Option<f64>,
    #[command(flatten)]
    base: BaseFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Float {
    /// 32-bit floats.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits, IEEE.
    F16,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let machine = super::machine(global)?;
    let run = args.base.run(&args.model_path, &[])?;
    let float_type = match args.float_type {
        Float::F32 => FloatType::F32,
        Float::Bf16 => FloatType::Bf16,
        Float::F16 => FloatType::F16,
    };
    let target = Target::Folder(ExportOptions { float_type, ..ExportOptions::default() });
    let to = &args.output_directory;
    let merged = write(&machine, &run, to, target, args.max_mean_kl, ui)?;
    let answer = serde_json::json!({
        "folder": to,
        "drift": merged.drift,
        "drift_from_quantized": merged.from_quantized,
    });
    ui.result(&answer, || export::said(&merged.drift))
}

/// How far a merged model is from its adapter beside its base.
pub(super) struct Merged {
    pub(super) drift: Drift,
    /// From the run as it learnt, where that was beside rounded weights.
    from_quantized: Option<Drift>,
}

/// Writes the model of a run with its adapter worked into it, and tells how far it drifted.
pub(super) fn write(
    machine: &Machine,
    run: &RunFile,
    to: &Path,
    target: Target,
    max_mean_kl: Option<f64>,
    ui: &Ui,
) -> Result<Merged, Failure> {
    let export = Export::of_adapter(machine, run, &Downloads::new(ui))?;
    if let Some(note) = export.note() {
        ui.note(format!("note: {note}"));
    }
    let allowed = max_mean_kl.unwrap_or(target.max_mean_kl());
    let drift = export::watched(&export.plan(target)?, to, allowed, ui)?;
    ui.note(format!("the merged model is in {}", to.display()));
    let from_quantized = export.drift_from_rounded(to)?;
    if let Some(rounded) = &from_quantized {
        ui.note(format!(
            "the run learnt beside rounded weights, and was merged into the unrounded ones; from the \
             run as it learnt: {}",
            export::said(rounded)
        ));
    }
    Ok(Merged { drift, from_quantized })
}
