//! The extension trait. Shapes: `n`, `t` tokens, `hq`, `hk` query and key heads, `d` head size.
#![cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "upstream is retiring ndarray; users still ask for it")
)]

use std::sync::Arc;

use burn::backend::{
    Backend, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use fidelio_kernels::{
    Activation, Arithmetic, Asked, Format, Layout, Matrix, Run, Scoring, Span, TokenScore, Top,
};

use crate::plain;

/// What the bytes of a stored matrix mean: `rows` outputs of `cols` inputs each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMatrix {
    /// How each row's elements are written.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs; whole blocks of the format.
    pub cols: usize,
    /// In which order the bytes lie.
    pub layout: Layout,
    /// What numbers its products are made of, where the device has kernels for it.
    pub arithmetic: Arithmetic,
}

impl StoredMatrix {
    /// The matrix whose bytes these are.
    pub(crate) fn of(self, bytes: &[u8]) -> Matrix<'_> {
        let Self { format, rows, cols, layout, .. } = self;
        Matrix { format, bytes, rows, cols, layout }
    }
}

/// What the tokens of a batch attend to: per run of queries, earlier spans and then itself.
#[derive(Debug, Clone)]
pub struct Sees {
    /// The runs, in the order of the batch's tokens.
    pub runs: Arc<[Run]>,
    /// The spans that runs point into, each run's in path order.
    pub spans: Arc<[Span]>,
    /// A query sees at most so many keys, itself included.
    pub window: Option<u32>,
}

/// Burn's backend, with what language models need besides.
///
/// A stored matrix travels as its raw bytes (`u8`, `[bytes]`), so that a quantised weight takes
/// the memory of its file and no more. Each operation that a gradient goes through has a
/// `_backward` beside it, which takes the operands and the gradient of the result; `Autodiff` calls
/// it, so that what a backward pass keeps and computes is decided here.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Autodiff
)]
pub trait LlmBackend: Backend {
    /// `x · wᵀ`: `[n, cols]` to `[n, rows]`.
    fn linear_stored(
        x: FloatTensor<Self>,
        w: IntTensor<Self>,
        matrix: StoredMatrix,
    ) -> FloatTensor<Self> {
        plain::linear_stored::<Self>(x, w, matrix)
    }

    /// The gradient of [`Self::linear_stored`] for `x`, given that of its result: `g · w`. The
    /// stored matrix is constant.
    fn linear_stored_backward(
        g: FloatTensor<Self>,
        w: IntTensor<Self>,
        matrix: StoredMatrix,
    ) -> FloatTensor<Self> {
        plain::linear_stored_backward::<Self>(g, w, matrix)
    }

    /// `x · wᵀ` with a weight of floats `[rows, cols]`: `[n, cols]` to `[n, rows]`.
    fn linear_floats(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let _ = arithmetic; // a choice among kernels, and here are none
        plain::linear_floats::<Self>(x, w)
    }

    /// The gradient of [`Self::linear_floats`] for `x`, given that of its result: `g · w`.
    fn linear_floats_backward(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let _ = arithmetic;
        plain::linear_floats_backward::<Self>(g, w)
    }

    /// The gradient of [`Self::linear_floats`] for `w`, given that of its result: `gᵀ · x`.
    fn linear_floats_gradient(
        g: FloatTensor<Self>,
        x: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let _ = arithmetic;
        plain::linear_floats_gradient::<Self>(g, x)
    }

    /// What an adapter adds to a linear layer (arXiv 2106.09685): `scale · (x · aᵀ) · bᵀ`, with `x`
    /// `[n, in]`, `a` `[r, in]`, `b` `[out, r]`. The product of `b` and `a` is never made.
    fn low_rank(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self> {
        plain::low_rank::<Self>(x, a, b, scale)
    }

    /// Rows of a stored table: `[ids, cols]`.
    fn embed_stored(w: IntTensor<Self>, ids: Vec<u32>, matrix: StoredMatrix) -> FloatTensor<Self> {
        plain::embed_stored::<Self>(w, &ids, matrix)
    }

    /// Each row divided by its root mean square, times `weight` (arXiv 1910.07467): `[n, c]`.
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        plain::rms_norm::<Self>(x, weight, eps)
    }

    /// The gradients of [`Self::rms_norm`] for `x` and `weight`.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        g: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::rms_norm_backward::<Self>(x, weight, g, eps)
    }

    /// Layer norm (arXiv 1607.06450), whose name Burn's own operation has: each row brought to mean 0
    /// and variance 1, times `weight`, plus `bias`: `[n, c]`.
    fn centered_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        plain::layer_norm::<Self>(x, weight, bias, eps)
    }

    /// The gradients of [`Self::centered_norm`] for `x`, `weight` and `bias`.
    fn centered_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        g: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::layer_norm_backward::<Self>(x, weight, g, eps)
    }

    /// Rotary position embedding (arXiv 2104.09864) in the rotate-half layout:
    /// `x` `[t, h, d]`, `cos` and `sin` `[t, r/2]`; channels from `r` on stay as they are.
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        plain::rotary::<Self>(x, cos, sin)
    }

    /// `activation(gate) · up`, element by element (arXiv 2002.05202).
    fn gated(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        plain::gated::<Self>(gate, up, activation)
    }

    /// The gradients of [`Self::gated`] for `gate` and `up`.
    fn gated_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        g: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::gated_backward::<Self>(gate, up, g, activation)
    }

    /// `activation(x)`, element by element.
    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        plain::activate::<Self>(x, activation)
    }

    /// The gradient of [`Self::activate`].
    fn activate_backward(
        x: FloatTensor<Self>,
        g: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        plain::activate_backward::<Self>(x, g, activation)
    }

    /// Grouped attention over a forest and a cache.
    /// `q` `[t, hq, d]`, `k` and `v` `[t, hk, d]`, `past_k` and `past_v` `[slots, hk, d]`; gives
    /// `[t, hq, d]`. The softmax is taken over what `scoring` makes of `q·k`, where `sees` lets through.
    fn forest_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        past_k: FloatTensor<Self>,
        past_v: FloatTensor<Self>,
        sees: Sees,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        plain::attention::<Self>(q, k, v, past_k, past_v, &sees, scoring)
    }

    /// The gradients of [`Self::forest_attention`] for `q`, `k` and `v`, given its result `out` and
    /// that result's gradient `g`. Scores are computed anew; the cache is constant.
    #[allow(clippy::too_many_arguments, reason = "the operands, the result and its gradient")]
    fn forest_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        past_k: FloatTensor<Self>,
        past_v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        g: FloatTensor<Self>,
        sees: Sees,
        scoring: Scoring,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::attention_backward::<Self>(q, [k, v], [past_k, past_v], out, g, &sees, scoring)
    }

    /// Writes `rows` `[n, hk, d]` into the cache `pool` `[slots, hk, d]` at `slots`.
    /// In place where the pool has one owner.
    fn store(
        pool: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        slots: Vec<u32>,
    ) -> FloatTensor<Self> {
        plain::store::<Self>(pool, rows, &slots)
    }

    /// Log-probability, rank and winner at asked rows of `hidden` `[n, cols]`, without a full
    /// logits tensor.
    fn token_scores_stored(
        hidden: FloatTensor<Self>,
        head: IntTensor<Self>,
        matrix: StoredMatrix,
        asked: Vec<Asked>,
    ) -> Vec<TokenScore> {
        plain::token_scores_stored::<Self>(hidden, head, matrix, &asked)
    }

    /// The `k` largest logits, those of `also`, and the log-sum-exp of each row of `hidden`.
    fn top_logits_stored(
        hidden: FloatTensor<Self>,
        head: IntTensor<Self>,
        matrix: StoredMatrix,
        k: usize,
        also: Vec<u32>,
    ) -> Vec<Top> {
        plain::top_logits_stored::<Self>(hidden, head, matrix, k, &also)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LlmBackend for burn::backend::Cube {}
