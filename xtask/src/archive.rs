//! Taking named files out of a wheel (zip) or a source archive (tar.gz).

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Writes each member named in `wanted` to its path there. A member that is missing is an error.
pub(crate) fn take(archive: &Path, wanted: &BTreeMap<String, PathBuf>) -> Result<()> {
    let file =
        File::open(archive).with_context(|| format!("cannot read `{}`", archive.display()))?;
    let is_zip = archive.extension().is_some_and(|end| end == "whl" || end == "zip");
    let taken = if is_zip { take_from_zip(file, wanted) } else { take_from_tar(file, wanted) };
    let taken = taken.with_context(|| format!("cannot unpack `{}`", archive.display()))?;
    if taken < wanted.len() {
        bail!("`{}` holds {taken} of {} wanted files", archive.display(), wanted.len());
    }
    Ok(())
}

/// Unpacks a whole `tar.gz` into a folder.
pub(crate) fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let file =
        File::open(archive).with_context(|| format!("cannot read `{}`", archive.display()))?;
    tar::Archive::new(flate2::read::GzDecoder::new(file))
        .unpack(into)
        .with_context(|| format!("cannot unpack `{}`", archive.display()))
}

fn take_from_zip(file: File, wanted: &BTreeMap<String, PathBuf>) -> Result<usize> {
    let mut archive = zip::ZipArchive::new(file)?;
    for (inside, to) in wanted {
        write(&mut archive.by_name(inside).with_context(|| format!("`{inside}`"))?, to)?;
    }
    Ok(wanted.len())
}

fn take_from_tar(file: File, wanted: &BTreeMap<String, PathBuf>) -> Result<usize> {
    let mut taken = 0;
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(file)).entries()? {
        let mut entry = entry?;
        let inside = entry.path()?.to_string_lossy().into_owned();
        if let Some(to) = wanted.get(&inside) {
            write(&mut entry, to)?;
            taken += 1;
        }
        if taken == wanted.len() {
            break;
        }
    }
    Ok(taken)
}

fn write(from: &mut impl Read, to: &Path) -> Result<()> {
    let mut file = File::create(to).with_context(|| format!("cannot write `{}`", to.display()))?;
    io::copy(from, &mut file).with_context(|| format!("cannot write `{}`", to.display()))?;
    file.sync_all().with_context(|| format!("cannot write `{}`", to.display()))
}
