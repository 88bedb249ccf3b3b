//! A tokenizer and the ids that mean something besides text.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tokenizers::Tokenizer;

use crate::{PromptError, SpecialTexts};

/// A model's tokenizer with its special ids. Cheap to clone.
#[derive(Clone)]
pub struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    /// Reads special tokens as plain text. Made when it is first needed, since it takes as much
    /// memory as the other.
    plain: Arc<OnceLock<Tokenizer>>,
    special_texts: Arc<[String]>,
    bos: Option<u32>,
    eos: Vec<u32>,
    pad: Option<u32>,
    unk: Option<u32>,
    add_bos: bool,
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary")
            .field("tokens", &self.tokenizer.get_vocab_size(true))
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .field("add_bos", &self.add_bos)
            .finish_non_exhaustive()
    }
}

/// A token and the bytes of the text that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) range: Range<usize>,
}

impl Vocabulary {
    /// A vocabulary. Truncation and padding that the tokenizer's file asks for are switched off: nothing
    /// is cut or padded but by this crate's rules.
    ///
    /// Whether a text begins with BOS is taken from the tokenizer's post-processor; see
    /// [`with_add_bos`](Self::with_add_bos) for tokenizers that say it elsewhere.
    ///
    /// # Errors
    /// When the tokenizer fails on a short text.
    pub fn new(
        mut tokenizer: Tokenizer,
        bos: Option<u32>,
        eos: Vec<u32>,
    ) -> Result<Self, PromptError> {
        tokenizer
            .with_truncation(None)
            .map_err(|source| PromptError::Tokenizer { source })?
            .with_padding(None);
        let mut special_texts: Vec<String> = tokenizer
            .get_added_tokens_decoder()
            .into_values()
            .filter(|token| token.special && !token.content.is_empty())
            .map(|token| token.content)
            .collect();
        special_texts.sort();
        let with =
            tokenizer.encode("a", true).map_err(|source| PromptError::Tokenizer { source })?;
        let add_bos = bos.is_some() && with.get_ids().first().copied() == bos;
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            plain: Arc::default(),
            special_texts: special_texts.into(),
            bos,
            eos,
            pad: None,
            unk: None,
            add_bos,
        })
    }

    /// Says whether a text begins with BOS, as GGUF metadata and `tokenizer_config.json` do.
    #[must_use]
    pub fn with_add_bos(mut self, yes: bool) -> Self {
        self.add_bos = yes && self.bos.is_some();
        self
    }

    /// Names the padding and the unknown token, which some chat templates write.
    #[must_use]
    pub fn with_pad_and_unk(mut self, pad: Option<u32>, unk: Option<u32>) -> Self {
        (self.pad, self.unk) = (pad, unk);
        self
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokenizer, shared: a large one takes tens of megabytes.
    pub fn shared_tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The tokens that end a text; the first is the one that plain answers are given.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Whether a text begins with BOS.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// The texts of the special tokens, for [`ChatTemplate::new`](crate::ChatTemplate::new).
    pub fn special_texts(&self) -> SpecialTexts {
        let text = |id: Option<u32>| id.and_then(|id| self.tokenizer.id_to_token(id));
        SpecialTexts {
            bos: text(self.bos),
            eos: text(self.eos.first().copied()),
            unk: text(self.unk),
            pad: text(self.pad),
        }
    }

    /// The text of a token as the vocabulary spells it.
    pub fn piece(&self, id: u32) -> String {
        self.tokenizer.id_to_token(id).unwrap_or_else(|| format!("[{id}]"))
    }

    /// The first special token whose text stands in `text`, and where.
    pub(crate) fn special_in(&self, text: &str) -> Option<(usize, &str)> {
        let found = self.special_texts.iter().filter_map(|s| Some((text.find(s.as_str())?, s)));
        // The longest of those that begin first, as the tokenizer would take it.
        found
            .min_by_key(|(at, s)| (*at, std::cmp::Reverse(s.len())))
            .map(|(at, s)| (at, s.as_str()))
    }

    pub(crate) fn is_special(&self, id: u32) -> bool {
        self.tokenizer.get_added_vocabulary().simple_id_to_token(id).is_some_and(|text| {
            self.special_texts.binary_search_by(|s| s.as_str().cmp(&text)).is_ok()
        })
    }

    /// The tokens of a text, special tokens read as such, nothing added.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<Token>, PromptError> {
        tokens(&self.tokenizer, text)
    }

    /// The tokens of a text that has no special tokens, whatever it looks like.
    pub(crate) fn encode_plain(&self, text: &str) -> Result<Vec<Token>, PromptError> {
        tokens(self.plain(), text)
    }

    fn plain(&self) -> &Tokenizer {
        self.plain.get_or_init(|| {
            let mut plain = Tokenizer::clone(&self.tokenizer);
            plain.set_encode_special_tokens(true);
            plain
        })
    }

    /// Whether the tokenizer puts a space in front of whatever it encodes, so that pieces encoded apart
    /// do not add up to the text.
    pub(crate) fn adds_space(&self) -> bool {
        self.plain()
            .encode("a", false)
            .ok()
            .and_then(|e| e.get_tokens().first().map(|t| t.starts_with(['▁', 'Ġ', ' '])))
            .unwrap_or(true)
    }
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Result<Vec<Token>, PromptError> {
    let encoding =
        tokenizer.encode(text, false).map_err(|source| PromptError::Tokenizer { source })?;
    let pairs = encoding.get_ids().iter().zip(encoding.get_offsets());
    Ok(pairs.map(|(&id, &(start, end))| Token { id, range: start..end }).collect())
}
