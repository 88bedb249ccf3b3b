//! The project's own commands: `cargo xtask <command>`.
//!
//! One file per command; this file is the list of them.
//! It depends on no crate of ours, so that it builds in seconds and works when they do not.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool: results on stdout, progress on stderr"
)]

mod archive;
mod bench;
mod check;
mod docs;
mod fetch;
mod golden;
mod new_arch;
mod pins;
mod places;
mod plugin;
mod programs;
mod public_items;
mod python;
mod quickstart;
mod tables;
mod test;
mod tidy;
mod watch;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the release binary, fetch the default model, and measure it on two real tables.
    Quickstart(quickstart::Args),
    /// Everything a submission must pass, cheapest first; stops at the first failure.
    Check(check::Args),
    /// The tests: nextest, then the examples in the documentation.
    Test(test::Args),
    /// Rules no compiler knows: layers, licences, links, names.
    Tidy,
    /// Bring models and test fixtures into the user's cache, each checked against its pinned hash.
    Fetch(fetch::Args),
    /// Derive the two demonstration tables in `datasets/` again.
    Tables(tables::Args),
    /// Regenerate the reference values that tests compare with.
    Golden(golden::Args),
    /// Write the generated pages under `docs/reference/`, and the C header of plugins.
    Docs(docs::Args),
    /// Start a backend plugin outside of this workspace.
    Plugin(plugin::Args),
    /// Start an architecture: its file, and its name where architectures are listed.
    NewArch(new_arch::Args),
    /// Measure: kernels, and whole runs beside the tools that users would pick instead.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
        Command::Fetch(args) => fetch::run(&args),
        Command::Tables(args) => tables::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Docs(args) => docs::run(&args),
        Command::Plugin(args) => plugin::run(&args),
        Command::NewArch(args) => new_arch::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}

/// The names of all commands, for the rule that documents name only what exists.
fn command_names() -> Vec<String> {
    use clap::CommandFactory;
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
