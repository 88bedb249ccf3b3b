//! Rotary position embedding (arxiv.org/abs/2104.09864) and its scalings.

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_backend::{BackendError, RotaryScaling};
use serde::Deserialize;

use super::refuse;

/// The rotary keys of `config.json`, in their older and newer places.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RotaryConfig {
    rope_theta: Option<f64>,
    rope_scaling: Option<Scaling>,
    /// Newer checkpoints keep both here.
    rope_parameters: Option<Scaling>,
}

/// How positions are stretched, as `config.json` writes it.
#[derive(Debug, Clone, Default, Deserialize)]
struct Scaling {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// The angle of each channel pair per position.
#[derive(Debug)]
pub(crate) struct Rotary {
    frequencies: Vec<f32>,
}

/// Cosines and sines of some positions: `[t, d/2]` each.
#[derive(Clone)]
pub(crate) struct Turn {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl Turn {
    /// Rotates heads: `[t, h, d]`.
    pub(crate) fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        fidelio_ops::rotary(x, self.cos.clone(), self.sin.clone())
    }
}

impl Rotary {
    /// The context length that the scaling gives, and the angles for it.
    /// `chosen` (from a run file) replaces the checkpoint's own scaling.
    pub(crate) fn new(
        config: &RotaryConfig,
        chosen: Option<RotaryScaling>,
        head_dim: usize,
        context: usize,
    ) -> Result<(usize, Self), BackendError> {
        let written = config.rope_parameters.as_ref().or(config.rope_scaling.as_ref());
        let base = written
            .and_then(|scaling| scaling.rope_theta)
            .or(config.rope_theta)
            .unwrap_or(10_000.0);
        let scaling = match chosen {
            Some(RotaryScaling::Linear { factor }) => Scaling::of("linear", factor),
            Some(RotaryScaling::Dynamic { factor }) => Scaling::of("dynamic", factor),
            None => written.cloned().unwrap_or_default(),
        };
        let stretched = |factor: f64| (context as f64 * factor) as usize;
        match scaling.rope_type.as_deref() {
            None | Some("default") => Ok((context, Self::plain(base, head_dim))),
            Some("linear") => {
                let factor = scaling.need("factor", scaling.factor)?;
                let mut rotary = Self::plain(base, head_dim);
                rotary.frequencies.iter_mut().for_each(|f| *f /= factor as f32);
                // A checkpoint made with a scaling already counts it in its context.
                let context = if chosen.is_some() { stretched(factor) } else { context };
                Ok((context, rotary))
            }
            Some("dynamic") => {
                let factor = scaling.need("factor", scaling.factor)?;
                let (d, trained) = (head_dim as f64, context as f64);
                // NTK-aware base for the whole stretched length, fixed here so that cached keys
                // never change: b · (f·n/m − (f−1))^(d/(d−2)) with n = f·m.
                let grown = (factor * (factor * trained) / trained) - (factor - 1.0);
                Ok((stretched(factor), Self::plain(base * grown.powf(d / (d - 2.0)), head_dim)))
            }
            Some("llama3") => Ok((context, Self::llama3(&scaling, base, head_dim)?)),
            Some(other) => refuse("rope_scaling.rope_type", format!("`{other}` is not built")),
        }
    }

    /// θ_i = base^(−2i/d), in 32 bits as the reference implementations compute it.
    fn plain(base: f64, head_dim: usize) -> Self {
        let frequencies = (0..head_dim / 2)
            .map(|i| 1.0 / (base as f32).powf((2 * i) as f32 / head_dim as f32))
            .collect();
        Self { frequencies }
    }

    /// Llama 3.1: long waves are stretched, short ones kept, those between blended.
    fn llama3(scaling: &Scaling, base: f64, head_dim: usize) -> Result<Self, BackendError> {
        let factor = scaling.need("factor", scaling.factor)? as f32;
        let low = scaling.need("low_freq_factor", scaling.low_freq_factor)? as f32;
        let high = scaling.need("high_freq_factor", scaling.high_freq_factor)? as f32;
        let trained = scaling
            .need("original_max_position_embeddings", scaling.original_max_position_embeddings)?
            as f32;
        if high <= low {
            return refuse("rope_scaling.high_freq_factor", "must be above low_freq_factor".into());
        }
        let mut rotary = Self::plain(base, head_dim);
        for f in &mut rotary.frequencies {
            let wave = 2.0 * std::f32::consts::PI / *f;
            if wave > trained / low {
                *f /= factor;
            } else if wave >= trained / high {
                let smooth = (trained / wave - low) / (high - low);
                *f = (1.0 - smooth) * *f / factor + smooth * *f;
            }
        }
        Ok(rotary)
    }

    pub(crate) fn at(&self, positions: &[u32], device: &Device) -> Turn {
        let (t, half) = (positions.len(), self.frequencies.len());
        let mut cos = Vec::with_capacity(t * half);
        let mut sin = Vec::with_capacity(t * half);
        for &position in positions {
            for frequency in &self.frequencies {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c);
                sin.push(s);
            }
        }
        let tensor = |data| Tensor::from_data(TensorData::new(data, [t, half]), device);
        Turn { cos: tensor(cos), sin: tensor(sin) }
    }
}

impl Scaling {
    fn of(kind: &str, factor: f64) -> Self {
        Self { rope_type: Some(kind.into()), factor: Some(factor), ..Self::default() }
    }

    fn need(&self, key: &str, value: Option<f64>) -> Result<f64, BackendError> {
        match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            Some(value) => refuse(&format!("rope_scaling.{key}"), format!("is {value}")),
            None => refuse(
                &format!("rope_scaling.{key}"),
                format!("is missing (rope_type `{}`)", self.rope_type.as_deref().unwrap_or("")),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotary(json: serde_json::Value) -> Result<(usize, Rotary), BackendError> {
        Rotary::new(&serde_json::from_value(json).unwrap(), None, 8, 64)
    }

    fn check(json: serde_json::Value, expected: [f32; 4]) {
        let (_, rotary) = rotary(json).unwrap();
        for (found, expected) in rotary.frequencies.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} {expected}");
        }
    }

    // Expected values: transformers 5 `ROPE_INIT_FUNCTIONS` for head size 8.
    #[test]
    fn plain_and_linear() {
        check(serde_json::json!({"rope_theta": 10000.0}), [1.0, 0.1, 0.01, 0.001]);
        check(
            serde_json::json!({"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
            [0.25, 0.025, 0.0025, 0.000_25],
        );
    }

    #[test]
    fn llama3_keeps_short_waves_and_stretches_long_ones() {
        check(
            serde_json::json!({"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0,
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64}}),
            [1.0, 0.013_042_256, 0.001_25, 0.000_125],
        );
    }

    #[test]
    fn unknown_kinds_and_missing_factors_are_refused() {
        for (json, key) in [
            (
                serde_json::json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
                "rope_type",
            ),
            (serde_json::json!({"rope_scaling": {"rope_type": "linear"}}), "factor"),
        ] {
            let error = rotary(json).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
