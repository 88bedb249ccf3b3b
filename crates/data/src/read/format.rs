//! Which format a file has.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// A format that rows can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values, or separated by semicolon, tab or pipe.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// A list of records, or an object of columns.
    Json,
    /// One object per line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Excel and OpenDocument workbooks.
    Excel,
}

/// Formats that users of similar tools may ask for.
const NOT_BUILT: [&str; 15] = [
    "feather", "orc", "hdf5", "h5", "fwf", "html", "sas7bdat", "sas", "sav", "spss", "dta",
    "stata", "pickle", "pkl", "arrow",
];

impl Format {
    /// The format of this name, as `data_format` gives it.
    ///
    /// # Errors
    /// [`DataError::FormatNotBuilt`] or [`DataError::UnknownFormat`].
    pub fn named(name: &str) -> Result<Self, DataError> {
        match name.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "tsv" => Ok(Self::Tsv),
            "json" => Ok(Self::Json),
            "jsonl" | "ndjson" => Ok(Self::Jsonl),
            "parquet" | "pq" => Ok(Self::Parquet),
            "excel" | "xls" | "xlsx" | "xlsm" | "xlsb" | "ods" => Ok(Self::Excel),
            other if NOT_BUILT.contains(&other) => {
                Err(DataError::FormatNotBuilt { name: name.to_owned() })
            }
            _ => Err(DataError::UnknownFormat { name: name.to_owned() }),
        }
    }

    /// The format of a file by its extension; `.gz` behind a text format is looked through.
    ///
    /// # Errors
    /// As [`Format::named`]; a file without extension is of unknown format.
    pub fn of(path: &Path) -> Result<Self, DataError> {
        let unpacked = if is_gzip(path) { path.with_extension("") } else { path.to_owned() };
        let extension = unpacked.extension().and_then(|e| e.to_str());
        let named = extension.map(Self::named);
        match named {
            Some(Ok(format)) if is_gzip(path) && !format.is_text() => {
                Err(DataError::UnknownFormat { name: path.display().to_string() })
            }
            Some(format) => format,
            None => Err(DataError::UnknownFormat { name: path.display().to_string() }),
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Json | Self::Jsonl)
    }
}

/// Whether a text file's name says that it is compressed with gzip.
pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_name_formats() {
        let check = |name: &str, format| assert_eq!(Format::of(Path::new(name)).ok(), format);
        check("a.CSV", Some(Format::Csv));
        check("a.b/x.tsv", Some(Format::Tsv));
        check("a.csv.gz", Some(Format::Csv));
        check("a.jsonl.gz", Some(Format::Jsonl));
        check("a.ndjson", Some(Format::Jsonl));
        check("a.xlsx", Some(Format::Excel));
        check("a.xlsx.gz", None);
        check("a", None);
        check("a.gz", None);
    }

    #[test]
    fn formats_of_similar_tools_are_not_built() {
        let error = Format::named("feather").unwrap_err();
        assert!(matches!(error, DataError::FormatNotBuilt { .. }));
    }
}
