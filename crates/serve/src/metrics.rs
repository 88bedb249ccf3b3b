//! What Prometheus is told.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use fidelio_generate::{EngineStats, Finish};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Seconds at which histograms of waiting are divided.
const WAITS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    endpoint: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: String,
}

/// Counters of a server, for one registry.
pub struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    finished: Family<Why, Counter>,
    queue: Gauge,
    running: Gauge,
    calls: Counter,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    scored_tokens: Counter,
    embedded_tokens: Counter,
    generated_tokens: Counter,
    preemptions: Counter,
    computing: Counter<f64, AtomicU64>,
    first_token: Histogram,
    next_token: Histogram,
    batch: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Self {
        let all = Self {
            registry: Registry::with_prefix("fidelio"),
            answered: Family::default(),
            finished: Family::default(),
            queue: Gauge::default(),
            running: Gauge::default(),
            calls: Counter::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            scored_tokens: Counter::default(),
            embedded_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            preemptions: Counter::default(),
            computing: Counter::default(),
            first_token: Histogram::new(WAITS),
            next_token: Histogram::new(WAITS),
            batch: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
        };
        all.registered()
    }

    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("http_requests", "HTTP requests answered", self.answered.clone());
        r.register("requests_finished", "Requests that ended, by reason", self.finished.clone());
        r.register("queue_requests", "Requests that wait for a place", self.queue.clone());
        r.register("running_requests", "Requests that are computed", self.running.clone());
        r.register("batch_rows", "Requests computed in one round", self.batch.clone());
        r.register("rounds", "Calls of the model", self.calls.clone());
        r.register("prompt_tokens", "Tokens of prompts", self.prompt_tokens.clone());
        r.register(
            "cached_prompt_tokens",
            "Tokens of prompts that another request had computed",
            self.cached_tokens.clone(),
        );
        r.register("scored_tokens", "Tokens of scored prompts", self.scored_tokens.clone());
        let tokens = "Tokens of texts that became vectors";
        r.register("embedded_tokens", tokens, self.embedded_tokens.clone());
        r.register("generated_tokens", "Tokens generated", self.generated_tokens.clone());
        r.register(
            "preemptions",
            "Requests that made room and were computed again",
            self.preemptions.clone(),
        );
        let seconds = || Unit::Seconds;
        r.register_with_unit("computing", "Time in the model", seconds(), self.computing.clone());
        r.register_with_unit(
            "first_token",
            "From a request's arrival to its first token",
            seconds(),
            self.first_token.clone(),
        );
        r.register_with_unit(
            "inter_token",
            "Between a request's tokens",
            seconds(),
            self.next_token.clone(),
        );
        self
    }

    /// All of them as text, in the OpenMetrics format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    pub(crate) fn answered(&self, endpoint: &str, status: u16) {
        let labels = Answered { endpoint: endpoint.to_owned(), status };
        self.answered.get_or_create(&labels).inc();
    }

    pub(crate) fn load(&self, waiting: usize, running: usize) {
        self.queue.set(waiting as i64);
        self.running.set(running as i64);
    }

    pub(crate) fn engine(&self, before: &EngineStats, now: &EngineStats) {
        self.calls.inc_by(now.calls - before.calls);
        self.preemptions.inc_by(now.preemptions - before.preemptions);
        let time = |stats: &EngineStats| stats.prefill_time + stats.decode_time;
        self.computing.inc_by(time(now).saturating_sub(time(before)).as_secs_f64());
    }

    pub(crate) fn round(&self, rows: usize) {
        self.batch.observe(rows as f64);
    }

    pub(crate) fn first_token(&self, wait: Duration) {
        self.first_token.observe(wait.as_secs_f64());
    }

    pub(crate) fn next_token(&self, wait: Duration) {
        self.next_token.observe(wait.as_secs_f64());
    }

    pub(crate) fn finished(&self, finish: &Finish) {
        self.ended(finish.reason.name());
        self.prompt_tokens.inc_by(finish.usage.prompt_tokens as u64);
        self.cached_tokens.inc_by(finish.usage.cached_prompt_tokens as u64);
        self.generated_tokens.inc_by(finish.usage.completion_tokens as u64);
    }

    pub(crate) fn embedded(&self, tokens: u64) {
        self.ended("embedded");
        self.embedded_tokens.inc_by(tokens);
    }

    pub(crate) fn scored(&self, tokens: usize) {
        self.ended("scored");
        self.scored_tokens.inc_by(tokens as u64);
    }

    /// Counts a request that ended before it was answered.
    pub(crate) fn ended(&self, reason: &str) {
        self.finished.get_or_create(&Why { reason: reason.to_owned() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use fidelio_generate::{FinishReason, Usage};

    use super::*;

    #[test]
    fn what_happened_stands_in_the_text() {
        let metrics = Metrics::new();
        metrics.answered("/v1/completions", 200);
        metrics.answered("/v1/completions", 200);
        metrics.load(3, 2);
        metrics.first_token(Duration::from_millis(30));
        metrics.finished(&Finish {
            reason: FinishReason::Length,
            usage: Usage { prompt_tokens: 5, cached_prompt_tokens: 4, completion_tokens: 7 },
            text: String::new(),
            ids: Vec::new(),
        });
        let text = metrics.text();
        for line in [
            "fidelio_http_requests_total{endpoint=\"/v1/completions\",status=\"200\"} 2",
            "fidelio_queue_requests 3",
            "fidelio_running_requests 2",
            "fidelio_prompt_tokens_total 5",
            "fidelio_cached_prompt_tokens_total 4",
            "fidelio_generated_tokens_total 7",
            "fidelio_requests_finished_total{reason=\"length\"} 1",
            "fidelio_first_token_seconds_bucket{le=\"0.025\"} 0",
            "fidelio_first_token_seconds_bucket{le=\"0.05\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|it| it == line), "`{line}` is missing in\n{text}");
        }
    }
}
