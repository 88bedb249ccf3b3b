//! Numbers rounded to the nearest value of bitsandbytes' dynamic map of 8 bits, block by block
//! (arXiv 2110.02861, section 2).

use rayon::prelude::*;

use crate::{dequantize::dynamic_map, format::NESTED as BLOCK, quantize::SMALLEST};

/// Numbers as codes of 8 bits, every 256 of them with the size of their largest.
#[derive(Debug, Clone, PartialEq)]
pub struct Dynamic {
    /// Whether numbers may be negative; if not, the codes are twice as fine.
    pub signed: bool,
    /// A byte for each number.
    pub codes: Vec<u8>,
    /// The largest size in each block; the last block may be short.
    pub scales: Vec<f32>,
}

impl Dynamic {
    /// The scales of so many numbers.
    pub fn scales_of(numbers: usize) -> usize {
        numbers.div_ceil(BLOCK)
    }

    /// The nearest codes.
    pub fn round(values: &[f32], signed: bool) -> Self {
        let map = dynamic_map(signed);
        let between: [f32; 255] = std::array::from_fn(|i| f32::midpoint(map[i], map[i + 1]));
        let mut codes = vec![0; values.len()];
        let scales = values
            .par_chunks(BLOCK)
            .zip(codes.par_chunks_mut(BLOCK))
            .with_min_len(64)
            .map(|(values, codes)| {
                let scale = values.iter().fold(0.0, |most: f32, x| x.abs().max(most));
                let inverse = 1.0 / scale.max(SMALLEST);
                for (code, x) in codes.iter_mut().zip(values) {
                    let x = (x * inverse).clamp(-1.0, 1.0);
                    *code = between.partition_point(|bound| *bound < x) as u8; // of 255 bounds
                }
                scale
            })
            .collect();
        Self { signed, codes, scales }
    }

    /// What the codes stand for.
    pub fn floats(&self) -> Vec<f32> {
        let map = dynamic_map(self.signed);
        let mut floats = vec![0.0; self.codes.len()];
        let blocks = self.codes.par_chunks(BLOCK).zip(floats.par_chunks_mut(BLOCK));
        blocks.zip(&self.scales).with_min_len(64).for_each(|((codes, floats), scale)| {
            for (float, code) in floats.iter_mut().zip(codes) {
                *float = map[usize::from(*code)] * scale;
            }
        });
        floats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_near_and_keeps_zeros_signs_and_largest() {
        for signed in [true, false] {
            let values: Vec<f32> = (0..1000_i16)
                .map(|i| (f32::from(i) * 0.37).sin() * 10.0_f32.powi(i32::from(i / 256) - 3))
                .map(|x| if signed { x } else { x.abs() })
                .chain([0.0; 300])
                .collect();
            let rounded = Dynamic::round(&values, signed);
            assert_eq!(rounded.scales.len(), Dynamic::scales_of(values.len()));
            for (i, (x, found)) in values.iter().zip(rounded.floats()).enumerate() {
                let scale = rounded.scales[i / BLOCK];
                let bound = if signed { 8e-3 } else { 4e-3 } * scale;
                assert!((x - found).abs() <= bound && x * found >= 0.0, "{i}: {x}, {found}");
                // Small numbers keep their size: equal steps would be off by a third here.
                let near = (x - found).abs() <= 0.15 * x.abs();
                assert!(near || x.abs() < 0.0101 * scale, "{i}: {x}, {found}, largest {scale}");
            }
        }
    }
}
