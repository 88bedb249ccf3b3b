//! Writing a table of results: all of it appears under its name, or nothing does.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{DataError, Format};

/// Writes rows into a file that appears when [`TableWriter::finish`] succeeds.
///
/// Until then the rows stand in a temporary file beside it, which goes away with the writer.
/// CSV holds strings as they are, a missing cell as nothing and empty text as `""`; lists and
/// objects are JSON text there. (In a file with one column a missing cell would be a blank line,
/// so it becomes `""` as well.) JSONL and JSON hold every cell as it is. Parquet keeps all rows in
/// memory until the end, since a column's type must suit all its cells: booleans, integers,
/// numbers and strings become such columns, lists of these become lists, anything else JSON text.
///
/// ```
/// use fidelio_data::{Format, TableWriter};
/// use serde_json::json;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("predictions.csv");
/// let mut writer = TableWriter::create(&path, Format::Csv, &["label", "probabilities"])?;
/// writer.write(&[json!("spam"), json!([0.9, 0.1])])?;
/// writer.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "label,probabilities\nspam,\"[0.9,0.1]\"\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TableWriter {
    path: PathBuf,
    columns: Vec<String>,
    file: BufWriter<NamedTempFile>,
    rows: usize,
    form: Form,
    line: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Csv(u8),
    Jsonl,
    Json,
    #[cfg(feature = "parquet")]
    Parquet(parquet::Columns),
}

impl TableWriter {
    /// Begins a file. The format is any but Excel.
    ///
    /// # Errors
    /// [`DataError::Write`], [`DataError::DuplicateColumn`], [`DataError::Disabled`] or
    /// [`DataError::FormatNotBuilt`].
    pub fn create(path: &Path, format: Format, columns: &[&str]) -> Result<Self, DataError> {
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        crate::read::check_columns(path, &columns)?;
        let form = match format {
            Format::Csv => Form::Csv(b','),
            Format::Tsv => Form::Csv(b'\t'),
            Format::Jsonl => Form::Jsonl,
            Format::Json => Form::Json,
            #[cfg(feature = "parquet")]
            Format::Parquet => Form::Parquet(parquet::Columns::new(columns.len())),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                return Err(DataError::Disabled { format: "Parquet", feature: "parquet" });
            }
            Format::Excel => {
                return Err(DataError::WriteNotBuilt { format: "Excel" });
            }
        };
        let file =
            temporary(path).map_err(|source| DataError::Write { path: path.to_owned(), source })?;
        let file = BufWriter::with_capacity(1 << 16, file);
        let path = path.to_owned();
        let mut writer = Self { path, columns, file, rows: 0, form, line: Vec::new() };
        if let Form::Csv(separator) = writer.form {
            let header: Vec<Value> = writer.columns.iter().map(|c| c.as_str().into()).collect();
            csv::write(&mut writer.line, separator, &header);
            writer.flush_line()?;
        }
        Ok(writer)
    }

    /// Adds a row: one cell for each column, in order.
    ///
    /// # Errors
    /// [`DataError::CellCount`] and [`DataError::Write`].
    pub fn write(&mut self, cells: &[Value]) -> Result<(), DataError> {
        self.rows += 1;
        if cells.len() != self.columns.len() {
            return Err(DataError::CellCount {
                path: self.path.clone(),
                row: self.rows,
                expected: self.columns.len(),
                got: cells.len(),
            });
        }
        match &mut self.form {
            Form::Csv(separator) => csv::write(&mut self.line, *separator, cells),
            Form::Jsonl => {
                self.object(cells)?;
                self.line.push(b'\n');
            }
            Form::Json => {
                let begin: &[u8] = if self.rows == 1 { b"[\n" } else { b",\n" };
                self.line.extend(begin);
                self.object(cells)?;
            }
            #[cfg(feature = "parquet")]
            Form::Parquet(columns) => columns.add(cells),
        }
        self.flush_line()
    }

    /// Puts the file into its place, through to the disk.
    ///
    /// # Errors
    /// [`DataError::Write`]; there is no file then, or still the one that was there before.
    pub fn finish(mut self) -> Result<(), DataError> {
        let rows = self.rows;
        match &mut self.form {
            Form::Csv(_) | Form::Jsonl => {}
            Form::Json => self.line.extend(if rows == 0 { &b"[]\n"[..] } else { b"\n]\n" }),
            #[cfg(feature = "parquet")]
            Form::Parquet(columns) => {
                columns.write(&self.path, &self.columns, rows, &mut self.file)?;
            }
        }
        self.flush_line()?;
        let Self { path, file, .. } = self;
        let failed = |source| DataError::Write { path: path.clone(), source };
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        #[cfg(unix)] // the new name is on the disk when its folder is
        File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(())
    }

    /// The row as a JSON object, its keys in the order of the columns.
    fn object(&mut self, cells: &[Value]) -> Result<(), DataError> {
        let object: serde_json::Map<String, Value> =
            self.columns.iter().cloned().zip(cells.iter().cloned()).collect();
        serde_json::to_writer(&mut self.line, &object)
            .map_err(|error| DataError::Write { path: self.path.clone(), source: error.into() })
    }

    fn flush_line(&mut self) -> Result<(), DataError> {
        let written = self.file.write_all(&self.line);
        self.line.clear();
        written.map_err(|source| DataError::Write { path: self.path.clone(), source })
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A temporary file in the folder of the final one, so that it can be renamed into place.
fn temporary(path: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)] // as any new file, and not readable by its owner alone
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}
