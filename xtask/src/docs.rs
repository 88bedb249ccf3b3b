//! `cargo xtask docs`: writes the generated pages under `docs/reference/`.
//!
//! Its check also covers `docs/benchmarks.md`, which `cargo xtask bench page` writes.

use crate::{bench, places, programs, test};
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
}

/// The files under `docs/reference/` and what prints each.
const PAGES: [(&str, Printer); 4] = [
    ("run-file.md", Printer::Example { package: "fidelio-config", example: "reference" }),
    ("run-file.schema.json", Printer::Example { package: "fidelio-config", example: "schema" }),
    ("wrong-run-files.md", Printer::Example { package: "fidelio-config", example: "wrong_runs" }),
    ("command-line.md", Printer::Binary("reference")),
];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = places::root().join("docs/reference");
    let mut stale = Vec::new();
    for (page, printer) in PAGES {
        let made = printer.print()?;
        let path = folder.join(page);
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        if made == there {
            continue;
        }
        if args.check {
            stale.push(page);
        } else {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make `{}`", folder.display()))?;
            std::fs::write(&path, made)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            println!("wrote docs/reference/{page}");
        }
    }
    if args.check {
        bench::check_page()?;
    }
    if !stale.is_empty() {
        bail!("`cargo xtask docs` would change docs/reference: {}", stale.join(", "));
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
