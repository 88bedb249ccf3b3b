//! Rows in a fixed order, each reachable by its number.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{DataError, Place, Row, Unit};

/// Rows in a fixed order, each reachable by number, so that any run can resume anywhere.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not give rows by number",
    note = "implement `Source`, or put the rows into `Memory`"
)]
pub trait Source: Send + Sync {
    /// The columns, in order. Every row has a cell for each of them.
    fn columns(&self) -> &[String];

    /// The number of rows.
    fn len(&self) -> usize;

    /// The row of this number, from 0.
    ///
    /// # Errors
    /// A [`DataError`] that names file and line.
    fn row(&self, index: usize) -> Result<Row, DataError>;

    /// Where the row of this number stands, without reading it.
    fn place(&self, index: usize) -> Place;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All rows of a source, in order.
pub fn rows(source: &dyn Source) -> impl ExactSizeIterator<Item = Result<Row, DataError>> {
    (0..source.len()).map(|index| source.row(index))
}

/// Checks that a source has these columns.
///
/// # Errors
/// [`DataError::MissingColumn`] for the first that is not there.
pub fn require_columns(source: &dyn Source, wanted: &[&str]) -> Result<(), DataError> {
    let have = source.columns();
    match wanted.iter().find(|wanted| !have.iter().any(|column| column == *wanted)) {
        None => Ok(()),
        Some(column) => Err(DataError::MissingColumn {
            file: source.place(0).file.to_path_buf(),
            column: (*column).to_owned(),
            have: have.to_vec(),
        }),
    }
}

/// Some rows of a source, in an order of their own.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    indices: Vec<usize>,
}

impl Subset {
    /// The rows of these numbers. A number beyond the end is an error when its row is read.
    pub fn new(source: Arc<dyn Source>, indices: Vec<usize>) -> Self {
        Self { source, indices }
    }

    /// The numbers the rows have in the source below.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl std::fmt::Debug for Subset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subset").field("indices", &self.indices).finish_non_exhaustive()
    }
}

impl Source for Subset {
    fn columns(&self) -> &[String] {
        self.source.columns()
    }

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        match self.indices.get(index) {
            Some(&below) => self.source.row(below),
            None => Err(DataError::OutOfRange { index, len: self.len() }),
        }
    }

    fn place(&self, index: usize) -> Place {
        self.source.place(self.indices.get(index).copied().unwrap_or(index))
    }
}

/// Rows that a program holds itself.
#[derive(Debug, Clone)]
pub struct Memory {
    name: Arc<Path>,
    columns: Vec<String>,
    rows: Vec<Map<String, Value>>,
}

impl Memory {
    /// Takes rows. The columns are those of all rows in the order they first appear;
    /// a row without one of them has a missing cell there. `name` stands in messages.
    pub fn new(name: &str, rows: Vec<Map<String, Value>>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        for row in &rows {
            for column in row.keys().filter(|key| !columns.contains(key)).collect::<Vec<_>>() {
                columns.push(column.clone());
            }
        }
        Self { name: Path::new(name).into(), columns, rows }
    }
}

impl Source for Memory {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        let Some(row) = self.rows.get(index) else {
            return Err(DataError::OutOfRange { index, len: self.len() });
        };
        let fields = self
            .columns
            .iter()
            .map(|column| (column.clone(), row.get(column).cloned().unwrap_or(Value::Null)))
            .collect();
        Ok(Row { fields, place: self.place(index) })
    }

    fn place(&self, index: usize) -> Place {
        Place { file: Arc::clone(&self.name), line: index + 1, unit: Unit::Row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn memory() -> Memory {
        let rows = [json!({"a": 1}), json!({"a": 2, "b": "x"})];
        Memory::new("m", rows.iter().map(|row| row.as_object().unwrap().clone()).collect())
    }

    #[test]
    fn rows_of_memory_have_every_column() {
        let memory = memory();
        assert_eq!(memory.columns(), ["a", "b"]);
        assert_eq!(memory.row(0).unwrap().fields["b"], Value::Null);
        assert!(matches!(memory.row(2), Err(DataError::OutOfRange { index: 2, len: 2 })));
    }

    #[test]
    fn a_subset_keeps_its_order() {
        let subset = Subset::new(Arc::new(memory()), vec![1, 0, 1]);
        let a: Vec<_> = rows(&subset).map(|row| row.unwrap().fields["a"].clone()).collect();
        assert_eq!(a, [json!(2), json!(1), json!(2)]);
        assert_eq!(subset.place(0).line, 2);
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = require_columns(&memory(), &["a", "c"]).unwrap_err();
        assert!(matches!(error, DataError::MissingColumn { column, .. } if column == "c"));
    }
}
