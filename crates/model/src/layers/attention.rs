//! Grouped attention with rotary positions (arxiv.org/abs/2305.13245).

use burn::tensor::Tensor;

use super::{Linear, Rotary};
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionConfig {
    pub(crate) hidden_size: usize,
    pub(crate) query_heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) bias: bool,
}

/// Queries, keys and values of `h` heads; several query heads share a key head.
pub(crate) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    config: AttentionConfig,
}

impl Attention {
    pub(crate) fn load(at: &str, config: &AttentionConfig, loader: &mut Loader<'_>) -> Self {
        let config = *config;
        let (hidden, d) = (config.hidden_size, config.head_dim);
        let mut load =
            |name: &str, sizes| Linear::load(&format!("{at}.{name}"), sizes, config.bias, loader);
        Self {
            q_proj: load("q_proj", [hidden, config.query_heads * d]),
            k_proj: load("k_proj", [hidden, config.key_value_heads * d]),
            v_proj: load("v_proj", [hidden, config.key_value_heads * d]),
            o_proj: load("o_proj", [config.query_heads * d, hidden]),
            config,
        }
    }

    /// `[t, hidden]` to the same; each token sees what `pass` lets it see.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        rotary: &Rotary,
        pass: &mut Pass<'_>,
        layer: usize,
    ) -> Tensor<2> {
        let AttentionConfig { query_heads, key_value_heads, head_dim: d, .. } = self.config;
        let t = x.dims()[0];
        // [t, h·d] -> [t, h, d]
        let q = self.q_proj.forward(x.clone(), pass).reshape([t, query_heads, d]);
        let k = self.k_proj.forward(x.clone(), pass).reshape([t, key_value_heads, d]);
        let v = self.v_proj.forward(x, pass).reshape([t, key_value_heads, d]);
        let turn = pass.turn(rotary);
        let (q, k) = (turn.apply(q), turn.apply(k));
        let scale = 1.0 / (d as f32).sqrt();
        let out = pass.attend(layer, q, k, v, scale); // [t, h, d]
        self.o_proj.forward(out.reshape([t, query_heads * d]), pass)
    }

    /// Keeps queries, keys, values and its result; no score.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let AttentionConfig { hidden_size, query_heads, key_value_heads, head_dim, .. } =
            self.config;
        let (queries, keys) = (query_heads * head_dim, key_value_heads * head_dim);
        let asked = [&self.q_proj, &self.k_proj, &self.v_proj].map(|it| it.kept(tracked, learns));
        let tracked = asked.iter().any(|it| it.tracked);
        let out = self.o_proj.kept(tracked, learns);
        let floats = asked.iter().map(|it| it.floats).sum::<usize>()
            + out.floats
            + if asked.iter().any(|it| it.operand) { hidden_size } else { 0 }
            + if tracked { 2 * queries + 2 * keys } else { 0 }
            + if out.operand && !tracked { queries } else { 0 };
        Kept { floats, tracked: out.tracked }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        for layer in [&mut self.q_proj, &mut self.k_proj, &mut self.v_proj, &mut self.o_proj] {
            layer.parameters(each);
        }
    }
}
