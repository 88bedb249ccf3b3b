//! Choosing a token: the likeliest, or a draw.
//!
//! The random number of a draw is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3") of the request's seed and the token's number in the answer. There is no state to
//! advance, so neither other rows nor a recomputed row change what a request draws.

use std::cmp::Ordering;

/// The place of the largest logit, the first among equals; `None` if all are excluded.
pub fn greedy(logits: &[f32]) -> Option<usize> {
    let mut best = None;
    let mut largest = f32::NEG_INFINITY;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > largest {
            (best, largest) = (Some(i), logit);
        }
    }
    best
}

/// Draws a place with the probability that its logit gives it; `None` if all are excluded.
///
/// `uniform` is in `[0, 1)`.
pub fn draw(logits: &[f32], uniform: f64) -> Option<usize> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return None;
    }
    let weight = |logit: f32| f64::from(logit - largest).exp();
    let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let mut left = uniform * total;
    let mut last = None;
    for (i, &logit) in logits.iter().enumerate() {
        let weight = weight(logit);
        if weight > 0.0 {
            last = Some(i);
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    last // rounding may leave a trace of `left`: then it is the last that is possible
}

/// The random number in `[0, 1)` of a request's `step`-th token.
pub fn uniform(seed: u64, step: u64) -> f64 {
    let words =
        philox([step as u32, (step >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32]);
    let bits = (u64::from(words[1]) << 32 | u64::from(words[0])) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// Ten rounds of Philox4x32.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// Larger logits first, equal ones in their order.
pub(crate) fn by_logit(logits: &[f32], a: u32, b: u32) -> Ordering {
    logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b))
}

/// Probabilities of the logits; 0 where excluded.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return vec![0.0; logits.len()];
    }
    let mut weights: Vec<f64> =
        logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= total;
    }
    weights
}

/// The log of the sum of the logits' exponentials.
pub(crate) fn logsumexp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    f64::from(largest) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // Known answers of the Random123 distribution.
        let ones = u32::MAX;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn excluded_places_are_never_chosen() {
        let no = f32::NEG_INFINITY;
        assert_eq!(greedy(&[no, no]), None);
        assert_eq!(draw(&[no, no], 0.5), None);
        assert_eq!(greedy(&[no, -3.0, 2.0, 2.0]), Some(2));
        for uniform in [0.0, 0.5, 1.0 - f64::EPSILON / 2.0] {
            assert_eq!(draw(&[no, 0.0, no], uniform), Some(1));
        }
    }
}
