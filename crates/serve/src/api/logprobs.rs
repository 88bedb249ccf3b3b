//! Log-probabilities as the two endpoints write them.

use fidelio_generate::TokenLogprobs;
use serde_json::{Map, Value, json};

use crate::token_texts::TokenTexts;

/// As `/v1/chat/completions` has them.
pub(crate) fn of_chat(texts: &TokenTexts, logprobs: &[TokenLogprobs]) -> Value {
    let one = |id: u32, logprob: f32| {
        let bytes = texts.bytes(id);
        json!({ "token": texts.text(id), "logprob": logprob, "bytes": bytes })
    };
    let content = logprobs.iter().map(|it| {
        let mut token = one(it.token, it.logprob);
        token["top_logprobs"] = it.top.iter().map(|&(id, logprob)| one(id, logprob)).collect();
        token
    });
    json!({ "content": content.collect::<Vec<_>>(), "refusal": null })
}

/// As `/v1/completions` has them: columns, with where each token's text begins.
#[derive(Debug, Default)]
pub(crate) struct Columns {
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
            top.entry(texts.text(id)).or_insert_with(|| logprob.into());
        }
        self.top_logprobs.push(Some(top));
    }

    fn place(&mut self, texts: &TokenTexts, id: u32) {
        self.tokens.push(texts.text(id));
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
