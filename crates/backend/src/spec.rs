//! What a session is opened with.

use serde::{Deserialize, Serialize};

use crate::Quantization;

/// How to open a model. Plain data: it crosses the plugin boundary as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSpec {
    /// The model's `config.json`, its keys unchanged.
    pub config: serde_json::Value,
    /// The arithmetic of activations.
    #[serde(default)]
    pub precision: Precision,
    /// How keys and values are kept.
    #[serde(default)]
    pub cache: CacheFormat,
    /// How weights are rounded while they are loaded; `None` keeps them as their file has them.
    #[serde(default)]
    pub quantization: Option<Quantization>,
    /// Replaces the checkpoint's own rotary scaling.
    #[serde(default)]
    pub rotary: Option<RotaryScaling>,
    /// At most so many cached tokens over all rows; `None` leaves it to memory.
    #[serde(default)]
    pub cached_tokens: Option<usize>,
}

impl OpenSpec {
    /// A spec with the model's own settings and `f32` arithmetic.
    pub fn new(config: serde_json::Value) -> Self {
        Self {
            config,
            precision: Precision::F32,
            cache: CacheFormat::F32,
            quantization: None,
            rotary: None,
            cached_tokens: None,
        }
    }
}

/// The arithmetic of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    F32,
    /// The factors of products with weights are rounded to brain floats (bfloat16), products are
    /// summed in 32-bit floats, as is all else. What learns is kept in 32-bit floats.
    Bf16,
    /// Where weights are integers with scales, activations are rounded to 8 bits by blocks of 32 and
    /// multiplied as integers; all else in 32-bit floats. Such a session does not learn.
    Int8Activations,
}

impl Precision {
    /// As a run file writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8Activations => "int8-activations",
        }
    }
}

/// How keys and values are kept in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheFormat {
    /// 32-bit floats.
    #[default]
    F32,
}

/// A run file's `model_parameters.rope_scaling`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase", deny_unknown_fields)]
pub enum RotaryScaling {
    /// Positions divided by `factor` (arXiv 2306.15595).
    Linear {
        /// Above 1.
        factor: f64,
    },
    /// The base enlarged for a context `factor` times the trained one, fixed at open.
    Dynamic {
        /// Above 1.
        factor: f64,
    },
}
