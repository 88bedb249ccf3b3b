//! `fidelio merge`: what an adapter adds, worked into its model.

use std::path::PathBuf;

use clap::ValueEnum;
use fidelio::{
    MAX_MEAN_KL, Merge, RunFile,
    eval::Drift,
    weights::{ExportOptions, FloatType},
};

use crate::{
    args::Global,
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
    /// Refuse a result whose next-token distributions diverge more than this on average, in nats.
    #[arg(long, value_name = "X", default_value_t = MAX_MEAN_KL)]
    max_mean_kl: f64,
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
    let run = RunFile::of_run(&args.model_path, &[])?;
    let merge = Merge::new(&machine, &run, &Downloads::new(ui))?;
    let options = ExportOptions {
        float_type: match args.float_type {
            Float::F32 => FloatType::F32,
            Float::Bf16 => FloatType::Bf16,
            Float::F16 => FloatType::F16,
        },
        ..ExportOptions::default()
    };
    let to = &args.output_directory;
    let drift = merge.write(to, &options, args.max_mean_kl)?;
    let rounded = merge.drift_from_rounded(to)?;
    ui.note(format!("the merged model is in {}", to.display()));
    if let Some(rounded) = &rounded {
        ui.note(format!(
            "the run learnt beside rounded weights, and was merged into the unrounded ones; from the \
             run as it learnt: {}",
            said(rounded)
        ));
    }
    let result = serde_json::json!({
        "folder": to,
        "drift": drift,
        "drift_from_quantized": rounded,
    });
    ui.result(&result, || said(&drift))
}

fn said(drift: &Drift) -> String {
    format!(
        "drift over {} positions of {} prompts: mean KL {:.2e}, largest logit difference {:.3}, \
         top-1 agreement {:.1} %, greedy match {:.1} %",
        drift.positions,
        drift.prompts,
        drift.mean_kl,
        drift.largest_logit_difference,
        100.0 * drift.top1_agreement,
        100.0 * drift.greedy_match
    )
}
