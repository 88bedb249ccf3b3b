//! A row, its cells, and where it came from.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::DataError;

/// One row of a table: a cell for every column, in the table's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The cells by column. A missing cell is `null`.
    pub fields: Map<String, Value>,
    /// Where the row stands.
    pub place: Place,
}

/// Where a row stands: its file, and the line or row in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line where the row begins, or the row's number where a file has no lines; from 1.
    pub line: usize,
    /// What `line` counts.
    pub unit: Unit,
}

/// What the number of a [`Place`] counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Lines of a text file.
    Line,
    /// Rows of a file without lines, the header not counted.
    Row,
    /// Rows of a workbook's sheet as the spreadsheet numbers them, the header counted.
    Sheet(Arc<str>),
}

impl Row {
    /// The cell of a column.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn cell(&self, column: &str) -> Result<&Value, DataError> {
        self.fields.get(column).ok_or_else(|| DataError::MissingColumn {
            file: self.place.file.to_path_buf(),
            column: column.to_owned(),
            have: self.fields.keys().cloned().collect(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.unit {
            Unit::Line => write!(f, "`{file}` line {}", self.line),
            Unit::Row => write!(f, "`{file}` row {}", self.line),
            Unit::Sheet(sheet) => write!(f, "`{file}` sheet `{sheet}` row {}", self.line),
        }
    }
}

/// A cell as text: a string as it is, anything else as JSON; `None` where it is missing.
pub fn text(cell: &Value) -> Option<Cow<'_, str>> {
    match cell {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_become_text() {
        let check = |cell: Value, expected: Option<&str>| {
            assert_eq!(text(&cell).as_deref(), expected, "{cell}");
        };
        check(json!(null), None);
        check(json!(""), Some(""));
        check(json!("a"), Some("a"));
        check(json!(3), Some("3"));
        check(json!(true), Some("true"));
        check(json!(["a", 1]), Some(r#"["a",1]"#));
    }

    #[test]
    fn places_read_well() {
        let place = |unit| Place { file: Path::new("d/a.csv").into(), line: 7, unit };
        assert_eq!(place(Unit::Line).to_string(), "`d/a.csv` line 7");
        assert_eq!(place(Unit::Sheet("S".into())).to_string(), "`d/a.csv` sheet `S` row 7");
    }
}
