//! `fidelio export`: what was tuned leaves for llama.cpp and transformers.

use std::path::{Path, PathBuf};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use fidelio::{
    Export, ExportPlan, Machine, Target,
    config::Override,
    eval::Drift,
    weights::{ExportOptions, FloatType, gguf::Quantization},
};

use crate::{
    args::{BaseFlags, Global},
    failure::Failure,
    interrupt,
    ui::{
        Ui, bytes, count,
        progress::{Downloads, Watch},
    },
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of a training run; its adapter is merged in 32 bits first.
    #[arg(
        short,
        long,
        value_name = "DIR",
        conflicts_with = "model",
        required_unless_present = "model"
    )]
    model_path: Option<PathBuf>,
    /// A model instead: an alias, a folder, a GGUF file, or a hub id.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Where it is written; nothing may be there yet.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// What is written.
    #[arg(long, value_name = "FORMAT", default_value = "gguf")]
    format: Format,
    /// What most weights become, by llama.cpp's name; safetensors hold F32, BF16 and F16
    /// [default: Q8_0 in GGUF, BF16 in safetensors].
    #[arg(long, value_name = "TYPE", value_parser = quantization(), ignore_case = true)]
    quantization: Option<Quantization>,
    /// Refuse a result whose next-token distributions diverge more than this on average, in nats
    /// [default: 0.01 for floats, 0.05 for Q8_0 and Q6_K, 0.3 for fewer bits].
    #[arg(long, value_name = "X")]
    max_mean_kl: Option<f64>,
    /// What computes the comparison, for example `flex` or `cuda:1`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    #[command(flatten)]
    base: BaseFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One file for llama.cpp.
    Gguf,
    /// A folder for transformers.
    Safetensors,
}

fn quantization() -> impl clap::builder::TypedValueParser<Value = Quantization> {
    PossibleValuesParser::new(Quantization::ALL.map(Quantization::name))
        .try_map(|name| name.parse::<Quantization>())
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let target = args.target()?;
    let machine = super::machine(global)?;
    let export = args.export(&machine, ui)?;
    let plan = export.plan(target)?;
    tell(&plan, export.note(), ui);
    let allowed = args.max_mean_kl.unwrap_or(target.max_mean_kl());
    let drift = watched(&plan, &args.output, allowed, ui)?;
    ui.note(format!("the model is in {}", args.output.display()));
    let answer = serde_json::json!({
        "path": args.output, "tensors": plan.groups(), "notes": plan.notes(), "drift": drift,
    });
    ui.result(&answer, || said(&drift))
}

/// Writes, showing how far it is; Ctrl-C ends it and leaves nothing.
pub(super) fn watched(
    plan: &ExportPlan<'_>,
    to: &Path,
    allowed: f64,
    ui: &Ui,
) -> Result<Drift, Failure> {
    interrupt::listen();
    let mut watch = Watch::new(ui);
    let drift = plan.write(to, allowed, &mut watch)?;
    watch.finish();
    Ok(drift)
}

impl Args {
    fn target(&self) -> Result<Target, Failure> {
        let float_type = match (self.format, self.quantization) {
            (Format::Gguf, asked) => {
                return Ok(Target::Gguf(asked.unwrap_or(Quantization::Q8_0)));
            }
            (Format::Safetensors, None | Some(Quantization::BF16)) => FloatType::Bf16,
            (Format::Safetensors, Some(Quantization::F16)) => FloatType::F16,
            (Format::Safetensors, Some(Quantization::F32)) => FloatType::F32,
            (Format::Safetensors, Some(blocks)) => {
                return Err(Failure::usage_with(
                    format!("safetensors hold no {blocks}"),
                    "write `--format gguf`, or one of F32, BF16, F16",
                ));
            }
        };
        Ok(Target::Folder(ExportOptions { float_type, ..ExportOptions::default() }))
    }

    fn export<'a>(&self, machine: &'a Machine, ui: &Ui) -> Result<Export<'a>, Failure> {
        let progress = Downloads::new(ui);
        let Some(folder) = &self.model_path else {
            let model = self.model.as_deref().unwrap_or_default();
            return Ok(Export::of_model(machine, model, &self.device, &progress)?);
        };
        let device = serde_json::Value::from(self.device.as_str());
        let run = self.base.run(folder, &[Override::new(format!("device={device}"))])?;
        Ok(Export::of_run(machine, &run, &progress)?)
    }
}

/// What the tensors become, before any of them is read.
fn tell(plan: &ExportPlan<'_>, about: Option<&str>, ui: &Ui) {
    for group in plan.groups() {
        ui.note(format!(
            "{} as {}, {}: {}",
            count(group.tensors, "tensor"),
            group.encoding,
            bytes(group.bytes),
            group.reason
        ));
    }
    for note in plan.notes().iter().map(String::as_str).chain(about) {
        ui.note(format!("note: {note}"));
    }
}

/// What a result differs in.
pub(super) fn said(drift: &Drift) -> String {
    format!(
        "drift over {} positions of {} prompts: mean KL {:.2e}, largest logit difference {:.3}, \
         top-1 agreement {:.1} %, greedy match {:.1} %\n",
        drift.positions,
        drift.prompts,
        drift.mean_kl,
        drift.largest_logit_difference,
        100.0 * drift.top1_agreement,
        100.0 * drift.greedy_match
    )
}
