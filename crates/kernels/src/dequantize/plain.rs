//! Plain floats of 32 and 16 bits.

use crate::simd::{Simd, of_brain};

#[inline(always)]
pub(super) fn f32<S: Simd>(_: S, bytes: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*bytes);
}

/// A brain float: the upper half of an `f32`.
#[inline(always)]
pub(super) fn bf16<S: Simd>(_: S, bytes: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = of_brain(*bytes);
}

/// An IEEE half, without branches so that loops over it vectorise.
#[inline(always)]
pub(crate) fn half(bytes: [u8; 2]) -> f32 {
    const REBIAS: f32 = f32::from_bits((112 + 127) << 23); // 2^112, the difference of the biases
    let bits = u32::from(u16::from_le_bytes(bytes));
    let magnitude = (bits & 0x7fff) << 13;
    let finite = (f32::from_bits(magnitude) * REBIAS).to_bits(); // subnormals come out right too
    let special = magnitude | 0x7f80_0000; // infinities and NaN
    let magnitude = if bits & 0x7c00 == 0x7c00 { special } else { finite };
    f32::from_bits(magnitude | (bits & 0x8000) << 16)
}

/// The half that begins at `at` in a block.
#[inline(always)]
pub(super) fn half_at<S: Simd>(s: S, block: &[u8], at: usize) -> f32 {
    s.half([block[at], block[at + 1]])
}

#[cfg(test)]
mod tests {
    use crate::{Format, dequantize::dequantize_on, simd::Path};

    #[test]
    fn all_halves_decode_on_every_path() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; 1 << 16];
        for path in Path::all() {
            for (format, decode) in [
                (Format::F16, (|bits| half::f16::from_bits(bits).to_f32()) as fn(u16) -> f32),
                (Format::BF16, |bits| half::bf16::from_bits(bits).to_f32()),
            ] {
                dequantize_on(path, format, &bytes, &mut out);
                for (bits, got) in (0..=u16::MAX).zip(&out) {
                    let expected = decode(bits);
                    let same = got.to_bits() == expected.to_bits();
                    assert!(same || got.is_nan() && expected.is_nan(), "{format:?} {bits:#x}");
                }
            }
        }
    }
}
