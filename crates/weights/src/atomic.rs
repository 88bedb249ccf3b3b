//! Files and folders that appear whole or not at all.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::WeightsError;

/// Writes a file beside its final place, syncs it, and renames it.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let fail = |source| WeightsError::Write { path: path.to_owned(), source };
    let folder = parent(path);
    fs::create_dir_all(folder).map_err(fail)?;
    let temporary =
        tempfile::Builder::new().prefix(".writing-").tempfile_in(folder).map_err(fail)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file());
    fill(&mut out)?;
    out.flush().map_err(fail)?;
    drop(out);
    readable(temporary.as_file()).map_err(fail)?;
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(path).map_err(|e| fail(e.error))?;
    sync_folder(folder).map_err(fail)
}

/// Writes a small file.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    write(path, |out| {
        out.write_all(bytes).map_err(|source| WeightsError::Write { path: path.to_owned(), source })
    })
}

/// A file or folder that is made beside its final place, and taken away again unless it is kept.
#[derive(Debug)]
pub struct Staged {
    folder: tempfile::TempDir,
    path: PathBuf,
    to: PathBuf,
    /// Whether it takes the place of what is there.
    replaces: bool,
}

impl Staged {
    /// A place for what shall become `to`.
    ///
    /// # Errors
    /// When `to` exists, or its folder cannot be written to.
    pub fn beside(to: &Path) -> Result<Self, WeightsError> {
        refuse_existing(to)?;
        Self::near(to, false)
    }

    /// A place for what shall take the place of `to`, where something may be.
    ///
    /// # Errors
    /// When its folder cannot be written to.
    pub(crate) fn instead_of(to: &Path) -> Result<Self, WeightsError> {
        Self::near(to, true)
    }

    fn near(to: &Path, replaces: bool) -> Result<Self, WeightsError> {
        let fail = |source| WeightsError::Write { path: to.to_owned(), source };
        fs::create_dir_all(parent(to)).map_err(fail)?;
        let folder =
            tempfile::Builder::new().prefix(".writing-").tempdir_in(parent(to)).map_err(fail)?;
        let name = to.file_name().ok_or_else(|| fail(std::io::ErrorKind::InvalidInput.into()))?;
        Ok(Self { path: folder.path().join(name), folder, to: to.to_owned(), replaces })
    }

    /// Where it is made; nothing is there yet. Its name is that of the final place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its place.
    ///
    /// # Errors
    /// When something has come to stand there, or it cannot be moved.
    pub fn keep(self) -> Result<(), WeightsError> {
        let fail = |source| WeightsError::Write { path: self.to.clone(), source };
        // What was there goes away with the temporary folder.
        let old = self.folder.path().join(".replaced");
        let replaced = self.replaces && self.to.exists();
        if replaced {
            fs::rename(&self.to, &old).map_err(fail)?;
        }
        let moved =
            refuse_existing(&self.to).and_then(|()| fs::rename(&self.path, &self.to).map_err(fail));
        if moved.is_err() && replaced {
            fs::rename(&old, &self.to).map_err(fail)?;
        }
        moved?;
        self.folder.close().map_err(fail)?;
        sync_folder(parent(&self.to)).map_err(fail)
    }
}

fn refuse_existing(path: &Path) -> Result<(), WeightsError> {
    if path.exists() { Err(WeightsError::Exists { path: path.to_owned() }) } else { Ok(()) }
}

/// Makes a rename in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The folder that a file stands in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Temporary files are private; a checkpoint is as readable as any file.
#[cfg(unix)]
fn readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_file: &File) -> std::io::Result<()> {
    Ok(())
}
