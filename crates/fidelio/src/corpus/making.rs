//! From a file to its passages.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use fidelio_data::{ReadOptions, Source as _, Table, rows, text};
use fidelio_documents::{Cutting, Document, DocumentError, Passage, Unit};
use fidelio_weights::{Progress, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::walk::{Kind, SourceFile};
use crate::{
    Error, Machine, Model,
    hashes::{is_settled, sha256, stamp},
};

/// Whose tokens are counted when documents are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokensBy {
    /// Words between white space, where no model is known yet.
    Words,
    /// Those of a model: a folder, a GGUF file, a hub id or an alias.
    Model(String),
    /// Those of a tokenizer: a folder with a `tokenizer.json`, or that file.
    Tokenizer(PathBuf),
}

impl TokensBy {
    /// The same from wherever it is looked for later.
    pub(super) fn absolute(&self) -> Self {
        let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match self {
            Self::Words => Self::Words,
            Self::Model(name) => Self::Model(whole(Path::new(name)).to_string_lossy().into_owned()),
            Self::Tokenizer(path) => Self::Tokenizer(whole(path)),
        }
    }
}

/// Makes passages of files.
pub(super) struct Maker<'a> {
    cutting: Cutting,
    text_columns: &'a [String],
    /// With its hash; none where words are counted.
    tokenizer: Option<(Arc<tokenizers::Tokenizer>, String)>,
}

/// What was made of a file.
pub(super) struct Cut {
    pub(super) sha256: String,
    pub(super) stamp: Option<String>,
    pub(super) passages: Vec<(String, Map<String, Value>)>,
    pub(super) tokens: u64,
    pub(super) skipped: Option<String>,
}

/// A file of which nothing can be made.
pub(super) struct Unreadable {
    pub(super) error: Error,
    /// Of its bytes, where these could be read.
    known: Option<(String, Option<String>)>,
}

pub(super) type Made = Result<Cut, Box<Unreadable>>;

impl Unreadable {
    /// The file without passages, where that is allowed. One whose bytes cannot be read has no hash
    /// that would show when it changes, so it is an error all the same.
    pub(super) fn passed_over(self) -> Result<Cut, Error> {
        let Some((sha256, stamp)) = self.known else { return Err(self.error) };
        let reason = match &self.error {
            Error::Document { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Ok(Cut { sha256, stamp, passages: Vec::new(), tokens: 0, skipped: Some(reason) })
    }
}

impl<'a> Maker<'a> {
    pub(super) fn new(
        machine: &Machine,
        tokens: &TokensBy,
        cutting: Cutting,
        text_columns: &'a [String],
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let tokenizer = match tokens {
            TokensBy::Words => None,
            TokensBy::Model(name) => {
                let model = Model::find(machine, name, progress)?;
                let sha256 = model.card().tokenizer_sha256;
                Some((model.vocabulary().shared_tokenizer(), sha256))
            }
            TokensBy::Tokenizer(path) => {
                let tokenizer = Tokenizer::from_folder(&folder_of(path))?;
                let sha256 = tokenizer.sha256();
                Some((Arc::new(tokenizer.into_encoder()), sha256))
            }
        };
        let maker = Self { cutting, text_columns, tokenizer };
        // Limits that cannot be kept are known before any file is read.
        maker.cut(&Document::row([""], 1, Unit::Row), "")?;
        Ok(maker)
    }

    pub(super) fn tokenizer_sha256(&self) -> Option<String> {
        self.tokenizer.as_ref().map(|(_, sha256)| sha256.clone())
    }

    /// The passages of a file.
    pub(super) fn make(&self, file: &SourceFile) -> Made {
        let unread = |source| {
            Box::new(Unreadable {
                error: Error::Read { path: PathBuf::from(&file.name), source },
                known: None,
            })
        };
        let before = fs::metadata(&file.path).map_err(unread)?;
        let bytes = fs::read(&file.path).map_err(unread)?;
        let settled = fs::metadata(&file.path).is_ok_and(|now| stamp(&now) == stamp(&before));
        let stamp = (settled && is_settled(&before)).then(|| super::freshness::of(&before));
        let sha256 = sha256(&bytes);
        let passages = match file.kind {
            Kind::Document(format) => self.document(file, &bytes, format),
            Kind::Table => self.table(file),
        };
        match passages {
            Ok(passages) => {
                let tokens = passages.iter().map(|passage| passage.tokens as u64).sum();
                let passages = passages.into_iter().map(stored).collect();
                Ok(Cut { sha256, stamp, passages, tokens, skipped: None })
            }
            Err(error) => Err(Box::new(Unreadable { error, known: Some((sha256, stamp)) })),
        }
    }

    fn document(
        &self,
        file: &SourceFile,
        bytes: &[u8],
        format: fidelio_documents::Format,
    ) -> Result<Vec<Passage>, Error> {
        let document = Document::read(bytes, format).map_err(|source| of(&file.name, source))?;
        self.cut(&document, &file.name)
    }

    /// Each row is a document: its passages hold nothing of another.
    fn table(&self, file: &SourceFile) -> Result<Vec<Passage>, Error> {
        let table = Table::open(&[&file.path], &ReadOptions::default())?;
        let columns: Vec<&str> = self.text_columns.iter().map(String::as_str).collect();
        fidelio_data::require_columns(&table, &columns)?;
        let mut passages = Vec::with_capacity(table.len());
        for row in rows(&table) {
            let row = row?;
            let unit = match row.place.unit {
                fidelio_data::Unit::Line => Unit::Line,
                fidelio_data::Unit::Row | fidelio_data::Unit::Sheet(_) => Unit::Row,
            };
            let cells = columns.iter().filter_map(|column| row.fields.get(*column).and_then(text));
            let cells: Vec<_> = cells.filter(|text| !text.trim().is_empty()).collect();
            let texts = cells.iter().map(AsRef::as_ref);
            passages.extend(self.cut(&Document::row(texts, row.place.line, unit), &file.name)?);
        }
        Ok(passages)
    }

    fn cut(&self, document: &Document, name: &str) -> Result<Vec<Passage>, Error> {
        let count = |text: &str| match &self.tokenizer {
            None => Ok(text.split_whitespace().count()),
            Some((tokenizer, _)) => Ok(tokenizer.encode_fast(text, false)?.len()),
        };
        self.cutting.cut(document, &count).map_err(|source| of(name, source))
    }
}

/// A passage as the store takes it.
fn stored(passage: Passage) -> (String, Map<String, Value>) {
    let text = passage.text();
    let fields = [("place", json!(passage.place)), ("heading", json!(passage.heading))];
    (text, fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn of(name: &str, source: DocumentError) -> Error {
    match source {
        // What is wrong with the limits is wrong with no file.
        DocumentError::Limits { .. } => Error::Cutting(source),
        source => Error::Document { path: PathBuf::from(name), source },
    }
}

fn folder_of(path: &Path) -> PathBuf {
    let named = path.file_name().is_some_and(|name| name == "tokenizer.json");
    match path.parent() {
        Some(parent) if named && parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) if named => parent.to_owned(),
        _ => path.to_owned(),
    }
}
