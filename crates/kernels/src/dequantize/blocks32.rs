//! Blocks of 32 with one scale: the first generation of formats.
//!
//! Eight elements at a time, as the bytes of a `u64`.

use super::plain::half_at;
use crate::simd::Simd;

const NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;

/// Scale; 16 bytes, the low nibbles being the first 16 elements.
#[inline(always)]
pub(super) fn q4_0<S: Simd>(s: S, block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(s, block, 0);
    for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        s.affine(nibbles(block, 2, i), 8, d, None, out);
    }
}

/// Scale, minimum; nibbles as in `q4_0`.
#[inline(always)]
pub(super) fn q4_1<S: Simd>(s: S, block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(s, block, 0), half_at(s, block, 2));
    for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        s.affine(nibbles(block, 4, i), 0, d, Some(m), out);
    }
}

/// Scale; 32 fifth bits; nibbles as in `q4_0`.
#[inline(always)]
pub(super) fn q5_0<S: Simd>(s: S, block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(s, block, 0);
    for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        s.affine(nibbles(block, 6, i) | spread(block[2 + i]) << 4, 16, d, None, out);
    }
}

/// Scale, minimum; 32 fifth bits; nibbles as in `q4_0`.
#[inline(always)]
pub(super) fn q5_1<S: Simd>(s: S, block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(s, block, 0), half_at(s, block, 2));
    for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        s.affine(nibbles(block, 8, i) | spread(block[4 + i]) << 4, 0, d, Some(m), out);
    }
}

/// Scale; 32 signed bytes.
#[inline(always)]
pub(super) fn q8_0<S: Simd>(s: S, block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(s, block, 0);
    for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        let unsigned = eight(block, 2 + i * 8) ^ 0x8080_8080_8080_8080;
        s.affine(unsigned, 128, d, None, out);
    }
}

/// Eight bytes of a block.
#[inline(always)]
pub(super) fn eight(block: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The `i`th eight of the 32 nibbles from byte `at` on.
#[inline(always)]
fn nibbles(block: &[u8], at: usize, i: usize) -> u64 {
    eight(block, at + i % 2 * 8) >> (i / 2 * 4) & NIBBLES
}

/// Eight bits as eight bytes of 0 or 1.
#[inline(always)]
fn spread(bits: u8) -> u64 {
    let each_in_place = (u64::from(bits) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    (each_in_place + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101
}
