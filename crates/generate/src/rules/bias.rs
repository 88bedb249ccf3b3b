//! A rule that makes single tokens more or less likely.

use super::{LogitRule, RowView};

/// Adds a number to the logits of some tokens, at every step: OpenAI's `logit_bias`.
#[derive(Debug, Clone)]
pub struct LogitBias {
    biases: Vec<(u32, f32)>,
}

impl LogitBias {
    /// Tokens and what is added to their logits.
    pub fn new(biases: Vec<(u32, f32)>) -> Self {
        Self { biases }
    }
}

impl LogitRule for LogitBias {
    fn name(&self) -> &'static str {
        "logit_bias"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        for &(id, bias) in &self.biases {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit += bias;
            }
        }
    }
}
