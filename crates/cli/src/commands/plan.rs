//! `fidelio plan`: everything a run decides before its first row.

use fidelio::Job;
use serde_json::Value;

use crate::{
    args::{DataFlags, Global, RunFlags},
    failure::Failure,
    interrupt,
    ui::{Ui, outline},
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
    let job = Job::prepare(&machine, &run, model, &data)?;
    ui.result(job.plan(), || outline(&serde_json::to_value(job.plan()).unwrap_or(Value::Null)))
}
