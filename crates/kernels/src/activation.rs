//! Gated activation, and an exponential that vectorises.

use rayon::prelude::*;

use crate::{
    simd::{Kernel, Path, Simd},
    threads::worth_spreading,
};

/// Elements that one task takes.
const PIECE: usize = 1 << 14;

/// `out = silu(gate) · up`, where `silu(x) = x / (1 + exp(-x))`.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) {
    silu_mul_on(Path::active(), gate, up, out);
}

pub(crate) fn silu_mul_on(path: Path, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert_eq!(gate.len(), out.len(), "gate and out");
    assert_eq!(up.len(), out.len(), "up and out");
    if worth_spreading(out.len() * 8) {
        let pieces = out.par_chunks_mut(PIECE);
        pieces.zip(gate.par_chunks(PIECE)).zip(up.par_chunks(PIECE)).for_each(
            |((out, gate), up)| {
                path.run(SiluMul { gate, up, out });
            },
        );
    } else {
        path.run(SiluMul { gate, up, out });
    }
}

struct SiluMul<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for SiluMul<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((out, &gate), &up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

/// The gradients of [`silu_mul`], given that of its result.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul_backward(
    gate: &[f32],
    up: &[f32],
    g_out: &[f32],
    g_gate: &mut [f32],
    g_up: &mut [f32],
) {
    silu_mul_backward_on(Path::active(), gate, up, g_out, g_gate, g_up);
}

pub(crate) fn silu_mul_backward_on(
    path: Path,
    gate: &[f32],
    up: &[f32],
    g_out: &[f32],
    g_gate: &mut [f32],
    g_up: &mut [f32],
) {
    for (len, name) in
        [(up.len(), "up"), (g_out.len(), "g_out"), (g_gate.len(), "g_gate"), (g_up.len(), "g_up")]
    {
        assert_eq!(len, gate.len(), "gate and {name}");
    }
    let ins = gate.par_chunks(PIECE).zip(up.par_chunks(PIECE)).zip(g_out.par_chunks(PIECE));
    let outs = g_gate.par_chunks_mut(PIECE).zip(g_up.par_chunks_mut(PIECE));
    ins.zip(outs).for_each(|(((gate, up), g_out), (g_gate, g_up))| {
        path.run(SiluMulBackward { gate, up, g_out, g_gate, g_up });
    });
}

struct SiluMulBackward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    g_out: &'a [f32],
    g_gate: &'a mut [f32],
    g_up: &'a mut [f32],
}

impl Kernel for SiluMulBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let ins = self.gate.iter().zip(self.up).zip(self.g_out);
        let outs = self.g_gate.iter_mut().zip(self.g_up.iter_mut());
        for (((&gate, &up), &g), (g_gate, g_up)) in ins.zip(outs) {
            let share = 1.0 / (1.0 + exp(-gate));
            *g_up = g * gate * share;
            *g_gate = g * up * share * (1.0 + gate * (1.0 - share));
        }
    }
}

/// `exp(x)` within two units in the last place, without branches or calls, so that loops over it
/// vectorise.
///
/// Below -87.3, where the result would be subnormal, it is 0; above 88.3 it stays at that value's
/// exponential, which is finite. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.3;
    const ROUND: f32 = 12_582_912.0; // 1.5·2^23: adding it leaves the integer in the low bits
    const LN2_HIGH: f32 = 0.693_359_4; // few bits, so that its multiples are exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > HIGHEST { HIGHEST } else { x };
    let clamped = if clamped < LOWEST { LOWEST } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW; // exp(x) = 2^n · exp(r), |r| <= ln(2)/2
    // Minimax polynomial of Cephes' expf.
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { p * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp() {
        for i in -870_000..=880_000_i32 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let ulp = f64::from((exact as f32).next_up() - exact as f32);
            let error = (f64::from(exp(x)) - exact).abs() / ulp;
            assert!(error < 2.0, "exp({x}) is {error} ulp off");
        }
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
        assert_eq!(exp(-90.0).to_bits(), 0);
        assert!(exp(1000.0).is_finite() && exp(1000.0) > 2e38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn silu_mul_is_its_formula_on_every_path() {
        let gate: Vec<f32> = (0..70_001).map(|i| (i as f32 - 35_000.0) * 1e-3).collect();
        let up: Vec<f32> = gate.iter().map(|g| g * 0.3 + 1.0).collect();
        for path in Path::all() {
            let mut out = vec![0.0; gate.len()];
            silu_mul_on(path, &gate, &up, &mut out);
            for ((&g, &u), &got) in gate.iter().zip(&up).zip(&out) {
                let (g, u) = (f64::from(g), f64::from(u));
                let expected = g / (1.0 + (-g).exp()) * u;
                assert!((f64::from(got) - expected).abs() <= 1e-6 * expected.abs(), "silu({g})");
            }
        }
    }

    /// Central differences of the formula in `f64`.
    #[test]
    fn the_gradient_is_the_slope_on_every_path() {
        let gate: Vec<f32> = (0..40_001).map(|i| (i as f32 - 20_000.0) * 1e-3).collect();
        let up: Vec<f32> = (0..gate.len()).map(|i| (i as f32 * 0.11).sin()).collect();
        let g_out: Vec<f32> = (0..gate.len()).map(|i| (i as f32 * 0.07).cos()).collect();
        let silu = |x: f64| x / (1.0 + (-x).exp());
        for path in Path::all() {
            let (mut g_gate, mut g_up) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
            silu_mul_backward_on(path, &gate, &up, &g_out, &mut g_gate, &mut g_up);
            for i in 0..gate.len() {
                let (x, up, g) = (f64::from(gate[i]), f64::from(up[i]), f64::from(g_out[i]));
                let slope = (silu(x + 1e-5) - silu(x - 1e-5)) / 2e-5;
                assert!((f64::from(g_gate[i]) - g * up * slope).abs() < 2e-6, "gate at {x}");
                assert!((f64::from(g_up[i]) - g * silu(x)).abs() < 2e-6, "up at {x}");
            }
        }
    }
}
