//! Grouped attention of token runs over what they see, with an online softmax.
//!
//! A few queries meet a few keys at a time; no row of scores is ever kept whole.

mod backward;
mod online;
mod products;

pub use backward::{AttentionGradients, attention_backward};
use rayon::prelude::*;

use crate::{
    simd::Path,
    threads::{with_scratch, worth_spreading},
};

/// A run of new tokens. Each sees all of the run's spans, in path order, then the run's own tokens
/// up to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its first token, as an index into `q`, `k` and `v`.
    pub first: u32,
    /// How many tokens it has.
    pub len: u32,
    /// Its spans, as a range of [`Sees::spans`].
    pub spans: std::ops::Range<u32>,
}

/// Keys that stand together and come before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Whether they are slots of the cache; else they are tokens of this batch.
    pub past: bool,
    /// The first of them.
    pub start: u32,
    /// How many they are.
    pub len: u32,
}

/// What the tokens of a batch see.
#[derive(Debug, Clone, Copy)]
pub struct Sees<'a> {
    /// The runs; together they are all tokens of the batch, in order.
    pub runs: &'a [Run],
    /// The spans that runs refer to.
    pub spans: &'a [Span],
    /// A token sees at most so many keys back along its path, itself included.
    pub window: Option<u32>,
}

/// How many heads there are, and how wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of queries, a multiple of `key_value`.
    pub query: usize,
    /// Heads of keys and values.
    pub key_value: usize,
    /// Numbers per head.
    pub dim: usize,
}

/// What becomes of the product of a query and a key before the softmax.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// It is multiplied with this.
    pub scale: f32,
    /// Then it is bent to stay between this and its negative, as [`crate::softcap`] does.
    pub softcap: Option<f32>,
}

impl Scoring {
    /// Only multiplied.
    pub fn scaled(scale: f32) -> Self {
        Self { scale, softcap: None }
    }
}

/// `out = softmax(scale · q · kᵀ) · v` over what each token sees.
///
/// `q` and `out` are `[t, query, dim]`; `k` and `v` are the same tokens' `[t, key_value, dim]`;
/// `past_k` and `past_v` are the cache's `[slots, key_value, dim]`.
/// A token's result does not depend on the other runs of the batch, to the last bit.
///
/// # Panics
/// When the sizes do not fit, the runs do not tile the batch, or a span does not exist.
#[expect(clippy::too_many_arguments, reason = "the operands of attention; all are plain slices")]
pub fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    past_k: &[f32],
    past_v: &[f32],
    sees: Sees<'_>,
    heads: Heads,
    scoring: Scoring,
    out: &mut [f32],
) {
    let operands = Operands { q, k, v, past_k, past_v, sees, heads, scoring };
    attention_on(Path::active(), &operands, out);
}

/// Everything that tasks read.
pub(crate) struct Operands<'a> {
    pub(crate) q: &'a [f32],
    pub(crate) k: &'a [f32],
    pub(crate) v: &'a [f32],
    pub(crate) past_k: &'a [f32],
    pub(crate) past_v: &'a [f32],
    pub(crate) sees: Sees<'a>,
    pub(crate) heads: Heads,
    pub(crate) scoring: Scoring,
}

pub(crate) fn attention_on(path: Path, operands: &Operands<'_>, out: &mut [f32]) {
    operands.check(out.len());
    if out.is_empty() {
        return;
    }
    let mut tasks = tasks(operands, out);
    let work: usize = tasks.iter().map(|task| task.work(operands)).sum();
    let attend = |task: &mut Task<'_>| {
        with_scratch(task.scratch(operands.heads), |scratch| {
            path.run(online::Attend { operands, task, scratch });
        });
    };
    if worth_spreading(work) {
        tasks.par_iter_mut().for_each(attend);
    } else {
        tasks.iter_mut().for_each(attend);
    }
}

/// A few neighbouring tokens of a run, with some of their heads.
pub(crate) struct Task<'o> {
    run: Run,
    /// The first token, counted from the run's first.
    first: usize,
    tokens: usize,
    /// Heads of keys and values.
    heads: std::ops::Range<usize>,
    /// The results of these heads: whole tokens when all heads are here, else a part of one.
    out: &'o mut [f32],
}

/// Queries (tokens times heads of a group) that meet keys together.
const QUERIES: usize = 32;

/// Keys that queries meet at a time.
const KEYS: usize = 64;

/// Cuts the batch: several tokens with all heads where a run has many, else single heads.
fn tasks<'o>(operands: &Operands<'_>, mut out: &'o mut [f32]) -> Vec<Task<'o>> {
    let heads = operands.heads;
    let (group, token) = (heads.query / heads.key_value, heads.query * heads.dim);
    let together = (QUERIES / group).max(1);
    let mut tasks = Vec::new();
    for run in operands.sees.runs {
        for first in (0..run.len as usize).step_by(together) {
            let tokens = together.min(run.len as usize - first);
            let (mine, rest) = out.split_at_mut(tokens * token);
            out = rest;
            if tokens > 1 {
                let heads = 0..heads.key_value;
                tasks.push(Task { run: run.clone(), first, tokens, heads, out: mine });
            } else {
                for (head, out) in mine.chunks_mut(group * heads.dim).enumerate() {
                    let heads = head..head + 1;
                    tasks.push(Task { run: run.clone(), first, tokens, heads, out });
                }
            }
        }
    }
    tasks
}

impl Task<'_> {
    /// Multiply-adds.
    fn work(&self, operands: &Operands<'_>) -> usize {
        let keys = operands.sees.span_keys(&self.run) + self.first + self.tokens;
        let keys = keys.min(operands.sees.window.map_or(usize::MAX, |w| w as usize));
        2 * self.out.len() * keys
    }

    /// Floats of scratch memory: scores, and each query's largest score and sum.
    fn scratch(&self, heads: Heads) -> usize {
        self.tokens * (heads.query / heads.key_value) * (KEYS + 2)
    }
}

impl Sees<'_> {
    fn spans_of(&self, run: &Run) -> &[Span] {
        &self.spans[run.spans.start as usize..run.spans.end as usize]
    }

    /// How many keys come before a run.
    fn span_keys(&self, run: &Run) -> usize {
        self.spans_of(run).iter().map(|span| span.len as usize).sum()
    }
}

impl Operands<'_> {
    fn check(&self, out: usize) {
        let Heads { query, key_value, dim } = self.heads;
        assert!(key_value > 0 && dim > 0 && query > 0, "no heads: {:?}", self.heads);
        assert!(query.is_multiple_of(key_value), "heads do not group: {:?}", self.heads);
        assert!(self.q.len().is_multiple_of(query * dim), "q is not [t, {query}, {dim}]");
        let t = self.q.len() / (query * dim);
        assert_eq!(out, self.q.len(), "out is not like q");
        assert_eq!(self.k.len(), t * key_value * dim, "k is not [{t}, {key_value}, {dim}]");
        assert_eq!(self.v.len(), self.k.len(), "v is not like k");
        assert_eq!(self.past_v.len(), self.past_k.len(), "past_v is not like past_k");
        assert_ne!(self.sees.window, Some(0), "a window that does not hold the token itself");
        let slots = self.past_k.len() / (key_value * dim);
        let mut next = 0;
        for run in self.sees.runs {
            assert_eq!(run.first as usize, next, "runs do not follow each other");
            next += run.len as usize;
            for span in self.sees.spans_of(run) {
                let (have, what) = if span.past { (slots, "slots") } else { (t, "tokens") };
                let end = span.start as usize + span.len as usize;
                assert!(end <= have, "a span ends at {end} of {have} {what}");
            }
        }
        assert_eq!(next, t, "runs do not hold all tokens");
    }
}

#[cfg(test)]
mod tests;
