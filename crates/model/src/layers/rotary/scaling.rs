//! How positions are stretched: the kinds of rotary scaling that `config.json` names.

use fidelio_backend::BackendError;
use serde::Deserialize;

use super::Rotary;
use crate::layers::{UNKNOWN, refuse};

/// How positions are stretched, as `config.json` writes it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RotaryParameters {
    rope_type: Option<String>,
    /// What older files call it; newer ones may have both.
    #[serde(rename = "type")]
    older_type: Option<String>,
    pub(crate) rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    pub(crate) partial_rotary_factor: Option<f64>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    short_factor: Option<Vec<f32>>,
    /// For texts beyond the original context, which are not built.
    #[serde(rename = "long_factor")]
    _long_factor: Option<Vec<f32>>,
    /// What is not known here, and therefore may change what the model computes.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What is stretched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trained {
    pub(super) base: f64,
    /// Channels of a head that are turned.
    pub(super) head_dim: usize,
    /// `max_position_embeddings`
    pub(super) context: usize,
    /// `original_max_position_embeddings`, where it stands outside of the scaling.
    pub(super) original: Option<f64>,
}

impl RotaryParameters {
    pub(super) fn of(kind: &str, factor: f64) -> Self {
        Self { rope_type: Some(kind.into()), factor: Some(factor), ..Self::default() }
    }

    fn kind(&self) -> Option<&str> {
        self.rope_type.as_deref().or(self.older_type.as_deref())
    }

    /// The context that this gives, and the angles for it.
    pub(super) fn stretch(&self, trained: &Trained) -> Result<(usize, Rotary), BackendError> {
        let context = trained.context;
        let stretched = match self.kind() {
            None | Some("default") => (context, Rotary::plain(trained)),
            Some("linear") => (context, self.linear(trained)?),
            Some("dynamic") => self.dynamic(trained)?,
            Some("llama3") => (context, self.llama3(trained)?),
            Some("yarn") => self.yarn(trained)?,
            Some("longrope" | "su") => self.longrope(trained)?,
            Some(other) => {
                return refuse("rope_scaling.rope_type", format!("`{other}` is not built"));
            }
        };
        match self.rest.keys().next() {
            Some(key) => refuse(&format!("rope_scaling.{key}"), UNKNOWN.into()),
            None => Ok(stretched),
        }
    }

    fn linear(&self, trained: &Trained) -> Result<Rotary, BackendError> {
        let factor = self.need("factor", self.factor)?;
        let mut rotary = Rotary::plain(trained);
        rotary.frequencies.iter_mut().for_each(|f| *f /= factor as f32);
        Ok(rotary)
    }

    /// NTK-aware base for the whole stretched length, fixed here so that cached keys never change:
    /// `b · (f·n/m − (f−1))^(d/(d−2))` with `n = f·m`.
    fn dynamic(&self, trained: &Trained) -> Result<(usize, Rotary), BackendError> {
        let factor = self.need("factor", self.factor)?;
        let (d, context) = (trained.head_dim as f64, trained.context as f64);
        let grown = (factor * (factor * context) / context) - (factor - 1.0);
        let base = trained.base * grown.powf(d / (d - 2.0));
        Ok(((context * factor) as usize, Rotary::plain(&Trained { base, ..*trained })))
    }

    /// Llama 3.1: long waves are stretched, short ones kept, those between blended.
    fn llama3(&self, trained: &Trained) -> Result<Rotary, BackendError> {
        let factor = self.need("factor", self.factor)? as f32;
        let low = self.need("low_freq_factor", self.low_freq_factor)? as f32;
        let high = self.need("high_freq_factor", self.high_freq_factor)? as f32;
        let original = self.original(None)? as f32;
        if high <= low {
            return refuse("rope_scaling.high_freq_factor", "must be above low_freq_factor".into());
        }
        let mut rotary = Rotary::plain(trained);
        for f in &mut rotary.frequencies {
            let wave = 2.0 * std::f32::consts::PI / *f;
            if wave > original / low {
                *f /= factor;
            } else if wave >= original / high {
                let smooth = (original / wave - low) / (high - low);
                *f = (1.0 - smooth) * *f / factor + smooth * *f;
            }
        }
        Ok(rotary)
    }

    /// YaRN (arxiv.org/abs/2309.00071): channels that turn often in the original context are kept,
    /// those that hardly turn are stretched, those between blended.
    fn yarn(&self, trained: &Trained) -> Result<(usize, Rotary), BackendError> {
        let original = self.original(Some(trained))?;
        let factor = match self.factor {
            None => trained.context as f64 / original,
            factor => self.need("factor", factor)?,
        };
        let d = trained.head_dim as f64;
        let channel = |turns: f64| {
            d * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * trained.base.ln())
        };
        let or = |value: Option<f64>, usual| value.filter(|&x| x != 0.0).unwrap_or(usual);
        let mut low = channel(or(self.beta_fast, 32.0));
        let mut high = channel(or(self.beta_slow, 1.0));
        if self.truncate != Some(false) {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(d - 1.0));
        if (low - high).abs() < f64::EPSILON {
            high += 0.001; // so that nothing is divided by 0
        }
        let mut rotary = Rotary::plain(trained);
        for (i, f) in rotary.frequencies.iter_mut().enumerate() {
            let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
            *f = *f / factor as f32 * stretched + *f * (1.0 - stretched);
        }
        let usual = if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 };
        rotary.amplitude = self.attention_factor.unwrap_or(usual) as f32;
        Ok((trained.context.max((original * factor) as usize), rotary))
    }

    /// LongRoPE (arxiv.org/abs/2402.13753) has other angles for texts beyond the original context.
    /// Here they are those for texts within it, which is also the context, so that cached keys never
    /// change.
    fn longrope(&self, trained: &Trained) -> Result<(usize, Rotary), BackendError> {
        let original = self.original(Some(trained))?;
        let mut rotary = Rotary::plain(trained);
        let Some(divisors) = &self.short_factor else {
            return refuse("rope_scaling.short_factor", "is missing".into());
        };
        if divisors.len() != rotary.frequencies.len() {
            let (found, needed) = (divisors.len(), rotary.frequencies.len());
            let problem = format!("has {found} numbers for {needed} pairs of channels");
            return refuse("rope_scaling.short_factor", problem);
        }
        for (f, divisor) in rotary.frequencies.iter_mut().zip(divisors) {
            *f /= divisor;
        }
        let factor = self.factor.unwrap_or(trained.context as f64 / original);
        let usual = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
        rotary.amplitude = self.attention_factor.unwrap_or(usual) as f32;
        Ok((trained.context.min(original as usize), rotary))
    }

    /// The context before it was stretched. `trained`: what holds where this does not say.
    fn original(&self, trained: Option<&Trained>) -> Result<f64, BackendError> {
        let written = self.original_max_position_embeddings;
        let outside = trained.map(|it| it.original.or(written).unwrap_or(it.context as f64));
        self.need("original_max_position_embeddings", outside.or(written))
    }

    fn need(&self, key: &str, value: Option<f64>) -> Result<f64, BackendError> {
        match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            Some(value) => refuse(&format!("rope_scaling.{key}"), format!("is {value}")),
            None => refuse(
                &format!("rope_scaling.{key}"),
                format!("is missing (rope_type `{}`)", self.kind().unwrap_or("")),
            ),
        }
    }
}

impl Rotary {
    /// θ_i = base^(−2i/d), in 32 bits as the reference implementations compute it.
    fn plain(trained: &Trained) -> Self {
        let Trained { base, head_dim, .. } = *trained;
        let frequencies = (0..head_dim / 2)
            .map(|i| 1.0 / (base as f32).powf((2 * i) as f32 / head_dim as f32))
            .collect();
        Self { frequencies, amplitude: 1.0 }
    }
}
