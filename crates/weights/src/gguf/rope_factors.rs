//! llama.cpp stores Llama 3's rotary scaling as one divisor per frequency; `config.json` stores
//! the four numbers that it follows from. This recovers them.
//!
//! With wavelength `w`, a divisor is 1 where `w < length/high`, `factor` where `w > length/low`,
//! and `1 / ((1 - s)/factor + s)` with `s = (length/w - low) / (high - low)` between. Only the
//! ratios of `low`, `high` and `length` matter, so `low` is 1, as in every published checkpoint.
//! Files that Fidelio writes have the four numbers beside the divisors, under [`KEY`].

use std::f64::consts::TAU;

use fidelio_backend::Encoding;
use serde_json::{Value, json};

use crate::tensors::Stored;

/// The metadata key of the scaling that divisors follow from, as JSON.
pub(super) const KEY: &str = "fidelio.rope_scaling";

/// The scaling that gives these divisors, if there is one. `noted` is what the file says it is,
/// which is believed where it is true.
pub(super) fn llama3(tensor: &Stored, base: f64, noted: Option<&str>) -> Option<Value> {
    if tensor.encoding != Encoding::F32 || tensor.shape.len() != 1 {
        return None;
    }
    let divisors: Vec<f64> = tensor
        .bytes
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect();
    if let Some(noted) = noted.and_then(|noted| serde_json::from_str(noted).ok())
        && let Some(scaling) = Llama3::of(&noted)
        && scaling.explains(&divisors, base)
    {
        return Some(noted);
    }
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    if !factor.is_finite() || factor <= 1.0 {
        return None;
    }
    let wavelength = |i| wavelength(base, i, divisors.len());
    // s is linear in 1/w: s = length/(high - low) · 1/w - low/(high - low).
    let between: Vec<(f64, f64)> = divisors
        .iter()
        .enumerate()
        .filter(|&(_, &d)| d > 1.0 + 1e-4 && d < factor * (1.0 - 1e-4))
        .map(|(i, &d)| (1.0 / wavelength(i), (1.0 / d - 1.0 / factor) / (1.0 - 1.0 / factor)))
        .collect();
    let (first, last) = (between.first()?, between.last()?);
    let slope = (first.1 - last.1) / (first.0 - last.0);
    let offset = first.1 - slope * first.0;
    let scaling = Llama3 { factor, high: 1.0 - 1.0 / offset, length: -slope / offset }.rounded();
    scaling.explains(&divisors, base).then(|| {
        json!({
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": scaling.high,
            "original_max_position_embeddings": scaling.length as u64,
        })
    })
}

struct Llama3 {
    factor: f64,
    high: f64,
    length: f64,
}

/// The divisors of a scaling of kind `llama3`; none where one of its numbers is missing or wrong.
pub(super) fn divisors(scaling: &Value, base: f64, count: usize) -> Option<Vec<f32>> {
    let scaling = Llama3::of(scaling)?;
    Some((0..count).map(|i| scaling.divisor(wavelength(base, i, count)) as f32).collect())
}

fn wavelength(base: f64, i: usize, count: usize) -> f64 {
    TAU * base.powf(i as f64 / count as f64)
}

impl Llama3 {
    fn of(scaling: &Value) -> Option<Self> {
        let number = |key: &str| scaling[key].as_f64().filter(|x| x.is_finite() && *x > 0.0);
        let low = number("low_freq_factor")?;
        let high = number("high_freq_factor")? / low;
        let length = number("original_max_position_embeddings")? / low;
        (high > 1.0).then_some(Self { factor: number("factor")?, high, length })
    }

    fn explains(&self, divisors: &[f64], base: f64) -> bool {
        divisors.iter().enumerate().all(|(i, &divisor)| {
            let expected = self.divisor(wavelength(base, i, divisors.len()));
            (expected - divisor).abs() <= 1e-3 * divisor
        })
    }

    /// Away with the noise of 32-bit floats.
    fn rounded(self) -> Self {
        Self {
            factor: (self.factor * 1e4).round() / 1e4,
            high: (self.high * 1e2).round() / 1e2,
            length: if self.length > 1024.0 {
                (self.length / 16.0).round() * 16.0
            } else {
                self.length.round()
            },
        }
    }

    fn divisor(&self, wavelength: f64) -> f64 {
        if wavelength < self.length / self.high {
            1.0
        } else if wavelength > self.length {
            self.factor
        } else {
            let s = (self.length / wavelength - 1.0) / (self.high - 1.0);
            1.0 / ((1.0 - s) / self.factor + s)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::Form;

    fn tensor(divisors: impl Iterator<Item = f64>) -> Stored {
        let bytes: Vec<u8> = divisors.flat_map(|d| (d as f32).to_le_bytes()).collect();
        Stored {
            name: "rope_freqs.weight".into(),
            encoding: Encoding::F32,
            shape: [bytes.len() / 4].into(),
            bytes: bytes.into(),
            start: 0,
            form: Form::AsNamed,
        }
    }

    /// The published scalings of Llama 3.1 (factor 8) and 3.2 (factor 32, head size 64).
    #[test]
    fn published_scalings_are_recovered() {
        for (factor, half) in [(8.0, 64), (32.0, 32), (32.0, 64)] {
            let truth = Llama3 { factor, high: 4.0, length: 8192.0 };
            let wavelength = |i: i32| TAU * 500_000_f64.powf(f64::from(i) / f64::from(half));
            let found =
                llama3(&tensor((0..half).map(|i| truth.divisor(wavelength(i)))), 500_000.0, None);
            let expected = json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
            });
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn other_divisors_are_left_alone() {
        assert_eq!(llama3(&tensor((0..64).map(|i| 1.0 + f64::from(i % 3))), 500_000.0, None), None);
        assert_eq!(llama3(&tensor((0..64).map(|_| 1.0)), 500_000.0, None), None);
    }

    /// Three frequencies, of which one lies between: too few to recover anything from.
    #[test]
    fn what_the_file_notes_is_believed_where_it_is_true() {
        let noted = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0,
            "high_freq_factor": 8.0, "original_max_position_embeddings": 64,
        });
        let made = divisors(&noted, 10_000.0, 8).unwrap();
        let made = tensor(made.into_iter().map(f64::from));
        let text = noted.to_string();
        assert_eq!(llama3(&made, 10_000.0, None), None);
        assert_eq!(llama3(&made, 10_000.0, Some(&text)), Some(noted));
        let lie = text.replace("8.0", "9.0");
        assert_eq!(llama3(&made, 10_000.0, Some(&lie)), None);
        assert_eq!(llama3(&made, 10_000.0, Some("[")), None);
    }
}
