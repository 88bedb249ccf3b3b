//! Safetensors files: a JSON header with each tensor's type, shape and place, then the data.
//!
//! The header is parsed here and not by the `safetensors` crate, because that crate lets a later
//! tensor of the same name replace an earlier one without a word, and keeps eight bytes for every
//! dimension that a hostile header spells in two.

mod header;
mod writer;

use std::path::Path;

use bytes::Bytes;

pub use crate::tensors::TensorPlan;
pub use writer::{save_file, save_safetensors};

use crate::{Fault, WeightsError, mmap::map, tensors::Stored, tensors::Tensors};

/// The largest header that other readers accept.
const MOST_HEADER: u64 = 100_000_000;

/// Maps and reads one file.
///
/// # Errors
/// When it cannot be read or breaks a rule of the format.
pub fn open(path: &Path) -> Result<Tensors, WeightsError> {
    parse(&map(path)?, path)
}

/// Reads a file's bytes; `path` is what errors call it.
///
/// # Errors
/// When they break a rule of the format.
pub fn parse(bytes: &Bytes, path: &Path) -> Result<Tensors, WeightsError> {
    parse_stored(bytes).and_then(Tensors::new).map_err(|fault| malformed(path, fault))
}

/// As [`open`], without the order and the check for repeated names.
pub(crate) fn open_stored(path: &Path) -> Result<Vec<Stored>, WeightsError> {
    parse_stored(&map(path)?).map_err(|fault| malformed(path, fault))
}

fn malformed(path: &Path, fault: Fault) -> WeightsError {
    WeightsError::Malformed { path: path.to_owned(), format: "safetensors", fault }
}

fn parse_stored(file: &Bytes) -> Result<Vec<Stored>, Fault> {
    let truncated = |what: &str, offset: u64, needed: u64| Fault::Truncated {
        what: what.to_owned(),
        offset,
        needed,
        available: (file.len() as u64).saturating_sub(offset),
    };
    let length = file.first_chunk::<8>().ok_or_else(|| truncated("the header's length", 0, 8))?;
    let length = u64::from_le_bytes(*length);
    if length > MOST_HEADER {
        return Err(Fault::TooMany {
            what: "bytes of header",
            claimed: length,
            possible: MOST_HEADER,
        });
    }
    let data = 8 + length as usize;
    let text = file.get(8..data).ok_or_else(|| truncated("the header", 8, length))?;
    let mut stored = header::parse(text, &file.slice(data..))?;
    check_layout(&mut stored, (file.len() - data) as u64)?;
    Ok(stored)
}

/// The data must be covered from its first to its last byte, each byte once.
fn check_layout(stored: &mut [Stored], available: u64) -> Result<(), Fault> {
    stored.sort_unstable_by_key(|tensor| (tensor.start, tensor.bytes.len()));
    let mut end = 0_u64;
    let mut before = "";
    for tensor in &*stored {
        let start = tensor.start as u64;
        if start < end {
            return Err(Fault::Overlap { first: before.into(), second: tensor.name.to_string() });
        }
        if start > end {
            return Err(Fault::Hole { at: start, bytes: start - end });
        }
        end = start + tensor.bytes.len() as u64;
        before = &tensor.name;
    }
    if end < available {
        return Err(Fault::Hole { at: available, bytes: available - end });
    }
    Ok(())
}
