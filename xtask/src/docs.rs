//! `cargo xtask docs`: writes the generated pages under `docs/reference/`.

use crate::{places, programs};
use anyhow::{Context, Result, bail};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing and fail if a page would change.
    #[arg(long)]
    pub(crate) check: bool,
}

/// A page and the example program that prints it: crate, example, file under `docs/reference/`.
const PAGES: [(&str, &str, &str); 3] = [
    ("config", "reference", "run-file.md"),
    ("config", "schema", "run-file.schema.json"),
    ("config", "wrong_runs", "wrong-run-files.md"),
];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = places::root().join("docs/reference");
    let mut stale = Vec::new();
    for (crate_folder, example, page) in PAGES {
        let made = printed(crate_folder, example)?;
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
    if !stale.is_empty() {
        bail!("`cargo xtask docs` would change docs/reference: {}", stale.join(", "));
    }
    Ok(())
}

fn printed(crate_folder: &str, example: &str) -> Result<String> {
    let package = format!("fidelio-{crate_folder}");
    let arguments = ["run", "--quiet", "--package", &package, "--example", example];
    programs::output(&mut programs::cargo(&arguments))
}
