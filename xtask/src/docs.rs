//! `cargo xtask docs`: writes the generated pages under `docs/reference/`, and the header of plugins.
//!
//! Its check also covers `docs/benchmarks.md`, which `cargo xtask bench page` writes.

use crate::{bench, places, programs, public_items, test};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing and fail if a page would change.
    #[arg(long)]
    pub(crate) check: bool,
}

/// What prints a page.
enum Printer {
    /// An example program of a crate.
    Example { package: &'static str, example: &'static str },
    /// The binary `fidelio`, asked for this.
    Binary(&'static str),
    /// The list of a crate's public items.
    Items(&'static str),
}

/// The generated files and what prints each.
const PAGES: [(&str, Printer); 7] = [
    ("docs/reference/run-file.md", example("fidelio-config", "reference")),
    ("docs/reference/run-file.schema.json", example("fidelio-config", "schema")),
    ("docs/reference/wrong-run-files.md", example("fidelio-config", "wrong_runs")),
    ("docs/reference/public-items-backend.txt", Printer::Items("backend")),
    ("docs/reference/public-items-plugin.txt", Printer::Items("plugin")),
    ("crates/plugin/include/fidelio_plugin.h", example("fidelio-plugin", "header")),
    ("docs/reference/command-line.md", Printer::Binary("reference")),
];

const fn example(package: &'static str, example: &'static str) -> Printer {
    Printer::Example { package, example }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stale = Vec::new();
    for (page, printer) in PAGES {
        let made = printer.print()?;
        let path = places::root().join(page);
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        if made == there {
            continue;
        }
        if args.check {
            stale.push(page);
        } else {
            std::fs::write(&path, made)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            println!("wrote {page}");
        }
    }
    if args.check {
        bench::check_page()?;
    }
    if !stale.is_empty() {
        bail!("`cargo xtask docs` would change {}", stale.join(", "));
    }
    Ok(())
}

impl Printer {
    fn print(&self) -> Result<String> {
        match self {
            Self::Example { package, example } => {
                let arguments = ["run", "--quiet", "--package", package, "--example", example];
                programs::output(&mut programs::cargo(&arguments))
            }
            Self::Items(folder) => public_items::list(folder),
            Self::Binary(command) => {
                // Asked for as the tests ask for it: another choice of packages would have cargo
                // settle other features, and build Burn anew.
                let build = ["build", "--quiet", "--workspace", "--tests", "--bin", "fidelio"];
                programs::run(programs::cargo(&build).args(["--features", test::FEATURES]))?;
                let binary = places::target()?.join("debug").join("fidelio");
                programs::output(Command::new(binary).arg(command))
            }
        }
    }
}
