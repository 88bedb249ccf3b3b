//! What is random while learning: dropout and noise, as functions of seed, update, row and position.
//!
//! A mask therefore does not depend on how rows are spread over batches, and a resumed run draws
//! what an uninterrupted one would.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use crate::loader::ModuleId;

/// The random numbers of one batch.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    key: u64,
    /// Row and position of each token.
    tokens: Vec<(u64, u32)>,
}

impl Noise {
    pub(crate) fn new(seed: u64, update: u64, tokens: Vec<(u64, u32)>) -> Self {
        Self { key: mix(seed ^ mix(update.wrapping_add(1))), tokens }
    }

    /// 0 for a share of a layer's inputs and `1 / (1 - share)` for the rest: `[t, channels]`.
    pub(crate) fn dropout(
        &self,
        module: ModuleId,
        share: f64,
        channels: usize,
        device: &Device,
    ) -> Tensor<2> {
        let kept = if share < 1.0 { (1.0 / (1.0 - share)) as f32 } else { 0.0 };
        let stream = module.0 as u64 + 1;
        self.numbers(stream, channels, device, |u, _| if f64::from(u) < share { 0.0 } else { kept })
    }

    /// NEFTune's noise on embeddings (arxiv.org/abs/2310.05914): uniform within
    /// `alpha / sqrt(tokens of the row · channels)`: `[t, channels]`.
    pub(crate) fn embeddings(&self, alpha: f64, channels: usize, device: &Device) -> Tensor<2> {
        let mut lengths = BTreeMap::new();
        for (row, _) in &self.tokens {
            *lengths.entry(*row).or_insert(0_usize) += 1;
        }
        let size = |row: u64| (alpha / ((lengths[&row] * channels) as f64).sqrt()) as f32;
        self.numbers(0, channels, device, |u, row| (2.0 * u - 1.0) * size(row))
    }

    fn numbers(
        &self,
        stream: u64,
        channels: usize,
        device: &Device,
        number: impl Fn(f32, u64) -> f32,
    ) -> Tensor<2> {
        let mut numbers = Vec::with_capacity(self.tokens.len() * channels);
        for &(row, position) in &self.tokens {
            let key = mix(self.key ^ mix(row ^ mix(u64::from(position) ^ mix(stream))));
            numbers.extend((0..channels as u64).map(|c| number(uniform(mix(key ^ c)), row)));
        }
        Tensor::from_data(TensorData::new(numbers, [self.tokens.len(), channels]), device)
    }
}

/// Random numbers in a fixed order: what adapters begin from.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    key: u64,
    drawn: u64,
}

impl Stream {
    /// The numbers of a name under a seed; different names draw different numbers.
    pub(crate) fn of(seed: u64, name: &str) -> Self {
        let key = name.bytes().fold(mix(seed), |key, byte| mix(key ^ u64::from(byte)));
        Self { key, drawn: 0 }
    }

    /// Uniform in 0..1.
    pub(crate) fn uniform(&mut self) -> f32 {
        self.drawn += 1;
        uniform(mix(self.key ^ mix(self.drawn)))
    }

    /// Normal with deviation 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f32 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    }
}

/// 24 bits of a hash as a number in 0..1.
fn uniform(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1_u64 << 24) as f32
}

/// The finaliser of SplitMix64 (doi.org/10.1145/2660193.2660195).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("f32")
    }

    #[test]
    fn a_mask_follows_its_row_and_not_its_batch() {
        let device = Device::flex();
        let whole = Noise::new(1, 2, vec![(7, 0), (7, 1), (9, 0)]);
        let alone = Noise::new(1, 2, vec![(9, 0)]);
        let mask =
            |noise: &Noise, module| values(noise.dropout(ModuleId(module), 0.3, 50, &device));
        assert_eq!(mask(&whole, 4)[100..], mask(&alone, 4));
        assert_ne!(mask(&alone, 4), mask(&alone, 5), "layers differ");
        let later = Noise::new(1, 3, vec![(9, 0)]);
        assert_ne!(mask(&alone, 4), mask(&later, 4), "updates differ");
    }

    #[test]
    fn a_mask_keeps_the_mean_and_its_share() {
        let noise = Noise::new(5, 0, (0..200).map(|i| (i, 0)).collect());
        let mask = values(noise.dropout(ModuleId(0), 0.25, 100, &Device::flex()));
        let dropped = mask.iter().filter(|&&x| x == 0.0).count() as f64 / mask.len() as f64;
        assert!((dropped - 0.25).abs() < 0.02, "{dropped}");
        assert!(mask.iter().all(|&x| x == 0.0 || (x - 4.0 / 3.0).abs() < 1e-6));
    }

    #[test]
    fn embeddings_get_noise_by_the_length_of_their_row() {
        let noise = Noise::new(5, 0, vec![(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]);
        let values = values(noise.embeddings(5.0, 400, &Device::flex()));
        let largest = |x: &[f32]| x.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let (long, short) = (largest(&values[..1600]), largest(&values[1600..]));
        assert!((0.12..=0.125).contains(&long), "5 / sqrt(4 · 400) = 0.125: {long}");
        assert!((0.24..=0.25).contains(&short), "5 / sqrt(400) = 0.25: {short}");
    }

    #[test]
    fn normal_numbers_have_deviation_one() {
        let mut stream = Stream::of(3, "a");
        let numbers: Vec<f64> = (0..20_000).map(|_| f64::from(stream.normal())).collect();
        let mean = numbers.iter().sum::<f64>() / 2e4;
        let square = numbers.iter().map(|x| x * x).sum::<f64>() / 2e4;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.04, "{mean} {square}");
    }
}
