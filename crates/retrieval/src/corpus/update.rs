//! Writing a corpus: everything at once, or nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tantivy::schema::{TantivyDocument, Term};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, IndexWriter, TantivyError};

use super::manifest::{Manifest, SourceRecord};
use super::schema::{Fields, schema};
use super::{Corpus, damaged, is_there, open_index};
use crate::RetrievalError;
use crate::words::words;

/// Memory of the writer, in bytes.
const MEMORY: usize = 64 << 20;

/// The name of a new corpus within its temporary folder.
const NEW: &str = "corpus";

/// A corpus that is being written. Until [`Self::finish`] readers see what was there before, and
/// without it nothing changes.
pub struct CorpusUpdate {
    writer: IndexWriter,
    fields: Fields,
    manifest: Manifest,
    folder: PathBuf,
    /// Where a new one is made before it gets its name.
    new: Option<tempfile::TempDir>,
}

impl fmt::Debug for CorpusUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorpusUpdate").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CorpusUpdate {
    /// Begins to change the corpus of a folder, or to make one where nothing is.
    ///
    /// # Errors
    /// As [`Corpus::open`]; [`RetrievalError::NoCorpus`] where something else lies;
    /// [`RetrievalError::CorpusBusy`] while another process writes it.
    pub fn begin(folder: &Path) -> Result<Self, RetrievalError> {
        let folder = folder.to_owned();
        if is_there(&folder) {
            // Also known to be whole.
            let manifest = Corpus::open(&folder)?.manifest;
            let index = open_index(&folder)?;
            return Self::on(&index, manifest, folder, None);
        }
        let write = |source| RetrievalError::CorpusWrite { path: folder.clone(), source };
        if folder.exists() && fs::read_dir(&folder).map_err(write)?.next().is_some() {
            return Err(RetrievalError::NoCorpus { path: folder });
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(write)?;
        let new = tempfile::Builder::new().prefix(".corpus-").tempdir_in(parent).map_err(write)?;
        // Within the temporary folder, which only its owner may read.
        let inside = new.path().join(NEW);
        fs::create_dir(&inside).map_err(write)?;
        let index = Index::create_in_dir(&inside, schema());
        let index = index.map_err(|error| failed(&folder, error))?;
        Self::on(&index, Manifest::new(), folder, Some(new))
    }

    fn on(
        index: &Index,
        manifest: Manifest,
        folder: PathBuf,
        new: Option<tempfile::TempDir>,
    ) -> Result<Self, RetrievalError> {
        let fields = Fields::of(&index.schema()).map_err(|error| damaged(&folder, &error))?;
        let writer = index.writer_with_num_threads(1, MEMORY);
        let writer = writer.map_err(|error| failed(&folder, error))?;
        Ok(Self { writer, fields, manifest, folder, new })
    }

    /// How the passages that are there were made; null where none are.
    pub fn how(&self) -> &Value {
        &self.manifest.how
    }

    /// Where the documents that are there come from; null where none are.
    pub fn place(&self) -> &Value {
        &self.manifest.place
    }

    /// The documents that are there.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceRecord)> {
        self.manifest.sources.iter().map(|(name, record)| (name.as_str(), record))
    }

    /// A document that is there.
    pub fn source(&self, name: &str) -> Option<&SourceRecord> {
        self.manifest.sources.get(name)
    }

    /// Says something else about a document that is there.
    pub fn say(&mut self, name: &str, about: Value) {
        if let Some(source) = self.manifest.sources.get_mut(name) {
            source.about = about;
        }
    }

    /// Takes a document with its passages out.
    pub fn remove(&mut self, name: &str) {
        if self.manifest.sources.remove(name).is_some() {
            self.writer.delete_term(Term::from_field_text(self.fields.source, name));
        }
    }

    /// Puts a document in, in the place of the one that has its name. Its passages come as texts with
    /// whatever else is known about each.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(
        &mut self,
        name: &str,
        sha256: &str,
        about: Value,
        passages: impl IntoIterator<Item = (String, Map<String, Value>)>,
    ) -> Result<(), RetrievalError> {
        self.remove(name);
        let mut record = SourceRecord { sha256: sha256.to_owned(), about, passages: 0, words: 0 };
        for (number, (text, fields)) in passages.into_iter().enumerate() {
            let words = words_of(&text);
            let length = words.tokens.len() as u64;
            let mut document = TantivyDocument::default();
            document.add_text(self.fields.source, name);
            document.add_u64(self.fields.number, number as u64);
            document.add_text(self.fields.fields, Value::Object(fields).to_string());
            document.add_pre_tokenized_text(self.fields.words, words);
            document.add_u64(self.fields.length, length);
            document.add_u64(self.fields.tie, tie(name, number));
            document.add_text(self.fields.text, text);
            self.writer.add_document(document).map_err(|error| failed(&self.folder, error))?;
            record.passages += 1;
            record.words += length;
        }
        self.manifest.sources.insert(name.to_owned(), record);
        Ok(())
    }

    /// Makes all of it true at once, and opens what is there then.
    ///
    /// # Errors
    /// When it cannot be written. Then what was there before is still there.
    pub fn finish(mut self, how: Value, place: Value) -> Result<Corpus, RetrievalError> {
        (self.manifest.how, self.manifest.place) = (how, place);
        let manifest = serde_json::to_string(&self.manifest).map_err(|error| {
            let source = std::io::Error::other(error);
            RetrievalError::CorpusWrite { path: self.folder.clone(), source }
        })?;
        let Self { mut writer, folder, new, .. } = self;
        let fail = |error| failed(&folder, error);
        let mut commit = writer.prepare_commit().map_err(fail)?;
        commit.set_payload(&manifest);
        commit.commit().map_err(fail)?;
        writer.wait_merging_threads().map_err(fail)?;
        if let Some(new) = new {
            let write = |source| RetrievalError::CorpusWrite { path: folder.clone(), source };
            // Renaming takes the place of an empty folder.
            fs::rename(new.path().join(NEW), &folder).map_err(write)?;
        }
        Corpus::open(&folder)
    }
}

/// A text's words, for the index.
fn words_of(text: &str) -> PreTokenizedString {
    let token = |(position, text): (usize, String)| Token { position, text, ..Token::default() };
    let tokens = words(text).enumerate().map(token).collect();
    PreTokenizedString { text: String::new(), tokens }
}

/// A number that depends on the passage and not on when it was written.
fn tie(name: &str, number: usize) -> u64 {
    let hash = Sha256::digest(format!("{name}\n{number}").as_bytes());
    hash.iter().take(8).fold(0, |tie, byte| tie << 8 | u64::from(*byte))
}

fn failed(folder: &Path, error: TantivyError) -> RetrievalError {
    let path = folder.to_owned();
    match error {
        TantivyError::LockFailure(..) => RetrievalError::CorpusBusy { path },
        error => RetrievalError::CorpusWrite { path, source: std::io::Error::other(error) },
    }
}
