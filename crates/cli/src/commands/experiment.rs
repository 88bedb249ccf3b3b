//! `fidelio experiment`: learn, then measure on the test rows; once, or once for each fold.

use std::path::Path;

use fidelio::{Across, AnyRunFile, DataArgs, Fold, Job, Machine, RunFile, SplitChoice};
use serde_json::json;

use super::{
    evaluate::{Saved, measure, measured},
    predict, probe,
    run_folder::RunFolder,
    train::{learn, stopped},
};
use crate::{
    args::{DataFlags, Global, ResultFlags, RunFlags},
    failure::Failure,
    interrupt,
    ui::{Table, Ui},
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
    /// Cross-validation: divide the table into N folds, learn N times from all but one of them, and
    /// measure each time on the one left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    k_fold: Option<u16>,
}

/// Below the run's folder: what the test rows gave.
pub(super) const TEST: &str = "test";

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = args.run.load_any()?;
    let mut data = args.data.to_args()?;
    data.split = SplitChoice::Test;
    if args.k_fold.is_some() && !args.data.is_whole() {
        return Err(Failure::usage_with(
            "`--k-fold` divides one table, and several sets are given",
            "name the whole table with `--dataset FILE`",
        ));
    }
    let folds = args.k_fold.map(usize::from);
    let run = match run {
        AnyRunFile::Llm(run) => *run,
        AnyRunFile::Probe(run) => {
            let (flags, saved) = (&args.results, &args.saved());
            return probe::experiment(&run, &data, folds, flags, saved, global, ui);
        }
    };
    let machine = super::machine(global)?;
    interrupt::listen();
    let folder = RunFolder::create(&args.results)?;
    let experiment = Experiment { run: &run, machine: &machine, saved: args.saved(), ui };
    if let Some(folds) = folds {
        return experiment.cross(&data, folds, &folder);
    }
    let test = RunFolder::at(&folder.results().folder().join(TEST))?;
    let (run, mut job) = experiment.learnt(&data, &folder)?;
    measure(&run, &mut job, &test, &experiment.saved, ui)
}

impl Args {
    fn saved(&self) -> Saved {
        Saved {
            predictions: !self.results.skip_save_predictions,
            format: self.results.predictions_format,
            statistics: true,
        }
    }
}

/// What is done, once or for each fold.
struct Experiment<'a> {
    run: &'a RunFile,
    machine: &'a Machine,
    saved: Saved,
    ui: &'a Ui,
}

impl Experiment<'_> {
    /// Learns, if the run file says so; gives what is measured then.
    fn learnt(&self, data: &DataArgs, folder: &RunFolder) -> Result<(RunFile, Job), Failure> {
        let (machine, ui, place) = (self.machine, self.ui, folder.results().folder());
        let mut run = self.run.clone();
        if run.config().trainer.finetune().is_some() {
            // Without test rows there is nothing to measure: said before anything is learnt.
            let model = super::model(machine, &run, ui)?;
            drop(Job::prepare(machine, &run, model, data)?);
            let summary = learn(&run, machine, data, folder, false, ui)?;
            stopped(&summary, place)?;
            run = RunFile::of_run(place, &[])?;
        }
        let model = super::model(machine, &run, ui)?;
        let job = Job::prepare_to_measure(machine, &run, model, data)?;
        Ok((run, job))
    }

    fn cross(&self, data: &DataArgs, folds: usize, into: &RunFolder) -> Result<(), Failure> {
        let mut reports = Vec::with_capacity(folds);
        let place = into.results().folder();
        for number in 0..folds {
            let data = DataArgs { fold: Some(Fold { number, of: folds }), ..data.clone() };
            let name = format!("fold_{}", number + 1);
            self.ui.note(format!("fold {} of {folds}", number + 1));
            let folder = RunFolder::at(&place.join(&name))?;
            let test = RunFolder::at(&folder.results().folder().join(TEST))?;
            let (run, mut job) = self.learnt(&data, &folder)?;
            let evaluation = measured(&run, &mut job, &test, &self.saved, self.ui)?;
            let (answered, rows) = (&evaluation.predictions, job.plan().data.rows);
            predict::stopped(answered.stopped, answered.usage.rows, rows, place)?;
            reports.push(evaluation.report);
        }
        let across = Across::of(&reports);
        into.results().write_folds(&across)?;
        self.ui.result(&json!({ "folds": across, "folder": place }), || said(&across, place))
    }
}

pub(super) fn said(across: &Across, place: &Path) -> String {
    let mut table = Table::new(["metric", "mean", "deviation"]);
    for (name, spread) in &across.metrics {
        table.row([name.clone(), format!("{:.4}", spread.mean), format!("{:.4}", spread.std)]);
    }
    format!("{}{} folds: {}\n", table.render(), across.folds, place.display())
}
