//! `cargo xtask bench`: measures.

mod case;
mod data;
mod e2e;
mod fidelio;
mod machine;
mod models;
mod page;
mod peers;
mod results;
mod statistics;

use crate::programs;
use anyhow::Result;

pub(crate) use page::check as check_page;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Kernels, each by itself.
    Micro {
        /// Only the benchmarks whose name contains this.
        filter: Option<String>,
    },
    /// Whole runs of the release binary, beside other tools if asked for.
    E2e(e2e::Args),
    /// Write `docs/benchmarks.md` from what `e2e` has stored.
    Page,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Micro { filter } => micro(filter.as_deref()),
        Command::E2e(args) => e2e::run(args),
        Command::Page => page::write(),
    }
}

fn micro(filter: Option<&str>) -> Result<()> {
    let mut command = programs::cargo(&["bench", "--package", "fidelio-benchmarks"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    programs::run(&mut command)
}
