//! What rendering gives: ids, what is learnt, where each token came from, and what was left out.

use std::ops::{AddAssign, Range};

use serde::Serialize;

use crate::{ExamplesShown, Side};

/// What a rendering is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The model shall answer: the prompt alone.
    Answer,
    /// The model shall learn: prompt, answer and stop.
    Train,
}

/// A row's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Which of them are learnt: answers and their stops.
    pub learn: Vec<bool>,
    /// Which field each token came from, as an index into [`Renderer::fields`](crate::Renderer::fields);
    /// none for the template's own. White space at a value's edges may count as the template's.
    pub field_of: Vec<Option<usize>>,
    /// Whether the places of the fields are known. A chat template that looks into the text hides them:
    /// then `field_of` has none.
    pub fields_known: bool,
    /// The text that was encoded.
    pub text: String,
    /// The bytes of the text each token stands for; empty for tokens that were added to it.
    pub ranges: Vec<Range<usize>>,
    /// How many tokens the prompt has; of a document, how many come before the first that is learnt.
    pub prompt_len: usize,
    /// What was shortened.
    pub cuts: Vec<Cut>,
    /// Its examples, where the prompt shows some.
    pub examples: Option<ExamplesShown>,
    /// How many tokens the row had before anything was cut or left out.
    pub read: usize,
}

/// A shortened field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The field.
    pub field: String,
    /// The side that was cut away.
    pub side: Side,
    /// Its tokens before, by itself.
    pub tokens_before: usize,
    /// Its tokens after.
    pub tokens_after: usize,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its tokens.
    Kept(Rendered),
    /// A document's tokens, in windows that fit. Each learns what the ones before did not.
    Windows {
        /// In order.
        windows: Vec<Rendered>,
        /// Tokens of the document; the windows have more, since they repeat some.
        tokens: usize,
    },
    /// It was left out because it is too long and the rules say so.
    Dropped {
        /// How many tokens it had.
        tokens: usize,
        /// Why, as a sentence.
        reason: String,
    },
}

impl Outcome {
    /// The tokens, unless the row was dropped. Of a document in windows, the first one's.
    pub fn kept(self) -> Option<Rendered> {
        self.windows().into_iter().next()
    }

    /// The tokens of each window; of a row that is not a long document there is one, or none if it was
    /// dropped.
    pub fn windows(self) -> Vec<Rendered> {
        match self {
            Outcome::Kept(rendered) => vec![rendered],
            Outcome::Windows { windows, .. } => windows,
            Outcome::Dropped { .. } => vec![],
        }
    }
}

/// Counts tokens: `read = learnt + masked + dropped + cut`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Rows counted.
    pub rows: usize,
    /// Of these, rows left out.
    pub rows_dropped: usize,
    /// Of these, rows shortened.
    pub rows_cut: usize,
    /// Of these, rows with fewer examples than were chosen for them.
    pub rows_with_fewer_examples: usize,
    /// Tokens the rows had.
    pub read: usize,
    /// Tokens that are learnt.
    pub learnt: usize,
    /// Tokens that are read only.
    pub masked: usize,
    /// Tokens of rows left out.
    pub dropped: usize,
    /// Tokens cut away, those of examples that were left out included.
    pub cut: usize,
    /// Of these, tokens of examples that were left out.
    pub left_out: usize,
    /// Tokens that windows of a document read again; they are counted once above.
    pub repeated: usize,
}

impl Ledger {
    /// Counts a row.
    pub fn count(&mut self, outcome: &Outcome) {
        self.rows += 1;
        match outcome {
            Outcome::Kept(rendered) => {
                let learnt = rendered.learn.iter().filter(|l| **l).count();
                self.rows_cut += usize::from(!rendered.cuts.is_empty());
                if let Some(examples) = &rendered.examples {
                    self.rows_with_fewer_examples += usize::from(examples.left_out > 0);
                    self.left_out += examples.tokens_left_out;
                }
                self.read += rendered.read;
                self.learnt += learnt;
                self.masked += rendered.ids.len() - learnt;
                self.cut += rendered.read.saturating_sub(rendered.ids.len());
            }
            Outcome::Windows { windows, tokens } => {
                let fed: usize = windows.iter().map(|window| window.ids.len()).sum();
                let learnt =
                    windows.iter().flat_map(|window| &window.learn).filter(|l| **l).count();
                self.read += tokens;
                self.learnt += learnt;
                self.masked += tokens - learnt;
                self.repeated += fed - tokens;
            }
            Outcome::Dropped { tokens, .. } => {
                self.rows_dropped += 1;
                self.read += tokens;
                self.dropped += tokens;
            }
        }
    }

    /// Whether every token read is accounted for.
    pub fn balances(&self) -> bool {
        self.read == self.learnt + self.masked + self.dropped + self.cut
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.rows_dropped += other.rows_dropped;
        self.rows_cut += other.rows_cut;
        self.rows_with_fewer_examples += other.rows_with_fewer_examples;
        self.read += other.read;
        self.learnt += other.learnt;
        self.masked += other.masked;
        self.dropped += other.dropped;
        self.cut += other.cut;
        self.left_out += other.left_out;
        self.repeated += other.repeated;
    }
}

/// A rendering, token by token, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The text that was encoded.
    pub text: String,
    /// The tokens.
    pub tokens: Vec<ExplainedToken>,
    /// How many of them are the prompt.
    pub prompt_len: usize,
    /// Whether the fields' places are known.
    pub fields_known: bool,
    /// What was shortened.
    pub cuts: Vec<Cut>,
    /// Its examples, where the prompt shows some.
    pub examples: Option<ExamplesShown>,
}

/// One token of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedToken {
    /// Its id.
    pub id: u32,
    /// The vocabulary's spelling.
    pub piece: String,
    /// The field it came from.
    pub field: Option<String>,
    /// Whether it is learnt.
    pub learnt: bool,
    /// Whether it is a special token.
    pub special: bool,
}
