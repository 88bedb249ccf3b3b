//! Whether the documents of a corpus are still what they were.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    path::Path,
};

use fidelio_retrieval::{Corpus, SourceRecord};

use super::walk::{SourceFile, Walked};
use super::{FileRecord, given, how};
use crate::{
    Error,
    hashes::{hash, stamp},
};

/// How many files a sentence names.
const NAMED: usize = 5;

/// What has become of the documents of a corpus since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staleness {
    /// Documents with other contents.
    pub changed: Vec<String>,
    /// Documents that are there no more.
    pub gone: Vec<String>,
    /// Documents that were not there.
    pub new: Vec<String>,
    /// Whether none of them can be found, as on another machine, so that nothing is known.
    pub unknown: bool,
}

impl Staleness {
    /// Of a corpus. A file whose size and times are what they were is taken to be what it was; of every
    /// other one the contents are compared.
    ///
    /// # Errors
    /// When its sources cannot be read.
    pub fn of(corpus: &Corpus) -> Result<Self, Error> {
        let sources = given(corpus)?.sources.there();
        if sources.is_empty() {
            return Ok(Self { unknown: true, ..Self::default() });
        }
        let walked = match sources.walk(corpus.folder(), !how(corpus)?.text_columns.is_empty()) {
            Ok(walked) => walked,
            Err(Error::NothingToIndex { .. }) => Walked::default(),
            Err(error) => return Err(error),
        };
        let known: BTreeMap<&str, &SourceRecord> = corpus.sources().collect();
        let mut found = Self::default();
        for file in &walked.files {
            match known.get(file.name.as_str()).copied() {
                None => found.new.push(file.name.clone()),
                Some(record) if is_same(file, record) || has_hash(file, record) => {}
                Some(_) => found.changed.push(file.name.clone()),
            }
        }
        let there = walked.names();
        let gone = known.keys().filter(|name| !there.contains(*name));
        found.gone = gone.map(ToString::to_string).collect();
        Ok(found)
    }

    /// What somebody who reads answers should know.
    pub fn note(&self, folder: &Path) -> Option<String> {
        let folder = folder.display();
        if self.unknown {
            return Some(format!(
                "the documents of the corpus `{folder}` are not here, so whether they have changed \
                 is not known"
            ));
        }
        let parts = [("changed", &self.changed), ("gone", &self.gone), ("new", &self.new)];
        let parts: Vec<String> =
            parts.into_iter().filter(|(_, names)| !names.is_empty()).map(said).collect();
        (!parts.is_empty()).then(|| {
            format!(
                "the corpus `{folder}` is not what its documents are now: {}; `fidelio index -o \
                 {folder}` brings it up to date",
                parts.join(", ")
            )
        })
    }
}

fn said((what, names): (&str, &Vec<String>)) -> String {
    let more = if names.len() > NAMED { ", …" } else { "" };
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    format!("{} {what} ({}{more})", names.len(), first.join(", "))
}

/// What tells, without reading it, that a file is what it was.
pub(super) fn of(file: &Metadata) -> String {
    format!("{} {}", file.len(), stamp(file))
}

/// Whether a file's size and times are what they were.
pub(super) fn is_same(file: &SourceFile, record: &SourceRecord) -> bool {
    let known = serde_json::from_value::<FileRecord>(record.about.clone()).unwrap_or_default();
    let Some(known) = known.stamp else { return false };
    fs::metadata(&file.path).is_ok_and(|now| of(&now) == known)
}

fn has_hash(file: &SourceFile, record: &SourceRecord) -> bool {
    hash(&file.path).is_ok_and(|sha256| sha256 == record.sha256)
}
