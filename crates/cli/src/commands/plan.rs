//! `fidelio plan`: everything a run decides before its first row or update, and what training costs.

use fidelio::{Cost, Duration, Job, Ledger, Training, TrainingPlan};
use serde::Serialize;
use serde_json::Value;

use crate::{
    args::{DataFlags, Global, RunFlags},
    failure::Failure,
    interrupt,
    ui::{Table, Ui, bytes, outline, progress::Watch, seconds},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlags,
    /// Do not compute the one training step from which the time is told.
    #[arg(long)]
    no_measure: bool,
}

/// What is said of a training run.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    plan: TrainingPlan<'a>,
    cost: &'a Cost,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = args.run.load()?;
    let data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let model = super::model(&machine, &run, ui)?;
    if run.config().trainer.finetune().is_some() && !args.run.is_of_training_run() {
        let mut watch = Watch::new(ui);
        let mut training = Training::prepare(&machine, &run, model, &data, &mut watch)?;
        watch.finish();
        let cost = training.cost(!args.no_measure)?;
        let told = Told { plan: training.plan()?, cost: &cost };
        return ui.result(&told, || format!("{}{}", said(&told.plan), said_of_cost(&cost)));
    }
    let job = Job::prepare(&machine, &run, model, &data)?;
    ui.result(job.plan(), || said(job.plan()))
}

fn said(plan: &impl Serialize) -> String {
    outline(&serde_json::to_value(plan).unwrap_or(Value::Null))
}

fn said_of_cost(cost: &Cost) -> String {
    let memory = cost.memory.as_ref().map(said_of_memory);
    let time = cost.time.as_ref().map(said_of_time);
    memory.into_iter().chain(time).collect()
}

fn said_of_memory(ledger: &Ledger) -> String {
    let engine = &ledger.engine;
    let mut table = Table::bare();
    for (what, size) in [
        ("program and rows", ledger.program),
        ("model file", ledger.file),
        ("weights", engine.weights),
        ("what learns", engine.parameters),
        ("optimizer", engine.optimizer),
        ("gradients", engine.gradients),
        ("activations", engine.activations),
        ("logits", engine.logits),
        ("optimizer's step", engine.step),
        ("at most at a time", ledger.total),
    ] {
        table.row([format!("  {what}"), bytes(size)]);
    }
    let verdict = match (ledger.fits, ledger.available) {
        (Some(true), Some(available)) => format!("fits: {} are available\n", bytes(available)),
        (Some(false), Some(available)) => does_not_fit(ledger, available),
        _ => String::new(),
    };
    format!("memory:\n{}  {verdict}", table.render())
}

fn does_not_fit(ledger: &Ledger, available: u64) -> String {
    let remedies = ledger
        .would_fit
        .iter()
        .map(|remedy| format!("  would fit: {} ({})\n", remedy.set, bytes(remedy.total)));
    let mut remedies: String = remedies.collect();
    if remedies.is_empty() {
        remedies =
            "  what would help: an adapter, a smaller or quantized model, shorter rows\n".into();
    }
    format!("does not fit: only {} are available\n{remedies}", bytes(available))
}

fn said_of_time(time: &Duration) -> String {
    let memory = time.peak_memory.map_or_else(String::new, |peak| {
        format!("  measured memory: {} at most in this first update\n", bytes(peak))
    });
    format!(
        "time:\n  measured: {} for the largest batch of {} tokens, {} for an update\n\
         {memory}  all updates: about {} for {} tokens, evaluations not counted\n",
        seconds(time.seconds_per_batch),
        time.largest_batch,
        seconds(time.seconds_per_update),
        seconds(time.seconds),
        time.tokens,
    )
}
