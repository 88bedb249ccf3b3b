//! One table over one or several files.

use std::path::{Path, PathBuf};

use crate::read::{self, ReadOptions};
use crate::{DataError, Place, Row, Source};

/// The rows of one or several files with the same columns, one file after the other.
///
/// Opening reads every file through once and reports the first thing that is wrong with it.
/// What stays in memory is 8 bytes per row.
///
/// ```
/// use fidelio_data::{ReadOptions, Source, Table};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("reviews.csv");
/// std::fs::write(&path, "text,label\n\"good, cheap\",1\n,0\n")?;
/// let table = Table::open(&[&path], &ReadOptions::default())?;
/// assert_eq!(table.columns(), ["text", "label"]);
/// assert_eq!(table.row(0)?.fields["text"], "good, cheap");
/// assert!(table.row(1)?.fields["text"].is_null());
/// assert_eq!(table.row(1)?.place.line, 3);
/// # Ok(())
/// # }
/// ```
pub struct Table {
    columns: Vec<String>,
    parts: Vec<Box<dyn Source>>,
    /// The first row of each part, and the end of the last.
    starts: Vec<usize>,
}

impl Table {
    /// Opens files. A path with `*`, `?` or `[` that is not itself a file is a pattern;
    /// it stands for all files it matches, in the order of their names.
    ///
    /// # Errors
    /// A [`DataError`] that names the file, and the line where there is one.
    pub fn open<P: AsRef<Path>>(paths: &[P], options: &ReadOptions) -> Result<Self, DataError> {
        let mut files = Vec::new();
        for path in paths {
            files.extend(matching(path.as_ref())?);
        }
        let Some(first) = files.first() else {
            return Err(DataError::NoMatch { pattern: String::new() });
        };
        let mut table = Self { columns: Vec::new(), parts: Vec::new(), starts: vec![0] };
        for file in &files {
            let part = read::open(file, options)?;
            if table.parts.is_empty() {
                table.columns = part.columns().to_vec();
            } else {
                same_columns(first, &table.columns, file, part.columns())?;
            }
            table.starts.push(table.len() + part.len());
            table.parts.push(part);
        }
        Ok(table)
    }

    /// The part that holds a row, and the row's number there.
    fn find(&self, index: usize) -> Option<(&dyn Source, usize)> {
        let part = self.starts.partition_point(|start| *start <= index).checked_sub(1)?;
        Some((self.parts.get(part)?.as_ref(), index - self.starts[part]))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { columns, parts, starts: _ } = self;
        f.debug_struct("Table")
            .field("columns", columns)
            .field("rows", &self.len())
            .field("files", &parts.len())
            .finish()
    }
}

impl Source for Table {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        let Some((part, within)) = self.find(index) else {
            return Err(DataError::OutOfRange { index, len: self.len() });
        };
        let mut row = part.row(within)?;
        if part.columns() != self.columns {
            let mut fields = std::mem::take(&mut row.fields);
            row.fields = self
                .columns
                .iter()
                .filter_map(|column| fields.get_mut(column).map(|c| (column.clone(), c.take())))
                .collect();
        }
        Ok(row)
    }

    fn place(&self, index: usize) -> Place {
        match self.find(index) {
            Some((part, within)) => part.place(within),
            None => self.parts[self.parts.len() - 1].place(index), // a table has a part
        }
    }
}

/// The files a path stands for.
fn matching(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let written = path.to_string_lossy();
    if written.contains("://") {
        return Err(DataError::Remote { url: written.into_owned() });
    }
    if path.exists() || !written.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let pattern = written.into_owned();
    let paths = glob::glob(&pattern).map_err(|error| DataError::Pattern {
        pattern: pattern.clone(),
        reason: error.msg.to_owned(),
    })?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| DataError::Read {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(DataError::NoMatch { pattern });
    }
    Ok(files)
}

fn same_columns(
    first: &Path,
    wanted: &[String],
    second: &Path,
    have: &[String],
) -> Result<(), DataError> {
    let lacking = |from: &[String], of: &[String]| -> Vec<String> {
        of.iter().filter(|column| !from.contains(column)).cloned().collect()
    };
    let (missing, extra) = (lacking(have, wanted), lacking(wanted, have));
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(DataError::DifferentColumns {
        first: first.to_owned(),
        second: second.to_owned(),
        missing,
        extra,
    })
}
