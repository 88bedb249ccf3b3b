//! Measurements of Fidelio: what the benchmarks under `benches/` share.
//!
//! `cargo xtask bench micro` runs them all. Inputs are made from a counter, so that every run of every
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

/// The bytes of a stored matrix `[rows, cols]` of this format whose numbers are all finite.
///
/// # Panics
/// When rows are not whole blocks.
pub fn stored(format: Format, rows: usize, cols: usize) -> Vec<u8> {
    if format == Format::F32 {
        return values(rows * cols).iter().flat_map(|value| value.to_le_bytes()).collect();
    }
    // Any bytes below 0x3c are small finite numbers in every field of every format.
    let bytes = format.bytes_of_matrix(rows, cols).expect("rows are whole blocks");
    (0..bytes).map(|index| (index * 7 % 0x3b) as u8).collect()
}

#[cfg(test)]
mod tests {
    use fidelio_kernels::{Layout, Matrix, dequantize_rows};

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
            let (rows, cols) = (2, 256);
            let bytes = &stored(format, rows, cols);
            let mut decoded = vec![0.0; rows * cols];
            dequantize_rows(
                Matrix { format, bytes, rows, cols, layout: Layout::Rows },
                0,
                &mut decoded,
            );
            assert!(decoded.iter().all(|value| value.is_finite()), "{format:?}");
        }
    }
}
