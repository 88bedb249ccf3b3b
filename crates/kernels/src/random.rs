//! Random operands for tests.

use crate::{Format, Layout, Matrix, Packed, pack};

/// A small generator (SplitMix64), so that a failing case is its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    pub(crate) fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.number()).collect()
    }

    /// Stored weights of reasonable size.
    pub(crate) fn weights(&mut self, format: Format, rows: usize, cols: usize) -> Stored {
        use Format::*;
        if matches!(format, Nf4 | Fp4 | Nf4Double | Fp4Double | Int8) {
            let plain = self.weights(F32, rows, cols);
            return Stored { format, bytes: crate::quantize(plain.matrix(), format), rows, cols };
        }
        let scales: &[usize] = match format {
            F32 | F16 | BF16 | Nf4 | Fp4 | Nf4Double | Fp4Double | Int8 => &[],
            Q4_0 | Q5_0 | Q8_0 => &[0],
            Q4_1 | Q5_1 | Q4_K | Q5_K => &[0, 2],
            Q2_K => &[80, 82],
            Q3_K => &[108],
            Q6_K => &[208],
        };
        let mut bytes = Vec::new();
        for _ in 0..rows * cols / format.block_len() {
            match format {
                F32 => bytes.extend(self.number().to_le_bytes()),
                F16 => bytes.extend(half::f16::from_f32(self.number()).to_le_bytes()),
                BF16 => bytes.extend(half::bf16::from_f32(self.number()).to_le_bytes()),
                _ => {
                    let at = bytes.len();
                    bytes.extend((0..format.block_bytes()).map(|_| self.next() as u8));
                    for scale in scales {
                        let value = half::f16::from_f32(self.number() * 0.01).to_le_bytes();
                        bytes[at + scale..][..2].copy_from_slice(&value);
                    }
                }
            }
        }
        Stored { format, bytes, rows, cols }
    }
}

/// An owned [`Matrix`].
pub(crate) struct Stored {
    pub(crate) format: Format,
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Stored {
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        let Self { format, ref bytes, rows, cols } = *self;
        Matrix { format, bytes, rows, cols, layout: Layout::Rows }
    }

    pub(crate) fn packed(&self) -> Packed {
        pack(self.matrix())
    }

    pub(crate) fn decoded(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        crate::dequantize_rows(self.matrix(), 0, &mut out);
        out
    }
}
