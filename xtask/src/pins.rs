//! What is fetched, and the hash each file must have: `xtask/pins.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

/// One package of a registry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) from: Client,
    pub(crate) what: What,
    /// For the reader of the table; what we commit of a package is said in `datasets/README.md`.
    #[expect(dead_code, reason = "part of the table's format")]
    licence: String,
    /// The archive's file name as the client writes it.
    pub(crate) archive: String,
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) files: Vec<File>,
}

/// One file inside a package, and where it goes below the cache folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) sha256: String,
    pub(crate) to: String,
    pub(crate) inside: String,
}

/// Which registry's client fetches the package.
#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Client {
    Pip,
    PipSource,
    Npm,
}

/// What the package is for.
#[derive(Debug, Deserialize, clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// Weights that the quickstart and the larger tests run.
    Models,
    /// Weights that make vectors of texts: the default of `fidelio embed` and of examples by meaning.
    Embedders,
    /// The sources of the two demonstration tables, which are committed: rarely needed.
    Tables,
    /// Tokenizers and chat templates that tests read.
    Fixtures,
    /// Programs that make references of other programs' formats: rarely needed.
    Converters,
}

/// The table, read and parsed.
pub(crate) fn load() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Table {
        package: Vec<Package>,
    }
    let table: Table =
        toml::from_str(include_str!("../pins.toml")).context("xtask/pins.toml does not parse")?;
    Ok(table.package)
}

/// The sha256 of a file in hexadecimal, or `None` where there is no such file.
pub(crate) fn sha256_of(path: &Path) -> Result<Option<String>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read =
            file.read(&mut buffer).with_context(|| format!("cannot read `{}`", path.display()))?;
        if read == 0 {
            return Ok(Some(hexadecimal(&hash.finalize())));
        }
        hash.update(&buffer[..read]);
    }
}

/// The sha256 of bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_whole() {
        let packages = load().unwrap();
        let mut places = BTreeSet::new();
        for package in &packages {
            assert_eq!(package.sha256.len(), 64, "{}", package.name);
            for file in &package.files {
                assert_eq!(file.sha256.len(), 64, "{}", file.to);
                assert!(places.insert(&file.to), "`{}` stands twice", file.to);
                assert!(!file.to.starts_with('/') && !file.to.contains(".."), "{}", file.to);
            }
        }
        assert!(packages.iter().any(|package| package.what == What::Models));
    }

    #[test]
    fn hashes_as_everyone_does() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), of_abc);
    }
}
