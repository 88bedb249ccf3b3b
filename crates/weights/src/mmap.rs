//! Files as shared bytes that are read when they are touched. The only `unsafe` of this crate.
#![expect(unsafe_code, reason = "mapping a file cannot be made safe, see `map`")]

use std::{
    fs::File,
    io::{Error, ErrorKind},
    path::Path,
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
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    Ok(Bytes::from_owner(map))
}
