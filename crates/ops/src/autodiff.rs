//! The operations in a graph of gradients: what each keeps, and where its gradient goes.

use burn::backend::{
    Autodiff,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::{FloatTensor, IntTensor},
};
use fidelio_kernels::{Activation, Arithmetic, Asked, Scoring, TokenScore, Top};

use crate::{LlmBackend, Sees, StoredMatrix};

impl<B: LlmBackend, C: CheckpointStrategy> LlmBackend for Autodiff<B, C> {
    fn linear_stored(
        x: FloatTensor<Self>,
        w: IntTensor<Self>,
        matrix: StoredMatrix,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let out = B::linear_stored(x, w.clone(), matrix);
        match LinearStored.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((w, matrix), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn linear_stored_backward(
        g: FloatTensor<Self>,
        w: IntTensor<Self>,
        matrix: StoredMatrix,
    ) -> FloatTensor<Self> {
        constant::<B>(B::linear_stored_backward(g.into_primitive(), w, matrix))
    }

    fn linear_floats(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let ((x, node_x), (w, node_w)) = (x.into_parts(), w.into_parts());
        let out = B::linear_floats(x.clone(), w.clone(), arithmetic);
        match Linear.prepare::<C>([node_x, node_w]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, w, arithmetic), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn linear_floats_backward(
        g: FloatTensor<Self>,
        w: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        constant::<B>(B::linear_floats_backward(g.into_primitive(), w.into_primitive(), arithmetic))
    }

    fn linear_floats_gradient(
        g: FloatTensor<Self>,
        x: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        constant::<B>(B::linear_floats_gradient(g.into_primitive(), x.into_primitive(), arithmetic))
    }

    fn low_rank(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self> {
        let ((x, node_x), (a, node_a), (b, node_b)) =
            (x.into_parts(), a.into_parts(), b.into_parts());
        let out = B::low_rank(x.clone(), a.clone(), b.clone(), scale);
        match LowRank.prepare::<C>([node_x, node_a, node_b]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, a, b, scale), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn embed_stored(w: IntTensor<Self>, ids: Vec<u32>, matrix: StoredMatrix) -> FloatTensor<Self> {
        constant::<B>(B::embed_stored(w, ids, matrix))
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let ((x, node_x), (weight, node_weight)) = (x.into_parts(), weight.into_parts());
        let out = B::rms_norm(x.clone(), weight.clone(), eps);
        match RmsNorm.prepare::<C>([node_x, node_weight]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, eps), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        g: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, g] = [x, weight, g].map(FloatTensor::<Self>::into_primitive);
        let (g_x, g_weight) = B::rms_norm_backward(x, weight, g, eps);
        (constant::<B>(g_x), constant::<B>(g_weight))
    }

    fn centered_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let ((x, node_x), (weight, node_weight), (bias, node_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let out = B::centered_norm(x.clone(), weight.clone(), bias, eps);
        match LayerNorm.prepare::<C>([node_x, node_weight, node_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, eps), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn centered_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        g: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, g] = [x, weight, g].map(FloatTensor::<Self>::into_primitive);
        let (g_x, g_weight, g_bias) = B::centered_norm_backward(x, weight, g, eps);
        (constant::<B>(g_x), constant::<B>(g_weight), constant::<B>(g_bias))
    }

    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let out = B::activate(x.clone(), activation);
        match Activate.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, activation), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn activate_backward(
        x: FloatTensor<Self>,
        g: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        constant::<B>(B::activate_backward(x.into_primitive(), g.into_primitive(), activation))
    }

    /// `cos` and `sin` are constant.
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        let out = B::rotary(x, cos.clone(), sin.clone());
        match Rotary.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((cos, sin), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn gated(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let ((gate, node_gate), (up, node_up)) = (gate.into_parts(), up.into_parts());
        let out = B::gated(gate.clone(), up.clone(), activation);
        match Gated.prepare::<C>([node_gate, node_up]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((gate, up, activation), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn gated_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        g: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [gate, up, g] = [gate, up, g].map(FloatTensor::<Self>::into_primitive);
        let (g_gate, g_up) = B::gated_backward(gate, up, g, activation);
        (constant::<B>(g_gate), constant::<B>(g_up))
    }

    /// The cache is constant.
    fn forest_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        past_k: FloatTensor<Self>,
        past_v: FloatTensor<Self>,
        sees: Sees,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let ((q, node_q), (k, node_k), (v, node_v)) =
            (q.into_parts(), k.into_parts(), v.into_parts());
        let past = [past_k, past_v].map(FloatTensor::<Self>::into_primitive);
        let [past_k, past_v] = past.clone();
        let new = [q.clone(), k.clone(), v.clone()];
        let out = B::forest_attention(q, k, v, past_k, past_v, sees.clone(), scoring);
        match ForestAttention.prepare::<C>([node_q, node_k, node_v]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let attended = Attended { new, past, out: out.clone(), sees, scoring };
                prep.finish(attended, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
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
        let [q, k, v, past_k, past_v, out, g] =
            [q, k, v, past_k, past_v, out, g].map(FloatTensor::<Self>::into_primitive);
        let (g_q, g_k, g_v) =
            B::forest_attention_backward(q, k, v, past_k, past_v, out, g, sees, scoring);
        (constant::<B>(g_q), constant::<B>(g_k), constant::<B>(g_v))
    }

    /// Caches are written without gradients.
    fn store(
        pool: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        slots: Vec<u32>,
    ) -> FloatTensor<Self> {
        constant::<B>(B::store(pool.into_primitive(), rows.into_primitive(), slots))
    }

    fn token_scores_stored(
        hidden: FloatTensor<Self>,
        head: IntTensor<Self>,
        matrix: StoredMatrix,
        asked: Vec<Asked>,
    ) -> Vec<TokenScore> {
        B::token_scores_stored(hidden.into_primitive(), head, matrix, asked)
    }

    fn top_logits_stored(
        hidden: FloatTensor<Self>,
        head: IntTensor<Self>,
        matrix: StoredMatrix,
        k: usize,
        also: Vec<u32>,
    ) -> Vec<Top> {
        B::top_logits_stored(hidden.into_primitive(), head, matrix, k, also)
    }
}

/// A result that no gradient goes through.
fn constant<B: LlmBackend>(x: FloatTensor<B>) -> FloatTensor<Autodiff<B>> {
    FloatTensor::<Autodiff<B>>::new(x)
}

#[derive(Debug)]
struct LinearStored;

impl<B: LlmBackend> Backward<B, 1> for LinearStored {
    type State = (IntTensor<B>, StoredMatrix);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (w, matrix) = ops.state;
        if let [Some(x)] = ops.parents {
            grads.register::<B>(x.id, B::linear_stored_backward(g, w, matrix));
        }
    }
}

#[derive(Debug)]
struct Linear;

impl<B: LlmBackend> Backward<B, 2> for Linear {
    type State = (FloatTensor<B>, FloatTensor<B>, Arithmetic);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (x, w, arithmetic) = ops.state;
        let [node_x, node_w] = ops.parents;
        if let Some(node) = node_w {
            grads.register::<B>(node.id, B::linear_floats_gradient(g.clone(), x, arithmetic));
        }
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::linear_floats_backward(g, w, arithmetic));
        }
    }
}

#[derive(Debug)]
struct LowRank;

impl<B: LlmBackend> Backward<B, 3> for LowRank {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = B::float_mul_scalar(grads.consume::<B>(&ops.node), ops.state.3.into());
        let (x, a, b, _) = ops.state;
        let [node_x, node_a, node_b] = ops.parents;
        let turn = |x| B::float_swap_dims(x, 0, 1);
        if let Some(node) = node_b {
            let inner = B::float_matmul(x.clone(), turn(a.clone())); // [n, r]
            grads.register::<B>(node.id, B::float_matmul(turn(g.clone()), inner));
        }
        if node_x.is_none() && node_a.is_none() {
            return;
        }
        let inner = B::float_matmul(g, b); // the gradient of x · aᵀ: [n, r]
        if let Some(node) = node_a {
            grads.register::<B>(node.id, B::float_matmul(turn(inner.clone()), x));
        }
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::float_matmul(inner, a));
        }
    }
}

#[derive(Debug)]
struct RmsNorm;

impl<B: LlmBackend> Backward<B, 2> for RmsNorm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (x, weight, eps) = ops.state;
        let (g_x, g_weight) = B::rms_norm_backward(x, weight, g, eps);
        for (parent, g) in ops.parents.into_iter().zip([g_x, g_weight]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, g);
            }
        }
    }
}

#[derive(Debug)]
struct LayerNorm;

impl<B: LlmBackend> Backward<B, 3> for LayerNorm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (x, weight, eps) = ops.state;
        let (g_x, g_weight, g_bias) = B::centered_norm_backward(x, weight, g, eps);
        for (parent, g) in ops.parents.into_iter().zip([g_x, g_weight, g_bias]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, g);
            }
        }
    }
}

#[derive(Debug)]
struct Activate;

impl<B: LlmBackend> Backward<B, 1> for Activate {
    type State = (FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (x, activation) = ops.state;
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::activate_backward(x, g, activation));
        }
    }
}

#[derive(Debug)]
struct Rotary;

impl<B: LlmBackend> Backward<B, 1> for Rotary {
    type State = (FloatTensor<B>, FloatTensor<B>);

    /// A rotation's gradient is the rotation back.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (cos, sin) = ops.state;
        if let [Some(x)] = ops.parents {
            grads.register::<B>(x.id, B::rotary(g, cos, B::float_neg(sin)));
        }
    }
}

#[derive(Debug)]
struct Gated;

impl<B: LlmBackend> Backward<B, 2> for Gated {
    type State = (FloatTensor<B>, FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (gate, up, activation) = ops.state;
        let (g_gate, g_up) = B::gated_backward(gate, up, g, activation);
        for (parent, g) in ops.parents.into_iter().zip([g_gate, g_up]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, g);
            }
        }
    }
}

#[derive(Debug)]
struct ForestAttention;

/// What attention keeps: its operands and its result, and no score.
#[derive(Debug, Clone)]
struct Attended<T> {
    new: [T; 3],
    past: [T; 2],
    out: T,
    sees: Sees,
    scoring: Scoring,
}

impl<B: LlmBackend> Backward<B, 3> for ForestAttention {
    type State = Attended<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let Attended { new: [q, k, v], past: [past_k, past_v], out, sees, scoring } = ops.state;
        let (g_q, g_k, g_v) =
            B::forest_attention_backward(q, k, v, past_k, past_v, out, g, sees, scoring);
        for (parent, g) in ops.parents.into_iter().zip([g_q, g_k, g_v]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, g);
            }
        }
    }
}
