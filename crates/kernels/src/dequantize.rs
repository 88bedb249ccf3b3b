//! From stored blocks to floats.
//!
//! Multiplications and additions stand in the order of the formats' reference and are never fused,
//! so every path decodes to the same bits.

mod blocks256;
mod blocks32;
mod halves;

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
    fn run<S: Simd>(self, _: S) {
        decode(self.format, self.bytes, self.out);
    }
}

/// Decodes as many blocks as `out` has room for; part of kernels.
#[inline(always)]
pub(crate) fn decode(format: Format, bytes: &[u8], out: &mut [f32]) {
    use Format::*;
    match format {
        F32 => each(bytes, out, |b: &[u8; 4], o: &mut [f32; 1]| o[0] = f32::from_le_bytes(*b)),
        F16 => each(bytes, out, |b: &[u8; 2], o: &mut [f32; 1]| o[0] = halves::f16(*b)),
        BF16 => each(bytes, out, |b: &[u8; 2], o: &mut [f32; 1]| o[0] = halves::bf16(*b)),
        Q4_0 => each(bytes, out, blocks32::q4_0),
        Q4_1 => each(bytes, out, blocks32::q4_1),
        Q5_0 => each(bytes, out, blocks32::q5_0),
        Q5_1 => each(bytes, out, blocks32::q5_1),
        Q8_0 => each(bytes, out, blocks32::q8_0),
        Q2_K => each(bytes, out, blocks256::q2_k),
        Q3_K => each(bytes, out, blocks256::q3_k),
        Q4_K => each(bytes, out, blocks256::q4_k),
        Q5_K => each(bytes, out, blocks256::q5_k),
        Q6_K => each(bytes, out, blocks256::q6_k),
    }
}

#[inline(always)]
fn each<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        block(bytes, out);
    }
}

#[cfg(test)]
mod tests;
