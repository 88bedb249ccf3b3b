//! `fidelio render-config`: the run file with every default filled in.

use std::path::PathBuf;

use super::output_file;
use crate::{args::RunFlags, failure::Failure, ui::Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    /// Write it here instead of to stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    let run = args.run.load_any()?;
    if ui.is_json() && args.output.is_none() {
        return ui.json(run.settled());
    }
    output_file::write(ui, args.output.as_deref(), &run.render(), args.overwrite)
}
