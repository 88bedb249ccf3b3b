//! Corpora: documents cut into passages that prompts show, kept on disk and brought up to date.

mod freshness;
mod making;
mod walk;

use std::path::{Path, PathBuf};

use fidelio_documents::{Cutting, Place};
use fidelio_retrieval::{
    Corpus, CorpusUpdate, Found, PassageSearcher as _, RetrievalError, SourceRecord,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use freshness::Staleness;
pub use making::TokensBy;

use crate::{Error, Event, Flow, Machine, Observer, Stage};
use making::{Cut, Made, Maker};
use walk::{Sources, Walked};

/// Files in work at once.
const AT_ONCE: usize = 32;

/// What a corpus is made of, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusPlan {
    /// Files and folders.
    pub sources: Vec<PathBuf>,
    /// Of folders, only files whose path in it or name matches one of these; none takes all documents.
    pub globs: Vec<String>,
    /// The columns of tables that hold text; a row becomes passages of its own.
    pub text_columns: Vec<String>,
    /// Whose tokens are counted.
    pub tokens: TokensBy,
    /// Most tokens of a passage.
    pub max_tokens: usize,
    /// Tokens that a passage may repeat from the one before.
    pub overlap: usize,
    /// Whether files that cannot be read are passed over and counted, and are no error.
    pub skip_unreadable: bool,
}

/// What indexing did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Indexed {
    /// What is there now.
    pub corpus: CorpusCard,
    /// Files that were read, since they are new or may have changed.
    pub files_read: usize,
    /// Of these, files whose passages were written.
    pub files_changed: usize,
    /// Files that are as they were.
    pub files_unchanged: usize,
    /// Files that are there no more, whose passages were taken out.
    pub removed: Vec<String>,
    /// Files that cannot be read and were passed over.
    pub skipped: Vec<Skipped>,
    /// Files of folders that are no documents.
    pub files_passed_over: usize,
}

/// A file that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub source: String,
    /// Why.
    pub reason: String,
}

/// A corpus in a plan or a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorpusCard {
    /// Where it lies.
    pub folder: PathBuf,
    /// Of its documents and how they were cut.
    pub sha256: String,
    /// Documents.
    pub files: usize,
    /// Passages.
    pub passages: usize,
    /// Most tokens of one.
    pub max_tokens: usize,
    /// The tokenizer that counted them; none where words were counted.
    pub tokenizer_sha256: Option<String>,
}

/// A passage that a prompt shows, or that was searched for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownPassage {
    /// The document.
    pub source: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Place,
    /// The headings that it stands under, the highest first.
    pub heading: Vec<String>,
    /// How well it fits what was asked.
    pub score: f32,
}

/// How passages were made: as long as this is the same, they need not be made anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    max_tokens: usize,
    overlap: usize,
    text_columns: Vec<String>,
    /// None where words are counted.
    tokenizer_sha256: Option<String>,
}

/// Where documents are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    sources: Sources,
    tokens: TokensBy,
    skip_unreadable: bool,
}

/// What is kept of a file beside its hash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    /// Its size and times, as long as they tell whether it changed.
    stamp: Option<String>,
    /// Why it has no passages, where it was passed over.
    skipped: Option<String>,
}

impl CorpusPlan {
    /// How a corpus is made where nothing else is said.
    pub fn of(sources: Vec<PathBuf>) -> Self {
        Self {
            sources,
            globs: Vec::new(),
            text_columns: Vec::new(),
            tokens: TokensBy::Words,
            max_tokens: 256,
            overlap: 0,
            skip_unreadable: false,
        }
    }

    /// Makes a corpus, or brings one up to date: files that are as they were are not read again, and
    /// the passages of those that are gone are taken out. Readers see all of it at once, at the end.
    ///
    /// # Errors
    /// When a file cannot be read, unless such are passed over; when nothing is there to index; and
    /// when the corpus cannot be opened or written. Then it is what it was.
    pub fn index(
        &self,
        machine: &Machine,
        folder: &Path,
        progress: &dyn fidelio_weights::Progress,
        observer: &mut dyn Observer,
    ) -> Result<Indexed, Error> {
        let sources = Sources::of(&self.sources, &self.globs)?;
        let plan = Self { tokens: self.tokens.absolute(), ..self.clone() };
        plan.write(machine, folder, sources, progress, observer)
    }

    fn write(
        &self,
        machine: &Machine,
        folder: &Path,
        sources: Sources,
        progress: &dyn fidelio_weights::Progress,
        observer: &mut dyn Observer,
    ) -> Result<Indexed, Error> {
        let cutting = Cutting { max_tokens: self.max_tokens, overlap: self.overlap };
        let maker = Maker::new(machine, &self.tokens, cutting, &self.text_columns, progress)?;
        let how = How {
            max_tokens: self.max_tokens,
            overlap: self.overlap,
            text_columns: self.text_columns.clone(),
            tokenizer_sha256: maker.tokenizer_sha256(),
        };
        let tables = !self.text_columns.is_empty();
        let walked = sources.walk(folder, tables)?;
        if tables && !walked.has_tables() {
            return Err(Error::NoTable);
        }
        let given =
            Given { sources, tokens: self.tokens.clone(), skip_unreadable: self.skip_unreadable };
        let mut update = CorpusUpdate::begin(folder)?;
        let mut done = Done::default();
        done.remove_gone(&mut update, &walked);
        let same = *update.how() == json!(how);
        let (unchanged, rest): (Vec<_>, Vec<_>) = walked.files.iter().partition(|file| {
            same && update.source(&file.name).is_some_and(|known| freshness::is_same(file, known))
        });
        done.unchanged = unchanged.len();
        for files in rest.chunks(AT_ONCE) {
            let made: Vec<_> = files.par_iter().map(|file| maker.make(file)).collect();
            for (file, made) in files.iter().zip(made) {
                let made = self.allowed(made)?;
                done.put(&mut update, &file.name, made, same)?;
            }
            let (stage, total) = (Stage::Indexing, walked.files.len());
            let (at, tokens) = (done.unchanged + done.read, done.tokens);
            let event = Event::Progress { stage, done: at, total, tokens };
            if observer.on(&event) == Flow::Stop {
                return Err(Error::Stopped);
            }
        }
        let corpus = update.finish(json!(how), json!(given))?;
        let skipped = skipped(&corpus);
        Ok(Indexed {
            corpus: CorpusCard::of(&corpus)?,
            files_read: done.read,
            files_changed: done.changed,
            files_unchanged: walked.files.len() - done.changed,
            removed: done.removed,
            skipped,
            files_passed_over: walked.passed_over,
        })
    }

    /// What was made of a file, or why nothing, where that is allowed.
    fn allowed(&self, made: Made) -> Result<Cut, Error> {
        match made {
            Ok(cut) => Ok(cut),
            Err(unreadable) if self.skip_unreadable => unreadable.passed_over(),
            Err(unreadable) => Err(unreadable.error),
        }
    }
}

/// Brings a corpus up to date with the documents that it was made of, in the way it was made.
///
/// # Errors
/// As [`CorpusPlan::index`], and [`RetrievalError::NoCorpus`] where there is none.
pub fn update_corpus(
    machine: &Machine,
    folder: &Path,
    progress: &dyn fidelio_weights::Progress,
    observer: &mut dyn Observer,
) -> Result<Indexed, Error> {
    let corpus = Corpus::open(folder)?;
    let (how, given) = (how(&corpus)?, given(&corpus)?);
    let plan = CorpusPlan {
        sources: Vec::new(),
        globs: Vec::new(),
        text_columns: how.text_columns,
        tokens: given.tokens,
        max_tokens: how.max_tokens,
        overlap: how.overlap,
        skip_unreadable: given.skip_unreadable,
    };
    drop(corpus);
    plan.write(machine, folder, given.sources, progress, observer)
}

/// What was done so far.
#[derive(Default)]
struct Done {
    read: usize,
    changed: usize,
    unchanged: usize,
    tokens: u64,
    removed: Vec<String>,
}

impl Done {
    fn remove_gone(&mut self, update: &mut CorpusUpdate, walked: &Walked) {
        let there = walked.names();
        let gone = update.sources().map(|(name, _)| name).filter(|name| !there.contains(name));
        self.removed = gone.map(str::to_owned).collect();
        for name in &self.removed {
            update.remove(name);
        }
    }

    fn put(
        &mut self,
        update: &mut CorpusUpdate,
        name: &str,
        cut: Cut,
        same: bool,
    ) -> Result<(), Error> {
        self.read += 1;
        self.tokens += cut.tokens;
        let record = json!(FileRecord { stamp: cut.stamp, skipped: cut.skipped });
        if same && update.source(name).is_some_and(|known| known.sha256 == cut.sha256) {
            update.say(name, record);
            return Ok(());
        }
        self.changed += 1;
        Ok(update.put(name, &cut.sha256, record, cut.passages)?)
    }
}

impl CorpusCard {
    pub(crate) fn of(corpus: &Corpus) -> Result<Self, Error> {
        let how = how(corpus)?;
        Ok(Self {
            folder: corpus.folder().to_owned(),
            sha256: corpus.sha256(),
            files: corpus.sources().count(),
            passages: corpus.len(),
            max_tokens: how.max_tokens,
            tokenizer_sha256: how.tokenizer_sha256,
        })
    }
}

impl ShownPassage {
    pub(crate) fn of(found: &Found) -> Option<Self> {
        let fields = &found.passage.fields;
        let place = serde_json::from_value(fields.get("place")?.clone()).ok()?;
        let heading = serde_json::from_value(fields.get("heading")?.clone()).ok()?;
        let (source, score) = (found.passage.source.clone(), found.score);
        Some(Self { source, place, heading, score })
    }
}

impl std::fmt::Display for ShownPassage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.source, self.place)
    }
}

/// The passages of a corpus that fit some words best, each with its text.
///
/// # Errors
/// When the corpus cannot be opened or searched.
pub fn search_corpus(
    folder: &Path,
    words: &str,
    most: usize,
) -> Result<Vec<(ShownPassage, String)>, Error> {
    let corpus = Corpus::open(folder)?;
    let found = corpus.search(words, most)?;
    let shown = found.iter().map(|found| {
        let shown = ShownPassage::of(found).ok_or_else(|| foreign(folder))?;
        Ok((shown, found.passage.text.clone()))
    });
    shown.collect()
}

fn how(corpus: &Corpus) -> Result<How, Error> {
    said(corpus, corpus.how())
}

fn given(corpus: &Corpus) -> Result<Given, Error> {
    said(corpus, corpus.place())
}

fn said<T: serde::de::DeserializeOwned>(corpus: &Corpus, value: &Value) -> Result<T, Error> {
    serde_json::from_value(value.clone()).map_err(|_| foreign(corpus.folder()))
}

/// The store is whole, but what stands in it was put there by something else.
pub(crate) fn foreign(folder: &Path) -> Error {
    let reason = "what it says about itself was not written by `fidelio index`".to_owned();
    RetrievalError::DamagedCorpus { path: folder.to_owned(), reason }.into()
}

fn skipped(corpus: &Corpus) -> Vec<Skipped> {
    let reason = |record: &SourceRecord| {
        serde_json::from_value::<FileRecord>(record.about.clone()).ok()?.skipped
    };
    let skipped = corpus.sources().filter_map(|(source, record)| {
        Some(Skipped { source: source.to_owned(), reason: reason(record)? })
    });
    skipped.collect()
}
