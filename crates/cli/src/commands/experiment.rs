//! `fidelio experiment`: learn, then measure on the test rows.

use fidelio::{Job, RunFile, SplitChoice};

use super::{
    evaluate::{Saved, measure},
    run_folder::RunFolder,
    train::{learn, stopped},
};
use crate::{
    args::{DataFlags, Global, ResultFlags, RunFlags},
    failure::Failure,
    interrupt,
    ui::Ui,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    results: ResultFlags,
}

/// Below the run's folder: what the test rows gave.
const TEST: &str = "test";

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = args.run.load()?;
    let mut data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let folder = RunFolder::create(&args.results)?;
    let place = folder.results().folder();
    let test = RunFolder::at(&place.join(TEST))?;
    data.split = SplitChoice::Test;
    // Without test rows there is nothing to measure: said before anything is learnt.
    let trained = run.config().trainer.finetune().is_some();
    if trained {
        let model = super::model(&machine, &run, ui)?;
        drop(Job::prepare(&machine, &run, model, &data)?);
        let summary = learn(&run, &machine, &data, &folder, false, ui)?;
        stopped(&summary, place)?;
    }
    let run = if trained { RunFile::of_run(place, &[])? } else { run };
    let model = super::model(&machine, &run, ui)?;
    let mut job = Job::prepare_to_measure(&machine, &run, model, &data)?;
    let saved = Saved {
        predictions: !args.results.skip_save_predictions,
        format: args.results.predictions_format,
        statistics: true,
    };
    measure(&run, &mut job, &test, &saved, ui)
}
