//! Rules that edit next-token logits before a token is chosen.

mod ban;
mod bias;
mod penalty;
mod warp;

use std::fmt;

pub use ban::{BadWords, BeginSuppress, MinNewTokens, NoRepeatNgram, Suppress};
pub use bias::LogitBias;
pub use penalty::{CountPenalty, RepetitionPenalty};
pub use warp::{MinP, Temperature, TopK, TopP, Typical};

use crate::Decoding;

/// Edits next-token logits: temperature, top-k, penalties, a grammar. Applied in order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not edit logits",
    note = "implement `fidelio_generate::LogitRule`: `name` says what it is, `apply` edits the logits in place"
)]
pub trait LogitRule: Send {
    /// What a user calls it.
    fn name(&self) -> &'static str;

    /// Edits the logits of the next token; negative infinity excludes it.
    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]);

    /// Told which token was taken, so that stateful rules can advance.
    fn accept(&mut self, _token: u32) {}

    /// Whether it tells tokens apart by their ids at this step.
    ///
    /// A rule that looks at the values alone also works on a part of the logits, and the session
    /// need not hand out all of them.
    fn needs_ids(&self, _row: &RowView<'_>) -> bool {
        true
    }

    /// Tokens that must come next because nothing else may; none where there is a choice, or where
    /// it cannot say. They are taken without asking the model, and told to [`Self::accept`].
    fn forced(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// Whether the answer goes on.
    fn verdict(&self) -> Verdict {
        Verdict::Open
    }
}

/// Whether a rule lets an answer go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// More may come.
    Open,
    /// The answer is complete: nothing may follow.
    Over,
    /// The rule cannot go on, for this reason.
    Failed(String),
}

/// What a rule sees of a row.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    /// Prompt and answer so far.
    pub ids: &'a [u32],
    /// How many of them are the prompt.
    pub prompt: usize,
}

impl<'a> RowView<'a> {
    /// The answer so far.
    pub fn generated(&self) -> &'a [u32] {
        &self.ids[self.prompt..]
    }
}

/// The rules of a request, in the order in which `transformers` applies them: first what concerns
/// single tokens, then a caller's own (a grammar), then what shapes the distribution for sampling.
///
/// `repetition_penalty`, `presence_penalty` with `frequency_penalty`, `no_repeat_ngram_size`,
/// `bad_words_ids`, `min_new_tokens`, `suppress_tokens`, `begin_suppress_tokens`; own rules;
/// `temperature`, `top_k`, `top_p`, `min_p`, `typical_p`.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Box<dyn LogitRule>>,
}

impl Rules {
    /// The rules of `decoding`, with `own` between processors and warpers.
    pub fn new(decoding: &Decoding, own: Vec<Box<dyn LogitRule>>) -> Self {
        let mut rules = Self::default();
        rules.add_processors(decoding);
        rules.rules.extend(own);
        if decoding.do_sample {
            rules.add_warpers(decoding);
        }
        rules
    }

    #[expect(clippy::float_cmp, reason = "a setting is off at exactly its default")]
    fn add_processors(&mut self, how: &Decoding) {
        if how.repetition_penalty != 1.0 {
            self.push(RepetitionPenalty::new(how.repetition_penalty));
        }
        if how.presence_penalty != 0.0 || how.frequency_penalty != 0.0 {
            self.push(CountPenalty::new(how.presence_penalty, how.frequency_penalty));
        }
        if how.no_repeat_ngram_size > 0 {
            self.push(NoRepeatNgram::new(how.no_repeat_ngram_size));
        }
        if !how.bad_words_ids.is_empty() {
            self.push(BadWords::new(&how.bad_words_ids, &how.eos_token_id));
        }
        if how.min_new_tokens > 0 && !how.eos_token_id.is_empty() {
            self.push(MinNewTokens::new(how.min_new_tokens, &how.eos_token_id));
        }
        if !how.suppress_tokens.is_empty() {
            self.push(Suppress::new(&how.suppress_tokens));
        }
        if !how.begin_suppress_tokens.is_empty() {
            self.push(BeginSuppress::new(&how.begin_suppress_tokens));
        }
    }

    #[expect(clippy::float_cmp, reason = "a setting is off at exactly its default")]
    fn add_warpers(&mut self, how: &Decoding) {
        if how.temperature != 1.0 {
            self.push(Temperature::new(how.temperature));
        }
        if how.top_k > 0 {
            self.push(TopK::new(how.top_k));
        }
        if how.top_p < 1.0 {
            self.push(TopP::new(how.top_p));
        }
        if how.min_p > 0.0 {
            self.push(MinP::new(how.min_p));
        }
        if how.typical_p < 1.0 {
            self.push(Typical::new(how.typical_p));
        }
    }

    fn push(&mut self, rule: impl LogitRule + 'static) {
        self.rules.push(Box::new(rule));
    }

    /// The rules' names, in their order.
    pub fn names(&self) -> Vec<&'static str> {
        self.rules.iter().map(|rule| rule.name()).collect()
    }

    /// Applies all rules in order.
    pub fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        for rule in &mut self.rules {
            rule.apply(row, logits);
        }
    }

    /// Tells all rules which token was taken.
    pub fn accept(&mut self, token: u32) {
        for rule in &mut self.rules {
            rule.accept(token);
        }
    }

    /// Tokens that must come next; see [`LogitRule::forced`].
    pub fn forced(&mut self) -> Vec<u32> {
        let forced = self.rules.iter_mut().map(|rule| rule.forced());
        forced.into_iter().find(|forced| !forced.is_empty()).unwrap_or_default()
    }

    /// The first verdict that is not [`Verdict::Open`].
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.rules.iter().map(|rule| rule.verdict());
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Open).unwrap_or(Verdict::Open)
    }

    /// Whether any rule tells tokens apart by their ids at this step.
    pub fn need_ids(&self, row: &RowView<'_>) -> bool {
        self.rules.iter().any(|rule| rule.needs_ids(row))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rules").field(&self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_transformers() {
        let all = Decoding {
            do_sample: true,
            min_new_tokens: 1,
            temperature: 0.5,
            top_p: 0.9,
            min_p: 0.1,
            typical_p: 0.9,
            repetition_penalty: 1.1,
            presence_penalty: 0.1,
            no_repeat_ngram_size: 3,
            bad_words_ids: vec![vec![1]],
            suppress_tokens: vec![2],
            begin_suppress_tokens: vec![3],
            eos_token_id: vec![4],
            ..Decoding::default()
        };
        let own: Box<dyn LogitRule> = Box::new(Suppress::new(&[7]));
        assert_eq!(
            Rules::new(&all, vec![own]).names(),
            [
                "repetition_penalty",
                "presence_penalty and frequency_penalty",
                "no_repeat_ngram_size",
                "bad_words_ids",
                "min_new_tokens",
                "suppress_tokens",
                "begin_suppress_tokens",
                "suppress_tokens",
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "typical_p",
            ]
        );
    }

    #[test]
    fn greedy_decoding_has_no_warpers_and_defaults_no_rules() {
        let greedy = Decoding { temperature: 0.3, top_p: 0.5, ..Decoding::default() };
        assert!(Rules::new(&greedy, Vec::new()).names().is_empty());
        let sampled = Decoding { do_sample: true, ..Decoding::default() };
        assert_eq!(Rules::new(&sampled, Vec::new()).names(), ["top_k"]);
    }
}
