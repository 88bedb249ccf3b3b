//! Tokens to text, as they come.

use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::GenerateError;

/// Decodes tokens one by one. What it hands out, put together, is the decoding of all of them.
///
/// Text is held back while it ends in the middle of a character, and while the last token is a
/// single byte (`<0xE4>`): tokenizers that have those spoil a whole run of bytes when the run turns
/// out not to be UTF-8, so nothing of it is certain before it has ended. Special tokens are skipped, unless
/// they are wanted.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Arc<Tokenizer>,
    ids: Vec<u32>,
    /// `ids[context..given]` have been handed out and are decoded again before what follows, since
    /// many decoders treat the first token of a text differently.
    context: usize,
    given: usize,
    held: String,
    /// Whether special tokens have a text.
    special: bool,
}

impl TextStream {
    /// A stream without tokens.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            context: 0,
            given: 0,
            held: String::new(),
            special: false,
        }
    }

    /// The same, where special tokens have a text if `special` says so.
    #[must_use]
    pub fn with_special(self, special: bool) -> Self {
        Self { special, ..self }
    }

    /// Takes a token and returns the text that is certain now, often empty.
    ///
    /// # Errors
    /// [`GenerateError::Decode`].
    pub fn push(&mut self, id: u32) -> Result<String, GenerateError> {
        self.ids.push(id);
        let new = self.beyond_given()?;
        if new == self.held {
            return Ok(String::new()); // a token without text makes nothing more certain
        }
        if new.is_empty() || new.ends_with(char::REPLACEMENT_CHARACTER) || self.is_byte(id) {
            self.held = new;
            return Ok(String::new());
        }
        self.context = self.given;
        self.given = self.ids.len();
        self.held.clear();
        Ok(new)
    }

    /// The text that would follow if no token came any more.
    pub fn held(&self) -> &str {
        &self.held
    }

    /// Hands out what was held back.
    pub fn finish(&mut self) -> String {
        self.context = self.ids.len();
        self.given = self.ids.len();
        std::mem::take(&mut self.held)
    }

    /// The text of the tokens after `given`.
    fn beyond_given(&self) -> Result<String, GenerateError> {
        let old = self.decode(&self.ids[self.context..self.given])?;
        let mut all = self.decode(&self.ids[self.context..])?;
        // A decoder that changes its mind about earlier text is held until it agrees again.
        Ok(if all.starts_with(&old) { all.split_off(old.len()) } else { String::new() })
    }

    fn decode(&self, ids: &[u32]) -> Result<String, GenerateError> {
        if ids.is_empty() {
            return Ok(String::new());
        }
        self.tokenizer.decode(ids, !self.special).map_err(GenerateError::Decode)
    }

    fn is_byte(&self, id: u32) -> bool {
        self.tokenizer.id_to_token(id).is_some_and(|token| {
            token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
        })
    }
}
