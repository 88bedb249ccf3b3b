//! `fidelio schema`: a JSON Schema of run files, for editors.

use std::path::PathBuf;

use fidelio::config::json_schema;

use super::output_file;
use crate::{failure::Failure, ui::Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write it here instead of to stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    // The alternate form of a JSON value is indented.
    let text = format!("{:#}\n", json_schema());
    output_file::write(ui, args.output.as_deref(), &text, args.overwrite)
}
