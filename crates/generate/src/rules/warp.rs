//! Rules that shape the distribution for sampling. They look at values only, so they also work on
//! the largest logits alone. Excluded tokens are at negative infinity and stay there.

use super::{LogitRule, RowView};
use crate::sample::{by_logit, softmax};

/// Divides all logits.
#[derive(Debug, Clone)]
pub struct Temperature {
    temperature: f32,
}

impl Temperature {
    /// Above 0.
    pub fn new(temperature: f32) -> Self {
        Self { temperature }
    }
}

impl LogitRule for Temperature {
    fn name(&self) -> &'static str {
        "temperature"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        for logit in logits {
            *logit /= self.temperature;
        }
    }

    fn needs_ids(&self, _row: &RowView<'_>) -> bool {
        false
    }
}

/// Keeps the `k` largest logits; of equal ones those that stand first.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
}

impl TopK {
    /// `k` is at least 1.
    pub fn new(k: usize) -> Self {
        Self { k: k.max(1) }
    }
}

impl LogitRule for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        if self.k < logits.len() {
            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.select_nth_unstable_by(self.k, |&a, &b| by_logit(logits, a, b));
            keep_only(logits, &order[..self.k]);
        }
    }

    fn needs_ids(&self, _row: &RowView<'_>) -> bool {
        false
    }
}

/// Keeps the fewest tokens that have probability `p` together. Holtzman et al.,
/// arxiv.org/abs/1904.09751.
#[derive(Debug, Clone)]
pub struct TopP {
    p: f32,
}

impl TopP {
    /// Between 0 and 1; the likeliest token always stays.
    pub fn new(p: f32) -> Self {
        Self { p }
    }
}

impl LogitRule for TopP {
    fn name(&self) -> &'static str {
        "top_p"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        let probabilities = softmax(logits);
        let mut order = finite(logits);
        order.sort_unstable_by(|&a, &b| by_logit(logits, a, b));
        // A token goes when those before it already have probability `p`.
        let mut before = 0.0;
        let mut kept = 0;
        while kept < order.len() && (kept == 0 || before < f64::from(self.p)) {
            before += probabilities[order[kept] as usize];
            kept += 1;
        }
        keep_only(logits, &order[..kept]);
    }

    fn needs_ids(&self, _row: &RowView<'_>) -> bool {
        false
    }
}

/// Keeps the tokens at least `p` times as likely as the likeliest. Nguyen et al.,
/// arxiv.org/abs/2407.01082.
#[derive(Debug, Clone)]
pub struct MinP {
    p: f32,
}

impl MinP {
    /// Between 0 and 1.
    pub fn new(p: f32) -> Self {
        Self { p }
    }
}

impl LogitRule for MinP {
    fn name(&self) -> &'static str {
        "min_p"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for logit in logits {
            // exp(logit - largest) is the ratio of the probabilities.
            if f64::from(*logit - largest).exp() < f64::from(self.p) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn needs_ids(&self, _row: &RowView<'_>) -> bool {
        false
    }
}

/// Keeps the tokens whose surprise is nearest to the entropy, until they have probability `mass`
/// together. Meister et al., arxiv.org/abs/2202.00666.
#[derive(Debug, Clone)]
pub struct Typical {
    mass: f32,
}

impl Typical {
    /// Between 0 and 1; the most typical token always stays.
    pub fn new(mass: f32) -> Self {
        Self { mass }
    }
}

impl LogitRule for Typical {
    fn name(&self) -> &'static str {
        "typical_p"
    }

    fn apply(&mut self, _row: &RowView<'_>, logits: &mut [f32]) {
        let probabilities = softmax(logits);
        let order = finite(logits);
        let surprise = |i: u32| -probabilities[i as usize].ln();
        let entropy: f64 = order
            .iter()
            .map(|&i| probabilities[i as usize] * surprise(i))
            .filter(|term| !term.is_nan()) // a probability that is 0 in this arithmetic
            .sum();
        let distance = |i: u32| (surprise(i) - entropy).abs();
        let mut order: Vec<(f64, u32)> = order.into_iter().map(|i| (distance(i), i)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));

        let mut before = 0.0;
        let mut kept = Vec::new();
        for (_, i) in order {
            if !kept.is_empty() && before >= f64::from(self.mass) {
                break;
            }
            before += probabilities[i as usize];
            kept.push(i);
        }
        keep_only(logits, &kept);
    }

    fn needs_ids(&self, _row: &RowView<'_>) -> bool {
        false
    }
}

/// The places that are not excluded.
fn finite(logits: &[f32]) -> Vec<u32> {
    let places = (0..logits.len() as u32).zip(logits);
    places.filter(|(_, logit)| **logit > f32::NEG_INFINITY).map(|(i, _)| i).collect()
}

fn keep_only(logits: &mut [f32], kept: &[u32]) {
    let saved: Vec<f32> = kept.iter().map(|&i| logits[i as usize]).collect();
    logits.fill(f32::NEG_INFINITY);
    for (&i, logit) in kept.iter().zip(saved) {
        logits[i as usize] = logit;
    }
}
