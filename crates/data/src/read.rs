//! Files to rows: one reader per format, all with the same promise.
//!
//! A reader goes through its file once, reports the first thing that is wrong, and keeps only
//! where each row begins. Rows are then read one at a time.

#[cfg(feature = "excel")]
mod biff;
#[cfg(any(feature = "parquet", feature = "excel"))]
mod caught;
mod csv;
#[cfg(not(all(feature = "parquet", feature = "excel")))]
mod disabled;
#[cfg(feature = "excel")]
mod excel;
mod format;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod records;
mod spool;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{DataError, Source};

pub use format::Format;

/// How files are read, where their names do not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The format; by the file's extension when absent.
    pub data_format: Option<Format>,
    /// What separates the columns of a CSV file; found in its header when absent.
    pub separator: Option<char>,
    /// Unquoted CSV cells that mean "missing", besides the empty one. None by default:
    /// `NA` and `null` are words until somebody says otherwise.
    pub null_values: Vec<String>,
    /// The sheet of a workbook; the first when absent.
    pub sheet: Option<String>,
}

/// Opens one file, which is thereby read through and checked.
pub(crate) fn open(path: &Path, options: &ReadOptions) -> Result<Box<dyn Source>, DataError> {
    let format = match options.data_format {
        Some(format) => format,
        None => Format::of(path)?,
    };
    match format {
        Format::Csv => csv::open(path, options, None),
        Format::Tsv => csv::open(path, options, Some(b'\t')),
        Format::Json => json::open(path),
        Format::Jsonl => json::open_lines(path),
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::open(path),
        #[cfg(feature = "excel")]
        Format::Excel => excel::open(path, options.sheet.as_deref()),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => disabled::parquet(),
        #[cfg(not(feature = "excel"))]
        Format::Excel => disabled::excel(),
    }
}

/// Checks that no column stands twice.
pub(crate) fn check_columns(path: &Path, columns: &[String]) -> Result<(), DataError> {
    let mut seen = std::collections::HashSet::new();
    match columns.iter().find(|column| !seen.insert(column.as_str())) {
        None => Ok(()),
        Some(column) => {
            Err(DataError::DuplicateColumn { path: path.to_owned(), column: column.clone() })
        }
    }
}
