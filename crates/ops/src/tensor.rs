//! The operations as a model calls them: on Burn's `Tensor`.

use burn::{backend::Dispatch, tensor::Tensor};
use fidelio_kernels::{Activation, Scoring};

use crate::{LlmBackend, Sees};

/// Root-mean-square norm of each row, times `weight`: `[n, c]`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        eps,
    ))
}

/// Each row brought to mean 0 and variance 1, times `weight`, plus `bias`: `[n, c]`.
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::centered_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        eps,
    ))
}

/// What an adapter adds to a linear layer: `scale · (x · aᵀ) · bᵀ`, with `x` `[n, in]`, `a`
/// `[r, in]` and `b` `[out, r]`.
pub fn low_rank(x: Tensor<2>, a: Tensor<2>, b: Tensor<2>, scale: f32) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::low_rank(
        x.into_dispatch(),
        a.into_dispatch(),
        b.into_dispatch(),
        scale,
    ))
}

/// Rotates heads by position: `x` `[t, h, d]`, `cos` and `sin` `[t, r/2]`.
pub fn rotary(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::rotary(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
    ))
}

/// `activation(gate) · up`: `[n, c]`.
pub fn gated(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::gated(
        gate.into_dispatch(),
        up.into_dispatch(),
        activation,
    ))
}

/// `activation(x)`: `[n, c]`.
pub fn activate(x: Tensor<2>, activation: Activation) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::activate(x.into_dispatch(), activation))
}

/// Attention of `q` `[t, hq, d]` over the batch's `[k, v]` `[t, hk, d]` and the cache's
/// `[k, v]` `[slots, hk, d]`, as `sees` and `scoring` say.
pub fn attention(
    q: Tensor<3>,
    [k, v]: [Tensor<3>; 2],
    [past_k, past_v]: [Tensor<3>; 2],
    sees: Sees,
    scoring: Scoring,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::forest_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        past_k.into_dispatch(),
        past_v.into_dispatch(),
        sees,
        scoring,
    ))
}

/// Writes `rows` `[n, hk, d]` at `slots` of the cache `pool` `[slots, hk, d]`, in place where
/// the pool has one owner.
pub fn store(pool: Tensor<3>, rows: Tensor<3>, slots: Vec<u32>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as LlmBackend>::store(
        pool.into_dispatch(),
        rows.into_dispatch(),
        slots,
    ))
}
