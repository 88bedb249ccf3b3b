//! Blocks of 32 with one scale: the first generation of formats.

use super::halves::f16_at;

/// Scale; 16 bytes, the low nibbles being the first 16 elements.
#[inline(always)]
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for i in 0..16 {
        let q = block[2 + i];
        out[i] = (i32::from(q & 15) - 8) as f32 * d;
        out[i + 16] = (i32::from(q >> 4) - 8) as f32 * d;
    }
}

/// Scale, minimum; nibbles as in `q4_0`.
#[inline(always)]
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for i in 0..16 {
        let q = block[4 + i];
        out[i] = i32::from(q & 15) as f32 * d + m;
        out[i + 16] = i32::from(q >> 4) as f32 * d + m;
    }
}

/// Scale; 32 fifth bits; nibbles as in `q4_0`.
#[inline(always)]
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    let q = five_bits(fifth_bits(block, 2), &block[6..]);
    for i in 0..32 {
        out[i] = (q[i] - 16) as f32 * d;
    }
}

/// Scale, minimum; 32 fifth bits; nibbles as in `q4_0`.
#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    let q = five_bits(fifth_bits(block, 4), &block[8..]);
    for i in 0..32 {
        out[i] = q[i] as f32 * d + m;
    }
}

/// Scale; 32 signed bytes.
#[inline(always)]
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for i in 0..32 {
        out[i] = i32::from(block[2 + i].cast_signed()) as f32 * d;
    }
}

#[inline(always)]
fn fifth_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

#[inline(always)]
fn five_bits(high: u32, nibbles: &[u8]) -> [i32; 32] {
    let nibbles = &nibbles[..16];
    let mut q = [0; 32];
    for i in 0..16 {
        q[i] = i32::from(nibbles[i] & 15) | ((high >> i & 1) << 4).cast_signed();
        q[i + 16] = i32::from(nibbles[i] >> 4) | ((high >> (i + 16) & 1) << 4).cast_signed();
    }
    q
}
