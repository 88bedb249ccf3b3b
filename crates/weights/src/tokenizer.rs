//! Text to ids and back, with the special tokens that belong to a model.

mod byte_level;
mod fingerprint;
mod folder;
mod gguf;
mod sentencepiece;
mod to_gguf;
mod vocabulary;
mod wordpiece;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

pub(crate) use fingerprint::hex;
pub(crate) use folder::from_folder;
pub(crate) use gguf::from_gguf;
pub(crate) use to_gguf::describe;

use crate::WeightsError;

/// A tokenizer that neither cuts nor pads, and its special tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    encoder: tokenizers::Tokenizer,
    specials: Specials,
    path: PathBuf,
}

/// The special tokens of a model, as its files name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Specials {
    /// Begins a text.
    pub bos: Option<Special>,
    /// End a text; the tokenizer's own stands first.
    pub eos: Vec<Special>,
    /// Fills up a batch in engines that pad. Nothing here pads.
    pub pad: Option<Special>,
    /// Stands for what the vocabulary cannot spell.
    pub unk: Option<Special>,
    /// Begins a text for an encoder.
    pub cls: Option<Special>,
    /// Ends a text for an encoder.
    pub sep: Option<Special>,
    /// Hides a word from an encoder.
    pub mask: Option<Special>,
    /// Whether a text is meant to begin with `bos` when it is encoded with special tokens.
    pub add_bos: bool,
    /// Whether a text is meant to end with `eos` when it is encoded with special tokens.
    pub add_eos: bool,
}

/// A special token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Special {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
}

impl Tokenizer {
    /// Reads the tokenizer files of a Hugging Face folder, which need not hold weights.
    ///
    /// # Errors
    /// When `tokenizer.json` is missing or broken, or a special token is not in the vocabulary.
    pub fn from_folder(folder: &Path) -> Result<Self, WeightsError> {
        from_folder(folder, &serde_json::Value::Null, None)
    }

    /// Builds the tokenizer that a GGUF file describes, which need not hold tensors.
    ///
    /// # Errors
    /// When the description is incomplete, or of a kind that cannot be built exactly.
    pub fn from_gguf(gguf: &crate::gguf::Gguf) -> Result<Self, WeightsError> {
        from_gguf(gguf.metadata(), gguf.path())
    }

    /// Takes truncation and padding off: a `tokenizer.json` may ask for both, and a text that is
    /// cut without a word is the worst kind of wrong.
    fn new(
        mut encoder: tokenizers::Tokenizer,
        specials: Specials,
        path: &Path,
    ) -> Result<Self, WeightsError> {
        encoder.with_truncation(None).map_err(|e| broken(path, e.to_string()))?;
        encoder.with_padding(None);
        Ok(Self { encoder, specials, path: path.to_owned() })
    }

    /// The encoder and decoder. It adds `bos`, `eos`, `cls` and `sep` where the model wants them
    /// only when asked to add special tokens.
    pub fn encoder(&self) -> &tokenizers::Tokenizer {
        &self.encoder
    }

    /// The encoder, to keep.
    pub fn into_encoder(self) -> tokenizers::Tokenizer {
        self.encoder
    }

    /// The special tokens.
    pub fn specials(&self) -> &Specials {
        &self.specials
    }

    /// The file it comes from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A sha256, in hexadecimal, that is equal for tokenizers that do the same, whichever file
    /// they come from: over every token with its id, the special tokens, and the ids of a set
    /// of probe texts.
    pub fn sha256(&self) -> String {
        fingerprint::sha256(self)
    }
}

fn broken(path: &Path, problem: String) -> WeightsError {
    WeightsError::Tokenizer { path: path.to_owned(), problem }
}

/// Runs a constructor of the `tokenizers` crate, which panics on some malformed vocabularies.
fn build<T>(path: &Path, make: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, WeightsError> {
    match catch_unwind(AssertUnwindSafe(make)) {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(broken(path, error.to_string())),
        Err(_) => Err(broken(path, "its merges do not fit its vocabulary".to_owned())),
    }
}
