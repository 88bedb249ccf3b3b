//! A grammar as a rule on logits.

use std::fmt;

use llguidance::{Matcher, api::StopReason};

use crate::{LogitRule, RowView, Verdict};

/// Excludes the tokens with which an answer would leave its grammar.
pub struct GrammarRule {
    matcher: Matcher,
    failure: Option<String>,
}

impl GrammarRule {
    pub(super) fn new(matcher: Matcher) -> Self {
        Self { matcher, failure: None }
    }
}

impl LogitRule for GrammarRule {
    fn name(&self) -> &'static str {
        "grammar"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        match self.matcher.compute_mask() {
            Ok(allowed) => keep(logits, allowed.as_slice()),
            Err(error) => {
                self.failure = Some(first_line(&error.to_string()));
                logits.fill(f32::NEG_INFINITY);
            }
        }
    }

    fn accept(&mut self, token: u32) {
        if let Err(error) = self.matcher.consume_token(token) {
            self.failure = Some(first_line(&error.to_string()));
        }
    }

    fn forced(&mut self) -> Vec<u32> {
        self.matcher.compute_ff_tokens()
    }

    fn verdict(&self) -> Verdict {
        if let Some(failure) = &self.failure {
            return Verdict::Failed(format!("the grammar cannot go on: {failure}"));
        }
        match self.matcher.stop_reason() {
            StopReason::NotStopped => Verdict::Open,
            reason if reason.is_ok() => Verdict::Over,
            reason => Verdict::Failed(format!("the grammar cannot go on: {reason}")),
        }
    }
}

/// Excludes the tokens whose bit in `allowed` is not set, or that have none.
fn keep(logits: &mut [f32], allowed: &[u32]) {
    let words = logits.chunks_mut(32).zip(allowed.iter().copied().chain(std::iter::repeat(0)));
    for (logits, bits) in words {
        match bits {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            _ => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if bits >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

impl fmt::Debug for GrammarRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarRule").field("failure", &self.failure).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_its_bits_and_excludes_what_is_beyond_it() {
        let mut logits: Vec<f32> = (0..100).map(|i| i as f32).collect();
        keep(&mut logits, &[u32::MAX, 0b101]);
        let kept: Vec<usize> = (0..100).filter(|&i| logits[i] > f32::NEG_INFINITY).collect();
        assert_eq!(kept, (0..32).chain([32, 34]).collect::<Vec<_>>());
        assert!(kept.iter().all(|&i| logits[i].to_bits() == (i as f32).to_bits()));
    }
}
