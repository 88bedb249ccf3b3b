//! Text to ids: BOS once, and data that cannot become a control token.

use crate::marks::Span;
use crate::vocabulary::Token;
use crate::{Bos, PromptError, SpecialTokens};

use super::Renderer;
use super::talk::Shown;

/// The tokens of a text.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) tokens: Vec<Token>,
}

impl Encoded {
    /// The field each token came from: that of the first value it has a byte of.
    pub(super) fn fields(&self, shown: &Shown) -> Vec<Option<usize>> {
        let spans = shown.spans.as_deref().unwrap_or_default();
        self.tokens.iter().map(|token| span_of(token, spans).map(|span| span.field)).collect()
    }
}

/// The first span that a token has a byte of.
pub(super) fn span_of<'a>(token: &Token, spans: &'a [Span]) -> Option<&'a Span> {
    let after = spans.partition_point(|span| span.range.end <= token.range.start);
    spans[after..].iter().find(|s| !s.range.is_empty()).filter(|s| s.range.start < token.range.end)
}

impl Renderer {
    /// Refuses data that spells a special token, where the rules say so.
    pub(super) fn check_text(
        &self,
        text: &str,
        field: usize,
        row: usize,
    ) -> Result<(), PromptError> {
        if self.rules.special_tokens_in_data != SpecialTokens::Error {
            return Ok(());
        }
        match self.vocabulary.special_in(text) {
            None => Ok(()),
            Some((_, token)) => Err(PromptError::SpecialTokenInData {
                row,
                field: self.fields[field].clone(),
                token: token.to_owned(),
            }),
        }
    }

    /// The ids of a text that begins at the beginning.
    pub(super) fn encode(&self, shown: &Shown, row: usize) -> Result<Encoded, PromptError> {
        let mut tokens = match self.rules.special_tokens_in_data {
            SpecialTokens::Escape => self.encode_escaped(shown, row)?,
            SpecialTokens::Error | SpecialTokens::Allow => self.vocabulary.encode(&shown.text)?,
        };
        let wanted = match self.rules.bos {
            Bos::Auto => self.vocabulary.add_bos(),
            Bos::Always => true,
            Bos::Never => false,
        };
        let bos = self.vocabulary.bos();
        let has = bos.is_some() && tokens.first().map(|t| t.id) == bos;
        if let Some(id) = bos.filter(|_| wanted && !has) {
            tokens.insert(0, Token { id, range: 0..0 });
        }
        if let Some(second) = self.second_bos(&tokens, shown) {
            return Err(PromptError::SecondBos {
                row,
                token: bos.map(|id| self.vocabulary.piece(id)).unwrap_or_default(),
                first: tokens.iter().position(|t| Some(t.id) == bos).unwrap_or(0),
                second,
            });
        }
        if tokens.is_empty() {
            return Err(PromptError::EmptyPrompt { row });
        }
        Ok(Encoded { tokens })
    }

    /// A BOS where none may be. A chat template may open every turn with it (Llama 2; ChatML, where it is
    /// `<|im_start|>`), so there only two in a row are wrong. Data that was allowed to hold it may.
    fn second_bos(&self, tokens: &[Token], shown: &Shown) -> Option<usize> {
        let bos = self.vocabulary.bos()?;
        let spans = shown.spans.as_deref().unwrap_or_default();
        let of_data = |token: &Token| span_of(token, spans).is_some();
        let mut at = tokens.iter().enumerate().filter(|(_, t)| t.id == bos && !of_data(t));
        let mut last = at.next()?.0;
        for (here, _) in at {
            if self.chat.is_none() || here == last + 1 {
                return Some(here);
            }
            last = here;
        }
        None
    }

    /// Encodes each special token's text that the row brought as the plain text that it is.
    fn encode_escaped(&self, shown: &Shown, row: usize) -> Result<Vec<Token>, PromptError> {
        let Some(spans) = &shown.spans else { return self.encode_unplaced(shown, row) };
        let mut tokens = vec![];
        let mut at = 0;
        for span in spans {
            let mut from = span.range.start;
            while let Some((found, token)) =
                self.vocabulary.special_in(&shown.text[from..span.range.end])
            {
                if self.vocabulary.adds_space() {
                    let reason = "this tokenizer puts a space before text that is encoded apart";
                    return Err(self.cannot_escape(row, span.field, token, reason));
                }
                let (start, end) = (from + found, from + found + token.len());
                push(&mut tokens, self.vocabulary.encode(&shown.text[at..start])?, at);
                push(&mut tokens, self.vocabulary.encode_plain(&shown.text[start..end])?, start);
                (at, from) = (end, end);
            }
        }
        push(&mut tokens, self.vocabulary.encode(&shown.text[at..])?, at);
        Ok(tokens)
    }

    /// Without places, nothing can be escaped: fine as long as there is nothing to escape. The rendering
    /// has the template's own special tokens, so only the data could tell, and it is not at hand.
    fn encode_unplaced(&self, shown: &Shown, row: usize) -> Result<Vec<Token>, PromptError> {
        match self.vocabulary.special_in(&shown.text) {
            None => self.vocabulary.encode(&shown.text),
            Some((_, token)) => {
                let reason = "the chat template hides where the row's text went";
                Err(self.cannot_escape(row, 0, token, reason))
            }
        }
    }

    fn cannot_escape(
        &self,
        row: usize,
        field: usize,
        token: &str,
        reason: &'static str,
    ) -> PromptError {
        PromptError::CannotEscape {
            row,
            field: self.fields[field].clone(),
            token: token.to_owned(),
            reason,
        }
    }
}

fn push(tokens: &mut Vec<Token>, more: Vec<Token>, at: usize) {
    tokens.extend(
        more.into_iter().map(|t| Token { id: t.id, range: t.range.start + at..t.range.end + at }),
    );
}
