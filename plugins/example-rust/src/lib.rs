//! A small engine as a plugin: a language model of two tables that can learn. A place to start from.
//!
//! The logits of the next token are a row of one table, chosen by the last token, plus a row of
//! another, chosen by the token before it.

mod learner;
mod rows;
mod session;
mod tables;

use fidelio_backend::{
    Backend, BackendError, BackendInfo, DeviceId, DeviceInfo, OpenSpec, Precision, Session, Verb,
    Weights,
};

use crate::{rows::Rows, session::NgramSession, tables::Tables};

fidelio_plugin::export!(|| Ngrams);

/// Rows that may be open at a time.
const ROWS: usize = 64;

/// Tokens that may be cached, where nobody says otherwise.
const CACHED: usize = 1 << 16;

/// The backend.
#[derive(Debug)]
struct Ngrams;

impl Backend for Ngrams {
    fn describe(&self) -> BackendInfo {
        BackendInfo {
            name: "example-rust".to_owned(),
            about: "n-grams that learn".to_owned(),
            devices: vec![DeviceInfo { id: DeviceId(0), name: "CPU".to_owned(), memory: None }],
            precisions: vec![Precision::F32],
            verbs: vec![Verb::Extend, Verb::Fork, Verb::Truncate, Verb::Score, Verb::Learn],
        }
    }

    fn open(
        &self,
        device: DeviceId,
        spec: &OpenSpec,
        weights: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        if device != DeviceId(0) {
            let reason = "it has device 0 only".to_owned();
            return Err(BackendError::NoDevice {
                backend: "example-rust".to_owned(),
                device: device.0,
                reason,
            });
        }
        check(spec)?;
        let vocabulary = size(spec, "vocab_size")?;
        let context = size(spec, "max_position_embeddings")?;
        let tables = Tables::read(weights, vocabulary)?;
        let rows = Rows::new(ROWS, spec.cached_tokens.unwrap_or(CACHED));
        Ok(Box::new(NgramSession::new(tables, rows, context)))
    }
}

/// What a spec may ask for and this engine does not have is refused, not passed over.
fn check(spec: &OpenSpec) -> Result<(), BackendError> {
    let model_type = spec.config["model_type"].as_str().unwrap_or("unnamed");
    if model_type != "ngram" {
        return Err(BackendError::Architecture {
            model_type: model_type.to_owned(),
            supported: vec!["ngram".to_owned()],
        });
    }
    if spec.precision != Precision::F32 {
        return Err(BackendError::Precision {
            backend: "example-rust".to_owned(),
            precision: spec.precision,
            known: vec![Precision::F32],
        });
    }
    if spec.quantization.is_some() || spec.rotary.is_some() {
        let what = "n-grams have neither weights to round nor rotary positions";
        return Err(BackendError::Engine(what.to_owned()));
    }
    Ok(())
}

fn size(spec: &OpenSpec, key: &str) -> Result<usize, BackendError> {
    let found = spec.config[key].as_u64().filter(|size| (1..=1 << 16).contains(size));
    found.map(|size| size as usize).ok_or_else(|| BackendError::ModelConfig {
        key: key.to_owned(),
        problem: "must be a whole number from 1 to 65536".to_owned(),
    })
}
