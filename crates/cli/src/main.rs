//! The binary `fidelio`.
//!
//! Data goes to stdout, everything else to stderr. Exit 0: done; 1: the work failed; 2: it could
//! not be done as asked.

mod args;
mod commands;
mod failure;
mod heap;
mod interrupt;
mod ludwig;
mod panics;
mod ui;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

use crate::{args::Cli, failure::Failure, ui::Ui};

fn main() -> ExitCode {
    heap::share();
    panics::install();
    let arguments = ludwig::respell(std::env::args_os());
    match std::panic::catch_unwind(|| run(arguments)) {
        Ok(code) => code,
        // The hook has said it.
        Err(_) => ExitCode::from(failure::FAILED),
    }
}

fn run(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return ludwig::answer(&error),
    };
    let ui = Ui::new(&cli.global);
    match commands::run(cli, &ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.code();
            // A reader that went away has all it wanted, and nobody is left to tell.
            if !matches!(failure, Failure::BrokenPipe) {
                ui::errors::report(&ui, &failure);
            }
            ExitCode::from(code)
        }
    }
}
