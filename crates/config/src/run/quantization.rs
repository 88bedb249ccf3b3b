//! `quantization` as types.

use serde::{Deserialize, Serialize};

/// How weights are rounded while a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// Whose numbers they are.
    pub backend: QuantizationBackend,
    /// 4 or 8.
    pub bits: u8,
    /// The arithmetic of products; none with 8 bits.
    pub bnb_4bit_compute_dtype: Option<ComputeType>,
    /// Whether scales are rounded too; none with 8 bits.
    pub bnb_4bit_use_double_quant: Option<bool>,
    /// What the codes stand for; none with 8 bits.
    pub bnb_4bit_quant_type: Option<FourBits>,
}

/// Whose numbers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum QuantizationBackend {
    /// Those of bitsandbytes.
    Bitsandbytes,
}

/// The arithmetic of products with rounded weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ComputeType {
    /// 32-bit floats.
    Float32,
}

/// What four bits stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FourBits {
    /// Quantiles of the normal distribution.
    Nf4,
    /// Small floats.
    Fp4,
}
