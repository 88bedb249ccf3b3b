//! From stored blocks to floats.
//!
//! Multiplications and additions stand in the order of the formats' reference and are never fused,
//! so every path decodes to the same bits.

mod blocks256;
mod blocks32;
mod codes;
mod plain;

pub(crate) use codes::{CODES, INT8_STEP, code_of, dynamic_map};
pub(crate) use plain::half;

use crate::{
    Format, Layout, Matrix,
    simd::{Kernel, Path, Simd},
};

/// Decodes whole blocks.
///
/// `bytes` must hold exactly `format.bytes_of(out.len())` bytes.
///
/// # Panics
/// When the sizes do not fit.
pub fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) {
    dequantize_on(Path::active(), format, bytes, out);
}

pub(crate) fn dequantize_on(path: Path, format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(Some(bytes.len()), format.bytes_of(out.len()), "bytes of {} {format:?}", out.len());
    path.run(Decode { format, bytes, out });
}

/// Decodes whole rows of a matrix, from row `first` on.
///
/// # Panics
/// When the sizes do not fit.
pub fn dequantize_rows(w: Matrix<'_>, first: usize, out: &mut [f32]) {
    w.check();
    dequantize_rows_on(Path::active(), w, first, out);
}

pub(crate) fn dequantize_rows_on(path: Path, w: Matrix<'_>, first: usize, out: &mut [f32]) {
    assert!(out.len().is_multiple_of(w.cols), "out is not rows of {}", w.cols);
    path.run(DecodeRows { w, first, out });
}

struct DecodeRows<'a> {
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for DecodeRows<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { w, first, out } = self;
        let mut bytes = Vec::new();
        for (i, out) in out.chunks_exact_mut(w.cols).enumerate() {
            match w.layout {
                Layout::Rows => decode_part(s, w, first + i, 0, out),
                Layout::Eights => decode_part(s, w.only(first + i, &mut bytes), 0, 0, out),
            }
        }
    }
}

struct Decode<'a> {
    format: Format,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Decode<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        decode(s, self.format, self.bytes, self.out);
    }
}

/// Decodes as many blocks as `out` has room for; part of kernels.
#[inline(always)]
pub(crate) fn decode<S: Simd>(s: S, format: Format, bytes: &[u8], out: &mut [f32]) {
    // A macro, since a function that is passed as a value is not inlined into the kernel.
    macro_rules! each {
        ($block:path) => {
            for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                $block(s, bytes, out);
            }
        };
    }
    match format {
        Format::F32 => each!(plain::f32),
        Format::F16 => s.halves(bytes.as_chunks().0, out),
        Format::BF16 => each!(plain::bf16),
        Format::Q4_0 => each!(blocks32::q4_0),
        Format::Q4_1 => each!(blocks32::q4_1),
        Format::Q5_0 => each!(blocks32::q5_0),
        Format::Q5_1 => each!(blocks32::q5_1),
        Format::Q8_0 => each!(blocks32::q8_0),
        Format::Q2_K => each!(blocks256::q2_k),
        Format::Q3_K => each!(blocks256::q3_k),
        Format::Q4_K => each!(blocks256::q4_k),
        Format::Q5_K => each!(blocks256::q5_k),
        Format::Q6_K => each!(blocks256::q6_k),
        Format::Nf4 => each!(codes::nf4),
        Format::Fp4 => each!(codes::fp4),
        Format::Nf4Double | Format::Fp4Double | Format::Int8 => {
            unreachable!("elements of {format:?} have no size without a matrix")
        }
    }
}

/// Decodes a part of a row, from whole block to whole block; part of kernels.
#[inline(always)]
pub(crate) fn decode_part<S: Simd>(s: S, w: Matrix<'_>, row: usize, from: usize, out: &mut [f32]) {
    let bytes = w.row(row);
    let first = from / w.format.block_len();
    match w.format {
        Format::Nf4Double | Format::Fp4Double => {
            let blocks = w.cols / w.format.block_len();
            let table = code_of(w.format);
            codes::double(s, table, w.rest(), row * blocks + first, &bytes[first * 33..], out);
        }
        Format::Int8 => codes::int8(bytes, from, out),
        format => decode(s, format, &bytes[first * format.block_bytes()..], out),
    }
}

#[cfg(test)]
mod tests;
