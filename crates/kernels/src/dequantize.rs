//! From stored blocks to floats.
//!
//! Multiplications and additions stand in the order of the formats' reference and are never fused,
//! so every path decodes to the same bits.

mod blocks256;
mod blocks32;
mod plain;

pub(crate) use plain::half;

use crate::{
    Format,
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
    }
}

#[cfg(test)]
mod tests;
