//! The gradient of attention: scores are computed anew, a few queries at a time.
//!
//! With `w` the weights of a query and `g` the gradient of its result, `dv += w·g`,
//! `ds = w·(g·v - g·out)`, `dq += scale·ds·k`, `dk += scale·ds·q` (arXiv 2307.08691, section 3.1).
//! Where scores are capped, `ds` is also multiplied with the slope of the cap.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Heads, KEYS, Operands, QUERIES, Run, Scoring, Sees,
    online::{Block, Queries},
    products::{Rows, add_products},
};
use crate::{
    activation::exp,
    simd::{Kernel, Path, Simd, dots},
    softcap::tanh,
    threads::worth_spreading,
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
        let (tiles, room) = (Tiles::new(unit.tokens.len()), Room::default());
        path.run(Backward { operands, out, g_out, unit, tiles, room });
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
    tiles: Tiles,
    room: Room,
}

/// What some tokens need, kept for the next ones.
#[derive(Default)]
struct Room {
    /// `[queries, dim]`
    q: Vec<f32>,
    /// The gradients of their results, `[queries, dim]`.
    g: Vec<f32>,
    /// The mean slope of each query, under its weights: `g · out`.
    means: Vec<f32>,
    /// Scores, then weights: `[blocks, queries, KEYS]`.
    weights: Vec<f32>,
    /// The slopes of the cap, like the scores; nothing without a cap.
    bends: Vec<f32>,
    /// The slopes of a block's scores, `[queries, KEYS]`.
    slopes: Vec<f32>,
}

impl Room {
    /// Brings queries, gradients and means together.
    #[inline(always)]
    fn copy<S: Simd>(&mut self, queries: usize, [q, g, out]: [Queries<'_>; 3], s: S) {
        self.q.clear();
        self.g.clear();
        self.means.clear();
        for i in 0..queries {
            let [[q], [g], [out]] = [q.get(i), g.get(i), out.get(i)];
            self.q.extend_from_slice(q);
            self.g.extend_from_slice(g);
            let [[mean]] = dots::<S, 1, 1>(s, [g], [out]);
            self.means.push(mean);
        }
    }
}

/// Keys and values dimension by dimension, so that many keys are met at a time.
struct Tiles {
    /// By a unit's tokens: where the tile lies that begins with the token, if it was met.
    places: Vec<Option<usize>>,
    /// `[tiles, 2, dim, KEYS]`: keys, then values.
    floats: Vec<f32>,
    /// One of the cache's.
    past: Vec<f32>,
}

impl Tiles {
    fn new(tokens: usize) -> Self {
        Self { places: vec![None; tokens], floats: Vec::new(), past: Vec::new() }
    }

    /// The keys and values of a block, each `[dim, KEYS]`.
    fn of(&mut self, operands: &Operands<'_>, block: &Block, unit: &Unit) -> (&[f32], &[f32]) {
        let len = operands.heads.dim * KEYS;
        let tile = if block.past {
            self.past.resize(2 * len, 0.0);
            fill_tile(operands, block, block.count, unit.head, &mut self.past);
            &self.past[..]
        } else {
            let place = &mut self.places[block.at - unit.tokens.start];
            let at = *place.get_or_insert_with(|| {
                let at = self.floats.len();
                self.floats.resize(at + 2 * len, 0.0);
                // Later tokens see more of these keys.
                let count = KEYS.min(unit.tokens.end - block.at);
                fill_tile(operands, block, count, unit.head, &mut self.floats[at..]);
                at
            });
            &self.floats[at..][..2 * len]
        };
        tile.split_at(len)
    }
}

fn fill_tile(operands: &Operands<'_>, block: &Block, count: usize, head: usize, tile: &mut [f32]) {
    let tiles = tile.chunks_exact_mut(operands.heads.dim * KEYS);
    for (rows, tile) in operands.keys(block, head).into_iter().zip(tiles) {
        for j in 0..count {
            let row = rows.rows().row(j, operands.heads.dim);
            for (x, to) in row.iter().zip(tile.as_chunks_mut::<KEYS>().0) {
                to[j] = *x;
            }
        }
    }
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
        let Self { operands, out, g_out, unit, tiles, room } = self;
        let (heads, scoring, head) = (operands.heads, operands.scoring, unit.head);
        let (group, dim) = (heads.query / heads.key_value, heads.dim);
        let (queries, from) = (tokens * group, run.first as usize + first);
        let blocks: Vec<Block> = operands.blocks(run, first, tokens).collect();
        room.copy(
            queries,
            [operands.q, g_out, out].map(|data| Queries::of(data, from, head, heads)),
            s,
        );
        let (q, g) = (Rows { data: &room.q, stride: dim }, Rows { data: &room.g, stride: dim });
        let len = queries * KEYS;

        room.weights.clear();
        room.weights.resize(blocks.len() * len, 0.0);
        for (block, scores) in blocks.iter().zip(room.weights.chunks_exact_mut(len)) {
            let keys = Rows { data: tiles.of(operands, block, unit).0, stride: KEYS };
            add_products::<S, false>(s, q, keys, dim, scores, KEYS);
        }
        room.bends.resize(if scoring.softcap.is_some() { room.weights.len() } else { 0 }, 0.0);
        for i in 0..queries {
            let (scores, bends) = (&mut room.weights[i * KEYS..], room.bends.get_mut(i * KEYS..));
            soften(scores, bends.unwrap_or_default(), len, &blocks, i / group, scoring);
        }

        let local = from - unit.tokens.start;
        for (b, block) in blocks.iter().enumerate() {
            let weights = &room.weights[b * len..][..len];
            let bends = room.bends.get(b * len..).unwrap_or_default();
            room.slopes.clear();
            room.slopes.resize(len, 0.0);
            let values = Rows { data: tiles.of(operands, block, unit).1, stride: KEYS };
            add_products::<S, false>(s, g, values, dim, &mut room.slopes, KEYS);
            for (i, slopes) in room.slopes.chunks_exact_mut(KEYS).enumerate() {
                let at = i * KEYS;
                let (weights, bends) = (&weights[at..], bends.get(at..).unwrap_or_default());
                slope(slopes, weights, bends, block.seen_by(i / group), room.means[i], scoring);
            }

            let slopes = Rows { data: &room.slopes, stride: KEYS };
            let weights = Rows { data: weights, stride: KEYS };
            let keys = operands.keys(block, head)[0].rows();
            let g_q = &mut unit.q[local * group * dim..][..queries * dim];
            add_products::<S, false>(s, slopes, keys, block.count, g_q, dim);
            if !block.past {
                let own = (block.at - unit.tokens.start) * dim;
                let own = own..own + block.count * dim;
                add_products::<S, true>(s, slopes, q, queries, &mut unit.k[own.clone()], dim);
                add_products::<S, true>(s, weights, g, queries, &mut unit.v[own], dim);
            }
        }
    }
}

/// Turns a query's scores, a row for each block, `step` apart, into its weights: 0 where its token
/// does not see. Where scores are capped, `bends` gets the slopes of the cap.
#[inline(always)]
fn soften(
    scores: &mut [f32],
    bends: &mut [f32],
    step: usize,
    blocks: &[Block],
    token: usize,
    scoring: Scoring,
) {
    let mut largest = f32::NEG_INFINITY;
    for (b, block) in blocks.iter().enumerate() {
        let (row, seen) = (&mut scores[b * step..][..KEYS], block.seen_by(token));
        row[..seen.start].fill(0.0);
        row[seen.end..].fill(0.0);
        let row = &mut row[seen.clone()];
        match scoring.softcap {
            None => {
                for score in row.iter_mut() {
                    *score *= scoring.scale;
                }
            }
            Some(cap) => {
                let bends = &mut bends[b * step..][seen];
                for (score, bend) in row.iter_mut().zip(bends) {
                    let bent = tanh(*score * (scoring.scale / cap));
                    *bend = 1.0 - bent * bent;
                    *score = cap * bent;
                }
            }
        }
        for score in row {
            largest = if *score > largest { *score } else { largest };
        }
    }
    let mut lanes = [0.0; 8]; // so that the additions do not wait for each other
    for (b, block) in blocks.iter().enumerate() {
        let row = &mut scores[b * step..][block.seen_by(token)];
        for score in row.iter_mut() {
            *score = exp(*score - largest);
        }
        for chunk in row.chunks(lanes.len()) {
            for (lane, weight) in lanes.iter_mut().zip(chunk) {
                *lane += weight;
            }
        }
    }
    let share = 1.0 / lanes.iter().sum::<f32>();
    for (b, block) in blocks.iter().enumerate() {
        for weight in &mut scores[b * step..][block.seen_by(token)] {
            *weight *= share;
        }
    }
}

/// Turns what the gradient of a query's result says of each value into the slopes of its scores, 0
/// where it does not see.
#[inline(always)]
fn slope(
    slopes: &mut [f32],
    weights: &[f32],
    bends: &[f32],
    seen: Range<usize>,
    mean: f32,
    scoring: Scoring,
) {
    slopes[..seen.start].fill(0.0);
    slopes[seen.end..].fill(0.0);
    for (slope, weight) in slopes[seen.clone()].iter_mut().zip(&weights[seen.clone()]) {
        *slope = weight * (*slope - mean) * scoring.scale;
    }
    if let Some(bends) = bends.get(seen.clone()) {
        for (slope, bend) in slopes[seen].iter_mut().zip(bends) {
            *slope *= bend;
        }
    }
}
