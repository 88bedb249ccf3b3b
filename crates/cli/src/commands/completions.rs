//! `fidelio completions`: what a shell needs to complete our flags.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Cli, failure::Failure, ui::Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    // To memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fidelio", &mut script);
    ui.print(&String::from_utf8_lossy(&script))
}
