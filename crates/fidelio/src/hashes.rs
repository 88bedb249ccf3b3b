//! SHA-256 of files, remembered between runs, since weights are large and rarely change.

use std::{
    fmt::Write as _,
    fs::{self, File, Metadata},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
/// A file that changed so recently may change again without its time showing it.
const SETTLED: Duration = Duration::from_secs(2);

/// A file's contents, by their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// Where it lay.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, in hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
}

/// Hashes files; one that has not changed since is not read again.
#[derive(Debug)]
pub(crate) struct Hashes {
    cache: PathBuf,
}

/// What is remembered of a file. As long as the rest is the same, so is the hash.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    path: PathBuf,
    bytes: u64,
    /// What changes with the contents: its time, and on Unix also its number and the time at which
    /// the system itself saw it change.
    stamp: String,
    sha256: String,
}

impl Hashes {
    /// Remembers in a folder, which is made when it is needed.
    pub(crate) fn new(cache: PathBuf) -> Self {
        Self { cache }
    }

    /// Hashes files, several at a time.
    pub(crate) fn of(&self, files: &[PathBuf]) -> Result<Vec<FileHash>, Error> {
        files.par_iter().map(|path| self.of_one(path)).collect()
    }

    fn of_one(&self, path: &Path) -> Result<FileHash, Error> {
        let fail = |source| Error::Read { path: path.to_owned(), source };
        let whole = fs::canonicalize(path).map_err(fail)?;
        let before = fs::metadata(&whole).map_err(fail)?;
        let place = self.place(&whole);
        let same = |known: &Known| {
            known.path == whole && known.bytes == before.len() && known.stamp == stamp(&before)
        };
        let known = fs::read(&place).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let sha256 = if let Some(known) = known.filter(same) {
            known.sha256
        } else {
            let sha256 = hash(&whole).map_err(fail)?;
            let after = fs::metadata(&whole).map_err(fail)?;
            if stamp(&before) == stamp(&after) && is_settled(&after) {
                let stamp = stamp(&after);
                let known =
                    Known { path: whole, bytes: after.len(), stamp, sha256: sha256.clone() };
                // A cache that cannot be written costs time, and nothing else.
                drop(self.remember(&place, &known));
            }
            sha256
        };
        Ok(FileHash { path: path.to_owned(), bytes: before.len(), sha256 })
    }

    fn place(&self, path: &Path) -> PathBuf {
        let name = sha256(path.as_os_str().as_encoded_bytes());
        self.cache.join(format!("{name}.json"))
    }

    fn remember(&self, place: &Path, known: &Known) -> io::Result<()> {
        fs::create_dir_all(&self.cache)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.cache)?;
        file.write_all(&serde_json::to_vec(known)?)?;
        file.persist(place)?;
        Ok(())
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same of a file, of which a piece at a time is in memory.
pub(crate) fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(read) => hash.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a string takes everything
        text
    })
}

pub(crate) fn stamp(file: &Metadata) -> String {
    let modified = file.modified().ok().map(since_1970).unwrap_or_default();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (device, number) = (file.dev(), file.ino());
        format!("{modified} {device} {number} {}.{:09}", file.ctime(), file.ctime_nsec())
    }
    #[cfg(not(unix))]
    modified.to_string()
}

fn since_1970(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos())
}

pub(crate) fn is_settled(file: &Metadata) -> bool {
    let age = file.modified().ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age >= SETTLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, age: Duration) {
        let mut file = File::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    /// The digest of FIPS 180-4's first example.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_hash_is_that_of_the_standard_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (file, hashes) = (folder.path().join("a"), Hashes::new(folder.path().join("hashes")));
        write(&file, "abc", Duration::from_mins(1));
        let found = hashes.of(std::slice::from_ref(&file)).unwrap();
        assert_eq!(found, [FileHash { path: file.clone(), bytes: 3, sha256: ABC.into() }]);
        // What is remembered is what is answered.
        let place = hashes.place(&fs::canonicalize(&file).unwrap());
        let known = fs::read_to_string(&place).unwrap();
        fs::write(&place, known.replace(ABC, "remembered")).unwrap();
        assert_eq!(hashes.of_one(&file).unwrap().sha256, "remembered");
        write(&file, "abcd", Duration::from_mins(1));
        assert_ne!(hashes.of_one(&file).unwrap().sha256, "remembered", "its size is another");
    }

    #[test]
    fn a_file_of_the_same_size_and_another_time_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, hashes) = (folder.path().join("a"), Hashes::new(folder.path().join("hashes")));
        write(&file, "abd", Duration::from_mins(1));
        assert_ne!(hashes.of_one(&file).unwrap().sha256, ABC);
        write(&file, "abc", Duration::from_secs(50));
        assert_eq!(hashes.of_one(&file).unwrap().sha256, ABC);
    }

    #[test]
    fn what_has_just_changed_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (file, hashes) = (folder.path().join("a"), Hashes::new(folder.path().join("hashes")));
        write(&file, "abc", Duration::ZERO);
        assert_eq!(hashes.of_one(&file).unwrap().sha256, ABC);
        assert!(!folder.path().join("hashes").exists());
        let error = hashes.of_one(&folder.path().join("gone")).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
