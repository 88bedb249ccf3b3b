//! The default bodies: plain Burn operations, slow and clear. They are the fast paths' oracle.
//!
//! Stored matrices are decoded on the host, some rows at a time, since no device of Burn reads
//! these formats; everything else runs where the tensors are.

use burn::{
    backend::{
        Backend, TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, Shape, Slice, TensorData, try_read_sync},
};
use fidelio_kernels::{
    Activation, Asked, Run, Scoring, Span, TokenScore, Top, dequantize_rows, top_of,
};

use crate::{Sees, StoredMatrix};

/// Rows of a stored matrix that are decoded at a time.
const DECODED_ROWS: usize = 1024;
/// Rows of hidden states whose logits exist at a time.
const LOGIT_ROWS: usize = 8;

pub(crate) fn linear_stored<B: Backend>(
    x: FloatTensor<B>,
    w: IntTensor<B>,
    matrix: StoredMatrix,
) -> FloatTensor<B> {
    let device = x.device();
    let bytes = raw::<B>(w);
    let tiles = (0..matrix.rows)
        .step_by(DECODED_ROWS)
        .map(|first| {
            let rows = DECODED_ROWS.min(matrix.rows - first);
            let tile = decode::<B>(&bytes, matrix, first, rows, &device); // [rows, cols]
            B::float_matmul(x.clone(), B::float_swap_dims(tile, 0, 1)) // [n, rows]
        })
        .collect();
    B::float_cat(tiles, 1)
}

pub(crate) fn linear_stored_backward<B: Backend>(
    g: FloatTensor<B>,
    w: IntTensor<B>,
    matrix: StoredMatrix,
) -> FloatTensor<B> {
    let device = g.device();
    let bytes = raw::<B>(w);
    let n = g.shape()[0];
    (0..matrix.rows)
        .step_by(DECODED_ROWS)
        .map(|first| {
            let rows = DECODED_ROWS.min(matrix.rows - first);
            let tile = decode::<B>(&bytes, matrix, first, rows, &device); // [rows, cols]
            let part = [all(n), Slice::from(first..first + rows)];
            B::float_matmul(B::float_slice(g.clone(), &part), tile) // [n, cols]
        })
        .reduce(B::float_add)
        .expect("a matrix has rows")
}

pub(crate) fn linear_floats<B: Backend>(x: FloatTensor<B>, w: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(x, B::float_swap_dims(w, 0, 1))
}

pub(crate) fn linear_floats_backward<B: Backend>(
    g: FloatTensor<B>,
    w: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_matmul(g, w)
}

pub(crate) fn linear_floats_gradient<B: Backend>(
    g: FloatTensor<B>,
    x: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_matmul(B::float_swap_dims(g, 0, 1), x)
}

pub(crate) fn low_rank<B: Backend>(
    x: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
) -> FloatTensor<B> {
    let inner = B::float_matmul(x, B::float_swap_dims(a, 0, 1)); // [n, r]
    B::float_matmul(B::float_mul_scalar(inner, scale.into()), B::float_swap_dims(b, 0, 1))
}

pub(crate) fn embed_stored<B: Backend>(
    w: IntTensor<B>,
    ids: &[u32],
    matrix: StoredMatrix,
) -> FloatTensor<B> {
    let device = w.device();
    let bytes = raw::<B>(w);
    let mut out = vec![0.0_f32; ids.len() * matrix.cols];
    for (id, row) in ids.iter().zip(out.chunks_exact_mut(matrix.cols)) {
        dequantize_rows(matrix.of(&bytes), *id as usize, row);
    }
    B::float_from_data(TensorData::new(out, [ids.len(), matrix.cols]), &device)
}

pub(crate) fn rms_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    eps: f64,
) -> FloatTensor<B> {
    let cols = weight.shape()[0];
    let square = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 1); // [n, 1]
    let root = B::float_sqrt(B::float_add_scalar(square, eps.into()));
    B::float_mul(B::float_div(x, root), B::float_reshape(weight, Shape::new([1, cols])))
}

pub(crate) fn rms_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    g: FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let cols = weight.shape()[0];
    let square = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 1); // [n, 1]
    let root = B::float_sqrt(B::float_add_scalar(square, eps.into()));
    let normed = B::float_div(x, root.clone()); // [n, c]
    let g_weight = B::float_sum_dim(B::float_mul(g.clone(), normed.clone()), 0); // [1, c]
    let slope = B::float_mul(g, B::float_reshape(weight, Shape::new([1, cols])));
    let along = B::float_mean_dim(B::float_mul(slope.clone(), normed.clone()), 1); // [n, 1]
    let g_x = B::float_div(B::float_sub(slope, B::float_mul(normed, along)), root);
    (g_x, B::float_reshape(g_weight, Shape::new([cols])))
}

pub(crate) fn layer_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    eps: f64,
) -> FloatTensor<B> {
    let cols = weight.shape()[0];
    let of_row = |x| B::float_reshape(x, Shape::new([1, cols]));
    let (normed, _) = centered::<B>(x, eps);
    B::float_add(B::float_mul(normed, of_row(weight)), of_row(bias))
}

pub(crate) fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    g: FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let cols = weight.shape()[0];
    let (normed, root) = centered::<B>(x, eps);
    let sum = |x| B::float_reshape(B::float_sum_dim(x, 0), Shape::new([cols]));
    let g_weight = sum(B::float_mul(g.clone(), normed.clone()));
    let g_bias = sum(g.clone());
    let slope = B::float_mul(g, B::float_reshape(weight, Shape::new([1, cols])));
    let mean = B::float_mean_dim(slope.clone(), 1); // [n, 1]
    let along = B::float_mean_dim(B::float_mul(slope.clone(), normed.clone()), 1); // [n, 1]
    let rest = B::float_sub(B::float_sub(slope, mean), B::float_mul(normed, along));
    (B::float_div(rest, root), g_weight, g_bias)
}

/// Rows of mean 0 and variance 1, and what they were divided by: `[n, c]`, `[n, 1]`.
fn centered<B: Backend>(x: FloatTensor<B>, eps: f64) -> (FloatTensor<B>, FloatTensor<B>) {
    let x = B::float_sub(x.clone(), B::float_mean_dim(x, 1));
    let variance = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 1);
    let root = B::float_sqrt(B::float_add_scalar(variance, eps.into()));
    (B::float_div(x, root.clone()), root)
}

pub(crate) fn rotary<B: Backend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> FloatTensor<B> {
    let [t, h, d] = x.shape().dims();
    let half = cos.shape()[1];
    let part = |from: usize, to: usize| {
        B::float_slice(x.clone(), &[all(t), all(h), Slice::from(from..to)])
    };
    let (a, b) = (part(0, half), part(half, 2 * half)); // [t, h, r/2]
    let turn = |w: FloatTensor<B>| B::float_reshape(w, Shape::new([t, 1, half]));
    let (cos, sin) = (turn(cos), turn(sin));
    let first =
        B::float_sub(B::float_mul(a.clone(), cos.clone()), B::float_mul(b.clone(), sin.clone()));
    let second = B::float_add(B::float_mul(b, cos), B::float_mul(a, sin));
    let mut parts = vec![first, second];
    if 2 * half < d {
        parts.push(part(2 * half, d));
    }
    B::float_cat(parts, 2)
}

pub(crate) fn gated<B: Backend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    let share = share::<B>(gate.clone(), activation);
    B::float_mul(B::float_mul(gate, share), up)
}

pub(crate) fn gated_backward<B: Backend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    g: FloatTensor<B>,
    activation: Activation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let value = B::float_mul(gate.clone(), share::<B>(gate.clone(), activation));
    let g_up = B::float_mul(g.clone(), value);
    let g_gate = B::float_mul(B::float_mul(g, up), slope::<B>(gate, activation));
    (g_gate, g_up)
}

pub(crate) fn activate<B: Backend>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    B::float_mul(x.clone(), share::<B>(x, activation))
}

pub(crate) fn activate_backward<B: Backend>(
    x: FloatTensor<B>,
    g: FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    B::float_mul(g, slope::<B>(x, activation))
}

/// How steep an activation is: `(x · share)' = share + x · share'`.
fn slope<B: Backend>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    let share = share::<B>(x.clone(), activation);
    // Of a logistic function of `u`: share' = share · (1 - share) · u'.
    let logistic = |x: FloatTensor<B>| {
        let value = B::float_mul(x, share.clone());
        B::float_sub(value.clone(), B::float_mul(value, share.clone()))
    };
    let rest = match activation {
        Activation::Silu => logistic(x),
        Activation::GeluTanh => {
            let squares = B::float_mul(x.clone(), x.clone());
            let steep = B::float_mul_scalar(squares, (3.0 * GELU_CUBE).into());
            let steep = B::float_add_scalar(steep, 1_f32.into());
            B::float_mul(logistic(x), B::float_mul_scalar(steep, GELU_SCALE.into()))
        }
        Activation::Gelu => {
            let squares = B::float_mul(x.clone(), x.clone());
            let density = B::float_exp(B::float_mul_scalar(squares, (-0.5_f32).into()));
            B::float_mul(x, B::float_mul_scalar(density, NORMAL_DENSITY.into()))
        }
    };
    B::float_add(share, rest)
}

/// The cube's share in what the Gaussian error linear unit's hyperbolic tangent is taken of.
const GELU_CUBE: f64 = 0.044_715;
/// `2 · √(2/π)`: `(1 + tanh(u)) / 2` is the logistic function of `2u`.
const GELU_SCALE: f64 = 1.595_769_121_605_730_8;

/// `1 / √(2π)`: the normal distribution's density at 0.
const NORMAL_DENSITY: f64 = 0.398_942_280_401_432_7;

/// What an activation multiplies its operand with: the logistic function of the operand `x` or of
/// `2 · √(2/π) · (x + 0.044715 x³)`, or the normal distribution's share below it.
fn share<B: Backend>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    let u = match activation {
        Activation::Silu => x,
        Activation::GeluTanh => {
            let squares = B::float_mul(x.clone(), x.clone());
            let bent = B::float_mul_scalar(squares, GELU_CUBE.into());
            let bent = B::float_mul(x, B::float_add_scalar(bent, 1_f32.into()));
            B::float_mul_scalar(bent, GELU_SCALE.into())
        }
        Activation::Gelu => {
            let z = B::float_mul_scalar(x, std::f64::consts::FRAC_1_SQRT_2.into());
            let twice = B::float_add_scalar(B::float_erf(z), 1_f32.into());
            return B::float_mul_scalar(twice, 0.5_f32.into());
        }
    };
    B::sigmoid(u)
}

pub(crate) fn attention<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    past_k: FloatTensor<B>,
    past_v: FloatTensor<B>,
    sees: &Sees,
    scoring: Scoring,
) -> FloatTensor<B> {
    let runs = sees
        .runs
        .iter()
        .map(|run| {
            let spans = &sees.spans[run.spans.start as usize..run.spans.end as usize];
            let keys = gather::<B>(&k, &past_k, run, spans);
            let values = gather::<B>(&v, &past_v, run, spans);
            attend::<B>(tokens::<B>(&q, run.first, run.len), keys, values, sees.window, scoring)
        })
        .collect();
    B::float_cat(runs, 0)
}

pub(crate) fn attention_backward<B: Backend>(
    q: FloatTensor<B>,
    [k, v]: [FloatTensor<B>; 2],
    [past_k, past_v]: [FloatTensor<B>; 2],
    out: FloatTensor<B>,
    g: FloatTensor<B>,
    sees: &Sees,
    scoring: Scoring,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let zeros = |like: &FloatTensor<B>| B::float_mul_scalar(like.clone(), 0_f32.into());
    let (mut g_k, mut g_v) = (zeros(&k), zeros(&v));
    let mut g_q = Vec::with_capacity(sees.runs.len());
    for run in sees.runs.iter() {
        let spans = &sees.spans[run.spans.start as usize..run.spans.end as usize];
        let own = |x| tokens::<B>(x, run.first, run.len);
        let gradients = attend_backward::<B>(
            [own(&q), gather::<B>(&k, &past_k, run, spans), gather::<B>(&v, &past_v, run, spans)],
            [own(&out), own(&g)],
            sees.window,
            scoring,
        );
        let [run_q, run_k, run_v] = gradients;
        g_q.push(run_q);
        let own = Span { past: false, start: run.first, len: run.len };
        let mut first = 0;
        for span in spans.iter().chain([&own]) {
            if !span.past {
                g_k = add_tokens::<B>(g_k, tokens::<B>(&run_k, first, span.len), span);
                g_v = add_tokens::<B>(g_v, tokens::<B>(&run_v, first, span.len), span);
            }
            first += span.len;
        }
    }
    (B::float_cat(g_q, 0), g_k, g_v)
}

/// Adds the gradients of a span's tokens to those of all tokens.
fn add_tokens<B: Backend>(
    total: FloatTensor<B>,
    part: FloatTensor<B>,
    span: &Span,
) -> FloatTensor<B> {
    let [_, h, d] = total.shape().dims();
    let sum = B::float_add(tokens::<B>(&total, span.start, span.len), part);
    let range = span.start as usize..(span.start + span.len) as usize;
    B::float_slice_assign(total, &[Slice::from(range), all(h), all(d)], sum)
}

/// The gradients of [`attend`] for `q`, `k` and `v`.
fn attend_backward<B: Backend>(
    [q, k, v]: [FloatTensor<B>; 3],
    [out, g]: [FloatTensor<B>; 2],
    window: Option<u32>,
    scoring: Scoring,
) -> [FloatTensor<B>; 3] {
    let [t, hq, d] = q.shape().dims();
    let [s, hk, _] = k.shape().dims();
    let group = hq / hk;
    let queries = |x| B::float_reshape(B::float_swap_dims(x, 0, 1), Shape::new([hk, group, t, d]));
    let heads = |x| B::float_reshape(B::float_swap_dims(x, 0, 1), Shape::new([hk, 1, s, d]));
    let (q, out, g) = (queries(q), queries(out), queries(g));
    let (k, v) = (heads(k), heads(v));
    let scores = scores::<B>(q.clone(), k.clone(), scoring);
    let weights = weights::<B>(scores.clone(), window); // [hk, group, t, s]
    let mean = B::float_sum_dim(B::float_mul(g.clone(), out), 3); // [hk, group, t, 1]
    let slope = B::float_matmul(g.clone(), B::float_swap_dims(v, 2, 3));
    let slope = B::float_mul(weights.clone(), B::float_sub(slope, mean));
    let slope = B::float_mul_scalar(slope, scoring.scale.into());
    let slope = match scoring.softcap {
        None => slope,
        Some(cap) => {
            let bent = B::float_div_scalar(scores, cap.into());
            let flat = B::float_mul(slope.clone(), B::float_mul(bent.clone(), bent));
            B::float_sub(slope, flat)
        }
    };
    // Query heads of a group add up in their key head.
    let sum = |x| B::float_reshape(B::float_sum_dim(x, 1), Shape::new([hk, s, d]));
    let back = |x| B::float_swap_dims(x, 0, 1);
    let g_q = B::float_reshape(B::float_matmul(slope.clone(), k), Shape::new([hq, t, d]));
    let g_k = sum(B::float_matmul(B::float_swap_dims(slope, 2, 3), q));
    let g_v = sum(B::float_matmul(B::float_swap_dims(weights, 2, 3), g));
    [back(g_q), back(g_k), back(g_v)]
}

/// What `scoring` makes of `q·kᵀ`: `q` `[hk, group, t, d]`, `k` `[hk, 1, s, d]` to
/// `[hk, group, t, s]`.
fn scores<B: Backend>(q: FloatTensor<B>, k: FloatTensor<B>, scoring: Scoring) -> FloatTensor<B> {
    let scores = B::float_matmul(q, B::float_swap_dims(k, 2, 3));
    let scores = B::float_mul_scalar(scores, scoring.scale.into());
    match scoring.softcap {
        None => scores,
        Some(cap) => {
            let bent = B::float_tanh(B::float_div_scalar(scores, cap.into()));
            B::float_mul_scalar(bent, cap.into())
        }
    }
}

/// The softmax of scores under the mask of the last `t` of `s` tokens: `[hk, group, t, s]`.
fn weights<B: Backend>(scores: FloatTensor<B>, window: Option<u32>) -> FloatTensor<B> {
    let (t, s) = (scores.shape()[2], scores.shape()[3]);
    let mask = causal_mask(t, s, window).convert_dtype(scores.dtype());
    let hidden = B::float_from_data(mask, &scores.device());
    B::softmax(B::float_add(scores, hidden), 3)
}

/// One run: `q` `[t, hq, d]` are the last `t` of the `s` tokens of `k` and `v` `[s, hk, d]`.
fn attend<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    window: Option<u32>,
    scoring: Scoring,
) -> FloatTensor<B> {
    let [t, hq, d] = q.shape().dims();
    let [s, hk, _] = k.shape().dims();
    let group = hq / hk;
    // Heads first; the queries of a group share a key head by broadcasting.
    let q = B::float_reshape(B::float_swap_dims(q, 0, 1), Shape::new([hk, group, t, d]));
    let heads = |x| B::float_reshape(B::float_swap_dims(x, 0, 1), Shape::new([hk, 1, s, d]));
    let (k, v) = (heads(k), heads(v));
    let out = B::float_matmul(weights::<B>(scores::<B>(q, k, scoring), window), v); // [hk, group, t, d]
    B::float_swap_dims(B::float_reshape(out, Shape::new([hq, t, d])), 0, 1)
}

/// 0 where the last `t` of `s` tokens may look, a large negative number elsewhere.
fn causal_mask(t: usize, s: usize, window: Option<u32>) -> TensorData {
    let mut mask = vec![-1e30_f32; t * s];
    for (i, row) in mask.chunks_exact_mut(s).enumerate() {
        let end = s - t + i + 1;
        let start = window.map_or(0, |window| end.saturating_sub(window as usize));
        row[start..end].fill(0.0);
    }
    TensorData::new(mask, [1, 1, t, s])
}

/// The keys or values a run sees: its spans and then its own tokens.
fn gather<B: Backend>(
    new: &FloatTensor<B>,
    past: &FloatTensor<B>,
    run: &Run,
    spans: &[Span],
) -> FloatTensor<B> {
    let mut parts: Vec<_> = spans
        .iter()
        .map(|span| tokens::<B>(if span.past { past } else { new }, span.start, span.len))
        .collect();
    parts.push(tokens::<B>(new, run.first, run.len));
    B::float_cat(parts, 0)
}

fn tokens<B: Backend>(x: &FloatTensor<B>, start: u32, len: u32) -> FloatTensor<B> {
    let [_, h, d] = x.shape().dims();
    let range = start as usize..(start + len) as usize;
    B::float_slice(x.clone(), &[Slice::from(range), all(h), all(d)])
}

pub(crate) fn store<B: Backend>(
    pool: FloatTensor<B>,
    rows: FloatTensor<B>,
    slots: &[u32],
) -> FloatTensor<B> {
    let [_, h, d] = rows.shape().dims();
    let mut pool = pool;
    let mut first = 0;
    while first < slots.len() {
        let len = consecutive(&slots[first..]);
        let value = tokens::<B>(&rows, first as u32, len as u32);
        let at = slots[first] as usize;
        pool = B::float_slice_assign(pool, &[Slice::from(at..at + len), all(h), all(d)], value);
        first += len;
    }
    pool
}

/// How many of the first slots follow each other.
pub(crate) fn consecutive(slots: &[u32]) -> usize {
    1 + slots.windows(2).take_while(|pair| pair[1] == pair[0] + 1).count()
}

pub(crate) fn token_scores_stored<B: Backend>(
    hidden: FloatTensor<B>,
    head: IntTensor<B>,
    matrix: StoredMatrix,
    asked: &[Asked],
) -> Vec<TokenScore> {
    let logits = |rows| linear_stored::<B>(rows, head.clone(), matrix);
    let mut scores = Vec::with_capacity(asked.len());
    let mut by_row: Vec<usize> = (0..asked.len()).collect();
    by_row.sort_by_key(|&i| asked[i].row);
    scores.resize(asked.len(), TokenScore { logprob: 0.0, rank: 0, top: 0 });
    each_row::<B>(hidden, logits, |row, logits| {
        for &i in by_row.iter().filter(|&&i| asked[i].row as usize == row) {
            scores[i] = score_of(logits, asked[i].token);
        }
    });
    scores
}

pub(crate) fn top_logits_stored<B: Backend>(
    hidden: FloatTensor<B>,
    head: IntTensor<B>,
    matrix: StoredMatrix,
    k: usize,
    also: &[u32],
) -> Vec<Top> {
    let mut tops = Vec::new();
    each_row::<B>(
        hidden,
        |rows| linear_stored::<B>(rows, head.clone(), matrix),
        |_, logits| tops.push(top_of(logits, k, also)),
    );
    tops
}

/// What one row of logits says of a token.
pub(crate) fn score_of(logits: &[f32], token: u32) -> TokenScore {
    let top = top_of(logits, 1, &[token]);
    let (winner, logit) = (top.entries[0].0, top.entries[1].1);
    let rank = logits.iter().filter(|&&other| other > logit).count() as u32;
    TokenScore { logprob: logit - top.logsumexp, rank, top: winner }
}

/// Calls `take` with each row's logits, a few rows of which exist at a time.
pub(crate) fn each_row<B: Backend>(
    hidden: FloatTensor<B>,
    logits: impl Fn(FloatTensor<B>) -> FloatTensor<B>,
    mut take: impl FnMut(usize, &[f32]),
) {
    let [n, c] = hidden.shape().dims();
    for first in (0..n).step_by(LOGIT_ROWS) {
        let len = LOGIT_ROWS.min(n - first);
        let rows = B::float_slice(hidden.clone(), &[Slice::from(first..first + len), all(c)]);
        let values = floats::<B>(logits(rows));
        for (i, row) in values.chunks_exact(values.len() / len).enumerate() {
            take(first + i, row);
        }
    }
}

/// A whole dimension.
fn all(len: usize) -> Slice {
    Slice::from(0..len)
}

fn decode<B: Backend>(
    bytes: &[u8],
    matrix: StoredMatrix,
    first: usize,
    rows: usize,
    device: &B::Device,
) -> FloatTensor<B> {
    let mut out = vec![0.0_f32; rows * matrix.cols];
    dequantize_rows(matrix.of(bytes), first, &mut out);
    B::float_from_data(TensorData::new(out, [rows, matrix.cols]), device)
}

fn raw<B: Backend>(w: IntTensor<B>) -> TensorBytes {
    let data = try_read_sync(B::int_into_data(w))
        .expect("this platform reads tensors synchronously")
        .expect("a resident tensor can be read");
    debug_assert_eq!(data.dtype(), DType::U8);
    TensorBytes(data)
}

/// A tensor's bytes on the host.
struct TensorBytes(TensorData);

impl std::ops::Deref for TensorBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn floats<B: Backend>(x: FloatTensor<B>) -> Vec<f32> {
    try_read_sync(B::float_into_data(x))
        .expect("this platform reads tensors synchronously")
        .expect("a resident tensor can be read")
        .convert::<f32>()
        .try_into_vec()
        .expect("the data was converted to f32")
}
