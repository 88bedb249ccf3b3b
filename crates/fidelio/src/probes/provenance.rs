//! What a head stands on, by hashes, and whether what it is used with is still that.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Encoders, ProbeFile};
use crate::{Embedder, Error, FileHash, Named, provenance::PROVENANCE};

/// What a run stands on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeProvenance {
    fidelio_version: String,
    encoders: Vec<EncoderHashes>,
    data: Vec<FileHash>,
}

/// One of its encoders.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EncoderHashes {
    model: String,
    path: PathBuf,
    weights_sha256: String,
    tokenizer_sha256: String,
}

impl ProbeProvenance {
    pub(super) fn of(encoders: &Encoders, data: Vec<FileHash>) -> Self {
        let fidelio_version = env!("CARGO_PKG_VERSION").to_owned();
        Self { fidelio_version, encoders: hashes(encoders), data }
    }
}

fn hashes(encoders: &Encoders) -> Vec<EncoderHashes> {
    let of = |embedder: &Embedder| {
        let card = embedder.card();
        EncoderHashes {
            model: card.base_model,
            path: card.path,
            weights_sha256: embedder.plan().weights_sha256.clone(),
            tokenizer_sha256: card.tokenizer_sha256,
        }
    };
    encoders.embedders().iter().map(of).collect()
}

/// A head answers only for the encoders that it was fitted on.
pub(super) fn check_encoders(
    folder: &Path,
    run: &ProbeFile,
    encoders: &Encoders,
) -> Result<(), Error> {
    let path = folder.join(PROVENANCE);
    let text = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let then: ProbeProvenance = serde_json::from_slice(&text).map_err(|error| Error::Damaged {
        path,
        line: Some(error.line()),
        reason: error.to_string(),
    })?;
    let (then, now) = (then.encoders, hashes(encoders));
    if then.len() != now.len() {
        return Err(Error::OtherThanTrained {
            path: folder.to_owned(),
            what: "number of encoders",
        });
    }
    for (then, now) in then.iter().zip(&now) {
        if then.tokenizer_sha256 != now.tokenizer_sha256 {
            return Err(Error::OtherThanTrained { path: folder.to_owned(), what: "tokenizer" });
        }
        if then.weights_sha256 != now.weights_sha256 && !run.allows_other_weights() {
            let named = |it: &EncoderHashes| {
                Box::new(Named {
                    path: Some(it.path.clone()),
                    sha256: Some(it.weights_sha256.clone()),
                })
            };
            let path = folder.to_owned();
            return Err(Error::OtherWeights { path, then: named(then), now: named(now) });
        }
    }
    Ok(())
}
