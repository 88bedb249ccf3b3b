//! Folders that appear whole or not at all, and tell whether they are still what was written.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{CheckpointError, Flaw, digest::hex};

const MANIFEST: &str = "manifest.json";
/// What changes when an older version could not read what this one writes.
const FORMAT: u32 = 1;

/// What a complete folder holds. It is written last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Writes a folder beside its final place, with a manifest of what `fill` puts there, and renames
/// it. A folder that was there before is replaced.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let fail = |source| CheckpointError::Write { path: path.to_owned(), source };
    let temporary = beside(path, ".writing-");
    remove(&temporary)?;
    fs::create_dir_all(&temporary).map_err(fail)?;
    fill(&temporary)?;
    write_json(&temporary.join(MANIFEST), &list(&temporary)?)?;
    sync(&temporary).map_err(fail)?;
    // A folder is replaced in two renames; whoever is stopped in between has both contents still.
    let old = beside(path, ".replaced-");
    remove(&old)?;
    if path.exists() {
        fs::rename(path, &old).map_err(fail)?;
    }
    fs::rename(&temporary, path).map_err(fail)?;
    sync(path.parent().unwrap_or(Path::new("."))).map_err(fail)?;
    remove(&old)
}

/// Writes a small file to the disk.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CheckpointError> {
    let fail = |source| CheckpointError::Write { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| fail(e.into()))?;
    text.push(b'\n');
    let mut file = File::create(path).map_err(fail)?;
    file.write_all(&text).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// Reads a small file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Flaw> {
    let text = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if path.ends_with(MANIFEST) => Flaw::NoManifest,
        _ => Flaw::Unreadable { file: name(path), problem: error.to_string() },
    })?;
    serde_json::from_slice(&text)
        .map_err(|error| Flaw::Json { file: name(path), problem: error.to_string() })
}

/// Checks that a folder holds what its manifest lists, byte for byte.
pub(crate) fn verify(path: &Path) -> Result<(), Flaw> {
    let manifest: Manifest = read_json(&path.join(MANIFEST))?;
    if manifest.format != FORMAT {
        let problem = format!("it is of format {}, not {FORMAT}", manifest.format);
        return Err(Flaw::Json { file: MANIFEST.to_owned(), problem });
    }
    for Entry { name, bytes, sha256 } in manifest.files {
        let unreadable =
            |error: io::Error| Flaw::Unreadable { file: name.clone(), problem: error.to_string() };
        let file = path.join(&name);
        let found = fs::metadata(&file).map_err(unreadable)?.len();
        if found != bytes {
            return Err(Flaw::Size { file: name, expected: bytes, found });
        }
        if digest(&file).map_err(unreadable)? != sha256 {
            return Err(Flaw::Changed { file: name });
        }
    }
    Ok(())
}

/// Removes a folder, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CheckpointError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The folders within a folder whose name is `update-` and a number, by that number; none where it
/// does not exist.
pub(crate) fn numbered(folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let fail = |source| CheckpointError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let number = name(&path).strip_prefix("update-").and_then(|n| n.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// The place of an update's folder.
pub(crate) fn place(folder: &Path, update: u64) -> PathBuf {
    folder.join(format!("update-{update:08}"))
}

fn list(folder: &Path) -> Result<Manifest, CheckpointError> {
    let fail = |source| CheckpointError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let bytes = fs::metadata(&path).map_err(fail)?.len();
        files.push(Entry { name: name(&path), bytes, sha256: digest(&path).map_err(fail)? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Manifest { format: FORMAT, files })
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

fn beside(path: &Path, prefix: &str) -> PathBuf {
    path.with_file_name(format!("{prefix}{}", name(path)))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Makes the names in a folder survive a power cut.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at: &Path) -> PathBuf {
        let path = place(at, 7);
        write(&path, |folder| write_json(&folder.join("a.json"), &[1, 2, 3])).unwrap();
        path
    }

    #[test]
    fn a_folder_is_found_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        fs::create_dir(folder.path().join("update-x")).unwrap();
        assert_eq!(numbered(folder.path()).unwrap(), [(7, path.clone())]);
        assert_eq!(path.file_name().unwrap(), "update-00000007");
        assert_eq!(numbered(&path.join("nowhere")).unwrap(), []);
        verify(&path).unwrap();
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let file = path.join("a.json");
        let text = fs::read(&file).unwrap();
        fs::write(&file, &text[..4]).unwrap();
        assert!(matches!(verify(&path), Err(Flaw::Size { found: 4, .. })));
        fs::write(&file, vec![b' '; text.len()]).unwrap();
        assert!(matches!(verify(&path), Err(Flaw::Changed { .. })));
        fs::remove_file(&file).unwrap();
        assert!(matches!(verify(&path), Err(Flaw::Unreadable { .. })));
        fs::write(path.join(MANIFEST), r#"{ "format": 2, "files": [] }"#).unwrap();
        assert!(matches!(verify(&path), Err(Flaw::Json { .. })));
        fs::write(path.join(MANIFEST), "{").unwrap();
        assert!(matches!(verify(&path), Err(Flaw::Json { .. })));
        fs::remove_file(path.join(MANIFEST)).unwrap();
        assert_eq!(verify(&path), Err(Flaw::NoManifest));
    }

    #[test]
    fn a_folder_that_is_not_filled_does_not_appear_and_an_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let fail = |folder: &Path| {
            write_json(&folder.join("a.json"), &[4])?;
            Err(CheckpointError::Occupied { path: PathBuf::new() })
        };
        write(&path, fail).unwrap_err();
        write(&place(folder.path(), 8), fail).unwrap_err();
        verify(&path).unwrap();
        assert_eq!(numbered(folder.path()).unwrap().len(), 1);
        write(&path, |folder| write_json(&folder.join("b.json"), &[4])).unwrap();
        verify(&path).unwrap();
        assert!(!path.join("a.json").exists());
    }
}
