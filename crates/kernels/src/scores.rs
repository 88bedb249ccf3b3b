//! Questions to the head: log-probabilities, ranks, the largest logits.
//!
//! A few rows' logits exist at a time, never all.

use std::cmp::Ordering;

use crate::{
    Arithmetic, Matrix,
    activation::exp,
    linear::linear_on,
    simd::{Kernel, Path, Simd},
};

/// A question: how probable is `token` after the hidden state `row`?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Which row of `hidden`.
    pub row: u32,
    /// Which row of `head`.
    pub token: u32,
}

/// Its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// Natural log-probability of the token.
    pub logprob: f32,
    /// How many logits are larger.
    pub rank: u32,
    /// The token with the largest logit, the smallest id among equals.
    pub top: u32,
}

/// A question: which logits are largest?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopAsked<'a> {
    /// Which row of `hidden`.
    pub row: u32,
    /// How many of the largest.
    pub k: usize,
    /// Tokens whose logits are wanted in any case.
    pub also: &'a [u32],
}

/// Its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Top {
    /// The largest logits, descending, ties by smaller id; then those of `also` in their order.
    pub entries: Vec<(u32, f32)>,
    /// The log of the sum of the exponentials of all logits.
    pub logsumexp: f32,
}

/// Scores asked tokens: `hidden` is `[n, cols]`, already normed, `head` is `[vocabulary, cols]`.
///
/// `out` is cleared and then holds one answer per question, in their order. Rows that nobody asks
/// about cost nothing; a row that many ask about is computed once.
///
/// # Panics
/// When the sizes do not fit, or a row or token does not exist.
pub fn token_scores(
    hidden: &[f32],
    head: Matrix<'_>,
    arithmetic: Arithmetic,
    asked: &[Asked],
    out: &mut Vec<TokenScore>,
) {
    let path = Path::active();
    let unknown = TokenScore { logprob: f32::NAN, rank: u32::MAX, top: u32::MAX };
    out.clear();
    out.resize(asked.len(), unknown);
    answer(hidden, head, arithmetic, asked.iter().map(|a| a.row), |questions, logits| {
        let Summary { top, logsumexp } = path.run(Summarise { logits });
        for &(_, i) in questions {
            let logit = logits[asked[i].token as usize];
            let rank = logits.iter().map(|&other| u32::from(other > logit)).sum();
            out[i] = TokenScore { logprob: logit - logsumexp, rank, top };
        }
    });
}

/// Finds the largest logits of rows: `hidden` is `[n, cols]`, already normed, `head` is
/// `[vocabulary, cols]`. One answer per question, in their order.
///
/// # Panics
/// When the sizes do not fit, or a row or token does not exist.
pub fn top_logits(
    hidden: &[f32],
    head: Matrix<'_>,
    arithmetic: Arithmetic,
    asked: &[TopAsked<'_>],
) -> Vec<Top> {
    let mut tops = vec![Top { entries: Vec::new(), logsumexp: f32::NAN }; asked.len()];
    answer(hidden, head, arithmetic, asked.iter().map(|a| a.row), |questions, logits| {
        for &(_, i) in questions {
            tops[i] = top_of(logits, asked[i].k, asked[i].also);
        }
    });
    tops
}

/// The `k` largest of one row of logits, those of `also`, and the log of the sum of exponentials.
///
/// # Panics
/// When a token of `also` does not exist.
pub fn top_of(logits: &[f32], k: usize, also: &[u32]) -> Top {
    let mut entries = if k <= FEW { few(logits, k) } else { many(logits, k) };
    entries.extend(also.iter().map(|&token| (token, logits[token as usize])));
    Top { entries, logsumexp: Path::active().run(Summarise { logits }).logsumexp }
}

/// How many of the largest are found faster by looking at the others once.
const FEW: usize = 128;

/// Larger logits come first, then smaller ids.
fn descending(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The `k` largest, by sorting those that were among them when they were met.
fn few(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    const CHUNK: usize = 64;
    let mut entries: Vec<(u32, f32)> = Vec::with_capacity(2 * k);
    if k == 0 {
        return entries;
    }
    // What is not above this is beyond the `k` largest, since equals with smaller ids are.
    let mut least: Option<f32> = None;
    for (i, chunk) in logits.chunks(CHUNK).enumerate() {
        if least.is_some_and(|least| chunk.iter().all(|&logit| logit < least)) {
            continue;
        }
        for (j, &logit) in chunk.iter().enumerate() {
            if least.is_some_and(|least| logit.total_cmp(&least).is_le()) {
                continue;
            }
            entries.push(((i * CHUNK + j) as u32, logit));
            if entries.len() == 2 * k {
                entries.sort_unstable_by(descending);
                entries.truncate(k);
                least = Some(entries[k - 1].1);
            }
        }
    }
    entries.sort_unstable_by(descending);
    entries.truncate(k);
    entries
}

/// The `k` largest, by dividing all.
fn many(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut entries: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    if k < entries.len() {
        entries.select_nth_unstable_by(k, descending);
        entries.truncate(k);
    }
    entries.sort_unstable_by(descending);
    entries.shrink_to_fit();
    entries
}

/// Computes each asked row's logits once, a few rows at a time, and hands them over with the
/// questions about that row as pairs of row and place.
fn answer(
    hidden: &[f32],
    head: Matrix<'_>,
    arithmetic: Arithmetic,
    rows: impl Iterator<Item = u32>,
    mut tell: impl FnMut(&[(u32, usize)], &[f32]),
) {
    /// Logits that exist at a time, unless a single row has more.
    const LOGITS: usize = 1 << 20;

    let mut questions: Vec<(u32, usize)> = rows.zip(0..).collect();
    questions.sort_unstable();
    let by_row: Vec<_> = questions.chunk_by(|a, b| a.0 == b.0).collect();
    let at_a_time = (LOGITS / head.rows.max(1)).clamp(1, 64).min(by_row.len());
    let mut x = vec![0.0; at_a_time * head.cols];
    let mut logits = vec![0.0; at_a_time * head.rows];
    for some in by_row.chunks(at_a_time.max(1)) {
        let x = &mut x[..some.len() * head.cols];
        let logits = &mut logits[..some.len() * head.rows];
        for (x, questions) in x.chunks_exact_mut(head.cols).zip(some) {
            x.copy_from_slice(&hidden[questions[0].0 as usize * head.cols..][..head.cols]);
        }
        linear_on(Path::active(), x, head, None, arithmetic, logits);
        for (questions, logits) in some.iter().zip(logits.chunks_exact(head.rows)) {
            tell(questions, logits);
        }
    }
}

/// What all questions about a row share.
struct Summary {
    top: u32,
    logsumexp: f32,
}

struct Summarise<'a> {
    logits: &'a [f32],
}

impl Kernel for Summarise<'_> {
    type Out = Summary;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Summary {
        const LANES: usize = 16;
        let (chunks, rest) = self.logits.as_chunks::<LANES>();
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in chunks {
            for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                *lane = if logit > *lane { logit } else { *lane };
            }
        }
        let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let top = self.logits.iter().position(|&logit| logit >= max).unwrap_or(0) as u32;

        let mut total = 0.0_f64;
        let mut weights = [[0.0; LANES]; 64];
        for some in chunks.chunks(weights.len()) {
            let weights = &mut weights[..some.len()];
            for (weight, &logit) in weights.as_flattened_mut().iter_mut().zip(some.as_flattened()) {
                *weight = exp(logit - max);
            }
            let mut lanes = [0.0_f32; LANES];
            for weights in weights {
                for (lane, weight) in lanes.iter_mut().zip(weights) {
                    *lane += *weight;
                }
            }
            total += f64::from(lanes.iter().sum::<f32>());
        }
        total += f64::from(rest.iter().map(|&logit| exp(logit - max)).sum::<f32>());
        Summary { top, logsumexp: (f64::from(max) + total.ln()) as f32 }
    }
}

#[cfg(test)]
mod tests;
