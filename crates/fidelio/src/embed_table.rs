//! A table with the vectors of some of its columns beside them.

use std::path::{Path, PathBuf};

use fidelio_data::{Format, Place, Source, TableWriter, require_columns, rows, text};
use serde::Serialize;
use serde_json::Value;

use crate::{EmbedUsage, Embedder, Error, Observer, TextAt};

/// What a column of vectors is called: the text's column, and this.
const SUFFIX: &str = "_embedding";

/// A table that was written, or was not since the work was stopped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddedTable {
    /// The file; none where the work was stopped.
    pub path: Option<PathBuf>,
    /// Rows of the table.
    pub rows: usize,
    /// The columns of vectors.
    pub columns: Vec<String>,
    /// Numbers of a vector; none where no cell has a text.
    pub width: Option<usize>,
    /// Cells without a text, which have no vector.
    pub without_text: usize,
    /// What it took.
    pub usage: EmbedUsage,
    /// Whether the observer stopped it. What was computed is in the cache.
    pub stopped: bool,
}

/// Writes all columns of `source`, and behind them for each of `columns` the vectors of its texts in
/// `<column>_embedding`. A missing cell has no vector.
///
/// # Errors
/// When a column is not there, as [`Embedder::embed`], and when the file cannot be written.
pub fn embed_table(
    embedder: &mut Embedder,
    source: &dyn Source,
    columns: &[String],
    path: &Path,
    format: Format,
    observer: &mut dyn Observer,
) -> Result<EmbeddedTable, Error> {
    let named: Vec<&str> = columns.iter().map(String::as_str).collect();
    require_columns(source, &named)?;
    let new: Vec<String> = columns.iter().map(|column| format!("{column}{SUFFIX}")).collect();
    let all: Vec<&str> = source.columns().iter().chain(&new).map(String::as_str).collect();
    // Before hours of work: whether the file can be there, and its columns can be so called.
    let mut writer = TableWriter::create(path, format, &all)?;

    // Column after column, as they stand in the rows.
    let mut cells: Vec<(String, Place)> = Vec::new();
    let mut has_text = Vec::with_capacity(source.len() * columns.len());
    for row in rows(source) {
        let row = row?;
        for column in columns {
            let cell = row.fields.get(column).and_then(text);
            has_text.push(cell.is_some());
            cells.extend(cell.map(|cell| (cell.into_owned(), row.place.clone())));
        }
    }
    let texts: Vec<TextAt<'_>> =
        cells.iter().map(|(text, place)| TextAt { text, place: Some(place) }).collect();
    let embedded = embedder.embed(&texts, observer)?;
    let mut written = EmbeddedTable {
        path: None,
        rows: source.len(),
        columns: new,
        width: embedded.vectors.iter().flatten().next().map(Vec::len),
        without_text: has_text.iter().filter(|has| !**has).count(),
        usage: embedded.usage,
        stopped: embedded.stopped,
    };
    if embedded.stopped {
        return Ok(written);
    }
    let mut vectors = embedded.vectors.iter();
    let mut has_text = has_text.into_iter();
    for row in rows(source) {
        let row = row?;
        let mut cells: Vec<Value> = row.fields.into_iter().map(|(_, cell)| cell).collect();
        for has in has_text.by_ref().take(columns.len()) {
            let vector = if has { vectors.next().and_then(Option::as_ref) } else { None };
            cells.push(vector.map_or(Value::Null, |vector| list(vector)));
        }
        writer.write(&cells)?;
    }
    writer.finish()?;
    written.path = Some(path.to_owned());
    Ok(written)
}

/// Numbers with the fewest digits that read back the same.
fn list(vector: &[f32]) -> Value {
    let short = |x: &f32| x.to_string().parse::<f64>().map_or(Value::Null, Value::from);
    Value::Array(vector.iter().map(short).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_read_back_the_same() {
        let vector = [0.1, -2.0, 1.0e-9, 0.333_333_34];
        let text = list(&vector).to_string();
        assert!(text.starts_with("[0.1,-2.0,"), "{text}");
        let back: Vec<f32> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, vector);
    }
}
