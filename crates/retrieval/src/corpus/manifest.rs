//! What a corpus says about itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::RetrievalError;

/// The version of what is written. It rises whenever passages or words would be others.
pub(super) const VERSION: u32 = 1;

/// Committed with the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) version: u32,
    /// How its maker makes passages.
    pub(super) how: Value,
    /// Where its maker finds documents.
    pub(super) place: Value,
    pub(super) sources: BTreeMap<String, SourceRecord>,
}

/// A document of a corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// The hash of its contents, in hexadecimal.
    pub sha256: String,
    /// What its maker says of it, such as how to find it unchanged without reading it.
    pub about: Value,
    /// How many passages it has.
    pub passages: usize,
    /// How many words they have together.
    pub words: u64,
}

impl Manifest {
    pub(super) fn new() -> Self {
        let sources = BTreeMap::new();
        Self { version: VERSION, how: Value::Null, place: Value::Null, sources }
    }

    pub(super) fn read(folder: &Path, text: Option<&str>) -> Result<Self, RetrievalError> {
        let path = || folder.to_owned();
        let Some(text) = text else {
            return Err(RetrievalError::UnfinishedCorpus { path: path() });
        };
        let wrong = |error: serde_json::Error| RetrievalError::DamagedCorpus {
            path: path(),
            reason: format!("its manifest cannot be read: {error}"),
        };
        let value: Value = serde_json::from_str(text).map_err(wrong)?;
        let version = &value["version"];
        if *version != json!(VERSION) {
            let (found, expected) = (version.to_string(), VERSION.to_string());
            return Err(RetrievalError::CorpusVersion { path: path(), found, expected });
        }
        serde_json::from_value(value).map_err(wrong)
    }

    /// Passages and words of all documents.
    pub(super) fn totals(&self) -> (usize, u64) {
        let add = |(passages, words), source: &SourceRecord| {
            (passages + source.passages, words + source.words)
        };
        self.sources.values().fold((0, 0), add)
    }

    pub(super) fn sha256(&self) -> String {
        let sources = self.sources.iter().map(|(name, source)| (name, &source.sha256));
        let all = json!([self.version, self.how, sources.collect::<Vec<_>>()]);
        format!("{:x}", Sha256::digest(all.to_string().as_bytes()))
    }
}
