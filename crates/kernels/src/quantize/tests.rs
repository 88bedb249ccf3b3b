//! Against bitsandbytes (`tests/fixtures/make_bitsandbytes.py`).

use super::quantize;
use crate::{
    Format, Layout, Matrix,
    dequantize::{dequantize_rows_on, dynamic_map},
    simd::Path,
};

const ROWS: usize = 130;
const COLS: usize = 128;
const BLOCKS: usize = ROWS * COLS / 64;
/// Rows whose decoded numbers are there.
const SHOWN: [usize; 5] = [0, 1, 64, 128, 129];

/// The parts of the fixture, in order.
struct Parts(&'static [u8]);

impl Parts {
    /// The parts, with the matrix that stands first.
    fn open() -> (Self, Matrix<'static>) {
        let mut parts = Self(include_bytes!("../../tests/fixtures/bitsandbytes.bin"));
        let bytes = parts.bytes(ROWS * COLS * 2);
        (
            parts,
            Matrix { format: Format::BF16, bytes, rows: ROWS, cols: COLS, layout: Layout::Rows },
        )
    }

    fn bytes(&mut self, len: usize) -> &'static [u8] {
        let (first, rest) = self.0.split_at(len);
        self.0 = rest;
        first
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        self.bytes(len * 4).as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect()
    }
}

/// The decoded rows must be those of the reference, on every path.
fn check_rows(format: Format, bytes: &[u8], expected: &[f32], bound: f32) {
    let w = Matrix { format, bytes, rows: ROWS, cols: COLS, layout: Layout::Rows };
    for path in Path::all() {
        for (row, expected) in SHOWN.iter().zip(expected.chunks(COLS)) {
            let mut got = vec![f32::NAN; COLS];
            dequantize_rows_on(path, w, *row, &mut got);
            for (got, expected) in got.iter().zip(expected) {
                let near = (got - expected).abs() <= bound;
                assert!(near, "{format:?}, row {row}, {path:?}: {got} for {expected}");
            }
        }
    }
}

#[test]
fn four_bits_are_those_of_bitsandbytes() {
    let (mut parts, matrix) = Parts::open();
    for (simple, double) in [(Format::Nf4, Format::Nf4Double), (Format::Fp4, Format::Fp4Double)] {
        let codes = parts.bytes(BLOCKS * 32);
        let scales = parts.bytes(BLOCKS * 4);
        let decoded = parts.floats(SHOWN.len() * COLS);
        let bytes = quantize(matrix, simple);
        for (i, block) in bytes.as_chunks::<36>().0.iter().enumerate() {
            assert_eq!(block[..4], scales[i * 4..][..4], "{simple:?}, scale {i}");
            assert_eq!(block[4..], codes[i * 32..][..32], "{simple:?}, block {i}");
        }
        check_rows(simple, &bytes, &decoded, 0.0);

        let scales = parts.bytes(BLOCKS);
        let rest = parts.floats(1 + BLOCKS.div_ceil(256));
        let decoded = parts.floats(SHOWN.len() * COLS);
        let bytes = quantize(matrix, double);
        let (blocks, own) = bytes.split_at(BLOCKS * 33);
        for (i, block) in blocks.as_chunks::<33>().0.iter().enumerate() {
            assert_eq!(block[0], scales[i], "{double:?}, scale {i}");
            assert_eq!(block[1..], codes[i * 32..][..32], "{double:?}, block {i}");
        }
        for (own, expected) in own.as_chunks().0.iter().zip(rest) {
            // The mean is a sum in 64 bits here, so it may differ in its last bit.
            assert!((f32::from_le_bytes(*own) - expected).abs() <= 2e-7 * expected.abs());
        }
        check_rows(double, &bytes, &decoded, 2e-8); // of scales near 0.1
    }
}

#[test]
fn bytes_and_maps_are_those_of_bitsandbytes() {
    let (mut parts, matrix) = Parts::open();
    let four_bits = BLOCKS * 37 + (1 + BLOCKS.div_ceil(256)) * 4 + 2 * SHOWN.len() * COLS * 4;
    parts.bytes(2 * four_bits);
    let codes = parts.bytes(ROWS * COLS);
    let scales = parts.bytes(ROWS * 4);
    let decoded = parts.floats(SHOWN.len() * COLS);
    let bytes = quantize(matrix, Format::Int8);
    for (i, row) in bytes.chunks(4 + COLS).enumerate() {
        assert_eq!(row[..4], scales[i * 4..][..4], "scale {i}");
        assert_eq!(row[4..], codes[i * COLS..][..COLS], "row {i}");
    }
    check_rows(Format::Int8, &bytes, &decoded, 0.0);

    for signed in [true, false] {
        assert_eq!(dynamic_map(signed).to_vec(), parts.floats(256), "signed: {signed}");
    }
    assert!(parts.0.is_empty());
}

#[test]
fn nothing_stays_nothing() {
    let bytes = [0; 4 * 64 * 2];
    let zero =
        Matrix { format: Format::F32, bytes: &bytes, rows: 2, cols: 64, layout: Layout::Rows };
    for format in [Format::Nf4, Format::Fp4, Format::Nf4Double, Format::Fp4Double, Format::Int8] {
        let rounded = quantize(zero, format);
        let w = Matrix { format, bytes: &rounded, ..zero };
        let mut out = [1.0; 128];
        crate::dequantize_rows(w, 0, &mut out);
        assert!(out.iter().all(|x| *x == 0.0), "{format:?}");
    }
}
