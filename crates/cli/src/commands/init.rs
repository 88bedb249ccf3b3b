//! `fidelio init`: a first run file for a table.

use std::path::PathBuf;

use fidelio::{data::Table, draft};
use serde_json::json;

use super::output_file;
use crate::{args, failure::Failure, ui::Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table; repeat it for several files.
    #[arg(short, long, value_name = "FILE", required = true, num_args = 1..)]
    dataset: Vec<PathBuf>,
    /// The column to predict; the likeliest when not given.
    #[arg(short, long, value_name = "COLUMN")]
    target: Option<String>,
    /// The model: an alias, a folder, a GGUF file, or a hub id.
    #[arg(long, value_name = "MODEL", default_value = "smollm2-135m")]
    model: String,
    /// The table's format; by its extension when not given.
    #[arg(long, value_name = "FORMAT")]
    data_format: Option<String>,
    /// The run file to write; `-` for stdout.
    #[arg(short, long, value_name = "FILE", default_value = "run.yaml")]
    output: PathBuf,
    /// Replace a run file that is there.
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    let options = args::read_options(args.data_format.as_deref())?;
    let table = Table::open(&args.dataset, &options)?;
    let draft = draft(&table, args.target.as_deref(), &args.model)?;
    output_file::write(ui, Some(&args.output), &draft.text, args.overwrite)?;
    if !draft.questions.is_empty() {
        ui.note("to settle before the first run:");
        for question in &draft.questions {
            ui.note(format!("  - {question}"));
        }
    }
    let to_stdout = args.output.as_os_str() == "-";
    if ui.is_json() && !to_stdout {
        ui.json(&json!({ "run_file": args.output, "questions": draft.questions }))?;
    }
    Ok(())
}
