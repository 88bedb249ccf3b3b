//! Files as shared bytes that are read when they are touched. The only `unsafe` of this crate.
#![expect(unsafe_code, reason = "mapping a file cannot be made safe, see `map` and `forget`")]

use std::{
    fs::File,
    io::{Error, ErrorKind},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;

use crate::WeightsError;

/// A file's contents, mapped and not copied.
///
/// Whoever changes the file while it is open changes these bytes, and whoever shortens it makes
/// the process fail when it touches what is gone. Checkpoints are therefore always replaced by
/// renaming, never written in place.
pub(crate) fn map(path: &Path) -> Result<Bytes, WeightsError> {
    let fail = |source: Error| match source.kind() {
        ErrorKind::NotFound => WeightsError::NotFound { path: path.to_owned() },
        _ => WeightsError::Read { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(fail(Error::new(ErrorKind::InvalidInput, "it is not a file")));
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new()); // an empty range cannot be mapped everywhere
    }
    // SAFETY: the map is read-only and private to us. That nobody else shortens or rewrites the
    // file is the caller's contract, as for every program that maps its weights; every read of
    // the mapped bytes as text or numbers is checked again when it happens.
    let map = Arc::new(unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?);
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|map| map.strong_count() > 0);
    maps.push(Arc::downgrade(&map));
    Ok(Bytes::from_owner(Owner(map)))
}

/// Gives back the memory that mirrors these bytes of a mapped file; they are read from the file
/// again when they are touched. Bytes that are not of a map stay as they are.
pub(crate) fn forget(bytes: &Bytes) {
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = bytes.as_ptr().addr();
    for map in maps.iter().filter_map(Weak::upgrade) {
        let first = map.as_ptr().addr();
        if begin < first || begin + bytes.len() > first + map.len() {
            continue;
        }
        #[cfg(unix)]
        {
            // SAFETY: the map is read-only and of a file, so what is dropped comes back with the same
            // contents wherever it is read, and no reference to it becomes invalid.
            let dropped = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    begin - first,
                    bytes.len(),
                )
            };
            if dropped.is_err() {
                return; // it was a favour
            }
        }
    }
}

/// The maps that someone holds.
static MAPS: Mutex<Vec<Weak<memmap2::Mmap>>> = Mutex::new(Vec::new());

struct Owner(Arc<memmap2::Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::{forget, map};

    /// Memory of this process that mirrors files, in bytes.
    #[cfg(target_os = "linux")]
    fn mirrored() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_forgotten_takes_no_memory_and_comes_back() {
        const LEN: usize = 32 << 20;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let written: Vec<u8> = (0..LEN).map(|i| (i / 4096 % 251) as u8).collect();
        std::fs::write(&path, &written).unwrap();
        let bytes = map(&path).unwrap();
        assert_eq!(bytes, written);
        let before = mirrored();
        forget(&bytes.slice(5000..LEN - 5000));
        let after = mirrored();
        assert!(after + LEN * 9 / 10 < before, "{before} bytes, then {after}");
        assert_eq!(bytes, written);
    }

    #[test]
    fn bytes_of_no_file_stay() {
        let bytes = bytes::Bytes::from(vec![7; 1 << 16]);
        forget(&bytes);
        assert!(bytes.iter().all(|&byte| byte == 7));
    }
}
