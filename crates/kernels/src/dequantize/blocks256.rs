//! Blocks of 256 with scales of their sub-blocks: the "k" formats.

use super::halves::f16_at;

/// 16 scales with minima in nibbles; 64 bytes of two-bit elements; scale; minimum.
#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, min) = (f16_at(block, 80), f16_at(block, 82));
    for sub in 0..16 {
        // Each half of the elements lies in 32 bytes: four layers of bits, two sub-blocks each.
        let (half, shift, side) = (sub / 8, sub % 8 / 2 * 2, sub % 2 * 16);
        let scale = d * f32::from(block[sub] & 15);
        let offset = min * f32::from(block[sub] >> 4);
        let q = &block[16 + half * 32 + side..][..16];
        let out = &mut out[sub * 16..][..16];
        for i in 0..16 {
            out[i] = scale * i32::from(q[i] >> shift & 3) as f32 - offset;
        }
    }
}

/// 32 bytes of third bits; 64 bytes of two-bit elements; 16 six-bit scales; scale.
#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(block, 108);
    let packed = &block[96..108];
    for sub in 0..16 {
        let low = packed[sub % 8] >> (sub / 8 * 4) & 15;
        let high = packed[8 + sub % 4] >> (sub / 4 * 2) & 3;
        let scale = d * (i32::from(low | high << 4) - 32) as f32;
        let (half, layer, side) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        let third = &block[side..][..16];
        let q = &block[32 + half * 32 + side..][..16];
        let out = &mut out[sub * 16..][..16];
        for i in 0..16 {
            let clear = (third[i] >> (half * 4 + layer) & 1) ^ 1; // a clear bit means minus 4
            out[i] = scale * (i32::from(q[i] >> (layer * 2) & 3) - i32::from(clear << 2)) as f32;
        }
    }
}

/// Scale; minimum; 8 six-bit scales and minima; 128 bytes of nibbles.
#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, min) = (f16_at(block, 0), f16_at(block, 2));
    for pair in 0..4 {
        let q = &block[16 + pair * 32..][..32];
        let (scale_low, offset_low) = scale_and_offset(block, pair * 2, d, min);
        let (scale_high, offset_high) = scale_and_offset(block, pair * 2 + 1, d, min);
        let (low, high) = out[pair * 64..][..64].split_at_mut(32);
        for i in 0..32 {
            low[i] = scale_low * i32::from(q[i] & 15) as f32 - offset_low;
        }
        for i in 0..32 {
            high[i] = scale_high * i32::from(q[i] >> 4) as f32 - offset_high;
        }
    }
}

/// As `q4_k`, with 32 bytes of fifth bits before the nibbles.
#[inline(always)]
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, min) = (f16_at(block, 0), f16_at(block, 2));
    let fifth = &block[16..48];
    for pair in 0..4 {
        let q = &block[48 + pair * 32..][..32];
        let (scale_low, offset_low) = scale_and_offset(block, pair * 2, d, min);
        let (scale_high, offset_high) = scale_and_offset(block, pair * 2 + 1, d, min);
        let (low, high) = out[pair * 64..][..64].split_at_mut(32);
        for i in 0..32 {
            let q = (q[i] & 15) | (fifth[i] >> (pair * 2) & 1) << 4;
            low[i] = scale_low * i32::from(q) as f32 - offset_low;
        }
        for i in 0..32 {
            let q = (q[i] >> 4) | (fifth[i] >> (pair * 2 + 1) & 1) << 4;
            high[i] = scale_high * i32::from(q) as f32 - offset_high;
        }
    }
}

/// 128 bytes of nibbles; 64 bytes of upper bit pairs; 16 signed scales; scale.
#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    for sub in 0..16 {
        // Each half has four layers of 32: low nibbles of 64 bytes, then their high nibbles.
        let (half, layer, side) = (sub / 8, sub % 8 / 2, sub % 2 * 16);
        let scale = d * f32::from(block[192 + sub].cast_signed());
        let nibbles = &block[half * 64 + layer % 2 * 32 + side..][..16];
        let pairs = &block[128 + half * 32 + side..][..16];
        let out = &mut out[sub * 16..][..16];
        for i in 0..16 {
            let q = (nibbles[i] >> (layer / 2 * 4) & 15) | (pairs[i] >> (layer * 2) & 3) << 4;
            out[i] = scale * (i32::from(q) - 32) as f32;
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
