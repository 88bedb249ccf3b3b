//! Which architectures exist: one file each, one line each here.

mod config;
mod post_norm;
mod stack;

mod bert;
mod distilbert;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod modernbert;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use burn::tensor::Tensor;
use fidelio_backend::{BackendError, OpenSpec};
use serde::de::DeserializeOwned;

use crate::{
    footprint::{Kept, Learns},
    layers::Head,
    loader::Loader,
    parameter::Slot,
    pass::Pass,
    texts::Texts,
};

/// `model_type` of every architecture that runs.
#[rustfmt::skip]
pub const MODEL_TYPES: &[&str] = &[
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "llama",
    "mistral",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
];

/// `model_type` of every architecture that only makes vectors of texts.
pub const ENCODER_TYPES: &[&str] = &["bert", "distilbert", "modernbert", "roberta", "xlm-roberta"];

/// An encoder: states of tokens that see their whole text.
pub(crate) trait Encoder: Send {
    /// The states of all tokens: `[t]` ids to `[t, hidden]`.
    fn forward(&self, ids: &[u32], texts: &Texts) -> Tensor<2>;

    /// Sizes that a session needs.
    fn sizes(&self) -> EncoderSizes;
}

/// Sizes of an encoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderSizes {
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
}

/// A decoder: hidden states out of token ids, and a head that turns them into logits.
pub(crate) trait Decoder: Send {
    /// The token embeddings: `[t]` ids to `[t, hidden]`.
    fn embed(&self, ids: &[u32]) -> Tensor<2>;

    /// What the table's rows are multiplied with there.
    fn embedding_scale(&self) -> Option<f32>;

    /// One of the [`Sizes::layers`] blocks: `[t, hidden]` to the same.
    fn block(&self, layer: usize, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2>;

    /// Hidden states before the last norm: `[t]` ids to `[t, hidden]`.
    fn forward(&self, ids: &[u32], pass: &mut Pass<'_>) -> Tensor<2> {
        (0..self.sizes().layers).fold(self.embed(ids), |x, layer| self.block(layer, x, pass))
    }

    /// What a graph keeps of a block; `tracked`: whether its operand has gradients.
    fn kept(&self, layer: usize, tracked: bool, learns: &Learns<'_>) -> Kept;

    /// Floats per token that the widest part of a block works with on the way back.
    fn working(&self, learns: &Learns<'_>) -> usize;

    /// The last norm and the output projection.
    fn head(&self) -> Head<'_>;

    /// The name of the matrix that the output projection multiplies with.
    fn output_name(&self) -> &'static str;

    /// The name of the table of token embeddings.
    fn table_name(&self) -> &'static str;

    /// Every parameter by its name in the checkpoint; tied ones once.
    fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>));

    /// Sizes that a session needs.
    fn sizes(&self) -> Sizes;
}

/// Sizes of a decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) context: usize,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
}

/// Builds the architecture that `config.json` names.
pub(crate) fn build(
    spec: &OpenSpec,
    loader: &mut Loader<'_>,
) -> Result<Box<dyn Decoder>, BackendError> {
    let build = match model_type(spec) {
        "gemma2" => gemma2::build,
        "gemma3_text" => gemma3::build,
        "gpt2" => gpt2::build,
        "gpt_neox" => gpt_neox::build,
        "llama" => llama::build,
        "mistral" => mistral::build,
        "olmo2" => olmo2::build,
        "phi3" => phi3::build,
        "qwen2" => qwen2::build,
        "qwen3" => qwen3::build,
        "smollm3" => smollm3::build,
        other => return Err(unknown(other)),
    };
    Ok(Box::new(build(spec, loader)?))
}

/// Whether `config.json` names an encoder.
pub(crate) fn is_encoder(spec: &OpenSpec) -> bool {
    ENCODER_TYPES.contains(&model_type(spec))
}

/// Builds the encoder that `config.json` names, with its `model_type`.
pub(crate) fn build_encoder(
    spec: &OpenSpec,
    loader: &mut Loader<'_>,
) -> Result<(Box<dyn Encoder>, String), BackendError> {
    let model: Box<dyn Encoder> = match model_type(spec) {
        "bert" => Box::new(bert::build(spec, loader)?),
        "distilbert" => Box::new(distilbert::build(spec, loader)?),
        "modernbert" => Box::new(modernbert::build(spec, loader)?),
        "roberta" | "xlm-roberta" => Box::new(bert::build_roberta(spec, loader)?),
        other => return Err(unknown(other)),
    };
    Ok((model, model_type(spec).into()))
}

fn model_type(spec: &OpenSpec) -> &str {
    spec.config.get("model_type").and_then(serde_json::Value::as_str).unwrap_or("(none given)")
}

fn unknown(model_type: &str) -> BackendError {
    BackendError::Architecture {
        model_type: model_type.into(),
        supported: MODEL_TYPES.iter().chain(ENCODER_TYPES).map(ToString::to_string).collect(),
    }
}

/// Reads an architecture's keys out of `config.json`.
fn config_of<T: DeserializeOwned>(spec: &OpenSpec) -> Result<T, BackendError> {
    serde_path_to_error::deserialize(&spec.config).map_err(|error| BackendError::ModelConfig {
        key: error.path().to_string(),
        problem: format!("does not fit: {}", error.inner()),
    })
}
