//! The fast paths of the CPU backends: the same operations over slices.
//!
//! [`Host`] is how a CPU backend shows its storage; [`implement`] makes [`crate::LlmBackend`]
//! of it.

use std::borrow::Cow;

use burn::{
    backend::{
        Backend, TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::TensorData,
};
use fidelio_kernels::{
    self as kernels, Activation, Arithmetic, Asked, Format, Heads, Layout, Matrix, Scoring,
    TokenScore, Top, TopAsked,
};

use crate::{Sees, StoredMatrix, plain::consecutive};

/// A backend whose tensors live in this process's memory.
pub(crate) trait Host: Backend {
    /// The elements in row-major order; copied only where the tensor is a strided view.
    fn floats(x: &FloatTensor<Self>) -> Cow<'_, [f32]>;

    /// The bytes of a `u8` tensor.
    fn raw(x: &IntTensor<Self>) -> Cow<'_, [u8]>;

    /// Writes into the elements; in place where the tensor has one owner.
    fn edit(x: FloatTensor<Self>, edit: impl FnOnce(&mut [f32])) -> FloatTensor<Self>;
}

fn make<B: Host, const D: usize>(
    data: Vec<f32>,
    shape: [usize; D],
    like: B::Device,
) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(data, shape), &like)
}

pub(crate) fn linear_stored<B: Host>(
    x: &FloatTensor<B>,
    w: &IntTensor<B>,
    m: StoredMatrix,
) -> FloatTensor<B> {
    let n = x.shape()[0];
    let mut out = vec![0.0; n * m.rows];
    kernels::linear(&B::floats(x), m.of(&B::raw(w)), None, m.arithmetic, &mut out);
    make::<B, 2>(out, [n, m.rows], x.device())
}

/// Packed weights, or brain floats.
pub(crate) fn linear_stored_backward<B: Host>(
    g: &FloatTensor<B>,
    w: &IntTensor<B>,
    m: StoredMatrix,
) -> FloatTensor<B> {
    let n = g.shape()[0];
    let mut out = vec![0.0; n * m.cols];
    kernels::linear_backward(&B::floats(g), m.of(&B::raw(w)), m.arithmetic, &mut out);
    make::<B, 2>(out, [n, m.cols], g.device())
}

/// A matrix of floats as a stored one.
fn floats_stored(floats: &[f32], rows: usize, cols: usize) -> Matrix<'_> {
    let (format, layout) = (Format::F32, Layout::Rows);
    Matrix { format, bytes: bytemuck::cast_slice(floats), rows, cols, layout }
}

/// `x · wᵀ` in brain floats.
pub(crate) fn linear_floats<B: Host>(x: &FloatTensor<B>, w: &FloatTensor<B>) -> FloatTensor<B> {
    let (n, [rows, cols]) = (x.shape()[0], w.shape().dims());
    let mut out = vec![0.0; n * rows];
    let floats = B::floats(w);
    let w = floats_stored(&floats, rows, cols);
    kernels::linear(&B::floats(x), w, None, Arithmetic::Bf16, &mut out);
    make::<B, 2>(out, [n, rows], x.device())
}

/// `gᵀ · x` in brain floats: the product of [`linear_floats_backward`] with other names for its
/// sides.
pub(crate) fn linear_floats_gradient<B: Host>(
    g: FloatTensor<B>,
    x: &FloatTensor<B>,
) -> FloatTensor<B> {
    linear_floats_backward::<B>(&B::float_swap_dims(g, 0, 1), x)
}

/// `g · w` in brain floats.
pub(crate) fn linear_floats_backward<B: Host>(
    g: &FloatTensor<B>,
    w: &FloatTensor<B>,
) -> FloatTensor<B> {
    let (n, [rows, cols]) = (g.shape()[0], w.shape().dims());
    let mut out = vec![0.0; n * cols];
    let floats = B::floats(w);
    let w = floats_stored(&floats, rows, cols);
    kernels::linear_backward(&B::floats(g), w, Arithmetic::Bf16, &mut out);
    make::<B, 2>(out, [n, cols], g.device())
}

pub(crate) fn embed_stored<B: Host>(
    w: &IntTensor<B>,
    ids: &[u32],
    m: StoredMatrix,
) -> FloatTensor<B> {
    let mut out = vec![0.0; ids.len() * m.cols];
    kernels::embed(ids, m.of(&B::raw(w)), &mut out);
    make::<B, 2>(out, [ids.len(), m.cols], w.device())
}

pub(crate) fn rms_norm<B: Host>(
    x: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    eps: f64,
) -> FloatTensor<B> {
    let [n, c] = x.shape().dims();
    let mut out = vec![0.0; n * c];
    kernels::rms_norm(&B::floats(x), &B::floats(weight), eps as f32, &mut out);
    make::<B, 2>(out, [n, c], x.device())
}

pub(crate) fn rms_norm_backward<B: Host>(
    x: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    g: &FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [n, c] = x.shape().dims();
    let (mut g_x, mut g_weight) = (vec![0.0; n * c], vec![0.0; c]);
    kernels::rms_norm_backward(
        &B::floats(x),
        &B::floats(weight),
        eps as f32,
        &B::floats(g),
        &mut g_x,
        &mut g_weight,
    );
    (make::<B, 2>(g_x, [n, c], x.device()), make::<B, 1>(g_weight, [c], x.device()))
}

pub(crate) fn layer_norm<B: Host>(
    x: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    bias: &FloatTensor<B>,
    eps: f64,
) -> FloatTensor<B> {
    let [n, c] = x.shape().dims();
    let mut out = vec![0.0; n * c];
    let [x_floats, weight, bias] = [x, weight, bias].map(B::floats);
    kernels::layer_norm(&x_floats, &weight, &bias, eps as f32, &mut out);
    make::<B, 2>(out, [n, c], x.device())
}

pub(crate) fn layer_norm_backward<B: Host>(
    x: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    g: &FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [n, c] = x.shape().dims();
    let (mut g_x, mut g_weight, mut g_bias) = (vec![0.0; n * c], vec![0.0; c], vec![0.0; c]);
    kernels::layer_norm_backward(
        &B::floats(x),
        &B::floats(weight),
        eps as f32,
        &B::floats(g),
        &mut g_x,
        [&mut g_weight, &mut g_bias],
    );
    let channels = |data| make::<B, 1>(data, [c], x.device());
    (make::<B, 2>(g_x, [n, c], x.device()), channels(g_weight), channels(g_bias))
}

pub(crate) fn activate<B: Host>(x: &FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    let [n, c] = x.shape().dims();
    let mut out = vec![0.0; n * c];
    kernels::activate(activation, &B::floats(x), &mut out);
    make::<B, 2>(out, [n, c], x.device())
}

pub(crate) fn activate_backward<B: Host>(
    x: &FloatTensor<B>,
    g: &FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    let [n, c] = x.shape().dims();
    let mut g_x = vec![0.0; n * c];
    kernels::activate_backward(activation, &B::floats(x), &B::floats(g), &mut g_x);
    make::<B, 2>(g_x, [n, c], x.device())
}

pub(crate) fn rotary<B: Host>(
    x: FloatTensor<B>,
    cos: &FloatTensor<B>,
    sin: &FloatTensor<B>,
) -> FloatTensor<B> {
    let [_, h, d] = x.shape().dims();
    B::edit(x, |x| kernels::rotary(x, &B::floats(cos), &B::floats(sin), h, d))
}

pub(crate) fn gated<B: Host>(
    gate: &FloatTensor<B>,
    up: &FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    let [n, c] = gate.shape().dims();
    let mut out = vec![0.0; n * c];
    kernels::gated(activation, &B::floats(gate), &B::floats(up), &mut out);
    make::<B, 2>(out, [n, c], gate.device())
}

pub(crate) fn gated_backward<B: Host>(
    gate: &FloatTensor<B>,
    up: &FloatTensor<B>,
    g: &FloatTensor<B>,
    activation: Activation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [n, c] = gate.shape().dims();
    let (mut g_gate, mut g_up) = (vec![0.0; n * c], vec![0.0; n * c]);
    kernels::gated_backward(
        activation,
        &B::floats(gate),
        &B::floats(up),
        &B::floats(g),
        &mut g_gate,
        &mut g_up,
    );
    (make::<B, 2>(g_gate, [n, c], gate.device()), make::<B, 2>(g_up, [n, c], gate.device()))
}

pub(crate) fn attention<B: Host>(
    q: &FloatTensor<B>,
    [k, v]: [&FloatTensor<B>; 2],
    [past_k, past_v]: [&FloatTensor<B>; 2],
    sees: &Sees,
    scoring: Scoring,
) -> FloatTensor<B> {
    let [t, hq, d] = q.shape().dims();
    let heads = Heads { query: hq, key_value: k.shape()[1], dim: d };
    let sees = kernels::Sees { runs: &sees.runs, spans: &sees.spans, window: sees.window };
    let mut out = vec![0.0; t * hq * d];
    kernels::attention(
        &B::floats(q),
        &B::floats(k),
        &B::floats(v),
        &B::floats(past_k),
        &B::floats(past_v),
        sees,
        heads,
        scoring,
        &mut out,
    );
    make::<B, 3>(out, [t, hq, d], q.device())
}

pub(crate) fn attention_backward<B: Host>(
    q: &FloatTensor<B>,
    [k, v]: [&FloatTensor<B>; 2],
    [past_k, past_v]: [&FloatTensor<B>; 2],
    [out, g]: [&FloatTensor<B>; 2],
    sees: &Sees,
    scoring: Scoring,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [t, hq, d] = q.shape().dims();
    let hk = k.shape()[1];
    let heads = Heads { query: hq, key_value: hk, dim: d };
    let sees = kernels::Sees { runs: &sees.runs, spans: &sees.spans, window: sees.window };
    let mut g_q = vec![0.0; t * hq * d];
    let (mut g_k, mut g_v) = (vec![0.0; t * hk * d], vec![0.0; t * hk * d]);
    kernels::attention_backward(
        &B::floats(q),
        &B::floats(k),
        &B::floats(v),
        &B::floats(past_k),
        &B::floats(past_v),
        &B::floats(out),
        &B::floats(g),
        sees,
        heads,
        scoring,
        kernels::AttentionGradients { q: &mut g_q, k: &mut g_k, v: &mut g_v },
    );
    let key_value = |data| make::<B, 3>(data, [t, hk, d], q.device());
    (make::<B, 3>(g_q, [t, hq, d], q.device()), key_value(g_k), key_value(g_v))
}

pub(crate) fn store<B: Host>(
    pool: FloatTensor<B>,
    rows: &FloatTensor<B>,
    slots: &[u32],
) -> FloatTensor<B> {
    let [_, h, d] = rows.shape().dims();
    let rows = B::floats(rows);
    B::edit(pool, |pool| {
        let mut first = 0;
        while first < slots.len() {
            let len = consecutive(&slots[first..]);
            let at = slots[first] as usize * h * d;
            pool[at..at + len * h * d].copy_from_slice(&rows[first * h * d..(first + len) * h * d]);
            first += len;
        }
    })
}

pub(crate) fn token_scores_stored<B: Host>(
    hidden: &FloatTensor<B>,
    head: &IntTensor<B>,
    m: StoredMatrix,
    asked: &[Asked],
) -> Vec<TokenScore> {
    let mut out = Vec::with_capacity(asked.len());
    let head = &B::raw(head);
    kernels::token_scores(&B::floats(hidden), m.of(head), m.arithmetic, asked, &mut out);
    out
}

pub(crate) fn top_logits_stored<B: Host>(
    hidden: &FloatTensor<B>,
    head: &IntTensor<B>,
    m: StoredMatrix,
    k: usize,
    also: &[u32],
) -> Vec<Top> {
    let rows = hidden.shape()[0] as u32;
    let asked: Vec<_> = (0..rows).map(|row| TopAsked { row, k, also }).collect();
    kernels::top_logits(&B::floats(hidden), m.of(&B::raw(head)), m.arithmetic, &asked)
}

/// Makes a [`Host`] an [`crate::LlmBackend`].
macro_rules! implement {
    ($backend:ty) => {
        impl crate::LlmBackend for $backend {
            fn linear_stored(
                x: FloatTensor<Self>,
                w: IntTensor<Self>,
                matrix: StoredMatrix,
            ) -> FloatTensor<Self> {
                host::linear_stored::<Self>(&x, &w, matrix)
            }

            fn linear_stored_backward(
                g: FloatTensor<Self>,
                w: IntTensor<Self>,
                matrix: StoredMatrix,
            ) -> FloatTensor<Self> {
                match (matrix.layout, matrix.arithmetic) {
                    (Layout::Rows, Arithmetic::F32 | Arithmetic::Int8) => {
                        plain::linear_stored_backward::<Self>(g, w, matrix)
                    }
                    _ => host::linear_stored_backward::<Self>(&g, &w, matrix),
                }
            }

            fn linear_floats(
                x: FloatTensor<Self>,
                w: FloatTensor<Self>,
                arithmetic: Arithmetic,
            ) -> FloatTensor<Self> {
                match arithmetic {
                    Arithmetic::Bf16 => host::linear_floats::<Self>(&x, &w),
                    Arithmetic::F32 | Arithmetic::Int8 => plain::linear_floats::<Self>(x, w),
                }
            }

            fn linear_floats_backward(
                g: FloatTensor<Self>,
                w: FloatTensor<Self>,
                arithmetic: Arithmetic,
            ) -> FloatTensor<Self> {
                match arithmetic {
                    Arithmetic::Bf16 => host::linear_floats_backward::<Self>(&g, &w),
                    Arithmetic::F32 | Arithmetic::Int8 => {
                        plain::linear_floats_backward::<Self>(g, w)
                    }
                }
            }

            fn linear_floats_gradient(
                g: FloatTensor<Self>,
                x: FloatTensor<Self>,
                arithmetic: Arithmetic,
            ) -> FloatTensor<Self> {
                match arithmetic {
                    Arithmetic::Bf16 => host::linear_floats_gradient::<Self>(g, &x),
                    Arithmetic::F32 | Arithmetic::Int8 => {
                        plain::linear_floats_gradient::<Self>(g, x)
                    }
                }
            }

            fn embed_stored(
                w: IntTensor<Self>,
                ids: Vec<u32>,
                matrix: StoredMatrix,
            ) -> FloatTensor<Self> {
                host::embed_stored::<Self>(&w, &ids, matrix)
            }

            fn rms_norm(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                eps: f64,
            ) -> FloatTensor<Self> {
                host::rms_norm::<Self>(&x, &weight, eps)
            }

            fn rms_norm_backward(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                g: FloatTensor<Self>,
                eps: f64,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                host::rms_norm_backward::<Self>(&x, &weight, &g, eps)
            }

            fn centered_norm(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                eps: f64,
            ) -> FloatTensor<Self> {
                host::layer_norm::<Self>(&x, &weight, &bias, eps)
            }

            fn centered_norm_backward(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                g: FloatTensor<Self>,
                eps: f64,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                host::layer_norm_backward::<Self>(&x, &weight, &g, eps)
            }

            fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
                host::activate::<Self>(&x, activation)
            }

            fn activate_backward(
                x: FloatTensor<Self>,
                g: FloatTensor<Self>,
                activation: Activation,
            ) -> FloatTensor<Self> {
                host::activate_backward::<Self>(&x, &g, activation)
            }

            fn rotary(
                x: FloatTensor<Self>,
                cos: FloatTensor<Self>,
                sin: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                host::rotary::<Self>(x, &cos, &sin)
            }

            fn gated(
                gate: FloatTensor<Self>,
                up: FloatTensor<Self>,
                activation: Activation,
            ) -> FloatTensor<Self> {
                host::gated::<Self>(&gate, &up, activation)
            }

            fn gated_backward(
                gate: FloatTensor<Self>,
                up: FloatTensor<Self>,
                g: FloatTensor<Self>,
                activation: Activation,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                host::gated_backward::<Self>(&gate, &up, &g, activation)
            }

            fn forest_attention(
                q: FloatTensor<Self>,
                k: FloatTensor<Self>,
                v: FloatTensor<Self>,
                past_k: FloatTensor<Self>,
                past_v: FloatTensor<Self>,
                sees: Sees,
                scoring: Scoring,
            ) -> FloatTensor<Self> {
                host::attention::<Self>(&q, [&k, &v], [&past_k, &past_v], &sees, scoring)
            }

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
                let past = [&past_k, &past_v];
                host::attention_backward::<Self>(&q, [&k, &v], past, [&out, &g], &sees, scoring)
            }

            fn store(
                pool: FloatTensor<Self>,
                rows: FloatTensor<Self>,
                slots: Vec<u32>,
            ) -> FloatTensor<Self> {
                host::store::<Self>(pool, &rows, &slots)
            }

            fn token_scores_stored(
                hidden: FloatTensor<Self>,
                head: IntTensor<Self>,
                matrix: StoredMatrix,
                asked: Vec<Asked>,
            ) -> Vec<TokenScore> {
                host::token_scores_stored::<Self>(&hidden, &head, matrix, &asked)
            }

            fn top_logits_stored(
                hidden: FloatTensor<Self>,
                head: IntTensor<Self>,
                matrix: StoredMatrix,
                k: usize,
                also: Vec<u32>,
            ) -> Vec<Top> {
                host::top_logits_stored::<Self>(&hidden, &head, matrix, k, &also)
            }
        }
    };
}
pub(crate) use implement;
