//! `cargo xtask bench`: measures.

use crate::programs;
use anyhow::Result;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the benchmarks whose name contains this.
    filter: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = programs::cargo(&["bench", "--package", "fidelio-benchmarks"]);
    if let Some(filter) = &args.filter {
        command.args(["--", filter]);
    }
    programs::run(&mut command)
}
