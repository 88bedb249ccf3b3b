//! `fidelio train`: learns the answers of a table's rows.

use std::path::{Path, PathBuf};

use fidelio::{
    AnyRunFile, DataArgs, Error, Machine, RunFile, Target, Training, merged_folder, model_folder,
    trainer::{Ended, Summary},
    weights::ExportOptions,
};
use serde_json::{Value, json};

use super::{export, merge, probe, run_folder::RunFolder};
use crate::{
    args::{DataFlags, Global, ResultFlags, RunFlags},
    failure::Failure,
    interrupt,
    ui::{
        Ui,
        progress::{Lessons, Watch},
    },
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
    /// Go on with an interrupted run from the last checkpoint in its folder.
    #[arg(long, value_name = "DIR", conflicts_with = "output_directory")]
    model_resume_path: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = match args.run.load_any()? {
        AnyRunFile::Llm(run) => *run,
        AnyRunFile::Probe(run) if args.model_resume_path.is_none() => {
            return probe::train(&run, &args.data, &args.results, global, ui);
        }
        AnyRunFile::Probe(_) => {
            return Err(Failure::usage_with(
                "a head is fitted at once, so no run of `model_type: ecd` is interrupted half way",
                "leave out `--model-resume-path`; vectors that were computed are on disk",
            ));
        }
    };
    let data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let folder = args.folder()?;
    let summary = learn(&run, &machine, &data, &folder, args.model_resume_path.is_some(), ui)?;
    let place = folder.results().folder();
    ui.result(&answer(&summary, place), || said(&summary, place))?;
    stopped(&summary, place)
}

impl Args {
    fn folder(&self) -> Result<RunFolder, Failure> {
        match &self.model_resume_path {
            Some(folder) => RunFolder::at(folder),
            None => RunFolder::create(&self.results),
        }
    }
}

/// Learns from the training rows of `data`, into `folder`.
pub(super) fn learn(
    run: &RunFile,
    machine: &Machine,
    data: &DataArgs,
    folder: &RunFolder,
    resume: bool,
    ui: &Ui,
) -> Result<Summary, Failure> {
    let model = super::model(machine, run, ui)?;
    let mut watch = Watch::new(ui);
    let mut training = Training::prepare(machine, run, model, data, &mut watch)?;
    watch.finish();
    say_rows(ui, &training);
    let summary = training.run(folder.results(), resume, &mut Lessons::new(ui))?;
    ui.note(format!("results in {}", folder.results().folder().display()));
    if run.config().merges_adapter() && summary.ended != Ended::Stopped {
        merge(machine, folder.results().folder(), ui)?;
    }
    Ok(summary)
}

/// Writes the whole model beside the adapter that a run has learnt.
fn merge(machine: &Machine, folder: &Path, ui: &Ui) -> Result<(), Failure> {
    let run = RunFile::of_run(folder, &[])?;
    let to = merged_folder(folder);
    if to.exists() {
        let gone = std::fs::remove_dir_all(&to);
        gone.map_err(|source| Error::Write { path: to.clone(), source })?;
    }
    let target = Target::Folder(ExportOptions::default());
    let merged = merge::write(machine, &run, &to, target, None, ui)?;
    ui.note(export::said(&merged.drift));
    Ok(())
}

/// The news that the user stopped it, and how it goes on.
pub(super) fn stopped(summary: &Summary, folder: &Path) -> Result<(), Failure> {
    if summary.ended != Ended::Stopped {
        return Ok(());
    }
    let folder = folder.display();
    Err(Failure::Interrupted {
        kept: format!(
            "{} of {} updates are saved; go on with `--model-resume-path {folder}`",
            summary.update, summary.of
        ),
    })
}

fn say_rows(ui: &Ui, training: &Training) {
    let ((rows, held_out), ledger) = (training.rows(), training.ledger());
    let again = match ledger.repeated {
        0 => String::new(),
        tokens => format!("; windows read {tokens} of them again"),
    };
    ui.note(format!(
        "{rows} training and {held_out} validation rows; {} tokens read, {} learnt, {} masked, \
         {} dropped, {} cut{again}",
        ledger.read, ledger.learnt, ledger.masked, ledger.dropped, ledger.cut
    ));
}

fn answer(summary: &Summary, folder: &Path) -> Value {
    json!({ "summary": summary, "folder": folder, "model": model_folder(folder) })
}

fn said(summary: &Summary, folder: &Path) -> String {
    let best = summary.best.map_or_else(String::new, |best| {
        let name = &summary.validation_metric;
        format!("best {name} {:.4} after update {}\n", best.metric, best.update)
    });
    format!("{} updates\n{best}learnt: {}", summary.update, model_folder(folder).display())
}
