//! Log-probabilities as the two endpoints write them.

use fidelio_generate::TokenLogprobs;
use serde_json::{Map, Value, json};

use crate::token_texts::TokenTexts;

/// How a token is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// By its text.
    Text,
    /// By its number, as `token_id:5`, which no other token has.
    Id,
}

impl Spelling {
    fn of(self, texts: &TokenTexts, id: u32) -> String {
        match self {
            Self::Text => texts.text(id),
            Self::Id => format!("token_id:{id}"),
        }
    }
}

/// As `/v1/chat/completions` has them.
pub(crate) fn of_chat(texts: &TokenTexts, spelling: Spelling, logprobs: &[TokenLogprobs]) -> Value {
    let one = |id: u32, logprob: f32| {
        let bytes = texts.bytes(id);
        json!({ "token": spelling.of(texts, id), "logprob": logprob, "bytes": bytes })
    };
    let content = logprobs.iter().map(|it| {
        let mut token = one(it.token, it.logprob);
        token["top_logprobs"] = it.top.iter().map(|&(id, logprob)| one(id, logprob)).collect();
        token
    });
    json!({ "content": content.collect::<Vec<_>>(), "refusal": null })
}

/// As `/v1/completions` has them: columns, with where each token's text begins.
#[derive(Debug)]
pub(crate) struct Columns {
    spelling: Spelling,
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    text_offset: Vec<usize>,
    /// Characters of the tokens so far.
    chars: usize,
    /// Bytes of a character that is not complete.
    open: Vec<u8>,
}

impl Columns {
    pub(crate) fn new(spelling: Spelling) -> Self {
        Self {
            spelling,
            tokens: Vec::new(),
            token_logprobs: Vec::new(),
            top_logprobs: Vec::new(),
            text_offset: Vec::new(),
            chars: 0,
            open: Vec::new(),
        }
    }

    /// A token that nothing is known of, the first of a text.
    pub(crate) fn push_first(&mut self, texts: &TokenTexts, id: u32) {
        self.place(texts, id);
        self.token_logprobs.push(None);
        self.top_logprobs.push(None);
    }

    pub(crate) fn push(&mut self, texts: &TokenTexts, it: &TokenLogprobs) {
        self.place(texts, it.token);
        self.token_logprobs.push(Some(it.logprob));
        let mut top = Map::new();
        // The likeliest come first: of two tokens with one text the likelier stays.
        for &(id, logprob) in it.top.iter().chain([&(it.token, it.logprob)]) {
            top.entry(self.spelling.of(texts, id)).or_insert_with(|| logprob.into());
        }
        self.top_logprobs.push(Some(top));
    }

    fn place(&mut self, texts: &TokenTexts, id: u32) {
        self.tokens.push(self.spelling.of(texts, id));
        self.text_offset.push(self.chars);
        self.open.extend(texts.bytes(id));
        let whole = match std::str::from_utf8(&self.open) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.open.split_off(whole);
        self.chars += String::from_utf8_lossy(&self.open).chars().count();
        self.open = rest;
    }

    /// The columns so far, which are empty afterwards; places go on.
    pub(crate) fn take(&mut self) -> Value {
        json!({
            "tokens": std::mem::take(&mut self.tokens),
            "token_logprobs": std::mem::take(&mut self.token_logprobs),
            "top_logprobs": std::mem::take(&mut self.top_logprobs),
            "text_offset": std::mem::take(&mut self.text_offset),
        })
    }
}
