//! Blocks of 256 with scales of their sub-blocks: the "k" formats.
//!
//! Sub-blocks are fitted first. Their scales (and minima) are then written as small multiples of
//! one 16-bit float, and each multiple's neighbours are tried against the elements.

use half::f16;

use super::fit::{Affine, Linear, nearest};

/// The largest multiple in six bits.
const MOST_MULTIPLE: f32 = 63.0;
/// Half of the range of six signed bits.
const HALF_Q6: f32 = 32.0;

/// Scale; minimum; 8 six-bit scales and minima; 128 bytes of nibbles.
pub(super) fn q4_k(x: &[f32; 256], out: &mut [u8; 144]) {
    let (header, q) = affine(x, 15.0);
    out[..16].copy_from_slice(&header);
    put_nibbles(&mut out[16..], &q);
}

/// As `q4_k`, with 32 bytes of fifth bits before the nibbles.
pub(super) fn q5_k(x: &[f32; 256], out: &mut [u8; 176]) {
    let (header, q) = affine(x, 31.0);
    out[..16].copy_from_slice(&header);
    for (i, out) in out[16..48].iter_mut().enumerate() {
        *out = (0..8).fold(0, |bits, sub| bits | (q[sub * 32 + i] >> 4) << sub);
    }
    put_nibbles(&mut out[48..], &q);
}

/// 128 bytes of nibbles; 64 bytes of upper bit pairs; 16 signed scales; scale.
pub(super) fn q6_k(x: &[f32; 256], out: &mut [u8; 210]) {
    let subs = x.as_chunks::<16>().0;
    let mut fits = [Linear::default(); 16];
    for (fit, x) in fits.iter_mut().zip(subs) {
        *fit = Linear::of(x, HALF_Q6);
    }
    let largest = fits
        .iter()
        .fold(0.0_f32, |most, f| if f.scale.abs() > most.abs() { f.scale } else { most });
    // The end of the range that reaches further is for the largest, whatever its sign.
    let (stored, unit) = half(largest / -128.0);
    out[208..].copy_from_slice(&stored);
    let mut q = [0_u8; 256];
    for (sub, x) in subs.iter().enumerate() {
        let multiple = if unit == 0.0 { 0.0 } else { nearest(fits[sub].scale / unit) };
        let (multiple, fit) = best_of(
            [0.0, -1.0, 1.0].map(|step| (multiple + step).clamp(-128.0, 127.0)),
            |multiple| Linear { scale: unit * multiple },
            |fit| fit.error(x, HALF_Q6),
        );
        out[192 + sub] = (multiple as i8).cast_unsigned();
        for (q, &x) in q[sub * 16..].iter_mut().zip(x) {
            *q = (fit.rounded(x, HALF_Q6) + HALF_Q6) as u8;
        }
    }
    // Each half has four layers of 32: low nibbles of 64 bytes, then their high nibbles.
    for (half, q) in q.as_chunks::<128>().0.iter().enumerate() {
        for i in 0..64 {
            out[half * 64 + i] = q[i] & 15 | q[i + 64] << 4;
        }
        for i in 0..32 {
            out[128 + half * 32 + i] =
                (0..4).fold(0, |bits, layer| bits | (q[layer * 32 + i] >> 4) << (2 * layer));
        }
    }
}

/// The first 16 bytes of a block with scales and minima, and its elements.
fn affine(x: &[f32; 256], most: f32) -> ([u8; 16], [u8; 256]) {
    let subs = x.as_chunks::<32>().0;
    let mut fits = [Affine::default(); 8];
    for (fit, x) in fits.iter_mut().zip(subs) {
        *fit = Affine::of(x, most);
    }
    let largest = |of: fn(&Affine) -> f32| fits.iter().map(of).fold(0.0, f32::max);
    let (scale, scale_unit) = half(largest(|fit| fit.scale) / MOST_MULTIPLE);
    let (minimum, minimum_unit) = half(largest(|fit| fit.minimum) / MOST_MULTIPLE);
    let (mut scales, mut minima, mut q) = ([0_u8; 8], [0_u8; 8], [0_u8; 256]);
    for (sub, x) in subs.iter().enumerate() {
        let near = |value: f32, unit: f32| {
            let multiple = if unit > 0.0 { nearest(value / unit) } else { 0.0 };
            [0.0, -1.0, 1.0].map(|step| (multiple + step).clamp(0.0, MOST_MULTIPLE))
        };
        let (s, m) = (near(fits[sub].scale, scale_unit), near(fits[sub].minimum, minimum_unit));
        let pairs = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|i: usize| (s[i / 3], m[i % 3]));
        let ((s, m), fit) = best_of(
            pairs,
            |(s, m)| Affine { scale: scale_unit * s, minimum: minimum_unit * m },
            |fit| fit.error(x, most),
        );
        (scales[sub], minima[sub]) = (s as u8, m as u8);
        for (q, &x) in q[sub * 32..].iter_mut().zip(x) {
            *q = fit.rounded(x, most) as u8;
        }
    }
    let mut header = [0; 16];
    header[..2].copy_from_slice(&scale);
    header[2..4].copy_from_slice(&minimum);
    header[4..].copy_from_slice(&six_bits(&scales, &minima));
    (header, q)
}

/// The candidate with the least error; of equal ones the first.
fn best_of<C: Copy, F: Copy, const N: usize>(
    candidates: [C; N],
    fit: impl Fn(C) -> F,
    error: impl Fn(F) -> f32,
) -> (C, F) {
    let mut best = (candidates[0], fit(candidates[0]));
    let mut least = error(best.1);
    for candidate in &candidates[1..] {
        let found = fit(*candidate);
        let error = error(found);
        if error < least {
            (best, least) = ((*candidate, found), error);
        }
    }
    best
}

/// A number as 16 bits, and what they mean.
fn half(value: f32) -> ([u8; 2], f32) {
    let half = f16::from_f32(value);
    (half.to_le_bytes(), half.to_f32())
}

/// Eight pairs of six bits: the first four whole, the upper two bits of the others above them.
fn six_bits(scales: &[u8; 8], minima: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for j in 0..4 {
        packed[j] = scales[j] | (scales[j + 4] >> 4) << 6;
        packed[j + 4] = minima[j] | (minima[j + 4] >> 4) << 6;
        packed[j + 8] = scales[j + 4] & 15 | minima[j + 4] << 4;
    }
    packed
}

/// Two sub-blocks of 32 in each 32 bytes.
fn put_nibbles(out: &mut [u8], q: &[u8; 256]) {
    for (out, q) in out.as_chunks_mut::<32>().0.iter_mut().zip(q.as_chunks::<64>().0) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = q[i] & 15 | q[i + 32] << 4;
        }
    }
}
