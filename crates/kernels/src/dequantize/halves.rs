//! 16-bit floats.

/// A brain float: the upper half of an `f32`.
#[inline(always)]
pub(super) fn bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// An IEEE half, without branches so that loops over it vectorise.
#[inline(always)]
pub(super) fn f16(bytes: [u8; 2]) -> f32 {
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
pub(super) fn f16_at(block: &[u8], at: usize) -> f32 {
    f16([block[at], block[at + 1]])
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_halves_decode() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let got = super::f16(bits.to_le_bytes());
            assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan());
            let expected = half::bf16::from_bits(bits).to_f32();
            let got = super::bf16(bits.to_le_bytes());
            assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan());
        }
    }
}
