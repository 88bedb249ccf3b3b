//! The gradient of attention: scores are computed anew, a few queries and keys at a time.
//!
//! With `w` the weights of a query and `g` the gradient of its result, `dv += w·g`,
//! `ds = w·(g·v - g·out)`, `dq += scale·ds·k`, `dk += scale·ds·q` (arXiv 2307.08691, section 3.1).
//! Where scores are capped, `ds` is also multiplied with the slope of the cap.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Heads, KEYS, Operands, QUERIES, Run, Scoring, Sees,
    online::{Queries, add_weighted, gather, score, weigh},
};
use crate::{
    activation::exp,
    simd::{Kernel, Path, Simd, dots},
    softcap::tanh,
    threads::{with_scratch, worth_spreading},
};

/// Where the gradients of [`super::attention`] go.
#[derive(Debug)]
pub struct AttentionGradients<'a> {
    /// `[t, query, dim]`
    pub q: &'a mut [f32],
    /// `[t, key_value, dim]`
    pub k: &'a mut [f32],
    /// `[t, key_value, dim]`
    pub v: &'a mut [f32],
}

/// The gradients of [`super::attention`], given its result `out` and that result's gradient
/// `g_out`. The cache is constant: it has no gradient.
///
/// # Panics
/// As there.
#[expect(clippy::too_many_arguments, reason = "the operands of attention; all are plain slices")]
pub fn attention_backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    past_k: &[f32],
    past_v: &[f32],
    out: &[f32],
    g_out: &[f32],
    sees: Sees<'_>,
    heads: Heads,
    scoring: Scoring,
    gradients: AttentionGradients<'_>,
) {
    let operands = Operands { q, k, v, past_k, past_v, sees, heads, scoring };
    attention_backward_on(Path::active(), &operands, out, g_out, gradients);
}

pub(crate) fn attention_backward_on(
    path: Path,
    operands: &Operands<'_>,
    out: &[f32],
    g_out: &[f32],
    gradients: AttentionGradients<'_>,
) {
    operands.check(gradients.q.len());
    assert_eq!(out.len(), operands.q.len(), "out is not like q");
    assert_eq!(g_out.len(), operands.q.len(), "g_out is not like q");
    assert_eq!(gradients.k.len(), operands.k.len(), "the gradient of k is not like k");
    assert_eq!(gradients.v.len(), operands.v.len(), "the gradient of v is not like v");
    let heads = operands.heads;
    let mut units = units(operands.sees, heads);
    let work: usize = operands.q.len() * 3 * KEYS; // a floor: every token sees itself
    let each = |unit: &mut Unit| {
        let scratch = QUERIES.max(heads.query / heads.key_value) * (2 * KEYS + 3);
        with_scratch(scratch, |scratch| {
            path.run(Backward { operands, out, g_out, unit, scratch });
        });
    };
    if worth_spreading(work) {
        units.par_iter_mut().for_each(each);
    } else {
        units.iter_mut().for_each(each);
    }
    let group = heads.query / heads.key_value;
    for unit in &units {
        put(&unit.q, gradients.q, unit, heads.key_value, group * heads.dim);
        put(&unit.k, gradients.k, unit, heads.key_value, heads.dim);
        put(&unit.v, gradients.v, unit, heads.key_value, heads.dim);
    }
}

/// What nobody else writes: tokens that see nothing outside of them, with one head of keys.
struct Unit {
    runs: Range<usize>,
    tokens: Range<usize>,
    head: usize,
    /// `[tokens, group, dim]`
    q: Vec<f32>,
    /// `[tokens, dim]`
    k: Vec<f32>,
    /// `[tokens, dim]`
    v: Vec<f32>,
}

/// Cuts a batch between trees, and by heads.
fn units(sees: Sees<'_>, heads: Heads) -> Vec<Unit> {
    let mut trees: Vec<(Range<usize>, Range<usize>)> = Vec::new(); // runs and tokens
    for (i, run) in sees.runs.iter().enumerate() {
        let spans = sees.spans_of(run).iter().filter(|span| !span.past);
        let first = spans.map(|span| span.start).min().unwrap_or(run.first).min(run.first) as usize;
        let (mut runs, mut tokens) = (i..i + 1, first..(run.first + run.len) as usize);
        while let Some(last) = trees.pop_if(|(_, earlier)| earlier.end > tokens.start) {
            runs.start = last.0.start;
            tokens.start = tokens.start.min(last.1.start);
        }
        trees.push((runs, tokens));
    }
    let group = heads.query / heads.key_value;
    let unit = |(runs, tokens): &(Range<usize>, Range<usize>), head| Unit {
        runs: runs.clone(),
        tokens: tokens.clone(),
        head,
        q: vec![0.0; tokens.len() * group * heads.dim],
        k: vec![0.0; tokens.len() * heads.dim],
        v: vec![0.0; tokens.len() * heads.dim],
    };
    trees.iter().flat_map(|tree| (0..heads.key_value).map(move |head| unit(tree, head))).collect()
}

/// Writes a unit's rows of `width` where they belong among those of all heads.
fn put(rows: &[f32], into: &mut [f32], unit: &Unit, heads: usize, width: usize) {
    for (row, token) in rows.chunks_exact(width).zip(unit.tokens.clone()) {
        into[(token * heads + unit.head) * width..][..width].copy_from_slice(row);
    }
}

/// A unit at work.
struct Backward<'a, 'o> {
    operands: &'a Operands<'a>,
    out: &'a [f32],
    g_out: &'a [f32],
    unit: &'o mut Unit,
    scratch: &'o mut [f32],
}

impl Kernel for Backward<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let heads = self.operands.heads;
        let together = (QUERIES / (heads.query / heads.key_value)).max(1);
        for run in &self.operands.sees.runs[self.unit.runs.clone()] {
            for first in (0..run.len as usize).step_by(together) {
                self.some(s, run, first, together.min(run.len as usize - first));
            }
        }
    }
}

impl Backward<'_, '_> {
    /// Some neighbouring tokens of a run.
    #[inline(always)]
    fn some<S: Simd>(&mut self, s: S, run: &Run, first: usize, tokens: usize) {
        let Self { operands, out, g_out, unit, scratch } = self;
        let (heads, scoring, head) = (operands.heads, operands.scoring, unit.head);
        let (group, dim) = (heads.query / heads.key_value, heads.dim);
        let queries = tokens * group;
        let (scores, scratch) = scratch.split_at_mut(queries * KEYS);
        let (slopes, scratch) = scratch.split_at_mut(queries * KEYS);
        let (largest, scratch) = scratch.split_at_mut(queries);
        let (sums, scratch) = scratch.split_at_mut(queries);
        let means = &mut scratch[..queries]; // of the slopes, under the weights

        let from = run.first as usize + first;
        let q = Queries::of(operands.q, from, head, heads);
        let g = Queries::of(g_out, from, head, heads);
        let o = Queries::of(out, from, head, heads);
        largest.fill(f32::NEG_INFINITY);
        sums.fill(0.0);
        for block in operands.blocks(run, first, tokens) {
            let [keys, _] = operands.keys(&block, head);
            score(s, &q, queries, keys, scores);
            for i in 0..queries {
                let (row, seen) = (&mut scores[i * KEYS..][..KEYS], block.seen_by(i / group));
                weigh(row, seen, scoring, &mut largest[i], &mut sums[i]);
            }
        }
        for (i, mean) in means.iter_mut().enumerate() {
            let [[dot]] = dots::<S, 1, 1>(s, g.get(i), o.get(i));
            *mean = dot;
        }

        let local = from - unit.tokens.start;
        for block in operands.blocks(run, first, tokens) {
            let [keys, values] = operands.keys(&block, head);
            score(s, &q, queries, keys, scores);
            score(s, &g, queries, values, slopes);
            for i in 0..queries {
                let seen = block.seen_by(i / group);
                let weights = &mut scores[i * KEYS..][..KEYS];
                let slopes = &mut slopes[i * KEYS..][..KEYS];
                soften(weights, slopes, seen, scoring, largest[i], 1.0 / sums[i], means[i]);
            }
            let g_q = &mut unit.q[local * group * dim..];
            gather(s, slopes, queries, keys, g_q, group, group * dim);
            if !block.past {
                let rows = (block.at - unit.tokens.start) * dim..;
                let sizes = [tokens, group];
                scatter(s, slopes, sizes, &q, &mut unit.k[rows.clone()], dim, block.count);
                scatter(s, scores, sizes, &g, &mut unit.v[rows], dim, block.count);
            }
        }
    }
}

/// Turns a query's scores into its weights, and what `g` says of each value into the slope of the
/// score; both 0 where it does not see.
#[inline(always)]
fn soften(
    scores: &mut [f32],
    slopes: &mut [f32],
    seen: Range<usize>,
    scoring: Scoring,
    largest: f32,
    share: f32,
    mean: f32,
) {
    for row in [&mut *scores, &mut *slopes] {
        row[..seen.start].fill(0.0);
        row[seen.end..].fill(0.0);
    }
    let scale = scoring.scale;
    let seen = scores[seen.clone()].iter_mut().zip(&mut slopes[seen]);
    match scoring.softcap {
        None => seen.for_each(|(score, slope)| {
            *score = exp(*score * scale - largest) * share;
            *slope = *score * (*slope - mean) * scale;
        }),
        Some(cap) => seen.for_each(|(score, slope)| {
            let bent = tanh(*score * (scale / cap));
            *score = exp(cap * bent - largest) * share;
            *slope = *score * (*slope - mean) * scale * (1.0 - bent * bent);
        }),
    }
}

/// Adds to each key's row the queries' rows, weighted by the key's column.
#[inline(always)]
fn scatter<S: Simd>(
    s: S,
    weights: &[f32],
    [tokens, group]: [usize; 2],
    rows: &Queries<'_>,
    out: &mut [f32],
    dim: usize,
    count: usize,
) {
    let mut column = [0.0; QUERIES];
    for (j, out) in out.chunks_exact_mut(dim).take(count).enumerate() {
        for head in 0..group {
            for (token, weight) in column[..tokens].iter_mut().enumerate() {
                *weight = weights[(token * group + head) * KEYS + j];
            }
            add_weighted(s, &column[..tokens], rows.head(head, tokens), out);
        }
    }
}
