//! Grouped attention (arxiv.org/abs/2305.13245).

use std::sync::Arc;

use burn::tensor::Tensor;
use fidelio_ops::Scoring;

use super::{Branches, Linear, Norm, NormConfig, Rotary};
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// Sizes of an attention layer, and which of its linear layers have biases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionConfig {
    pub(crate) hidden_size: usize,
    pub(crate) query_heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
    /// Of queries, keys and values.
    pub(crate) bias: bool,
    /// Of the output.
    pub(crate) output_bias: bool,
}

/// Queries, keys and values of `h` heads; several query heads share a key head.
pub(crate) struct Attention {
    /// `q_proj`, `k_proj` and `v_proj`, or all in one.
    qkv: Branches<3>,
    o_proj: Linear,
    /// `q_norm` and `k_norm`, over a head or over all heads together.
    norms: Option<[Norm; 2]>,
    config: AttentionConfig,
    /// None: positions play no part.
    rotary: Option<Arc<Rotary>>,
    window: Option<u32>,
    scoring: Scoring,
}

impl AttentionConfig {
    fn queries(&self) -> usize {
        self.query_heads * self.head_dim
    }

    fn keys(&self) -> usize {
        self.key_value_heads * self.head_dim
    }
}

impl Attention {
    /// `{at}.self_attn` without positions, norms and window, and with the usual scale; see below.
    pub(crate) fn load(at: &str, config: &AttentionConfig, loader: &mut Loader<'_>) -> Self {
        let (queries, keys) = (config.queries(), config.keys());
        let names = ["q_proj", "k_proj", "v_proj"];
        let (hidden, outputs) = (config.hidden_size, [queries, keys, keys]);
        let at = format!("{at}.self_attn");
        let qkv = Branches::apart(&at, names, hidden, outputs, config.bias, loader);
        Self::over(qkv, &at, config, loader)
    }

    /// With queries, keys and values in one layer, in this order; without biases there.
    pub(crate) fn load_fused(at: &str, config: &AttentionConfig, loader: &mut Loader<'_>) -> Self {
        let (queries, keys) = (config.queries(), config.keys());
        let (at, hidden) = (format!("{at}.self_attn"), config.hidden_size);
        let fused = format!("{at}.qkv_proj");
        let qkv = Branches::fused(&fused, hidden, [queries, keys, keys], loader);
        Self::over(qkv, &at, config, loader)
    }

    fn over(qkv: Branches<3>, at: &str, config: &AttentionConfig, loader: &mut Loader<'_>) -> Self {
        let sizes = [config.queries(), config.hidden_size];
        let o_proj = Linear::load(&format!("{at}.o_proj"), sizes, config.output_bias, loader);
        Self::of(qkv, o_proj, config)
    }

    /// Of layers that are there.
    pub(crate) fn of(qkv: Branches<3>, o_proj: Linear, config: &AttentionConfig) -> Self {
        let scoring = Scoring::scaled(1.0 / (config.head_dim as f32).sqrt());
        Self { qkv, o_proj, norms: None, config: *config, rotary: None, window: None, scoring }
    }

    /// Turning queries and keys by their positions.
    pub(crate) fn turned(self, rotary: Arc<Rotary>) -> Self {
        Self { rotary: Some(rotary), ..self }
    }

    /// Seeing at most so many tokens back, the token itself included.
    pub(crate) fn within(self, window: Option<u32>) -> Self {
        Self { window, ..self }
    }

    /// With norms of queries and keys before they are turned, `{at}.self_attn.q_norm` and `k_norm`
    /// of these sizes: those of a head or of all heads.
    pub(crate) fn normed(
        self,
        at: &str,
        sizes: [usize; 2],
        config: NormConfig,
        loader: &mut Loader<'_>,
    ) -> Self {
        let [q, k] = sizes;
        let mut norm =
            |name, size| Norm::load(&format!("{at}.self_attn.{name}"), size, config, loader);
        Self { norms: Some([norm("q_norm", q), norm("k_norm", k)]), ..self }
    }

    /// With scores made in another way.
    pub(crate) fn scored(self, scoring: Scoring) -> Self {
        Self { scoring, ..self }
    }

    /// `[t, hidden]` to the same; each token sees what `pass` lets it see.
    pub(crate) fn forward(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let AttentionConfig { query_heads, key_value_heads, head_dim: d, .. } = self.config;
        let t = x.dims()[0];
        let [q, k, v] = self.qkv.forward(x, pass); // [t, h·d]
        let [q, k] = match &self.norms {
            Some([q_norm, k_norm]) => [q_norm.forward_parts(q), k_norm.forward_parts(k)],
            None => [q, k],
        };
        // [t, h·d] -> [t, h, d]
        let q = q.reshape([t, query_heads, d]);
        let [k, v] = [k, v].map(|x| x.reshape([t, key_value_heads, d]));
        let (q, k) = match &self.rotary {
            Some(rotary) => {
                let turn = pass.turn(rotary);
                (turn.apply(q), turn.apply(k))
            }
            None => (q, k),
        };
        let out = pass.attend(layer, [q, k, v], self.window, self.scoring); // [t, h, d]
        self.o_proj.forward(out.reshape([t, query_heads * d]), pass)
    }

    /// Keeps queries, keys, values and its result; no score.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let (queries, keys) = (self.config.queries(), self.config.keys());
        let asked = self.qkv.kept(tracked, learns);
        let normed = match &self.norms {
            Some([q_norm, k_norm]) => {
                let q = q_norm.kept_of_parts(queries, asked.tracked, learns);
                let k = k_norm.kept_of_parts(keys, asked.tracked, learns);
                Kept { floats: q.floats + k.floats, tracked: q.tracked || k.tracked }
            }
            None => Kept { floats: 0, tracked: asked.tracked },
        };
        let out = self.o_proj.kept(normed.tracked, learns);
        let floats = asked.floats
            + normed.floats
            + out.floats
            + if normed.tracked { 2 * queries + 2 * keys } else { 0 }
            + if out.operand && !normed.tracked { queries } else { 0 };
        Kept { floats, tracked: out.tracked }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        self.qkv.parameters(each);
        self.o_proj.parameters(each);
        for norm in self.norms.iter_mut().flatten() {
            norm.parameters(each);
        }
    }
}
