//! Plugins in C, compiled by the test that loads them.

use std::{env::consts::DLL_EXTENSION, path::PathBuf, process::Command};

use tempfile::TempDir;

/// A library that was compiled; its file lives as long as this.
pub(crate) struct Compiled {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

/// Compiles a source of this crate's folder to a library of that name.
pub(crate) fn compile(source: &str, name: &str, flags: &[&str]) -> Compiled {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(format!("{name}.{DLL_EXTENSION}"));
    let done = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"])
        .args(flags)
        .arg("-I")
        .arg(here.join("include"))
        .arg("-o")
        .arg(&path)
        .arg(here.join(source))
        .arg("-lm")
        .output()
        .expect("a C compiler `cc` is installed: Rust links with it");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Compiled { _folder: folder, path }
}
