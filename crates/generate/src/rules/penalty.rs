//! Rules that make tokens less likely that were there before.

use std::collections::BTreeMap;

use super::{LogitRule, RowView};

/// Divides the logits of all tokens seen in prompt and answer (multiplies negative ones).
/// Keskar et al., arxiv.org/abs/1909.05858, with the sign rule of `transformers`.
#[derive(Debug, Clone)]
pub struct RepetitionPenalty {
    penalty: f32,
}

impl RepetitionPenalty {
    /// Above 1 discourages, below 1 encourages.
    pub fn new(penalty: f32) -> Self {
        Self { penalty }
    }
}

impl LogitRule for RepetitionPenalty {
    fn name(&self) -> &'static str {
        "repetition_penalty"
    }

    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        // Once per token, however often it was seen.
        let mut seen = row.ids.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit < 0.0 { *logit * self.penalty } else { *logit / self.penalty };
            }
        }
    }
}

/// Takes a constant from the logits of tokens in the answer, and a multiple of their count:
/// OpenAI's `presence_penalty` and `frequency_penalty`. The prompt does not count.
#[derive(Debug, Clone)]
pub struct CountPenalty {
    presence: f32,
    frequency: f32,
}

impl CountPenalty {
    /// What is taken once, and what is taken for each time.
    pub fn new(presence: f32, frequency: f32) -> Self {
        Self { presence, frequency }
    }
}

impl LogitRule for CountPenalty {
    fn name(&self) -> &'static str {
        "presence_penalty and frequency_penalty"
    }

    fn apply(&mut self, row: &RowView<'_>, logits: &mut [f32]) {
        let mut counts = BTreeMap::new();
        for &id in row.generated() {
            *counts.entry(id).or_insert(0_u32) += 1;
        }
        for (id, count) in counts {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit -= count as f32 * self.frequency + self.presence;
            }
        }
    }

    fn needs_ids(&self, row: &RowView<'_>) -> bool {
        !row.generated().is_empty()
    }
}
