//! Rows of formats that cannot be entered in the middle, laid down in a temporary file.
//!
//! Parquet is decoded column by column, a workbook as a whole. Both are decoded once and
//! written as JSON into a file without a name; from there each row is found by its number,
//! as cheaply as in a text file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check_columns;
use super::records::{Index, Records};
use crate::{DataError, Place, Row, Source, Unit};

/// A temporary file that takes rows.
pub(super) struct Spool {
    path: PathBuf,
    columns: Vec<String>,
    unit: Unit,
    file: BufWriter<File>,
    index: Index,
    line: Vec<u8>,
}

struct Spooled {
    columns: Vec<String>,
    records: Records,
}

impl Spool {
    pub(super) fn new(path: &Path, columns: Vec<String>, unit: Unit) -> Result<Self, DataError> {
        check_columns(path, &columns)?;
        let file = tempfile::tempfile()
            .map_err(|source| DataError::Write { path: std::env::temp_dir(), source })?;
        Ok(Self {
            path: path.to_owned(),
            columns,
            unit,
            file: BufWriter::with_capacity(1 << 16, file),
            index: Index::default(),
            line: Vec::new(),
        })
    }

    /// Adds a row, given its number in the file and one cell for each column.
    pub(super) fn push(&mut self, number: usize, cells: &[Value]) -> Result<(), DataError> {
        let failed = |source| DataError::Write { path: std::env::temp_dir(), source };
        self.line.clear();
        serde_json::to_writer(&mut self.line, cells).map_err(|error| failed(error.into()))?;
        self.file.write_all(&self.line).map_err(failed)?;
        self.index.push(self.index.end, number);
        self.index.end += self.line.len() as u64;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Box<dyn Source>, DataError> {
        if self.index.starts.is_empty() {
            return Err(DataError::NoRows { path: self.path });
        }
        let file = self.file.into_inner().map_err(|error| DataError::Write {
            path: std::env::temp_dir(),
            source: error.into_error(),
        })?;
        let records = Records::new(&self.path, self.unit, file, self.index);
        Ok(Box::new(Spooled { columns: self.columns, records }))
    }
}

impl Source for Spooled {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        let bytes = self.records.read(index)?;
        let place = self.records.place(index);
        let cells: Vec<Value> = serde_json::from_slice(&bytes)
            .map_err(|_| DataError::Changed { path: place.file.to_path_buf() })?;
        Ok(Row { fields: self.columns.iter().cloned().zip(cells).collect(), place })
    }

    fn place(&self, index: usize) -> Place {
        self.records.place(index)
    }
}
