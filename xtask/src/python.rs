//! Python and the tools that come through its package registry.

use crate::programs::{is_installed, run};
use crate::{pins, places};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `python3` with pip, or why there is none.
pub(crate) fn interpreter() -> Result<&'static str> {
    let usable = |name: &&str| is_installed(name, &["-m", "pip", "--version"]);
    ["python3", "python"]
        .into_iter()
        .find(usable)
        .context("no Python with pip was found (Debian: apt-get install python3-pip)")
}

/// The path of a tool that a wheel carries, installed into the cache once per version.
pub(crate) fn tool(name: &str, version: &str) -> Result<PathBuf> {
    let folder = places::cache()?.join("tools").join(format!("{name}-{version}"));
    let binary = folder.join("bin").join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    // Installed beside and renamed, so that an interrupted run leaves nothing half done.
    let partial = folder.with_extension(format!("partial-{}", std::process::id()));
    run(Command::new(interpreter()?)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .arg("--target")
        .arg(&partial)
        .arg(format!("{name}=={version}")))
    .with_context(|| format!("pip could not install `{name}=={version}`"))?;
    if std::fs::rename(&partial, &folder).is_err() {
        // Someone else was faster: theirs is as good.
        std::fs::remove_dir_all(&partial)?;
    }
    Ok(binary)
}

/// The interpreter of a virtual environment that holds exactly these packages.
pub(crate) fn environment(packages: &[&str]) -> Result<PathBuf> {
    let key = &pins::sha256(packages.join("\n").as_bytes())[..16];
    let folder = places::cache()?.join("python").join(key);
    let python = folder.join("bin/python");
    let done = folder.join("complete");
    if done.is_file() {
        return Ok(python);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    run(Command::new(interpreter()?).args(["-m", "venv"]).arg(&folder))
        .context("cannot make a virtual environment (Debian: apt-get install python3-venv)")?;
    install(&python, packages)?;
    std::fs::write(&done, packages.join("\n"))?;
    Ok(python)
}

fn install(python: &Path, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages))
    .with_context(|| format!("pip could not install {}", packages.join(" ")))
}
