//! The weights that are served, and how they are asked.

use std::fmt;

use fidelio_generate::Decoding;
use fidelio_prompting::{PromptError, Purpose, Renderer, Row, SpecialTexts};
use serde_json::Map;

use crate::{
    EmbedTexts, FindAdapter, Voice, embedding::Embedding, token_texts::TokenTexts, voice::ids,
};

/// One model's weights under one name or several, with the renderer that training and the terminal
/// use too.
pub struct Served {
    voices: Vec<Voice>,
    plain: Renderer,
    decoding: Decoding,
    texts: TokenTexts,
    finder: Option<Box<dyn FindAdapter>>,
    embedding: Option<Embedding>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("voices", &self.voices).finish_non_exhaustive()
    }
}

impl Served {
    /// A model that speaks with `voice` where a request names none. `plain` renders one field as it
    /// is; `decoding` is how answers are made where a request says nothing else, and where they end.
    pub fn new(voice: Voice, plain: Renderer, decoding: Decoding) -> Self {
        let texts = TokenTexts::new(plain.vocabulary().shared_tokenizer());
        Self { voices: vec![voice], plain, decoding, texts, finder: None, embedding: None }
    }

    /// The same with another voice.
    #[must_use]
    pub fn with_voice(mut self, voice: Voice) -> Self {
        self.voices.push(voice);
        self
    }

    /// The same, which publishes adapters that clients ask for.
    #[must_use]
    pub fn with_finder(self, finder: Box<dyn FindAdapter>) -> Self {
        Self { finder: Some(finder), ..self }
    }

    /// The same, beside a model that makes vectors.
    #[must_use]
    pub fn with_embedding(self, name: impl Into<String>, model: Box<dyn EmbedTexts>) -> Self {
        Self { embedding: Some(Embedding::new(name.into(), model)), ..self }
    }

    /// The names of its voices.
    pub fn names(&self) -> Vec<&str> {
        self.voices.iter().map(Voice::name).collect()
    }

    /// The ids of a text that is continued as it is.
    ///
    /// # Errors
    /// When it has no tokens, or a second token that begins texts.
    pub fn text(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let field = self.plain.fields().first().cloned().unwrap_or_default();
        let cells = Map::from_iter([(field, text.into())]);
        Ok(ids(self.plain.render(&Row::new(0, &cells), Purpose::Answer)?))
    }

    /// The ids of a text as a part of a longer one: nothing is added to them.
    pub(crate) fn part(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let encoding = self.plain.vocabulary().tokenizer().encode(text, false);
        let encoding = encoding.map_err(|source| PromptError::Tokenizer { source })?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(crate) fn take_voices(&mut self) -> Vec<Voice> {
        std::mem::take(&mut self.voices)
    }

    pub(crate) fn special_texts(&self) -> SpecialTexts {
        self.plain.vocabulary().special_texts()
    }

    pub(crate) fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    pub(crate) fn texts(&self) -> &TokenTexts {
        &self.texts
    }

    pub(crate) fn embedding(&self) -> Option<&Embedding> {
        self.embedding.as_ref()
    }

    pub(crate) fn finder(&self) -> Option<&dyn FindAdapter> {
        self.finder.as_deref()
    }
}
