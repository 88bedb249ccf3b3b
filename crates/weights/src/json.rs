//! JSON files of a checkpoint.

use std::{fs, io::ErrorKind, path::Path};

use serde_json::Value;

use crate::{Fault, WeightsError};

/// Reads a JSON file, or nothing when it is absent.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Value>, WeightsError> {
    let Some(bytes) = read_bytes_optional(path)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes).map_err(|source| WeightsError::Malformed {
        path: path.to_owned(),
        format: "JSON",
        fault: Fault::Json { what: "its text".into(), source },
    })?;
    Ok(Some(value))
}

/// Reads a file, or nothing when it is absent.
pub(crate) fn read_bytes_optional(path: &Path) -> Result<Option<Vec<u8>>, WeightsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WeightsError::Read { path: path.to_owned(), source }),
    }
}

/// Reads a text file, or nothing when it is absent.
pub(crate) fn read_text_optional(path: &Path) -> Result<Option<String>, WeightsError> {
    let Some(bytes) = read_bytes_optional(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| WeightsError::Malformed {
        path: path.to_owned(),
        format: "text",
        fault: Fault::NotText { what: "its content".into() },
    })
}
