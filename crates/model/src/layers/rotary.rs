//! Rotary position embedding (arxiv.org/abs/2104.09864).

mod scaling;

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_backend::{BackendError, RotaryScaling};
use serde::Deserialize;

use super::refuse;
pub(crate) use scaling::RotaryParameters;
use scaling::Trained;

/// The rotary keys of `config.json`, in their older and newer places.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RotaryConfig {
    pub(crate) rope_theta: Option<f64>,
    pub(crate) rope_scaling: Option<RotaryParameters>,
    /// Newer checkpoints keep both here.
    pub(crate) rope_parameters: Option<RotaryParameters>,
    /// The share of each head's channels that is turned.
    pub(crate) partial_rotary_factor: Option<f64>,
    /// What some kinds of scaling stretch from, where it stands outside of them.
    pub(crate) original_max_position_embeddings: Option<f64>,
}

/// The angle of each channel pair per position.
#[derive(Debug)]
pub(crate) struct Rotary {
    frequencies: Vec<f32>,
    /// Cosines and sines are multiplied with this, so that scores become sharper.
    amplitude: f32,
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

const PARTIAL: &str = "partial_rotary_factor";

impl Rotary {
    /// The context length that the scaling gives, and the angles for it.
    /// `chosen` (from a run file) replaces the checkpoint's own scaling.
    pub(crate) fn new(
        config: &RotaryConfig,
        chosen: Option<RotaryScaling>,
        head_dim: usize,
        context: usize,
    ) -> Result<(usize, Self), BackendError> {
        let share = config.share();
        if (share - 1.0).abs() > f64::EPSILON {
            return refuse(PARTIAL, format!("is {share}; this architecture turns whole heads"));
        }
        Self::over(config, chosen, head_dim, context)
    }

    /// The same for an architecture that may turn the first channels of each head only.
    pub(crate) fn partial(
        config: &RotaryConfig,
        chosen: Option<RotaryScaling>,
        head_dim: usize,
        context: usize,
    ) -> Result<(usize, Self), BackendError> {
        let share = config.share();
        let turned = (head_dim as f64 * share) as usize;
        if !(share > 0.0 && share <= 1.0) || turned == 0 || !turned.is_multiple_of(2) {
            let problem = format!("is {share}, which turns {turned} of {head_dim} channels");
            return refuse(PARTIAL, problem);
        }
        Self::over(config, chosen, turned, context)
    }

    fn over(
        config: &RotaryConfig,
        chosen: Option<RotaryScaling>,
        head_dim: usize,
        context: usize,
    ) -> Result<(usize, Self), BackendError> {
        let written = config.written();
        let base = written
            .and_then(|scaling| scaling.rope_theta)
            .or(config.rope_theta)
            .unwrap_or(10_000.0);
        let original = config.original_max_position_embeddings;
        let trained = Trained { base, head_dim, context, original };
        let stretched = match chosen {
            Some(RotaryScaling::Linear { factor }) => {
                let (_, rotary) = RotaryParameters::of("linear", factor).stretch(&trained)?;
                // A checkpoint made with a scaling already counts it in its context; this one is not.
                ((context as f64 * factor) as usize, rotary)
            }
            Some(RotaryScaling::Dynamic { factor }) => {
                RotaryParameters::of("dynamic", factor).stretch(&trained)?
            }
            None => written.cloned().unwrap_or_default().stretch(&trained)?,
        };
        Ok(stretched)
    }

    pub(crate) fn at(&self, positions: &[u32], device: &Device) -> Turn {
        let (t, half) = (positions.len(), self.frequencies.len());
        let mut cos = Vec::with_capacity(t * half);
        let mut sin = Vec::with_capacity(t * half);
        for &position in positions {
            for frequency in &self.frequencies {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c * self.amplitude);
                sin.push(s * self.amplitude);
            }
        }
        let tensor = |data| Tensor::from_data(TensorData::new(data, [t, half]), device);
        Turn { cos: tensor(cos), sin: tensor(sin) }
    }
}

impl RotaryConfig {
    fn written(&self) -> Option<&RotaryParameters> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())
    }

    /// The share of each head's channels that is turned.
    fn share(&self) -> f64 {
        let written = self.written().and_then(|written| written.partial_rotary_factor);
        written.or(self.partial_rotary_factor).unwrap_or(1.0)
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
    fn yarn_blends_between_channels_that_turn_often_and_hardly() {
        let scaling = serde_json::json!({"rope_type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 64});
        let json = serde_json::json!({"rope_theta": 10000.0, "rope_scaling": scaling});
        check(json.clone(), [1.0, 0.0625, 0.0025, 0.000_25]);
        let (context, built) = rotary(json).unwrap();
        assert_eq!(context, 256);
        assert!((built.amplitude - 1.138_629_4).abs() < 1e-6);
        let scaling = serde_json::json!({"type": "yarn", "factor": 4.0, "beta_fast": 16.0,
            "truncate": false, "attention_factor": 1.25,
            "original_max_position_embeddings": 1024});
        let json = serde_json::json!({"rope_theta": 10000.0, "rope_scaling": scaling});
        check(json.clone(), [1.0, 0.1, 0.003_821_215, 0.000_25]);
        assert!((rotary(json).unwrap().1.amplitude - 1.25).abs() < 1e-6);
    }

    #[test]
    fn longrope_stays_within_the_original_context() {
        let json = serde_json::json!({"rope_theta": 10000.0,
            "original_max_position_embeddings": 16,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5, 2.0, 4.0],
                "long_factor": [2.0, 3.0, 4.0, 8.0]}});
        check(json.clone(), [1.0, 0.066_666_67, 0.005, 0.000_25]);
        let (context, built) = rotary(json).unwrap();
        assert_eq!(context, 16);
        // √(1 + ln(64 / 16) / ln(16))
        assert!((built.amplitude - 1.224_744_9).abs() < 1e-6);
    }

    #[test]
    fn a_part_of_each_head_is_turned_as_a_smaller_head_would_be() {
        let half = serde_json::json!({"rope_parameters": {"partial_rotary_factor": 0.5}});
        let config: RotaryConfig = serde_json::from_value(half).unwrap();
        let (_, rotary) = Rotary::partial(&config, None, 8, 64).unwrap();
        let (_, whole) = Rotary::new(&RotaryConfig::default(), None, 4, 64).unwrap();
        assert_eq!(rotary.frequencies, whole.frequencies);
        let odd = RotaryConfig { partial_rotary_factor: Some(0.4), ..RotaryConfig::default() };
        let error = Rotary::partial(&odd, None, 8, 64).unwrap_err().to_string();
        assert!(error.contains("turns 3 of 8 channels"), "{error}");
    }

    #[test]
    fn unknown_kinds_and_missing_factors_are_refused() {
        for (json, key) in [
            (
                serde_json::json!({"rope_scaling": {"rope_type": "spiral", "factor": 2.0}}),
                "`spiral` is not built",
            ),
            (serde_json::json!({"rope_scaling": {"rope_type": "linear"}}), "factor"),
            (
                serde_json::json!({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "mscale": 1}}),
                "mscale",
            ),
            (serde_json::json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        ] {
            let error = rotary(json).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
