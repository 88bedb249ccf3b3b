//! The softmax that needs no second look: scores, weights and results of a few keys at a time.

use super::{Heads, KEYS, Operands, Run, Scoring, Task, products::Rows};
use crate::{
    activation::exp,
    simd::{Kernel, Simd, dots},
    softcap::tanh,
};

/// A task at work.
pub(super) struct Attend<'a, 'o> {
    pub(super) operands: &'a Operands<'a>,
    pub(super) task: &'a mut Task<'o>,
    pub(super) scratch: &'a mut [f32],
}

/// The queries of one head of keys: `tokens · group` of them, token by token.
pub(super) struct Queries<'a> {
    data: &'a [f32],
    /// From one token to the next, in `data`.
    stride: usize,
    group: usize,
    dim: usize,
}

/// Up to [`KEYS`] neighbouring keys or values of one head.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    data: &'a [f32],
    stride: usize,
    dim: usize,
    count: usize,
}

/// Neighbouring keys that some tokens of a run meet together.
pub(super) struct Block {
    /// Whether they are slots of the cache.
    pub(super) past: bool,
    /// The first of them.
    pub(super) at: usize,
    pub(super) count: usize,
    /// Path index of the first of them.
    path: usize,
    /// Path index of the first token.
    first: usize,
    window: usize,
}

impl Operands<'_> {
    /// The keys that `tokens` tokens of a run see, from its token `first` on.
    pub(super) fn blocks<'a>(
        &'a self,
        run: &Run,
        first: usize,
        tokens: usize,
    ) -> impl Iterator<Item = Block> + use<'a> {
        let before = self.sees.span_keys(run);
        let window = self.sees.window.map_or(usize::MAX, |w| w as usize);
        // Keys on the path: those of the spans, then the run's own up to the last token here.
        let end = before + first + tokens;
        let begin = (before + first + 1).saturating_sub(window);
        let own = [(false, run.first as usize, first + tokens)];
        let spans = self.sees.spans_of(run).iter();
        let spans = spans.map(|span| (span.past, span.start as usize, span.len as usize));
        let mut path = 0; // index of the span's first key
        spans.chain(own).flat_map(move |(past, start, len)| {
            let from = path;
            path += len;
            // Blocks are cut at the same places whichever tokens look at them.
            (0..len).step_by(KEYS).filter_map(move |at| {
                let count = KEYS.min(len - at);
                let path = from + at;
                let seen = path < end && path + count > begin;
                let block =
                    Block { past, at: start + at, count, path, first: before + first, window };
                seen.then_some(block)
            })
        })
    }

    /// The keys and values of a block, of one head.
    #[inline(always)]
    pub(super) fn keys(&self, block: &Block, head: usize) -> [Keys<'_>; 2] {
        let (k, v) = if block.past { (self.past_k, self.past_v) } else { (self.k, self.v) };
        let (stride, dim) = (self.heads.key_value * self.heads.dim, self.heads.dim);
        let skip = block.at * stride + head * dim;
        [k, v].map(|data| Keys { data: &data[skip..], stride, dim, count: block.count })
    }
}

impl Kernel for Attend<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { operands, task, scratch } = self;
        let heads = operands.heads;
        let (group, dim) = (heads.query / heads.key_value, heads.dim);
        let queries = task.tokens * group;
        let (scores, scratch) = scratch.split_at_mut(queries * KEYS);
        let (largest, sums) = scratch.split_at_mut(queries);

        let from = task.run.first as usize + task.first;
        let out_stride = if task.heads.len() == 1 { group * dim } else { heads.query * dim };

        task.out.fill(0.0);
        for head in task.heads.clone() {
            let q = Queries::of(operands.q, from, head, heads);
            let out = &mut task.out[(head - task.heads.start) * group * dim..];
            largest.fill(f32::NEG_INFINITY);
            sums.fill(0.0);
            for block in operands.blocks(&task.run, task.first, task.tokens) {
                let [keys, values] = operands.keys(&block, head);
                score(s, &q, queries, keys, scores);
                for i in 0..queries {
                    let seen = block.seen_by(i / group);
                    let scores = &mut scores[i * KEYS..][..KEYS];
                    let (largest, sum) = (&mut largest[i], &mut sums[i]);
                    if let Some(factor) = weigh(scores, seen, operands.scoring, largest, sum) {
                        for out in row(out, i, group, out_stride, dim) {
                            *out *= factor;
                        }
                    }
                }
                gather(s, scores, queries, values, out, group, out_stride);
            }
            for (i, sum) in sums.iter().enumerate() {
                let share = 1.0 / sum;
                for out in row(out, i, group, out_stride, dim) {
                    *out *= share;
                }
            }
        }
    }
}

impl Block {
    /// The block's keys that a token sees.
    #[inline(always)]
    pub(super) fn seen_by(&self, token: usize) -> std::ops::Range<usize> {
        let end = self.first + token + 1;
        let begin = end.saturating_sub(self.window);
        let clip = |path: usize| path.saturating_sub(self.path).min(self.count);
        clip(begin)..clip(end)
    }
}

impl<'a> Queries<'a> {
    /// The queries of a key head, from a token on, in `[t, query, dim]`.
    #[inline(always)]
    pub(super) fn of(data: &'a [f32], token: usize, head: usize, heads: Heads) -> Self {
        let (group, dim) = (heads.query / heads.key_value, heads.dim);
        let skip = (token * heads.query + head * group) * dim;
        Self { data: &data[skip..], stride: heads.query * dim, group, dim }
    }

    #[inline(always)]
    pub(super) fn get<const N: usize>(&self, first: usize) -> [&'a [f32]; N] {
        let mut rows: [&[f32]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            let (token, head) = ((first + i) / self.group, (first + i) % self.group);
            *row = &self.data[token * self.stride + head * self.dim..][..self.dim];
        }
        rows
    }
}

impl<'a> Keys<'a> {
    #[inline(always)]
    pub(super) fn rows(self) -> Rows<'a> {
        Rows { data: self.data, stride: self.stride }
    }

    #[inline(always)]
    fn get<const N: usize>(self, first: usize) -> [&'a [f32]; N] {
        let mut rows: [&[f32]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.data[(first + i) * self.stride..][..self.dim];
        }
        rows
    }
}

#[inline(always)]
pub(super) fn row(
    out: &mut [f32],
    i: usize,
    group: usize,
    stride: usize,
    dim: usize,
) -> &mut [f32] {
    &mut out[i / group * stride + i % group * dim..][..dim]
}

/// All queries times all keys of the block, into rows of [`KEYS`].
#[inline(always)]
pub(super) fn score<S: Simd>(
    s: S,
    q: &Queries<'_>,
    queries: usize,
    keys: Keys<'_>,
    scores: &mut [f32],
) {
    let mut i = 0;
    while i + 4 <= queries {
        band::<S, 4, 3>(s, q.get(i), keys, &mut scores[i * KEYS..]);
        i += 4;
    }
    match queries - i {
        3 => band::<S, 3, 3>(s, q.get(i), keys, &mut scores[i * KEYS..]),
        2 => band::<S, 2, 3>(s, q.get(i), keys, &mut scores[i * KEYS..]),
        1 => band::<S, 1, 4>(s, q.get(i), keys, &mut scores[i * KEYS..]),
        _ => {}
    }
}

#[inline(always)]
fn band<S: Simd, const R: usize, const C: usize>(
    s: S,
    q: [&[f32]; R],
    keys: Keys<'_>,
    scores: &mut [f32],
) {
    let mut j = 0;
    while j + C <= keys.count {
        put(dots::<S, R, C>(s, q, keys.get(j)), j, scores);
        j += C;
    }
    while j < keys.count {
        put(dots::<S, R, 1>(s, q, keys.get(j)), j, scores);
        j += 1;
    }
}

#[inline(always)]
fn put<const R: usize, const C: usize>(dots: [[f32; C]; R], j: usize, scores: &mut [f32]) {
    for (r, dots) in dots.iter().enumerate() {
        scores[r * KEYS + j..][..C].copy_from_slice(dots);
    }
}

/// Turns a query's scores into weights relative to the largest so far, 0 where it does not see.
/// Returns what earlier results are to be multiplied with, if there is a new largest.
#[inline(always)]
pub(super) fn weigh(
    scores: &mut [f32],
    seen: std::ops::Range<usize>,
    scoring: Scoring,
    largest: &mut f32,
    sum: &mut f32,
) -> Option<f32> {
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let scores = &mut scores[seen];
    if scores.is_empty() {
        return None;
    }
    let scale = match scoring.softcap {
        None => scoring.scale,
        Some(cap) => {
            bend(scores, scoring.scale, cap);
            1.0
        }
    };
    let mut max = *largest;
    for score in scores.iter_mut() {
        *score *= scale;
        max = if *score > max { *score } else { max };
    }
    let factor = (max > *largest).then(|| exp(*largest - max)); // 0 at first
    for score in scores.iter_mut() {
        *score = exp(*score - max);
    }
    let (chunks, rest) = scores.as_chunks::<8>();
    let mut lanes = [0.0; 8]; // so that the additions do not wait for each other
    for chunk in chunks {
        for (lane, weight) in lanes.iter_mut().zip(chunk) {
            *lane += weight;
        }
    }
    let added = lanes.iter().sum::<f32>() + rest.iter().sum::<f32>();
    *largest = max;
    *sum = *sum * factor.unwrap_or(1.0) + added;
    factor
}

/// Scales scores and caps them softly.
#[inline(always)]
fn bend(scores: &mut [f32], scale: f32, cap: f32) {
    let share = scale / cap;
    for score in scores {
        *score = cap * tanh(*score * share);
    }
}

/// Adds the weighted values of a block to each query's result.
#[inline(always)]
pub(super) fn gather<S: Simd>(
    s: S,
    weights: &[f32],
    queries: usize,
    values: Keys<'_>,
    out: &mut [f32],
    group: usize,
    stride: usize,
) {
    for i in 0..queries {
        let weights = &weights[i * KEYS..][..values.count];
        add_weighted(s, weights, values, row(out, i, group, stride, values.dim));
    }
}

/// Adds weighted rows to one row.
#[inline(always)]
pub(super) fn add_weighted<S: Simd>(s: S, weights: &[f32], rows: Keys<'_>, out: &mut [f32]) {
    let (out, tail) = S::chunks_mut(out);
    let (eights, rest) = out.as_chunks_mut::<8>();
    let (fours, ones) = rest.as_chunks_mut::<4>();
    let mut at = 0;
    for out in eights {
        add_columns(s, weights, rows, &mut at, out);
    }
    for out in fours {
        add_columns(s, weights, rows, &mut at, out);
    }
    for out in ones {
        add_columns(s, weights, rows, &mut at, std::array::from_mut(out));
    }
    for (c, out) in tail.iter_mut().enumerate() {
        for (j, &weight) in weights.iter().enumerate() {
            *out += weight * rows.data[j * rows.stride + at + c];
        }
    }
}

/// The same for `N` registers of columns, which begin at `at`; moves `at` behind them.
#[inline(always)]
fn add_columns<S: Simd, const N: usize>(
    s: S,
    weights: &[f32],
    rows: Keys<'_>,
    at: &mut usize,
    out: &mut [S::Chunk; N],
) {
    let mut acc = [s.splat(0.0); N];
    for n in 0..N {
        acc[n] = s.load(&out[n]);
    }
    for (j, &weight) in weights.iter().enumerate() {
        let weight = s.splat(weight);
        let row = S::chunks(&rows.data[j * rows.stride + *at..][..N * S::LANES]).0;
        for n in 0..N {
            acc[n] = s.fma(weight, s.load(&row[n]), acc[n]);
        }
    }
    for n in 0..N {
        s.store(acc[n], &mut out[n]);
    }
    *at += N * S::LANES;
}
