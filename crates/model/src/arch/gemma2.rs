//! Gemma 2: norms around each part, soft caps on scores and logits, windows in every other layer.
//! Paper: arxiv.org/abs/2408.00118. Golden logits: tests/golden/gemma2.

use fidelio_backend::{BackendError, OpenSpec};
use fidelio_ops::Scoring;

use super::{
    config::{self, DecoderConfig, activation},
    stack::Stack,
};
use crate::{
    layers::{Added, Attention, Block, GatedMlp, Norm, NormConfig, NormKind, refuse},
    loader::Loader,
};

/// The keys beside the shared ones.
#[derive(Debug, Clone, serde::Deserialize)]
struct Gemma2Config {
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "usual_head")]
    query_pre_attn_scalar: f32,
    #[serde(default = "usual_window")]
    sliding_window: Option<u32>,
    #[serde(default = "score_cap")]
    attn_logit_softcapping: Option<f32>,
    #[serde(default = "logit_cap")]
    final_logit_softcapping: Option<f32>,
    use_bidirectional_attention: Option<bool>,
    /// What older files repeat the window in.
    #[serde(rename = "sliding_window_size")]
    _sliding_window_size: Option<u32>,
}

// What transformers takes where a file is silent.
pub(super) fn gelu() -> String {
    "gelu_pytorch_tanh".into()
}

pub(super) fn usual_head() -> f32 {
    256.0
}

#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
pub(super) fn usual_window() -> Option<u32> {
    Some(4096)
}

#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
fn score_cap() -> Option<f32> {
    Some(50.0)
}

#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
fn logit_cap() -> Option<f32> {
    Some(30.0)
}

/// What all versions of the family have in common.
pub(super) struct Family {
    pub(super) config: DecoderConfig,
    pub(super) norm: NormConfig,
    pub(super) scoring: Scoring,
}

impl Family {
    /// # Errors
    /// Where attention sees both ways, or a number is not above 0.
    pub(super) fn new(
        mut config: DecoderConfig,
        query_pre_attn_scalar: f32,
        softcap: Option<f32>,
        both_ways: Option<bool>,
    ) -> Result<Self, BackendError> {
        if both_ways == Some(true) {
            return refuse("use_bidirectional_attention", "is true, which is not built".into());
        }
        positive("query_pre_attn_scalar", Some(query_pre_attn_scalar))?;
        positive("attn_logit_softcapping", softcap)?;
        config.tie_word_embeddings.get_or_insert(true);
        config.head_dim.get_or_insert(usual_head() as usize);
        let norm = NormConfig { kind: NormKind::AroundOne, ..config.norm() };
        let scoring = Scoring { scale: query_pre_attn_scalar.powf(-0.5), softcap };
        Ok(Self { config, norm, scoring })
    }

    /// Loads all layers, the head's logits capped; embeddings are as long as they are wide.
    pub(super) fn load(
        &self,
        context: usize,
        softcap: Option<f32>,
        loader: &mut Loader<'_>,
        block: impl FnMut(usize, &str, &mut Loader<'_>) -> Block,
    ) -> Result<Stack, BackendError> {
        positive("final_logit_softcapping", softcap)?;
        let mut stack = Stack::load(&self.config, context, self.norm, loader, block);
        stack.embedding_scale = Some((self.config.hidden_size as f32).sqrt());
        stack.softcap = softcap;
        Ok(stack)
    }

    /// Attention and a feed-forward layer between four norms.
    pub(super) fn block(
        &self,
        at: &str,
        attention: Attention,
        mlp: GatedMlp,
        loader: &mut Loader<'_>,
    ) -> Block {
        let size = self.config.hidden_size;
        let mut norm =
            |name: &str| Some(Norm::load(&format!("{at}.{name}"), size, self.norm, loader));
        let [before, after] = ["input_layernorm", "post_attention_layernorm"].map(&mut norm);
        let attention = Added { before, part: attention, after };
        let around = ["pre_feedforward_layernorm", "post_feedforward_layernorm"];
        let [before, after] = around.map(&mut norm);
        Block { attention, mlp: Added { before, part: Box::new(mlp), after }, parallel: false }
    }
}

fn positive(key: &str, value: Option<f32>) -> Result<(), BackendError> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => refuse(key, format!("is {value}")),
        _ => Ok(()),
    }
}

/// Loads the model that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<Stack, BackendError> {
    let (config, own): (_, Gemma2Config) = config::read(spec)?;
    let scores = own.attn_logit_softcapping;
    let both_ways = own.use_bidirectional_attention;
    let family = Family::new(config, own.query_pre_attn_scalar, scores, both_ways)?;
    let config = &family.config;
    let windows = config.windows(own.sliding_window, |layer| layer.is_multiple_of(2))?;
    let (context, rotary) = config.rotary(spec)?;
    let activation = activation("hidden_activation", &own.hidden_activation)?;
    family.load(context, own.final_logit_softcapping, loader, |layer, at, loader| {
        let attention = Attention::load(at, &config.attention(), loader)
            .turned(rotary.clone())
            .within(windows[layer])
            .scored(family.scoring);
        let mlp = GatedMlp::load(at, config.mlp_sizes(), false, activation, loader);
        family.block(at, attention, mlp, loader)
    })
}
