//! What an engine has done, and how fast.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counters since the engine was made.
///
/// A call that prefills some rows and decodes others counts its time to both in proportion to
/// their tokens; calls of one kind, such as those of a lone request, are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineStats {
    /// Calls of the session.
    pub calls: u64,
    /// Prompt tokens computed, those recomputed included.
    pub prefill_tokens: u64,
    /// Prompt tokens that were not computed because another row had them.
    pub shared_tokens: u64,
    /// Generated tokens fed back: one at a time, or with those that a grammar forced behind it.
    pub decode_tokens: u64,
    /// Tokens that a grammar forced, taken without asking the model.
    pub forced_tokens: u64,
    /// Rows that had to make room and were recomputed later.
    pub preemptions: u64,
    /// Tokens of those rows that were thrown away.
    pub preempted_tokens: u64,
    /// Time for `prefill_tokens`.
    pub prefill_time: Duration,
    /// Time for `decode_tokens`.
    pub decode_time: Duration,
}

impl EngineStats {
    /// `None` before anything was prefilled.
    pub fn prefill_tokens_per_second(&self) -> Option<f64> {
        rate(self.prefill_tokens, self.prefill_time)
    }

    /// `None` before anything was decoded.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        rate(self.decode_tokens, self.decode_time)
    }

    pub(crate) fn count_call(&mut self, prefill: usize, decode: usize, time: Duration) {
        self.calls += 1;
        self.prefill_tokens += prefill as u64;
        self.decode_tokens += decode as u64;
        let share = prefill as f64 / (prefill + decode).max(1) as f64;
        let prefill_time = time.mul_f64(share);
        self.prefill_time += prefill_time;
        self.decode_time += time.saturating_sub(prefill_time);
    }
}

fn rate(tokens: u64, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_call_is_shared_by_tokens() {
        let mut stats = EngineStats::default();
        assert_eq!(stats.prefill_tokens_per_second(), None);
        stats.count_call(30, 0, Duration::from_secs(1));
        stats.count_call(9, 1, Duration::from_secs(10));
        assert_eq!(stats.prefill_time, Duration::from_secs(10));
        assert_eq!(stats.decode_time, Duration::from_secs(1));
        assert_eq!(stats.prefill_tokens_per_second(), Some(3.9));
        assert_eq!(stats.decode_tokens_per_second(), Some(1.0));
    }
}
