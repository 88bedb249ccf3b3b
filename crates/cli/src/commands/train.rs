//! `fidelio train`: learns the answers of a table's rows.

use std::path::PathBuf;

use fidelio::{
    Training, adapter_folder,
    trainer::{Ended, Summary},
};
use serde_json::{Value, json};

use super::run_folder::RunFolder;
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
    let run = args.run.load()?;
    let data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let model = super::model(&machine, &run, ui)?;
    let mut watch = Watch::new(ui);
    let mut training = Training::prepare(&machine, &run, model, &data, &mut watch)?;
    watch.finish();
    say_rows(ui, &training);

    let folder = match &args.model_resume_path {
        Some(folder) => RunFolder::at(folder)?,
        None => RunFolder::create(&args.results)?,
    };
    let resume = args.model_resume_path.is_some();
    let summary = training.run(folder.results(), resume, &mut Lessons::new(ui))?;

    let place = folder.results().folder();
    ui.note(format!("results in {}", place.display()));
    ui.result(&answer(&summary, place), || said(&summary, place))?;
    if summary.ended == Ended::Stopped {
        let place = place.display();
        return Err(Failure::Interrupted {
            kept: format!(
                "{} of {} updates are saved; go on with `--model-resume-path {place}`",
                summary.update, summary.of
            ),
        });
    }
    Ok(())
}

fn say_rows(ui: &Ui, training: &Training) {
    let ((rows, held_out), ledger) = (training.rows(), training.ledger());
    ui.note(format!(
        "{rows} training and {held_out} validation rows; {} tokens read, {} learnt, {} masked, \
         {} dropped, {} cut",
        ledger.read, ledger.learnt, ledger.masked, ledger.dropped, ledger.cut
    ));
}

fn answer(summary: &Summary, folder: &std::path::Path) -> Value {
    json!({ "summary": summary, "folder": folder, "adapter": adapter_folder(folder) })
}

fn said(summary: &Summary, folder: &std::path::Path) -> String {
    let best = summary.best.map_or_else(String::new, |best| {
        format!("best loss {:.4} after update {}\n", best.metric, best.update)
    });
    let adapter = adapter_folder(folder);
    format!("{} updates\n{best}adapter in {}", summary.update, adapter.display())
}
