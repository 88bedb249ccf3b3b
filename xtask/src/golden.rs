//! `cargo xtask golden`: regenerates the reference values that tests compare with.
//!
//! A script named `make_*.py` in a crate's `tests` folder writes its values below its own folder.
//! Comments in its head say how it is run:
//!
//! ```text
//! # pins: torch==2.9.0 transformers==5.0.0     what it imports; its environment holds just that
//! # args: {cache}/fixtures/templates           optional; its folder is the current one
//! # stdout: goldens.json                       optional; the file that holds what it prints
//! ```

use crate::{places, programs, python};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the files as they are and fail if the scripts would change one.
    #[arg(long)]
    check: bool,
    /// Only the scripts whose path contains this.
    #[arg(long)]
    only: Option<String>,
    /// List the scripts and their pins, and run none.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut changed = Vec::new();
    for script in scripts()? {
        let shown = script.strip_prefix(places::root()).unwrap_or(&script).display().to_string();
        if args.only.as_ref().is_some_and(|only| !shown.contains(only.as_str())) {
            continue;
        }
        let text =
            std::fs::read_to_string(&script).with_context(|| format!("cannot read `{shown}`"))?;
        let head = Head::read(&text);
        if args.list {
            println!("{shown}: {}", head.pins.unwrap_or("(no line `# pins: ...`)"));
            continue;
        }
        eprintln!("golden: {shown}");
        changed.extend(regenerate(&script, &head, args.check)?);
    }
    if args.check && !changed.is_empty() {
        bail!("reference values are not what their scripts make: {}", changed.join(", "));
    }
    for path in changed {
        println!("changed: {path}");
    }
    Ok(())
}

/// Every script of every crate, in order.
fn scripts() -> Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    for folder in std::fs::read_dir(places::root().join("crates"))? {
        collect(&folder?.path().join("tests"), &mut |path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if name.starts_with("make_") && path.extension().is_some_and(|end| end == "py") {
                scripts.push(path.to_owned());
            }
        })?;
    }
    scripts.sort();
    Ok(scripts)
}

/// What the head of a script says about running it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head<'a> {
    pins: Option<&'a str>,
    args: Option<&'a str>,
    stdout: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn read(text: &'a str) -> Self {
        let said = |key: &str| {
            let line = text.lines().take(40).find_map(|line| line.trim().strip_prefix(key));
            line.map(str::trim)
        };
        Self { pins: said("# pins:"), args: said("# args:"), stdout: said("# stdout:") }
    }
}

/// Runs one script and returns what it changed; `check` puts the old values back.
fn regenerate(script: &Path, head: &Head<'_>, check: bool) -> Result<Vec<String>> {
    let shown = script.display();
    let pins = head.pins.with_context(|| format!("`{shown}` has no line `# pins: ...`"))?;
    let folder = script.parent().expect("a script lies in a folder");
    let before = contents(folder)?;

    let cache = places::cache()?;
    let mut command =
        Command::new(python::environment(&pins.split_whitespace().collect::<Vec<_>>())?);
    command.arg(script).current_dir(folder);
    for argument in head.args.unwrap_or_default().split_whitespace() {
        command.arg(argument.replace("{cache}", &cache.to_string_lossy()));
    }
    command.env("FIDELIO_CACHE", &cache).env("PYTHONDONTWRITEBYTECODE", "1");
    match head.stdout {
        None => programs::run(&mut command)?,
        Some(file) => std::fs::write(folder.join(file), programs::output(&mut command)?)
            .with_context(|| format!("cannot write `{file}`"))?,
    }

    let after = contents(folder)?;
    let mut changed = Vec::new();
    for path in before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))) {
        let (old, new) = (before.get(path), after.get(path));
        if old == new {
            continue;
        }
        changed.push(path.strip_prefix(places::root()).unwrap_or(path).display().to_string());
        match (check, old) {
            (true, Some(old)) => std::fs::write(path, old)?,
            (true, None) => std::fs::remove_file(path)?,
            (false, _) => {}
        }
    }
    Ok(changed)
}

fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut paths = Vec::new();
    collect(folder, &mut |path| paths.push(path.to_owned()))?;
    paths.into_iter().map(|path| Ok((path.clone(), std::fs::read(&path)?))).collect()
}

/// Calls `found` with every file below a folder that may be absent.
fn collect(folder: &Path, found: &mut impl FnMut(&Path)) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else {
            found(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_script_says_how_it_is_run() {
        let text = "\"\"\"Makes values.\"\"\"\n# pins: a==1 b==2\n# stdout: out.json\nimport a\n";
        let head = Head { pins: Some("a==1 b==2"), args: None, stdout: Some("out.json") };
        assert_eq!(Head::read(text), head);
        assert_eq!(Head::read("import a\n"), Head::default());
    }
}
