//! `cargo xtask fetch`: models and test fixtures into the user's cache.
//!
//! A file that is there with the right hash is left alone; anything else is fetched again.
//! Files appear under their name only when they are whole.

use crate::pins::{self, Client, Package, What};
use crate::programs::{self, is_installed};
use crate::{archive, places, python};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to fetch.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One kind of thing; without it, models, embedders and fixtures.
    #[arg(long, value_enum)]
    what: Option<What>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        Some(What::Tables) => {
            bail!(
                "the tables are committed in `datasets/`; `cargo xtask tables` derives them again"
            )
        }
        Some(what) => fetch(&[what]),
        None => fetch(&[What::Models, What::Embedders, What::Fixtures]),
    }
}

/// Fetches every package of these kinds that is not there yet.
pub(crate) fn fetch(kinds: &[What]) -> Result<()> {
    let cache = places::cache()?;
    for package in pins::load()?.iter().filter(|package| kinds.contains(&package.what)) {
        let missing = missing(package, &cache)?;
        if missing.is_empty() {
            eprintln!("fetch: {} {}: present", package.name, package.version);
        } else if package.from == Client::Npm
            && !places::on_ci()
            && !is_installed("npm", &["--version"])
        {
            eprintln!("fetch: {}: skipped, npm is not installed", package.name);
        } else {
            fetch_files(package, &missing, &cache)?;
        }
    }
    Ok(())
}

fn missing<'a>(package: &'a Package, cache: &Path) -> Result<Vec<&'a pins::File>> {
    let mut missing = Vec::new();
    for file in &package.files {
        let path = cache.join(&file.to);
        match pins::sha256_of(&path)? {
            Some(hash) if hash == file.sha256 => {}
            Some(_) => {
                eprintln!("fetch: `{}` is damaged and is fetched again", path.display());
                missing.push(file);
            }
            None => missing.push(file),
        }
    }
    Ok(missing)
}

fn fetch_files(package: &Package, files: &[&pins::File], cache: &Path) -> Result<()> {
    let work = Work::open(cache)?;
    let archive = download(package, &work.0).with_context(|| by_hand(files, cache))?;

    let wanted: BTreeMap<String, PathBuf> = files
        .iter()
        .map(|file| (file.inside.clone(), work.0.join(format!("{}.part", file.sha256))))
        .collect();
    // Two files of one hash share a part: each is written whole, so the last writer is as good.
    archive::take(&archive, &wanted)?;

    for file in files {
        let part = work.0.join(format!("{}.part", file.sha256));
        let hash = pins::sha256_of(&part)?.unwrap_or_default();
        if hash != file.sha256 {
            bail!("`{}` of {} has sha256 {hash}, not {}", file.inside, package.name, file.sha256);
        }
        let to = cache.join(&file.to);
        let folder = to.parent().expect("below the cache folder");
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        // Copied beside and renamed, since several names may want one part.
        let beside = folder.join(format!(".{}.{}", file.sha256, std::process::id()));
        std::fs::copy(&part, &beside)
            .with_context(|| format!("cannot write `{}`", beside.display()))?;
        std::fs::rename(&beside, &to)
            .with_context(|| format!("cannot write `{}`", to.display()))?;
    }
    eprintln!("fetch: {} {}: {} files", package.name, package.version, files.len());
    Ok(())
}

/// Fetches a package's archive into `folder` with the registry's own client and checks its hash.
pub(crate) fn download(package: &Package, folder: &Path) -> Result<PathBuf> {
    eprintln!("fetch: {} {} ...", package.name, package.version);
    match package.from {
        Client::Pip => pip_download(package, folder, &["--only-binary", ":all:"])?,
        Client::PipSource => pip_download(package, folder, &["--no-binary", &package.name])?,
        Client::Npm => npm_pack(package, folder)?,
    }
    let archive = folder.join(&package.archive);
    match pins::sha256_of(&archive)? {
        None => bail!("{} {} came without `{}`", package.name, package.version, package.archive),
        Some(hash) if hash != package.sha256 => {
            bail!("`{}` has sha256 {hash}, not {}", package.archive, package.sha256)
        }
        Some(_) => Ok(archive),
    }
}

fn pip_download(package: &Package, folder: &Path, how: &[&str]) -> Result<()> {
    // Given the hash, pip refuses another archive before it runs anything out of it.
    let requirements = folder.join("requirements.txt");
    let line = format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.sha256);
    std::fs::write(&requirements, line)
        .with_context(|| format!("cannot write `{}`", requirements.display()))?;
    programs::run(
        Command::new(python::interpreter()?)
            .args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"])
            .args(["--require-hashes", "--dest"])
            .arg(folder)
            .args(how)
            .arg("--requirement")
            .arg(&requirements),
    )
}

fn npm_pack(package: &Package, folder: &Path) -> Result<()> {
    programs::run(
        Command::new("npm")
            .args(["pack", "--silent", "--pack-destination"])
            .arg(folder)
            .arg(format!("{}@{}", package.name, package.version)),
    )
}

/// What a user without a network can do instead.
fn by_hand(files: &[&pins::File], cache: &Path) -> String {
    let first = files[0];
    format!(
        "could not be fetched; put `{}` (sha256 {}) there by hand to go on without a network",
        cache.join(&first.to).display(),
        first.sha256
    )
}

/// A folder for what is under way, removed in the end.
pub(crate) struct Work(pub(crate) PathBuf);

impl Work {
    /// Makes the folder, in the cache so that renaming out of it never crosses a file system.
    pub(crate) fn open(cache: &Path) -> Result<Self> {
        let folder = cache.join(format!(".work-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
