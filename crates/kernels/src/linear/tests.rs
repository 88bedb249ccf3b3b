//! Against a product in `f64` of the decoded weights.

use proptest::prelude::*;

use super::{
    Arithmetic::{self, Bf16, F32},
    embed, linear_backward_on, linear_on,
};
use crate::{
    Format, Layout, Matrix,
    random::{Random, Stored},
    simd::Path,
};

/// Calls with the weights as they are and, where the format allows it, packed.
fn each_layout(stored: &Stored, mut call: impl FnMut(Matrix<'_>)) {
    call(stored.matrix());
    if stored.format.packs() {
        call(Matrix { bytes: stored.packed().as_ref(), layout: Layout::Eights, ..stored.matrix() });
    }
}

/// A factor as a product has it.
fn factor(arithmetic: Arithmetic, x: f32) -> f64 {
    match arithmetic {
        Bf16 => half::bf16::from_f32(x).to_f64(),
        _ => x.into(),
    }
}

/// How far a sum of products may be from the exact one.
fn bound(arithmetic: Arithmetic, format: Format, products: impl Iterator<Item = f64>) -> f64 {
    let (size, largest) = products.fold((0.0, 0.0_f64), |(s, l), p| (s + p.abs(), l.max(p.abs())));
    // Packed elements of this format differ in their last bit, so that one that lies between two
    // brain floats may be rounded to the other.
    let between = if (arithmetic, format) == (Bf16, Format::Int8) { largest / 128.0 } else { 0.0 };
    2e-6 * size + between + 1e-12
}

/// Checks one product on every path.
fn check(format: Format, n: usize, rows: usize, cols: usize, with_bias: bool, seed: u64) {
    for arithmetic in [F32, Bf16] {
        check_in(arithmetic, format, [n, rows, cols], with_bias, seed);
    }
}

fn check_in(
    arithmetic: Arithmetic,
    format: Format,
    [n, rows, cols]: [usize; 3],
    with_bias: bool,
    seed: u64,
) {
    let mut random = Random(seed);
    let stored = random.weights(format, rows, cols);
    let weights = stored.decoded();
    let x = random.numbers(n * cols);
    let bias = random.numbers(rows);
    let on = |path: Path, w: Matrix<'_>| {
        let mut out = vec![f32::NAN; n * rows];
        linear_on(path, &x, w, with_bias.then_some(&bias[..]), arithmetic, &mut out);
        for (i, out) in out.iter().enumerate() {
            let (row, of) = (i / rows, i % rows);
            let pairs = x[row * cols..][..cols].iter().zip(&weights[of * cols..][..cols]);
            let products = pairs.map(|(&x, &w)| factor(arithmetic, x) * factor(arithmetic, w));
            let bias = with_bias.then(|| f64::from(bias[of]));
            let summands: Vec<f64> = products.chain(bias).collect();
            let sum: f64 = summands.iter().sum();
            assert!(
                (f64::from(*out) - sum).abs() <= bound(arithmetic, format, summands.into_iter()),
                "{arithmetic:?}, {:?} of {format:?} [{n}, {cols}] x [{rows}, {cols}] on {path:?}: \
                 {out} for {sum}",
                w.layout
            );
        }
    };
    each_layout(&stored, |w| Path::all().into_iter().for_each(|path| on(path, w)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_those_of_the_decoded_weights(
        format in prop::sample::select(&Format::ALL[..]),
        n in 1..20_usize,
        rows in 1..70_usize,
        blocks in 1..6_usize,
        with_bias: bool,
        seed: u64,
    ) {
        let block = if format.block_len() == 1 { 37 } else { format.block_len() };
        check(format, n, rows, blocks * block, with_bias, seed);
    }
}

#[test]
fn long_rows_and_large_products() {
    check(Format::Q6_K, 3, 13, 2560, true, 1);
    check(Format::F32, 5, 14, 2051, false, 2);
    check(Format::Q4_1, 70, 200, 1056, true, 3); // spread over threads
    check(Format::Q8_0, 1, 3000, 320, false, 4);
}

/// The bytes of a mapped file may begin anywhere.
#[test]
fn floats_need_no_alignment() {
    let mut random = Random(5);
    let stored = random.weights(Format::F32, 7, 33);
    let x = random.numbers(33);
    let (mut expected, mut got) = (vec![0.0; 7], vec![0.0; 7]);
    linear_on(Path::active(), &x, stored.matrix(), None, F32, &mut expected);
    for shift in 0..4 {
        let mut bytes = vec![0; shift];
        bytes.extend(stored.matrix().bytes);
        let shifted = Matrix { bytes: &bytes[shift..], ..stored.matrix() };
        linear_on(Path::active(), &x, shifted, None, F32, &mut got);
        assert_eq!(got, expected);
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let formats =
        [Format::Q4_1, Format::Q8_0, Format::Q4_K, Format::F16, Format::BF16, Format::F32];
    for (format, arithmetic) in formats.into_iter().flat_map(|it| [(it, F32), (it, Bf16)]) {
        let mut random = Random(6);
        let (rows, cols) = (101, 1280);
        let stored = random.weights(format, rows, cols);
        let x = random.numbers(23 * cols);
        let on = |path: Path, w: Matrix<'_>| {
            let mut together = vec![0.0; 23 * rows];
            linear_on(path, &x, w, None, arithmetic, &mut together);
            for n in [1, 2, 3, 4, 5, 7, 11] {
                let mut some = vec![0.0; n * rows];
                linear_on(path, &x[4 * cols..][..n * cols], w, None, arithmetic, &mut some);
                let layout = w.layout;
                assert_eq!(
                    some,
                    together[4 * rows..][..n * rows],
                    "{arithmetic:?}, {layout:?} of {format:?}, {n} rows"
                );
            }
        };
        each_layout(&stored, |w| Path::all().into_iter().for_each(|path| on(path, w)));
    }
}

fn check_backward(format: Format, n: usize, rows: usize, cols: usize, seed: u64) {
    for arithmetic in [F32, Bf16] {
        let mut random = Random(seed);
        let stored = random.weights(format, rows, cols);
        let weights = stored.decoded();
        let g = random.numbers(n * rows);
        let on = |path: Path, w: Matrix<'_>| {
            let layout = w.layout;
            let mut out = vec![f32::NAN; n * cols];
            linear_backward_on(path, &g, w, arithmetic, &mut out);
            for (i, out) in out.iter().enumerate() {
                let (row, of) = (i / cols, i % cols);
                let pairs = g[row * rows..][..rows].iter().zip(weights[of..].iter().step_by(cols));
                let products = pairs.map(|(&g, &w)| factor(arithmetic, g) * factor(arithmetic, w));
                let summands: Vec<f64> = products.collect();
                let sum: f64 = summands.iter().sum();
                let bound = bound(arithmetic, format, summands.into_iter());
                assert!(
                    (f64::from(*out) - sum).abs() <= bound,
                    "{arithmetic:?}, {layout:?} of {format:?} [{n}, {rows}] x [{rows}, {cols}] on \
                     {path:?}: {out} for {sum}"
                );
            }
            let mut alone = vec![f32::NAN; cols];
            linear_backward_on(path, &g[(n - 1) * rows..], w, arithmetic, &mut alone);
            let message = format!("{arithmetic:?}, {format:?} on {path:?}: a row alone");
            assert_eq!(alone, out[(n - 1) * cols..], "{message}");
        };
        each_layout(&stored, |w| {
            if arithmetic == Bf16 || w.layout == Layout::Eights {
                for path in Path::all() {
                    on(path, w);
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gradients_are_those_of_the_decoded_weights(
        format in prop::sample::select(&Format::ALL[..]),
        n in 1..30_usize,
        rows in 1..70_usize,
        blocks in 1..5_usize,
        short in 0..32_usize,
        seed: u64,
    ) {
        let cols = match format.block_len() {
            1 => blocks * 32 - short,
            len => blocks * len,
        };
        check_backward(format, n, rows, cols, seed);
    }
}

#[test]
fn gradients_of_large_weights() {
    check_backward(Format::Q4_1, 40, 530, 352, 1); // spread over threads
    check_backward(Format::Q4_K, 3, 1100, 256, 2);
    check_backward(Format::BF16, 40, 530, 352, 3);
}

/// Packed weights are decoded to the bits that `dequantize_rows` gives: a row of activations with a
/// single 1 picks a column of them.
#[test]
fn packed_elements_are_those_of_the_reference() {
    for format in Format::ALL.into_iter().filter(|it| it.packs() && *it != Format::Int8) {
        let stored = Random(9).weights(format, 41, 512);
        let (weights, bytes) = (stored.decoded(), stored.packed());
        let w = Matrix { bytes: bytes.as_ref(), layout: Layout::Eights, ..stored.matrix() };
        for path in Path::all() {
            for n in [1, 7] {
                for col in [0, 1, 2, 3, 19, 33, 255, 256, 511] {
                    let mut x = vec![0.0; n * 512];
                    x[(n - 1) * 512 + col] = 1.0;
                    let mut out = vec![f32::NAN; n * 41];
                    linear_on(path, &x, w, None, F32, &mut out);
                    for (row, out) in out[(n - 1) * 41..].iter().enumerate() {
                        let bits = [*out, weights[row * 512 + col]].map(|it| (it + 0.0).to_bits());
                        assert_eq!(bits[0], bits[1], "{format:?} on {path:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_a_table_are_gathered() {
    for format in Format::ALL {
        let stored = Random(7).weights(format, 5, 256);
        let mut out = vec![0.0; 3 * 256];
        embed(&[4, 0, 4], stored.matrix(), &mut out);
        let rows = stored.decoded();
        assert_eq!(out, [&rows[4 * 256..], &rows[..256], &rows[4 * 256..]].concat());
    }
}

#[test]
#[should_panic(expected = "row 5 of a table of 5")]
fn a_row_beyond_the_table_is_refused() {
    let stored = Random(8).weights(Format::F32, 5, 2);
    embed(&[5], stored.matrix(), &mut [0.0; 2]);
}
