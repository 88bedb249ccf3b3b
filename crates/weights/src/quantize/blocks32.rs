//! Blocks of 32 with one scale. The steps and their order are those of the formats' reference, so
//! that the bytes are the same.

use half::f16;

/// Scale; 32 signed bytes.
pub(super) fn q8_0(x: &[f32; 32], out: &mut [u8; 34]) {
    let largest = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    for (out, x) in out[2..].iter_mut().zip(x) {
        *out = ((x * inverse).round() as i8).cast_unsigned();
    }
}

/// Scale; nibbles around 8.
pub(super) fn q4_0(x: &[f32; 32], out: &mut [u8; 18]) {
    let (scale, q) = around_half::<8>(x);
    put_half(out, 0, scale);
    put_nibbles(&mut out[2..], &q);
}

/// Scale, minimum; nibbles.
pub(super) fn q4_1(x: &[f32; 32], out: &mut [u8; 20]) {
    let (scale, minimum, q) = above_minimum::<15>(x);
    put_half(out, 0, scale);
    put_half(out, 2, minimum);
    put_nibbles(&mut out[4..], &q);
}

/// As `q4_0` with a fifth bit.
pub(super) fn q5_0(x: &[f32; 32], out: &mut [u8; 22]) {
    let (scale, q) = around_half::<16>(x);
    put_half(out, 0, scale);
    out[2..6].copy_from_slice(&fifth_bits(&q));
    put_nibbles(&mut out[6..], &q);
}

/// As `q4_1` with a fifth bit.
pub(super) fn q5_1(x: &[f32; 32], out: &mut [u8; 24]) {
    let (scale, minimum, q) = above_minimum::<31>(x);
    put_half(out, 0, scale);
    put_half(out, 2, minimum);
    out[4..8].copy_from_slice(&fifth_bits(&q));
    put_nibbles(&mut out[8..], &q);
}

/// `x = scale · (q - HALF)`: the element of largest magnitude gets the one end that has no
/// counterpart at the other side, whatever its sign.
fn around_half<const HALF: u8>(x: &[f32; 32]) -> (f32, [u8; 32]) {
    let half = f32::from(HALF);
    let largest = x.iter().fold(0.0_f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    let scale = largest / -half;
    let inverse = inverse(scale);
    (scale, x.map(|x| ((x * inverse + (half + 0.5)) as u8).min(2 * HALF - 1)))
}

/// `x = scale · q + minimum`.
fn above_minimum<const MOST: u8>(x: &[f32; 32]) -> (f32, f32, [u8; 32]) {
    let minimum = x.iter().copied().fold(f32::INFINITY, f32::min);
    let maximum = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = (maximum - minimum) / f32::from(MOST);
    let inverse = inverse(scale);
    (scale, minimum, x.map(|x| (((x - minimum) * inverse + 0.5) as u8).min(MOST)))
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

fn put_half(out: &mut [u8], at: usize, value: f32) {
    out[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// The first 16 elements are the low nibbles.
fn put_nibbles(out: &mut [u8], q: &[u8; 32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = q[i] & 15 | q[i + 16] << 4;
    }
}

fn fifth_bits(q: &[u8; 32]) -> [u8; 4] {
    q.iter().rev().fold(0_u32, |bits, q| bits << 1 | u32::from(q >> 4)).to_le_bytes()
}
