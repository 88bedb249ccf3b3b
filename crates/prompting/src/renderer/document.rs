//! Plain documents: BOS as the rules say, the text, EOS; every token learnt that something comes before.
//!
//! One that is too long is read in windows. Each window begins with BOS if the document does, repeats the
//! last tokens of the one before as context, and learns what comes after them, so that every token but the
//! first is learnt exactly once.

use std::ops::Range;

use crate::marks::Marked;
use crate::vocabulary::Token;
use crate::{Cut, Outcome, Overflow, PromptError, Rendered, Row, Side};

use super::talk::Shown;
use super::{Renderer, Source};

/// A document's tokens, BOS and EOS among them.
struct Document {
    text: String,
    tokens: Vec<Token>,
    /// Whether the first token is BOS.
    has_bos: bool,
}

impl Renderer {
    pub(super) fn check_windows(&self, overlap: usize) -> Result<(), PromptError> {
        let rule = |problem: String| Err(PromptError::Rule { rule: "overflow", problem });
        if !matches!(self.source, Source::Document { .. }) {
            return rule("can be `window` for documents only".to_owned());
        }
        if overlap == 0 {
            return rule(
                "is `window` with an overlap of 0: what a window begins with would not be learnt"
                    .to_owned(),
            );
        }
        // BOS, the repeated tokens, and one that is new.
        match self.rules.budget.context {
            Some(context) if context < overlap + 2 => rule(format!(
                "is `window` with an overlap of {overlap}, which leaves nothing of {context} tokens"
            )),
            _ => Ok(()),
        }
    }

    /// A row that is a document.
    pub(super) fn document(&self, column: &str, row: &Row<'_>) -> Result<Outcome, PromptError> {
        let document = self.read_document(column, row)?;
        let tokens = document.tokens.len();
        let context = self.rules.budget.context.unwrap_or(usize::MAX);
        if tokens <= context {
            return Ok(Outcome::Kept(document.window(0..tokens, 1)));
        }
        let problem = PromptError::DocumentTooLong { row: row.number, tokens, context };
        match &self.rules.budget.overflow {
            Overflow::Error => Err(problem),
            Overflow::Drop => Ok(Outcome::Dropped { tokens, reason: problem.to_string() }),
            Overflow::Truncate { side, .. } => {
                Ok(Outcome::Kept(document.cut(*side, context, column)))
            }
            Overflow::Window { overlap } => {
                Ok(Outcome::Windows { windows: document.windows(context, *overlap), tokens })
            }
        }
    }

    fn read_document(&self, column: &str, row: &Row<'_>) -> Result<Document, PromptError> {
        let (row_number, column_name) = (row.number, || column.to_owned());
        let cell = row.cell(column)?;
        let text = crate::layout::cell_text(cell, false)
            .ok_or_else(|| PromptError::NullCell { row: row_number, column: column_name() })?;
        if text.trim().is_empty() {
            return Err(PromptError::EmptyDocument { row: row_number, column: column_name() });
        }
        self.check_text(&text, 0, row_number)?;
        let shown = Shown::plain(Marked::whole(&text, 0, true));
        let mut tokens = self.encode(&shown, row_number)?.tokens;
        let bos = self.vocabulary.bos();
        let has_bos = bos.is_some() && tokens.first().map(|token| token.id) == bos;
        let eos = self.vocabulary.eos();
        if !tokens.last().is_some_and(|token| eos.contains(&token.id)) {
            let id = eos.first().copied().ok_or(PromptError::NoStop)?;
            tokens.push(Token { id, range: text.len()..text.len() });
        }
        Ok(Document { text, tokens, has_bos })
    }
}

impl Document {
    /// Some of its tokens, of which those from `learnt` on are learnt.
    fn window(&self, tokens: Range<usize>, learnt: usize) -> Rendered {
        let read = tokens.len();
        self.part(self.tokens[tokens].to_vec(), learnt, vec![], read)
    }

    /// The first or last tokens that fit. What is cut off at the end has no EOS.
    fn cut(&self, side: Side, fits: usize, column: &str) -> Rendered {
        let all = self.tokens.len();
        let bos = usize::from(self.has_bos);
        let kept = match side {
            Side::Right => self.tokens[..fits].to_vec(),
            Side::Left => {
                let end = &self.tokens[all - (fits - bos)..];
                [&self.tokens[..bos], end].concat()
            }
        };
        let cut =
            Cut { field: column.to_owned(), side, tokens_before: all, tokens_after: kept.len() };
        self.part(kept, 1, vec![cut], all)
    }

    fn windows(&self, fits: usize, overlap: usize) -> Vec<Rendered> {
        let mut windows = vec![self.window(0..fits, 1)];
        let bos = usize::from(self.has_bos);
        let mut done = fits;
        while done < self.tokens.len() {
            let context = done - overlap..done;
            let end = (done + fits - bos - overlap).min(self.tokens.len());
            let tokens = [&self.tokens[..bos], &self.tokens[context.start..end]].concat();
            windows.push(self.part(tokens, bos + overlap, vec![], end - done));
            done = end;
        }
        windows
    }

    fn part(&self, tokens: Vec<Token>, learnt: usize, cuts: Vec<Cut>, read: usize) -> Rendered {
        let spelt = |token: &&Token| !token.range.is_empty();
        let start = tokens.iter().find(spelt).map_or(0, |token| token.range.start);
        let end = tokens.iter().rev().find(spelt).map_or(start, |token| token.range.end);
        let within = |at: usize| at.clamp(start, end) - start;
        let from_text = |token: &Token| (!token.range.is_empty()).then_some(0);
        Rendered {
            ids: tokens.iter().map(|token| token.id).collect(),
            learn: (0..tokens.len()).map(|i| i >= learnt).collect(),
            field_of: tokens.iter().map(from_text).collect(),
            fields_known: true,
            text: self.text[start..end].to_owned(),
            ranges: tokens.iter().map(|t| within(t.range.start)..within(t.range.end)).collect(),
            prompt_len: learnt,
            cuts,
            examples: None,
            read,
        }
    }
}
