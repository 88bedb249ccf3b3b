//! The files of the models that are measured: one that is fetched, and what is made from it.

use super::case::{Case, Weights};
use super::fidelio::Binary;
use crate::pins::{self, What};
use crate::{fetch, places, programs};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The alias of the model that `cargo xtask fetch` brings.
const FETCHED: &str = "smollm2-135m";

/// Brings what these cases need and do not bring themselves.
pub(super) fn fetch(cases: &[Case]) -> Result<()> {
    if cases.iter().any(|case| case.model == FETCHED) {
        fetch::fetch(&[What::Models])?;
    }
    Ok(())
}

/// The file of a case's model, as it is.
fn shipped(model: &str) -> Result<PathBuf> {
    if model != FETCHED {
        let path = places::root().join(model);
        if path.exists() {
            return Ok(path);
        }
        bail!("`{model}` is neither `{FETCHED}` nor a file or folder");
    }
    let packages = pins::load()?;
    let mut files =
        packages.iter().filter(|it| it.what == What::Models).flat_map(|package| &package.files);
    let file = files.next().context("xtask/pins.toml names no model")?;
    Ok(places::cache()?.join(&file.to))
}

/// What a model is called where results are kept: a path names a machine.
pub(super) fn shown(model: &str) -> String {
    Path::new(model).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The GGUF file of a case's model with these weights; made once.
pub(super) fn file(binary: &Binary, case: &Case, weights: Weights) -> Result<PathBuf> {
    let shipped = shipped(&case.model)?;
    match weights {
        Weights::Shipped => Ok(shipped),
        weights => made(binary, &shipped, weights.name(), "gguf"),
    }
}

/// The folder that transformers reads: the same weights as numbers of 32 bits.
pub(super) fn folder(binary: &Binary, case: &Case) -> Result<PathBuf> {
    let shipped = shipped(&case.model)?;
    if shipped.is_dir() {
        return Ok(shipped);
    }
    made(binary, &shipped, "F32", "safetensors")
}

fn made(binary: &Binary, from: &Path, weights: &str, format: &str) -> Result<PathBuf> {
    let hash = if from.is_dir() {
        pins::sha256(from.to_string_lossy().as_bytes())
    } else {
        pins::sha256_of(from)?.context("the model's file is gone")?
    };
    let folder = places::cache()?.join("benchmarks");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    let end = if format == "gguf" { ".gguf" } else { "" };
    let path = folder.join(format!("{}-{weights}{end}", &hash[..12]));
    if !path.exists() {
        eprintln!("bench: making {weights} weights as {format}");
        // The command gives its result its name only when it is whole.
        let mut export = binary.command(0);
        export.args([
            "export",
            "--format",
            format,
            "--quantization",
            weights,
            "--quiet",
            "--model",
        ]);
        programs::run(export.arg(from).arg("--output").arg(&path))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_shown_without_its_folder() {
        assert_eq!(shown(FETCHED), FETCHED);
        assert_eq!(shown("/models/model.gguf"), "model.gguf");
        assert_eq!(shown("models/folder/"), "folder");
    }

    #[test]
    fn a_model_that_is_not_there_is_an_error() {
        let error = shipped("no/such.gguf").unwrap_err().to_string();
        assert!(error.contains("no/such.gguf") && error.contains(FETCHED), "{error}");
    }
}
