//! `cargo xtask plugin new NAME`: a working plugin outside of this workspace, to start one from.
//!
//! It is the example `plugins/example-rust` under another name, so that what authors start from is
//! what the tests of this workspace hold.

use crate::places;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write a plugin that builds, passes the suite, and is yours to change.
    New(New),
}

#[derive(Debug, clap::Args)]
struct New {
    /// Its name, as in `device: plugin:NAME`: lower-case letters, digits and hyphens.
    name: String,
    /// Write it into this folder, under its name; outside of this checkout.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// The checkout of Fidelio that it is built against [default: this one].
    #[arg(long, value_name = "DIR")]
    fidelio: Option<PathBuf>,
}

/// The example's files that a plugin begins with.
const FILES: [&str; 6] = [
    "src/lib.rs",
    "src/session.rs",
    "src/rows.rs",
    "src/tables.rs",
    "src/learner.rs",
    "tests/conformance.rs",
];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let What::New(args) = &args.what;
    let folder = write(args)?;
    eprintln!("wrote `{}`; `cargo test` there runs the suite on it", folder.display());
    Ok(())
}

fn write(args: &New) -> Result<PathBuf> {
    let New { name, into, fidelio } = args;
    check(name)?;
    let root = places::root();
    let into = std::path::absolute(into).context("there is no current folder")?;
    let folder = into.join(name);
    if into.starts_with(root) {
        bail!("`{}` lies in this checkout, whose workspace it would join", folder.display());
    }
    if folder.exists() {
        bail!("`{}` exists", folder.display());
    }
    let fidelio = match fidelio {
        Some(path) => std::path::absolute(path).context("there is no current folder")?,
        None => root.to_owned(),
    };
    let example = root.join("plugins/example-rust");
    for file in FILES {
        put(&folder.join(file), &renamed(&read(&example.join(file))?, name))?;
    }
    put(&folder.join("Cargo.toml"), &manifest(name, &fidelio))?;
    // The versions that the suite was run with.
    put(&folder.join("Cargo.lock"), &read(&root.join("Cargo.lock"))?)?;
    put(&folder.join(".gitignore"), "/target\n")?;
    Ok(folder)
}

fn check(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !name.chars().all(fits) {
        bail!("`{name}` is no name for a plugin; use lower-case letters, digits and hyphens");
    }
    Ok(())
}

/// The example's text under another name.
fn renamed(text: &str, name: &str) -> String {
    let library = name.replace('-', "_");
    text.replace("example_rust", &library).replace("example-rust", name)
}

fn manifest(name: &str, fidelio: &Path) -> String {
    let mut text = format!(
        "[package]\n\
         name = \"fidelio-plugin-{name}\"\n\
         version = \"0.1.0\"\n\
         edition = \"2024\"\n\
         publish = false\n\n\
         # It belongs to no workspace.\n\
         [workspace]\n\n\
         [lib]\n\
         # A plugin is the `cdylib`; with an `rlib` beside it, cargo builds both before the tests.\n\
         crate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\n\
         bytes = \"1.12\"\n"
    );
    // A path in TOML's literal form, which needs no escapes.
    let ours = |crate_name: &str| {
        format!("path = '{}'", fidelio.join("crates").join(crate_name).display())
    };
    let plugin = ours("plugin");
    let _ = write!(
        text,
        "fidelio-backend = {{ {} }}\n\
         fidelio-plugin = {{ {plugin}, default-features = false }}\n\n\
         [dev-dependencies]\n\
         fidelio-plugin = {{ {plugin}, features = [\"conformance\", \"host\"] }}\n",
        ours("backend")
    );
    text
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, into: &Path) -> Result<PathBuf> {
        write(&New { name: name.to_owned(), into: into.to_owned(), fidelio: None })
    }

    #[test]
    fn the_skeleton_is_the_example_under_another_name() {
        let into = std::env::temp_dir().join(format!("fidelio-plugin-new-{}", std::process::id()));
        let folder = new("my-engine", &into).unwrap();
        let library = read(&folder.join("src/lib.rs")).unwrap();
        assert!(library.contains("fidelio_plugin::export!") && library.contains("my-engine"));
        assert!(!library.contains("example"), "no trace of the example's name");
        let test = read(&folder.join("tests/conformance.rs")).unwrap();
        assert!(test.contains("fidelio_plugin_my_engine"));
        let manifest: toml::Table = read(&folder.join("Cargo.toml")).unwrap().parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("fidelio-plugin-my-engine"));
        let error = new("my-engine", &into).unwrap_err().to_string();
        assert!(error.ends_with("exists"), "{error}");
        std::fs::remove_dir_all(&into).unwrap();
    }

    #[test]
    fn names_that_no_device_could_have_are_refused() {
        for name in ["", "My", "my_engine", "../x", "-x"] {
            assert!(new(name, &std::env::temp_dir()).is_err(), "{name}");
        }
        assert!(new("x", &places::root().join("plugins")).is_err(), "inside of the workspace");
    }
}
