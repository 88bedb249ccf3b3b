//! Blocks of 256 with scales of their sub-blocks: the "k" formats.
//!
//! Eight elements at a time, as the bytes of a `u64`.

use super::{blocks32::eight, plain::half_at};
use crate::simd::Simd;

const ONES: u64 = 0x0101_0101_0101_0101;
const PAIRS: u64 = 3 * ONES;
const NIBBLES: u64 = 15 * ONES;

/// 16 scales with minima in nibbles; 64 bytes of two-bit elements; scale; minimum.
#[inline(always)]
pub(super) fn q2_k<S: Simd>(s: S, block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, min) = (half_at(s, block, 80), half_at(s, block, 82));
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Each half of the elements lies in 32 bytes: four layers of bits, two sub-blocks each.
        let (half, layer, side) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        let scale = d * f32::from(block[sub] & 15);
        let offset = min * f32::from(block[sub] >> 4);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let q = eight(block, 16 + half * 32 + side + i * 8) >> (layer * 2) & PAIRS;
            s.affine(q, 0, scale, Some(-offset), out);
        }
    }
}

/// 32 bytes of third bits; 64 bytes of two-bit elements; 16 six-bit scales; scale.
#[inline(always)]
pub(super) fn q3_k<S: Simd>(s: S, block: &[u8; 110], out: &mut [f32; 256]) {
    let d = half_at(s, block, 108);
    let packed = &block[96..108];
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = packed[sub % 8] >> (sub / 8 * 4) & 15;
        let high = packed[8 + sub % 4] >> (sub / 4 * 2) & 3;
        let scale = d * (i32::from(low | high << 4) - 32) as f32;
        let (half, layer, side) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let third = eight(block, side + i * 8) >> (half * 4 + layer) & ONES;
            let q = eight(block, 32 + half * 32 + side + i * 8) >> (layer * 2) & PAIRS;
            s.affine(q | third << 2, 4, scale, None, out);
        }
    }
}

/// Scale; minimum; 8 six-bit scales and minima; 128 bytes of nibbles.
#[inline(always)]
pub(super) fn q4_k<S: Simd>(s: S, block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, min) = (half_at(s, block, 0), half_at(s, block, 2));
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, offset) = scale_and_offset(block, sub, d, min);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let q = eight(block, 16 + sub / 2 * 32 + i * 8) >> (sub % 2 * 4) & NIBBLES;
            s.affine(q, 0, scale, Some(-offset), out);
        }
    }
}

/// As `q4_k`, with 32 bytes of fifth bits before the nibbles.
#[inline(always)]
pub(super) fn q5_k<S: Simd>(s: S, block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, min) = (half_at(s, block, 0), half_at(s, block, 2));
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, offset) = scale_and_offset(block, sub, d, min);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let q = eight(block, 48 + sub / 2 * 32 + i * 8) >> (sub % 2 * 4) & NIBBLES;
            let fifth = eight(block, 16 + i * 8) >> sub & ONES;
            s.affine(q | fifth << 4, 0, scale, Some(-offset), out);
        }
    }
}

/// 128 bytes of nibbles; 64 bytes of upper bit pairs; 16 signed scales; scale.
#[inline(always)]
pub(super) fn q6_k<S: Simd>(s: S, block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half_at(s, block, 208);
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Each half has four layers of 32: low nibbles of 64 bytes, then their high nibbles.
        let (half, layer, side) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        let scale = d * f32::from(block[192 + sub].cast_signed());
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let at = half * 64 + layer % 2 * 32 + side + i * 8;
            let low = eight(block, at) >> (layer / 2 * 4) & NIBBLES;
            let high = eight(block, 128 + half * 32 + side + i * 8) >> (layer * 2) & PAIRS;
            s.affine(low | high << 4, 32, scale, None, out);
        }
    }
}

/// Sub-block `j`'s scale and minimum, six bits each, packed in the 12 bytes from the fourth on.
#[inline(always)]
fn scale_and_offset(block: &[u8], j: usize, d: f32, min: f32) -> (f32, f32) {
    let packed = &block[4..16];
    let (scale, offset) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (
            (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4,
            (packed[j + 4] >> 4) | (packed[j] >> 6) << 4,
        )
    };
    (d * f32::from(scale), min * f32::from(offset))
}
