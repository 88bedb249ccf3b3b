//! `fidelio plan`: everything a run decides before its first row or update.

use fidelio::{Job, Training};
use serde::Serialize;
use serde_json::Value;

use crate::{
    args::{DataFlags, Global, RunFlags},
    failure::Failure,
    interrupt,
    ui::{Ui, outline, progress::Watch},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlags,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = args.run.load()?;
    let data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let model = super::model(&machine, &run, ui)?;
    if run.config().trainer.finetune().is_some() && !args.run.is_of_training_run() {
        let mut watch = Watch::new(ui);
        let training = Training::prepare(&machine, &run, model, &data, &mut watch)?;
        watch.finish();
        return show(&training.plan()?, ui);
    }
    show(Job::prepare(&machine, &run, model, &data)?.plan(), ui)
}

fn show(plan: &impl Serialize, ui: &Ui) -> Result<(), Failure> {
    ui.result(plan, || outline(&serde_json::to_value(plan).unwrap_or(Value::Null)))
}
