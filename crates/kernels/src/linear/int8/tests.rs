//! Against products in `f64` of activations rounded here and decoded weights.

use proptest::prelude::*;

use crate::{
    Arithmetic::{F32, Int8},
    Format, Layout, Matrix,
    linear::linear_on,
    random::{Random, Stored},
    simd::Path,
};

fn integers() -> Vec<Format> {
    Format::ALL.into_iter().filter(|format| format.has_integers()).collect()
}

/// Activations as the documentation says they are rounded.
fn rounded(x: &[f32], cols: usize) -> Vec<f64> {
    let blocks = x.chunks(cols).flat_map(|row| row.chunks(32));
    blocks
        .flat_map(|block| {
            let scale = block.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
            let codes = block.iter().map(move |x| (x / scale).round_ties_even());
            codes.map(
                move |code| if scale == 0.0 { 0.0 } else { f64::from(code) * f64::from(scale) },
            )
        })
        .collect()
}

fn product(path: Path, x: &[f32], w: Matrix<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / w.cols * w.rows];
    linear_on(path, x, w, bias, Int8, &mut out);
    out
}

/// Checks one product on every path.
fn check(stored: &Stored, x: &[f32], bias: Option<&[f32]>) {
    let Matrix { format, rows, cols, .. } = stored.matrix();
    let weights = stored.decoded();
    // Rounding moves sums by what their parts are large, scales and offsets being such parts.
    let largest = weights.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    let near = rounded(x, cols);
    let paths = Path::all();
    let out = product(paths[0], x, stored.matrix(), bias);
    for (i, &out) in out.iter().enumerate() {
        let (row, of) = (i / rows, i % rows);
        let bias = bias.map_or(0.0, |bias| f64::from(bias[of]));
        let x = &near[row * cols..][..cols];
        let w = &weights[of * cols..][..cols];
        let sum: f64 = x.iter().zip(w).map(|(x, &w)| x * f64::from(w)).sum();
        let size: f64 = x.iter().map(|x| x.abs() * f64::from(largest)).sum();
        let off = (f64::from(out) - (sum + bias)).abs();
        assert!(
            off <= 2e-6 * (size + bias.abs()) + 1e-37,
            "{format:?} {rows} of {cols}, row {row}, {of}: {out} for {}",
            sum + bias
        );
    }
    for path in paths {
        assert_eq!(product(path, x, stored.matrix(), bias), out, "{format:?} on {path:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn products_are_those_of_the_rounded_activations(
        format in prop::sample::select(integers()),
        n in 1..14_usize,
        rows in 1..70_usize,
        blocks in 1..6_usize,
        short in 0..32_usize,
        with_bias: bool,
        seed: u64,
    ) {
        let mut random = Random(seed);
        let cols = match format.block_len() {
            1 => blocks * 32 - short,
            len => blocks * len,
        };
        let stored = random.weights(format, rows, cols);
        let x = random.numbers(n * cols);
        let bias = random.numbers(rows);
        check(&stored, &x, with_bias.then_some(&bias));
    }
}

#[test]
fn long_rows_and_large_products() {
    for (format, n, rows, cols) in [
        (Format::Q6_K, 3, 13, 2560),
        (Format::Q4_1, 70, 200, 1056), // spread over threads
        (Format::Q8_0, 1, 3000, 320),
        (Format::Int8, 5, 40, 1571),
    ] {
        let mut random = Random(1);
        let stored = random.weights(format, rows, cols);
        check(&stored, &random.numbers(n * cols), None);
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    for format in integers() {
        let mut random = Random(2);
        let (rows, cols) = (101, 1280);
        let stored = random.weights(format, rows, cols);
        let x = random.numbers(23 * cols);
        for path in Path::all() {
            let together = product(path, &x, stored.matrix(), None);
            for n in [1, 2, 3, 4, 5, 7, 11] {
                let some = product(path, &x[4 * cols..][..n * cols], stored.matrix(), None);
                assert_eq!(some, together[4 * rows..][..n * rows], "{format:?}, {n} rows");
            }
            // Nor a number on the other rows of the weights.
            let w = stored.matrix();
            let fewer = Matrix { bytes: &w.bytes[..37 * w.row_bytes()], rows: 37, ..w };
            let some = product(path, &x[..cols], fewer, None);
            assert_eq!(some, together[..37], "{format:?}, fewer weights");
        }
    }
}

/// Codes and activations at the ends of their ranges, all of one sign: sums are as large as can be.
#[test]
fn the_largest_sums_do_not_overflow() {
    for format in integers() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let cols = 256;
            let mut bytes = vec![byte; format.bytes_of_matrix(3, cols).unwrap()];
            // Scales of 1 in their places, so that the decoded weights are numbers.
            let one = 0x3c00_u16.to_le_bytes();
            let halves: &[usize] = match format {
                Format::Q2_K => &[80, 82],
                Format::Q3_K => &[108],
                Format::Q6_K => &[208],
                Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
                _ => &[0],
            };
            if format == Format::Int8 {
                for row in bytes.chunks_mut(4 + cols) {
                    row[..4].copy_from_slice(&1.0_f32.to_le_bytes());
                }
            } else {
                for block in bytes.chunks_mut(format.block_bytes()) {
                    for &at in halves {
                        block[at..at + 2].copy_from_slice(&one);
                    }
                }
            }
            let stored = Stored { format, bytes, rows: 3, cols };
            for x in [3.0, -3.0] {
                check(&stored, &[x; 5 * 256], None);
            }
            let alternating: Vec<f32> =
                (0..5 * cols).map(|i| if i % 2 == 0 { 1e-3 } else { -1e-3 }).collect();
            check(&stored, &alternating, None);
        }
    }
}

#[test]
fn zeros_outliers_and_tiny_numbers() {
    for format in integers() {
        let mut random = Random(3);
        let cols = 512;
        let stored = random.weights(format, 19, cols);
        check(&stored, &[0.0; 2 * 512], None);
        check(&stored, &[-0.0; 512], None);
        let mut x = random.numbers(4 * cols);
        x[70] = 1e30;
        x[cols + 3] = -1e33;
        for x in &mut x[2 * cols..] {
            *x *= 1e-35; // scales close to the smallest
        }
        check(&stored, &x, None);
        // Scales that would be subnormal, or 0: nothing near infinity or NaN comes of it.
        for tiny in [1e-36, 1e-40, f32::from_bits(1)] {
            let x: Vec<f32> = random.numbers(cols).iter().map(|x| x * tiny).collect();
            for out in product(Path::active(), &x, stored.matrix(), None) {
                assert!(out.abs() < 1e-33, "{format:?}: {out} of numbers below {tiny}");
            }
        }
    }
}

/// Weights whose scales are subnormal halves.
#[test]
fn tiny_scales_of_weights() {
    for format in [Format::Q4_0, Format::Q5_0, Format::Q8_0] {
        let mut random = Random(4);
        let w = random.weights(format, 9, 320);
        let mut bytes = w.matrix().bytes.to_vec();
        for block in bytes.chunks_mut(format.block_bytes()) {
            block[..2].copy_from_slice(&(random.below(1024) as u16).to_le_bytes());
        }
        let stored = Stored { format, bytes, rows: 9, cols: 320 };
        check(&stored, &random.numbers(3 * 320), None);
    }
}

#[test]
fn what_is_not_finite_makes_its_row_nan_and_no_other() {
    for format in integers() {
        let mut random = Random(5);
        let (rows, cols) = (37, 512);
        let stored = random.weights(format, rows, cols);
        let x = random.numbers(6 * cols);
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut spoilt = x.clone();
            spoilt[3 * cols + 300] = bad;
            for path in Path::all() {
                let expected = product(path, &x, stored.matrix(), None);
                let got = product(path, &spoilt, stored.matrix(), None);
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    if i / rows == 3 {
                        assert!(got.is_nan(), "{format:?} on {path:?}: {got} of {bad}");
                    } else {
                        assert_eq!(got.to_bits(), expected.to_bits());
                    }
                }
            }
        }
    }
}

/// The rounding moves an activation by half a step at most, so a product by no more than this.
#[test]
fn it_is_as_near_to_floats_as_promised() {
    for format in integers() {
        let mut random = Random(6);
        let (n, rows, cols) = (4, 40, 768);
        let stored = random.weights(format, rows, cols);
        let weights = stored.decoded();
        let x = random.numbers(n * cols);
        let mut floats = vec![0.0; n * rows];
        linear_on(Path::active(), &x, stored.matrix(), None, F32, &mut floats);
        let got = product(Path::active(), &x, stored.matrix(), None);
        for (i, (got, float)) in got.iter().zip(&floats).enumerate() {
            let x = x[i / rows * cols..][..cols].chunks(32);
            let w = weights[i % rows * cols..][..cols].chunks(32);
            let bound: f32 = x
                .zip(w)
                .map(|(x, w)| {
                    let most = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    most / 253.9 * w.iter().map(|w| w.abs()).sum::<f32>()
                })
                .sum();
            assert!((got - float).abs() <= bound, "{format:?}: {got} for {float}, {bound}");
        }
    }
}

#[test]
fn rows_of_nothing_are_the_bias() {
    let (format, layout) = (Format::Q4_1, Layout::Rows);
    let w = Matrix { format, bytes: &[], rows: 3, cols: 0, layout };
    let mut out = vec![f32::NAN; 6];
    linear_on(Path::active(), &[], w, Some(&[1.0, 2.0, 3.0]), Int8, &mut out);
    assert_eq!(out, vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
}

/// Formats without integers are multiplied as floats.
#[test]
fn other_formats_are_as_they_were() {
    for format in Format::ALL.into_iter().filter(|format| !format.has_integers()) {
        let mut random = Random(7);
        let stored = random.weights(format, 21, 128);
        let x = random.numbers(3 * 128);
        let mut floats = vec![0.0; 3 * 21];
        linear_on(Path::active(), &x, stored.matrix(), None, F32, &mut floats);
        assert_eq!(product(Path::active(), &x, stored.matrix(), None), floats, "{format:?}");
    }
}
