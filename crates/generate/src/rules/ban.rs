//! Rules that exclude tokens.

use super::{LogitRule, RowView};

fn ban(logits: &mut [f32], id: u32) {
    if let Some(logit) = logits.get_mut(id as usize) {
        *logit = f32::NEG_INFINITY;
    }
}

/// Excludes tokens that would repeat a run of `size` tokens of prompt and answer.
#[derive(Debug, Clone)]
pub struct NoRepeatNgram {
    size: usize,
}

impl NoRepeatNgram {
    /// `size` is at least 1.
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1) }
    }
}

impl LogitRule for NoRepeatNgram {
    fn name(&self) -> &'static str {
        "no_repeat_ngram_size"
    }

    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        let Some(start) = row.ids.len().checked_sub(self.size - 1) else { return };
        let end = &row.ids[start..];
        for run in row.ids.windows(self.size) {
            let (last, before) = (run[self.size - 1], &run[..self.size - 1]);
            if before == end {
                ban(logits, last);
            }
        }
    }
}

/// Excludes tokens that would complete a forbidden sequence.
///
/// Unlike `transformers` 4.45 it also sees a sequence that begins with the row's first token.
#[derive(Debug, Clone)]
pub struct BadWords {
    words: Vec<Vec<u32>>,
}

impl BadWords {
    /// As in `transformers`, a sequence that is just an end-of-sequence token is ignored.
    pub fn new(words: &[Vec<u32>], eos: &[u32]) -> Self {
        let is_eos = |word: &[u32]| matches!(word, [id] if eos.contains(id));
        let words = words.iter().filter(|word| !word.is_empty() && !is_eos(word));
        Self { words: words.cloned().collect() }
    }
}

impl LogitRule for BadWords {
    fn name(&self) -> &'static str {
        "bad_words_ids"
    }

    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        for word in &self.words {
            if let Some((&last, before)) = word.split_last()
                && row.ids.ends_with(before)
            {
                ban(logits, last);
            }
        }
    }

    fn needs_ids(&self, row: &RowView<'_>) -> bool {
        self.words.iter().any(|word| row.ids.ends_with(&word[..word.len() - 1]))
    }
}

/// Excludes the end of the answer until it has enough tokens.
#[derive(Debug, Clone)]
pub struct MinNewTokens {
    least: usize,
    eos: Vec<u32>,
}

impl MinNewTokens {
    /// None of `eos` before `least` tokens.
    pub fn new(least: usize, eos: &[u32]) -> Self {
        Self { least, eos: eos.to_vec() }
    }
}

impl LogitRule for MinNewTokens {
    fn name(&self) -> &'static str {
        "min_new_tokens"
    }

    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        if self.needs_ids(row) {
            self.eos.iter().for_each(|&id| ban(logits, id));
        }
    }

    fn needs_ids(&self, row: &RowView<'_>) -> bool {
        row.generated().len() < self.least
    }
}

/// Excludes tokens always.
#[derive(Debug, Clone)]
pub struct Suppress {
    tokens: Vec<u32>,
}

impl Suppress {
    /// None of `tokens`, ever.
    pub fn new(tokens: &[u32]) -> Self {
        Self { tokens: tokens.to_vec() }
    }
}

impl LogitRule for Suppress {
    fn name(&self) -> &'static str {
        "suppress_tokens"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        self.tokens.iter().for_each(|&id| ban(logits, id));
    }
}

/// Excludes tokens as the answer's first.
#[derive(Debug, Clone)]
pub struct BeginSuppress {
    tokens: Vec<u32>,
}

impl BeginSuppress {
    /// None of `tokens` at the beginning.
    pub fn new(tokens: &[u32]) -> Self {
        Self { tokens: tokens.to_vec() }
    }
}

impl LogitRule for BeginSuppress {
    fn name(&self) -> &'static str {
        "begin_suppress_tokens"
    }

    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        if self.needs_ids(row) {
            self.tokens.iter().for_each(|&id| ban(logits, id));
        }
    }

    fn needs_ids(&self, row: &RowView<'_>) -> bool {
        row.generated().is_empty()
    }
}
