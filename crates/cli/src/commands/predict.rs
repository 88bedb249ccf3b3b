//! `fidelio predict`: an answer for every row of a table.

use fidelio::{AnyRunFile, Job, Usage};
use serde_json::json;

use super::{probe, run_folder::RunFolder};
use crate::{
    args::{DataFlags, Global, ResultFlags, RunFlags},
    failure::Failure,
    interrupt,
    ui::{self, Ui, progress::Watch},
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

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = match args.run.load_any()? {
        AnyRunFile::Llm(run) => *run,
        AnyRunFile::Probe(run) => {
            return probe::predict(&run, &args.data, &args.results, global, ui);
        }
    };
    let data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let model = super::model(&machine, &run, ui)?;
    let mut job = Job::prepare(&machine, &run, model, &data)?;
    let folder = RunFolder::create(&args.results)?;
    super::say_notes(ui, &job);

    let mut watch = Watch::new(ui);
    let predictions = job.predict(&mut watch)?;
    watch.finish();

    let results = folder.results();
    let path = if args.results.skip_save_predictions {
        None
    } else {
        let format = args.results.predictions_format.into();
        Some(results.write_predictions(&job, &predictions, None, format)?)
    };
    results.finish(&run, &job, &predictions, None)?;

    let usage = &predictions.usage;
    say_usage(ui, usage);
    let value = json!({
        "folder": results.folder(),
        "predictions": path,
        "stopped": predictions.stopped,
        "usage": usage,
    });
    let line = |path: &std::path::PathBuf| format!("{}\n", path.display());
    ui.result(&value, || path.as_ref().map_or_else(String::new, line))?;
    stopped(predictions.stopped, usage.rows, job.plan().data.rows, results.folder())
}

/// What a run took, on one line.
pub(super) fn say_usage(ui: &Ui, usage: &Usage) {
    let memory = usage
        .peak_memory
        .map_or_else(String::new, |peak| format!(", peak memory {}", ui::bytes(peak)));
    ui.note(format!(
        "{} in {}, {:.0} tokens/s{memory}",
        ui::count(usage.rows, "row"),
        ui::seconds(usage.seconds),
        usage.tokens_per_second
    ));
}

/// A run that the user stopped has failed, though what was done is kept.
pub(super) fn stopped(
    stopped: bool,
    done: usize,
    rows: usize,
    folder: &std::path::Path,
) -> Result<(), Failure> {
    if !stopped {
        return Ok(());
    }
    let folder = folder.display();
    Err(Failure::Interrupted {
        kept: format!("{done} of {rows} rows are answered; they are in `{folder}`"),
    })
}
