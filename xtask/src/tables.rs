//! `cargo xtask tables`: derives the two demonstration tables of `datasets/` again.
//!
//! They are committed, so nobody needs this to build, test or try Fidelio.
//! It shows where every row comes from, and `--check` shows that they are still what it makes.

use crate::fetch::{Work, download};
use crate::pins::{self, What};
use crate::{archive, places, programs, python};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const TABLES: [&str; 2] = ["spam.csv.gz", "sentiment.csv.gz"];

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compare with the committed tables instead of writing them.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let work = Work::open(&places::cache()?)?;
    let packages: Vec<_> =
        pins::load()?.into_iter().filter(|package| package.what == What::Tables).collect();
    let mut script = Command::new(python::interpreter()?);
    script.arg(places::root().join("xtask/scripts/tables.py"));
    for package in &packages {
        let folder = work.0.join(&package.archive).with_extension("unpacked");
        archive::unpack(&download(package, &work.0)?, &folder)?;
        script.arg(folder.join("package"));
    }

    let datasets = places::root().join("datasets");
    let out = if args.check { work.0.clone() } else { datasets.clone() };
    programs::run(script.arg(&out))?;
    for table in TABLES {
        let made = rows(&out.join(table))?;
        // The compressed bytes depend on the zlib that Python was built with; the rows do not.
        if args.check && made != rows(&datasets.join(table))? {
            bail!("`datasets/{table}` is not what `cargo xtask tables` makes");
        }
        println!("{table}: sha256 of the CSV {}", pins::sha256(&made));
    }
    Ok(())
}

fn rows(path: &Path) -> Result<Vec<u8>> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut bytes = Vec::new();
    GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot unpack `{}`", path.display()))?;
    Ok(bytes)
}

/// The committed table of this name, unpacked nowhere: Fidelio reads it as it is.
pub(crate) fn committed(name: &str) -> PathBuf {
    places::root().join("datasets").join(name)
}
