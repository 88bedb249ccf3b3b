//! The formats of bitsandbytes: blocks of 64 codes with one scale, and rows of bytes.
//! Papers: arxiv.org/abs/2305.14314 (NF4, scales of scales), arxiv.org/abs/2208.07339 (rows of
//! bytes), arxiv.org/abs/2110.02861 (the dynamic map).

use std::sync::LazyLock;

use crate::{Format, format::NESTED, simd::Simd};

/// Values of four-bit codes.
pub(crate) const CODES: usize = 16;

/// One step of a byte, as a share of its row's largest number.
pub(crate) const INT8_STEP: f32 = 1.0 / 127.0;

/// Quantiles of the normal distribution, brought to [-1, 1] so that 0 is one of them.
#[expect(
    clippy::excessive_precision,
    clippy::unreadable_literal,
    reason = "the digits that the format is published with"
)]
static NF4: [f32; CODES] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

/// A sign, two bits of exponent, one of fraction, divided by the largest (12).
static FP4: [f32; CODES] = [
    0.0,
    0.0625 / 12.0,
    8.0 / 12.0,
    1.0,
    4.0 / 12.0,
    6.0 / 12.0,
    2.0 / 12.0,
    3.0 / 12.0,
    -0.0,
    -0.0625 / 12.0,
    -8.0 / 12.0,
    -1.0,
    -4.0 / 12.0,
    -6.0 / 12.0,
    -2.0 / 12.0,
    -3.0 / 12.0,
];

/// What the codes of a four-bit format stand for.
#[inline(always)]
pub(crate) fn code_of(format: Format) -> &'static [f32; CODES] {
    match format {
        Format::Fp4 | Format::Fp4Double => &FP4,
        _ => &NF4,
    }
}

#[inline(always)]
pub(super) fn nf4<S: Simd>(s: S, block: &[u8; 36], out: &mut [f32; 64]) {
    block64(s, &NF4, float_at(block, 0), &block[4..], out);
}

#[inline(always)]
pub(super) fn fp4<S: Simd>(s: S, block: &[u8; 36], out: &mut [f32; 64]) {
    block64(s, &FP4, float_at(block, 0), &block[4..], out);
}

/// Blocks whose scales are bytes; `block` counts the first of them within the matrix.
#[inline(always)]
pub(super) fn double<S: Simd>(
    s: S,
    table: &[f32; CODES],
    rest: &[u8],
    block: usize,
    bytes: &[u8],
    out: &mut [f32],
) {
    let map = &*SIGNED;
    let offset = float_at(rest, 0);
    let blocks = bytes.as_chunks::<33>().0.iter().zip(out.as_chunks_mut::<64>().0);
    for (i, (bytes, out)) in blocks.enumerate() {
        let nested = float_at(rest, 4 + (block + i) / NESTED * 4);
        let scale = map[usize::from(bytes[0])] * nested + offset;
        block64(s, table, scale, &bytes[1..], out);
    }
}

/// A part of a row of bytes behind its scale.
#[inline(always)]
pub(super) fn int8(row: &[u8], from: usize, out: &mut [f32]) {
    let scale = float_at(row, 0);
    for (out, byte) in out.iter_mut().zip(&row[4 + from..]) {
        *out = f32::from(byte.cast_signed()) * scale * INT8_STEP;
    }
}

#[inline(always)]
fn block64<S: Simd>(s: S, table: &[f32; CODES], scale: f32, codes: &[u8], out: &mut [f32; 64]) {
    let eights = codes.as_chunks().0.iter().zip(out.as_chunks_mut().0);
    for (bytes, out) in eights {
        s.lookup(halves_of(u32::from_le_bytes(*bytes)), table, scale, out);
    }
}

/// Four bytes as eight: the upper half of each, then its lower half.
#[inline(always)]
fn halves_of(packed: u32) -> u64 {
    let packed = u64::from(packed);
    let pairs = (packed | packed << 16) & 0x0000_ffff_0000_ffff;
    let spread = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    (spread >> 4 & 0x000f_000f_000f_000f) | (spread & 0x000f_000f_000f_000f) << 8
}

#[inline(always)]
fn float_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

static SIGNED: LazyLock<[f32; 256]> = LazyLock::new(|| dynamic_map(true));

/// What the bytes of the dynamic map stand for, in rising order: seven decades, each divided twice
/// as finely as the one below it. Without signs each decade has twice the values.
pub(crate) fn dynamic_map(signed: bool) -> [f32; 256] {
    let mut values = vec![0.0, 1.0];
    for decade in 0..7_i32 {
        let count = 1 << (decade + i32::from(!signed));
        let size = 10.0_f64.powi(decade - 6) as f32;
        let mean = |i| f32::midpoint(between(i, count), between(i + 1, count));
        values.extend((0..count).map(|i| size * mean(i)));
        if signed {
            values.extend((0..count).map(|i| -size * mean(i)));
        }
    }
    values.sort_by(f32::total_cmp);
    values.try_into().expect("7 decades, 0 and 1 are 256 values")
}

/// The `i`th of `count` equal steps from 0.1 to 1, rounded as PyTorch's `linspace` rounds it: once.
fn between(i: usize, count: usize) -> f32 {
    let step = (1.0_f32 - 0.1) / count as f32;
    if i < count.div_ceil(2) {
        step.mul_add(i as f32, 0.1)
    } else {
        (-step).mul_add((count - i) as f32, 1.0)
    }
}
