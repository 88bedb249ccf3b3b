//! Measurements of Fidelio: what the benchmarks under `benches/` share.
//!
//! `cargo xtask bench` runs them all. Inputs are made from a counter, so that every run of every
//! machine measures the same numbers.

use fidelio_kernels::Format;

/// Values between -1 and 1, the same on every machine.
pub fn values(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64*: enough to keep values from being special.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

/// The bytes of a stored matrix of this format whose numbers are all finite.
pub fn stored(format: Format, elements: usize) -> Vec<u8> {
    if format == Format::F32 {
        return values(elements).iter().flat_map(|value| value.to_le_bytes()).collect();
    }
    // Any bytes below 0x3c are small finite numbers in every field of every block format.
    let bytes = elements / format.block_len() * format.block_bytes();
    (0..bytes).map(|index| (index * 7 % 0x3b) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_and_bounded() {
        let values = values(1000);
        assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
        let mean: f32 = values.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1, "{mean}");
    }

    #[test]
    fn stored_weights_are_finite_numbers() {
        for format in Format::ALL {
            let bytes = stored(format, 512);
            let mut decoded = vec![0.0; 512];
            fidelio_kernels::dequantize(format, &bytes, &mut decoded);
            assert!(decoded.iter().all(|value| value.is_finite()), "{format:?}");
        }
    }
}
