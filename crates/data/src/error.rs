//! What can go wrong between a file and a forest.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::Place;

/// A failure to read, divide, prepare or write rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file cannot be opened or read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A pattern names no file.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// The pattern as written.
        pattern: String,
    },
    /// A pattern cannot be read.
    #[error("`{pattern}` is not a valid file pattern: {reason}")]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A dataset named by address: not built yet.
    #[error("reading `{url}` is not built yet: only local files are")]
    Remote {
        /// The address as written.
        url: String,
    },
    /// A format that is neither known by its extension nor by its name.
    #[error("`{name}` is not a known data format")]
    UnknownFormat {
        /// The extension or name.
        name: String,
    },
    /// A format that exists elsewhere and is not built here.
    #[error("reading `{name}` files is not built yet")]
    FormatNotBuilt {
        /// The format.
        name: String,
    },
    /// A format that is only read.
    #[error("writing {format} files is not built")]
    WriteNotBuilt {
        /// The format.
        format: &'static str,
    },
    /// A format whose support was left out of this build.
    #[error("this build cannot handle {format} files: cargo feature `{feature}` is off")]
    Disabled {
        /// The format.
        format: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// A separator that no file can be split by.
    #[error("`{separator}` cannot separate columns: use one ASCII character that is no quote")]
    Separator {
        /// The separator as given.
        separator: char,
    },
    /// A text file that is not UTF-8 as a whole.
    #[error("`{path}` is {encoding}, expected UTF-8")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What its first bytes say it is.
        encoding: &'static str,
    },
    /// A byte that is not UTF-8.
    #[error("`{path}` line {line}: byte {byte} of the line is not UTF-8")]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte of the line, from 1.
        byte: usize,
    },
    /// A record with too many or too few columns.
    #[error("`{path}` line {line}: expected {expected} columns, got {got}")]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The line where the record begins, from 1.
        line: usize,
        /// The number of columns of the header.
        expected: usize,
        /// The number of columns of this record.
        got: usize,
    },
    /// A quoted cell that never ends.
    #[error("`{path}` line {line}: a quoted cell begins here and never ends")]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// The line of the opening quote, from 1.
        line: usize,
    },
    /// Text between a closing quote and the next separator.
    #[error("`{path}` line {line}: text after the closing quote at byte {byte} of the line")]
    StrayQuote {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte of the line, from 1.
        byte: usize,
    },
    /// Two columns of one name.
    #[error("`{path}`: column `{column}` appears twice")]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A file without content.
    #[error("`{path}` is empty")]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A file with columns but no row.
    #[error("`{path}` has no rows below its header")]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// Text that is not the JSON it should be.
    #[error("`{path}` line {line} column {column}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte of the line, from 1.
        column: usize,
        /// What is wrong. Not a source: its own positions would count from the record.
        reason: String,
    },
    /// A JSON file whose shape is not a table.
    #[error("`{path}` is neither a list of records nor an object of columns: {reason}")]
    JsonShape {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A file that changed after it was opened.
    #[error("`{path}` changed while it was being read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A cell whose value cannot be taken over.
    #[error("{place}, column `{column}`: {reason}")]
    Cell {
        /// The row.
        place: Place,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A workbook that cannot be read.
    #[error("cannot read the workbook `{path}`")]
    Workbook {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A workbook without the wanted sheet.
    #[error("`{path}` has no sheet `{sheet}`")]
    Sheet {
        /// The file.
        path: PathBuf,
        /// The sheet asked for.
        sheet: String,
        /// The sheets it has.
        have: Vec<String>,
    },
    /// A Parquet file that cannot be read or written.
    #[error("cannot handle the Parquet file `{path}`")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Files of one table that do not have the same columns.
    #[error(
        "`{second}` does not have the columns of `{first}`: missing {missing:?}, extra {extra:?}"
    )]
    DifferentColumns {
        /// The first file of the table.
        first: PathBuf,
        /// The file that differs.
        second: PathBuf,
        /// Columns of the first that the second lacks.
        missing: Vec<String>,
        /// Columns of the second that the first lacks.
        extra: Vec<String>,
    },
    /// A column that was asked for and is not there.
    #[error("`{file}` has no column `{column}`; its columns are {}", listed(.have))]
    MissingColumn {
        /// The table's file, or its first one.
        file: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns it has.
        have: Vec<String>,
    },
    /// A row number beyond the end.
    #[error("row {index} was asked for, but there are {len} rows")]
    OutOfRange {
        /// The number, from 0.
        index: usize,
        /// How many rows there are.
        len: usize,
    },
    /// Split probabilities that make no split.
    #[error("split probabilities {given:?}: {reason}")]
    Probabilities {
        /// The numbers as given.
        given: Vec<f64>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A cell of a split column that names no split.
    #[error("{place}, column `{column}`: `{value}` names no split")]
    SplitValue {
        /// The row.
        place: Place,
        /// The split column.
        column: String,
        /// The cell as text.
        value: String,
    },
    /// A cell that is no date of the expected format.
    #[error("{place}, column `{column}`: `{value}` is not a date of the form `{format}`")]
    Date {
        /// The row.
        place: Place,
        /// The column.
        column: String,
        /// The cell as text.
        value: String,
        /// The format given, or the formats that fitted all rows before.
        format: Box<str>,
    },
    /// A column that can be read as dates in two ways that differ.
    #[error("the dates of column `{column}` can be read as `{first}` and as `{second}`")]
    AmbiguousDate {
        /// The column.
        column: String,
        /// One format.
        first: String,
        /// Another one.
        second: String,
    },
    /// A training set that is too small.
    #[error("the training set has {rows} rows, it needs at least {minimum}")]
    TooFewRows {
        /// Its rows after splitting.
        rows: usize,
        /// The least number.
        minimum: usize,
    },
    /// Sampling asked for in a way that cannot be done.
    #[error("{reason}")]
    Sampling {
        /// What is wrong.
        reason: String,
    },
    /// A column of nothing but missing cells, to be filled from its own values.
    #[error("column `{column}` has no value to fill its missing cells with")]
    NothingToFill {
        /// The column.
        column: String,
    },
    /// A label that the vocabulary does not hold.
    #[error("{place}, column `{column}`: unknown label `{label}`")]
    UnknownLabel {
        /// The row.
        place: Place,
        /// The column.
        column: String,
        /// The label.
        label: String,
        /// The labels of the vocabulary.
        known: Box<[String]>,
    },
    /// A vocabulary that holds nothing, or one label twice.
    #[error("the labels of column `{column}`: {reason}")]
    Vocabulary {
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// Sequences that belong together and do not fit into one micro-batch.
    #[error("group {group} needs {tokens} tokens in one batch, the budget is {budget}")]
    OverBudget {
        /// The group, as the caller numbered it.
        group: usize,
        /// The tokens of its forest.
        tokens: usize,
        /// The most tokens of a batch.
        budget: usize,
    },
    /// A written row with another number of cells than there are columns.
    #[error("row {row} of `{path}`: expected {expected} cells, got {got}")]
    CellCount {
        /// The file being written.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// The number of columns.
        expected: usize,
        /// The number of cells.
        got: usize,
    },
}

impl DataError {
    /// What the user could do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::MissingColumn { column, have, .. } => nearest(column, have),
            Self::Sheet { sheet, have, .. } => Some(
                nearest(sheet, have)
                    .unwrap_or_else(|| format!("its sheets are {}", listed(have)).into()),
            ),
            Self::UnknownLabel { label, known, .. } => Some(
                nearest(label, known)
                    .unwrap_or_else(|| format!("the labels are {}", listed(known)).into()),
            ),
            Self::UnknownFormat { .. } => Some(
                "name it with `data_format`: csv, tsv, json, jsonl, parquet or excel".into(),
            ),
            Self::WriteNotBuilt { .. } => Some("write CSV, JSONL or Parquet".into()),
            Self::Disabled { feature, .. } => {
                Some(format!("build with `--features {feature}`").into())
            }
            Self::Encoding { .. } | Self::InvalidUtf8 { .. } => {
                Some("save the file as UTF-8 first".into())
            }
            Self::Ragged { expected: 1, .. } => {
                Some("a cell that holds the separator must stand in double quotes; or name the separator".into())
            }
            Self::Ragged { .. } => {
                Some("a cell that holds the separator or a line break must stand in double quotes".into())
            }
            Self::StrayQuote { .. } => {
                Some("inside a quoted cell, write a double quote twice".into())
            }
            Self::JsonShape { .. } => Some(
                "one object per line is the format `jsonl`: name it with `data_format`".into(),
            ),
            Self::SplitValue { .. } => {
                Some("use 0, 1, 2 or train, validation, test".into())
            }
            Self::AmbiguousDate { .. } => Some("set `datetime_format`".into()),
            Self::TooFewRows { .. } => {
                Some("give more rows, or a larger first probability".into())
            }
            Self::FormatNotBuilt { .. } | Self::Remote { .. } => {
                Some("save it as a local CSV, JSONL or Parquet file".into())
            }
            _ => None,
        }
    }
}

/// The known name that looks most like `wanted`, as a question.
fn nearest<'a>(wanted: &str, known: &[String]) -> Option<Cow<'a, str>> {
    let lower = wanted.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("did you mean `{name}`?").into())
}

/// Names for a message, cut where a table is very wide.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 30;
    let mut text =
        names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format_args!(" and {} more", names.len() - SHOWN).to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(column: &str) -> DataError {
        let have = vec!["review".to_string(), "sentiment".to_string()];
        DataError::MissingColumn { file: "a.csv".into(), column: column.into(), have }
    }

    #[test]
    fn a_missing_column_lists_what_is_there() {
        assert_eq!(
            missing("x").to_string(),
            "`a.csv` has no column `x`; its columns are `review`, `sentiment`"
        );
    }

    #[test]
    fn a_misspelt_column_is_guessed() {
        assert_eq!(missing("Sentimnet").hint().unwrap(), "did you mean `sentiment`?");
        assert!(missing("zzz").hint().is_none());
    }
}
