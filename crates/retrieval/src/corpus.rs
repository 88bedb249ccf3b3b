//! Passages of documents, kept on disk with an index of their words.
//!
//! A corpus is a folder that tantivy reads and writes. What it holds is said by a manifest that is
//! committed together with the index, in one rename, so that the two never disagree.

mod manifest;
mod schema;
mod update;

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tantivy::columnar::Column;
use tantivy::postings::Postings as _;
use tantivy::schema::{IndexRecordOption, TantivyDocument, Term, document::Value as _};
use tantivy::store::StoreReader;
use tantivy::{DocId, DocSet as _, Index, SegmentReader, TERMINATED, TantivyError};

pub use manifest::SourceRecord;
pub use update::CorpusUpdate;

use crate::RetrievalError;
use crate::bm25::{damping, rarity, weight};
use crate::words::words;
use manifest::Manifest;
use schema::Fields;

/// Documents of the store that are kept unpacked.
const UNPACKED: usize = 4;

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The document.
    pub source: String,
    /// Which of its passages, from 0.
    pub number: usize,
    /// Its text.
    pub text: String,
    /// Whatever else is known about it.
    pub fields: Map<String, Value>,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The passage.
    pub passage: Passage,
    /// How well it fits, in the searcher's own measure; greater is better.
    pub score: f32,
}

/// Finds passages for a text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find passages",
    note = "implement `PassageSearcher`, or use `Corpus`"
)]
pub trait PassageSearcher: Send + Sync {
    /// At most `limit` passages, the best first. Passages that have nothing in common with the text may
    /// be left out. The answer depends on nothing but the text and what passages there are.
    ///
    /// # Errors
    /// Where a store can fail.
    fn search(&self, text: &str, limit: usize) -> Result<Vec<Found>, RetrievalError>;
}

/// A corpus, open for reading: it stays what it was when it was opened.
pub struct Corpus {
    folder: PathBuf,
    manifest: Manifest,
    fields: Fields,
    segments: Vec<Segment>,
    /// How many passages it has.
    passages: usize,
    /// Words per passage, on average.
    mean_length: f32,
}

/// A part of the index.
struct Segment {
    reader: SegmentReader,
    store: StoreReader,
    /// How many words each passage has.
    lengths: Column<u64>,
    /// What decides between passages of one score.
    ties: Column<u64>,
}

impl fmt::Debug for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corpus").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Corpus {
    /// Opens a folder. All its files are read once, to know that they are whole.
    ///
    /// # Errors
    /// [`RetrievalError::NoCorpus`], [`RetrievalError::UnfinishedCorpus`],
    /// [`RetrievalError::CorpusVersion`] and [`RetrievalError::DamagedCorpus`].
    pub fn open(folder: &Path) -> Result<Self, RetrievalError> {
        let index = open_index(folder)?;
        let fail = |error: TantivyError| damaged(folder, &error);
        let meta = index.load_metas().map_err(fail)?;
        let manifest = Manifest::read(folder, meta.payload.as_deref())?;
        for file in meta.list_segment_files() {
            let there = folder.join(&file).exists();
            let whole = !there || index.directory().validate_checksum(&file).unwrap_or(false);
            if !whole {
                let reason = format!("`{}` is not as it was written", file.display());
                return Err(RetrievalError::DamagedCorpus { path: folder.to_owned(), reason });
            }
        }
        let fields = Fields::of(&index.schema()).map_err(fail)?;
        let segments = index.searchable_segments().map_err(fail)?;
        let segments =
            segments.iter().map(Segment::open).collect::<Result<_, _>>().map_err(fail)?;
        let (passages, words) = manifest.totals();
        let mean_length = words as f32 / passages.max(1) as f32;
        let folder = folder.to_owned();
        let corpus = Self { folder, manifest, fields, segments, passages, mean_length };
        let (have, said) = (corpus.stored(), passages);
        if have != said {
            let reason = format!("it holds {have} passages, and its manifest says {said}");
            return Err(RetrievalError::DamagedCorpus { path: corpus.folder, reason });
        }
        Ok(corpus)
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How its passages were made, as its maker says it.
    pub fn how(&self) -> &Value {
        &self.manifest.how
    }

    /// Where its documents are, as its maker says it.
    pub fn place(&self) -> &Value {
        &self.manifest.place
    }

    /// The documents that its passages come from, by name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceRecord)> {
        self.manifest.sources.iter().map(|(name, record)| (name.as_str(), record))
    }

    /// How many passages it has.
    pub fn len(&self) -> usize {
        self.passages
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.passages == 0
    }

    /// A hash, in hexadecimal, of what it was made of: the names and hashes of its documents, and how
    /// passages were made of them. Where the documents are does not matter to it.
    pub fn sha256(&self) -> String {
        self.manifest.sha256()
    }

    /// All its passages, document by document where it was written at once.
    pub fn passages(&self) -> impl Iterator<Item = Result<Passage, RetrievalError>> + '_ {
        self.segments.iter().flat_map(move |segment| {
            segment.reader.doc_ids_alive().map(move |doc| self.passage(segment, doc))
        })
    }

    fn stored(&self) -> usize {
        self.segments.iter().map(|segment| segment.reader.num_docs() as usize).sum()
    }

    fn passage(&self, segment: &Segment, doc: DocId) -> Result<Passage, RetrievalError> {
        let fail = |error: TantivyError| damaged(&self.folder, &error);
        let stored: TantivyDocument = segment.store.get(doc).map_err(fail)?;
        let text = |field| stored.get_first(field).and_then(|it| it.as_str()).unwrap_or_default();
        let fields = serde_json::from_str(text(self.fields.fields)).unwrap_or_default();
        let number = stored.get_first(self.fields.number).and_then(|it| it.as_u64());
        Ok(Passage {
            source: text(self.fields.source).to_owned(),
            number: number.unwrap_or_default() as usize,
            text: text(self.fields.text).to_owned(),
            fields,
        })
    }

    /// Adds to the scores of a segment's passages what a word is worth.
    fn add(
        &self,
        segment: &Segment,
        scores: &mut [f32],
        word: &str,
        worth: f32,
    ) -> Result<(), TantivyError> {
        self.each_posting(segment, word, |doc, times| {
            let length = segment.lengths.first(doc).unwrap_or_default();
            scores[doc as usize] +=
                worth * weight(times as f32, damping(length as f32, self.mean_length));
        })
    }

    /// The passages of a segment that have a word, and how often.
    fn each_posting(
        &self,
        segment: &Segment,
        word: &str,
        mut found: impl FnMut(DocId, u32),
    ) -> Result<(), TantivyError> {
        let index = segment.reader.inverted_index(self.fields.words)?;
        let term = Term::from_field_text(self.fields.words, word);
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::WithFreqs)? else {
            return Ok(());
        };
        while postings.doc() != TERMINATED {
            let doc = postings.doc();
            if !segment.reader.is_deleted(doc) {
                found(doc, postings.term_freq());
            }
            postings.advance();
        }
        Ok(())
    }

    fn scores(&self, text: &str) -> Result<Vec<Vec<f32>>, TantivyError> {
        let no_score = |segment: &Segment| vec![0.0; segment.reader.max_doc() as usize];
        let mut scores: Vec<Vec<f32>> = self.segments.iter().map(no_score).collect();
        for (word, times) in counted(text) {
            let mut have = 0_u32;
            for segment in &self.segments {
                self.each_posting(segment, &word, |_, _| have += 1)?;
            }
            if have == 0 {
                continue;
            }
            let worth = times as f32 * rarity(self.passages as f32, have as f32);
            for (segment, scores) in self.segments.iter().zip(&mut scores) {
                self.add(segment, scores, &word, worth)?;
            }
        }
        Ok(scores)
    }
}

impl PassageSearcher for Corpus {
    /// By common words, as [`Bm25`](crate::Bm25) ranks examples: with exact lengths, and with nothing of
    /// what was deleted, so that a corpus answers as one that is built anew from the same documents.
    fn search(&self, text: &str, limit: usize) -> Result<Vec<Found>, RetrievalError> {
        let scores = self.scores(text).map_err(|error| damaged(&self.folder, &error))?;
        let mut hits = Vec::new();
        for (number, (segment, scores)) in self.segments.iter().zip(&scores).enumerate() {
            for (doc, &score) in (0..).zip(scores).filter(|(_, score)| **score > 0.0) {
                let tie = segment.ties.first(doc).unwrap_or_default();
                hits.push((score, tie, number, doc));
            }
        }
        let order = |a: &(f32, u64, usize, DocId), b: &(f32, u64, usize, DocId)| {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
        };
        if limit < hits.len() {
            hits.select_nth_unstable_by(limit, order);
            hits.truncate(limit);
        }
        hits.sort_unstable_by(order);
        let found = |(score, _, segment, doc): (f32, u64, usize, DocId)| {
            Ok(Found { passage: self.passage(&self.segments[segment], doc)?, score })
        };
        hits.into_iter().map(found).collect()
    }
}

impl Segment {
    fn open(segment: &tantivy::Segment) -> Result<Self, TantivyError> {
        let reader = SegmentReader::open(segment)?;
        let store = reader.get_store_reader(UNPACKED)?;
        let lengths = reader.fast_fields().u64(schema::LENGTH)?;
        let ties = reader.fast_fields().u64(schema::TIE)?;
        Ok(Self { reader, store, lengths, ties })
    }
}

/// The words of a text in the order of their first occurrence, and how often each occurs.
fn counted(text: &str) -> Vec<(String, u32)> {
    let mut places = std::collections::HashMap::new();
    let mut counted: Vec<(String, u32)> = Vec::new();
    for word in words(text) {
        let place = *places.entry(word.clone()).or_insert(counted.len());
        match counted.get_mut(place) {
            Some((_, times)) => *times += 1,
            None => counted.push((word, 1)),
        }
    }
    counted
}

fn open_index(folder: &Path) -> Result<Index, RetrievalError> {
    if !is_there(folder) {
        return Err(RetrievalError::NoCorpus { path: folder.to_owned() });
    }
    match Index::open_in_dir(folder) {
        Ok(index) => Ok(index),
        Err(TantivyError::IncompatibleIndex(reason)) => Err(RetrievalError::CorpusVersion {
            path: folder.to_owned(),
            found: format!("{reason:?}"),
            expected: tantivy::version_string().to_owned(),
        }),
        Err(error) => Err(damaged(folder, &error)),
    }
}

fn is_there(folder: &Path) -> bool {
    folder.join("meta.json").is_file()
}

fn damaged(folder: &Path, error: &TantivyError) -> RetrievalError {
    RetrievalError::DamagedCorpus { path: folder.to_owned(), reason: error.to_string() }
}
