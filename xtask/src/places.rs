//! Where things are: the repository, and the user's cache.

use crate::programs;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies one folder below the root")
}

/// The user's cache folder of Fidelio: `FIDELIO_CACHE_DIR`, or the usual place for caches.
pub(crate) fn cache() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("FIDELIO_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| PathBuf::from(base).join("fidelio")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/fidelio")))
        .context("none of FIDELIO_CACHE_DIR, XDG_CACHE_HOME and HOME is set")
}

/// Whether this is the build machine, where nothing may be left out.
pub(crate) fn on_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Where cargo builds, whatever the environment and the configuration say.
pub(crate) fn target() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let metadata = programs::output(&mut programs::cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cargo's metadata does not parse")?;
    Ok(metadata.target_directory)
}
