//! Activations, alone and as gates, and an exponential that vectorises.

use rayon::prelude::*;

use crate::{
    simd::{Kernel, Path, Simd},
    threads::worth_spreading,
};

/// Elements that one task takes.
const PIECE: usize = 1 << 14;

/// What numbers are put through; a gate, before it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2`: the Gaussian error linear unit by its
    /// formula with a hyperbolic tangent (arXiv 1606.08415).
    GeluTanh,
    /// `x · Φ(x)` with the normal distribution's `Φ`: the same unit as it is defined.
    Gelu,
}

/// `out = activation(x)`.
///
/// # Panics
/// When the lengths differ.
pub fn activate(activation: Activation, x: &[f32], out: &mut [f32]) {
    activate_on(Path::active(), activation, x, out);
}

pub(crate) fn activate_on(path: Path, activation: Activation, x: &[f32], out: &mut [f32]) {
    match activation {
        Activation::Silu => bend(path, Silu, x, out),
        Activation::GeluTanh => bend(path, GeluTanh, x, out),
        Activation::Gelu => bend(path, Gelu, x, out),
    }
}

fn bend<C: Curve>(path: Path, curve: C, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out");
    if worth_spreading(out.len() * 8) {
        let pieces = out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE));
        pieces.for_each(|(out, x)| path.run(Activate { curve, x, out }));
    } else {
        path.run(Activate { curve, x, out });
    }
}

struct Activate<'a, C> {
    curve: C,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<C: Curve> Kernel for Activate<'_, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (out, &x) in self.out.iter_mut().zip(self.x) {
            *out = self.curve.value(x);
        }
    }
}

/// The gradient of [`activate`], given that of its result.
///
/// # Panics
/// When the lengths differ.
pub fn activate_backward(activation: Activation, x: &[f32], g_out: &[f32], g_x: &mut [f32]) {
    activate_backward_on(Path::active(), activation, x, g_out, g_x);
}

pub(crate) fn activate_backward_on(
    path: Path,
    activation: Activation,
    x: &[f32],
    g_out: &[f32],
    g_x: &mut [f32],
) {
    match activation {
        Activation::Silu => slope(path, Silu, x, g_out, g_x),
        Activation::GeluTanh => slope(path, GeluTanh, x, g_out, g_x),
        Activation::Gelu => slope(path, Gelu, x, g_out, g_x),
    }
}

fn slope<C: Curve>(path: Path, curve: C, x: &[f32], g_out: &[f32], g_x: &mut [f32]) {
    assert_eq!(x.len(), g_out.len(), "x and g_out");
    assert_eq!(x.len(), g_x.len(), "x and g_x");
    let ins = x.par_chunks(PIECE).zip(g_out.par_chunks(PIECE));
    ins.zip(g_x.par_chunks_mut(PIECE)).for_each(|((x, g_out), g_x)| {
        path.run(ActivateBackward { curve, x, g_out, g_x });
    });
}

struct ActivateBackward<'a, C> {
    curve: C,
    x: &'a [f32],
    g_out: &'a [f32],
    g_x: &'a mut [f32],
}

impl<C: Curve> Kernel for ActivateBackward<'_, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((g_x, &x), &g) in self.g_x.iter_mut().zip(self.x).zip(self.g_out) {
            let (_, slope) = self.curve.value_and_slope(x);
            *g_x = g * slope;
        }
    }
}

/// `out = activation(gate) · up` (arXiv 2002.05202).
///
/// # Panics
/// When the lengths differ.
pub fn gated(activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    gated_on(Path::active(), activation, gate, up, out);
}

pub(crate) fn gated_on(
    path: Path,
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    out: &mut [f32],
) {
    match activation {
        Activation::Silu => multiply(path, Silu, gate, up, out),
        Activation::GeluTanh => multiply(path, GeluTanh, gate, up, out),
        Activation::Gelu => multiply(path, Gelu, gate, up, out),
    }
}

/// A function of one number.
trait Curve: Copy + Send + Sync {
    fn value(self, x: f32) -> f32;
    /// The value, and how steep the function is there.
    fn value_and_slope(self, x: f32) -> (f32, f32);
}

#[derive(Clone, Copy)]
struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x / (1.0 + exp(-x))
    }

    #[inline(always)]
    fn value_and_slope(self, x: f32) -> (f32, f32) {
        let share = 1.0 / (1.0 + exp(-x));
        (x * share, share * (1.0 + x * (1.0 - share)))
    }
}

/// `(1 + tanh(u)) / 2` is `1 / (1 + exp(-2u))`, which loses nothing where it is small.
#[derive(Clone, Copy)]
struct GeluTanh;

impl GeluTanh {
    const TWICE: f32 = 1.595_769; // 2 · √(2/π)
    const CUBE: f32 = 0.044_715;
}

impl Curve for GeluTanh {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let u = Self::TWICE * x * (1.0 + Self::CUBE * x * x);
        x / (1.0 + exp(-u))
    }

    #[inline(always)]
    fn value_and_slope(self, x: f32) -> (f32, f32) {
        let u = Self::TWICE * x * (1.0 + Self::CUBE * x * x);
        let share = 1.0 / (1.0 + exp(-u));
        let steep = Self::TWICE * (1.0 + 3.0 * Self::CUBE * x * x);
        (x * share, share * (1.0 + x * (1.0 - share) * steep))
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Gelu {
    /// `Φ(-|x|)`, where it is at most one half: half of the complementary error function of
    /// `z = |x| / √2`, by the expansion of Numerical Recipes (2nd edition, section 6.2), whose
    /// relative error is below 1.2e-7.
    #[inline(always)]
    fn tail(x: f32) -> f32 {
        const TERMS: [f32; 9] = [
            0.170_872_76,
            -0.822_152_26,
            1.488_515_9,
            -1.135_204,
            0.278_868_08,
            -0.186_288_06,
            0.096_784_18,
            0.374_091_95,
            1.000_023_7,
        ];
        let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.5 * z);
        let mut sum = 0.0;
        for term in TERMS {
            sum = (sum + term) * t;
        }
        0.5 * t * exp(-0.5 * x * x - 1.265_512_2 + sum)
    }

    #[inline(always)]
    fn share(x: f32) -> f32 {
        let tail = Self::tail(x);
        if x < 0.0 { tail } else { 1.0 - tail }
    }
}

impl Curve for Gelu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x * Self::share(x)
    }

    #[inline(always)]
    fn value_and_slope(self, x: f32) -> (f32, f32) {
        const DENSITY: f32 = 0.398_942_3; // 1 / √(2π)
        let share = Self::share(x);
        (x * share, share + x * DENSITY * exp(-0.5 * x * x))
    }
}

fn multiply<C: Curve>(path: Path, curve: C, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert_eq!(gate.len(), out.len(), "gate and out");
    assert_eq!(up.len(), out.len(), "up and out");
    if worth_spreading(out.len() * 8) {
        let pieces = out.par_chunks_mut(PIECE);
        pieces.zip(gate.par_chunks(PIECE)).zip(up.par_chunks(PIECE)).for_each(
            |((out, gate), up)| {
                path.run(Gated { curve, gate, up, out });
            },
        );
    } else {
        path.run(Gated { curve, gate, up, out });
    }
}

struct Gated<'a, C> {
    curve: C,
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl<C: Curve> Kernel for Gated<'_, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((out, &gate), &up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = self.curve.value(gate) * up;
        }
    }
}

/// The gradients of [`gated`], given that of its result.
///
/// # Panics
/// When the lengths differ.
pub fn gated_backward(
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    g_out: &[f32],
    g_gate: &mut [f32],
    g_up: &mut [f32],
) {
    gated_backward_on(Path::active(), activation, gate, up, g_out, [g_gate, g_up]);
}

pub(crate) fn gated_backward_on(
    path: Path,
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    g_out: &[f32],
    gradients: [&mut [f32]; 2],
) {
    match activation {
        Activation::Silu => divide(path, Silu, gate, up, g_out, gradients),
        Activation::GeluTanh => divide(path, GeluTanh, gate, up, g_out, gradients),
        Activation::Gelu => divide(path, Gelu, gate, up, g_out, gradients),
    }
}

/// Divides the gradient of a product among its factors.
fn divide<C: Curve>(
    path: Path,
    curve: C,
    gate: &[f32],
    up: &[f32],
    g_out: &[f32],
    [g_gate, g_up]: [&mut [f32]; 2],
) {
    for (len, name) in
        [(up.len(), "up"), (g_out.len(), "g_out"), (g_gate.len(), "g_gate"), (g_up.len(), "g_up")]
    {
        assert_eq!(len, gate.len(), "gate and {name}");
    }
    let ins = gate.par_chunks(PIECE).zip(up.par_chunks(PIECE)).zip(g_out.par_chunks(PIECE));
    let outs = g_gate.par_chunks_mut(PIECE).zip(g_up.par_chunks_mut(PIECE));
    ins.zip(outs).for_each(|(((gate, up), g_out), (g_gate, g_up))| {
        path.run(GatedBackward { curve, gate, up, g_out, g_gate, g_up });
    });
}

struct GatedBackward<'a, C> {
    curve: C,
    gate: &'a [f32],
    up: &'a [f32],
    g_out: &'a [f32],
    g_gate: &'a mut [f32],
    g_up: &'a mut [f32],
}

impl<C: Curve> Kernel for GatedBackward<'_, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let ins = self.gate.iter().zip(self.up).zip(self.g_out);
        let outs = self.g_gate.iter_mut().zip(self.g_up.iter_mut());
        for (((&gate, &up), &g), (g_gate, g_up)) in ins.zip(outs) {
            let (value, slope) = self.curve.value_and_slope(gate);
            *g_up = g * value;
            *g_gate = g * up * slope;
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

    /// The formulas in `f64`.
    fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::GeluTanh => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x * (1.0 + u.tanh()) / 2.0
            }
            Activation::Gelu => x * normal(x),
        }
    }

    /// The normal distribution's `Φ`, by the series of its error function and, far out, by the
    /// continued fraction of the complement.
    fn normal(x: f64) -> f64 {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() < 4.0 {
            let (mut term, mut sum, mut n) = (x, x, 1.0);
            while term.abs() > 1e-18 {
                n += 2.0;
                term *= x * x / n;
                sum += term;
            }
            return 0.5 + density * sum;
        }
        let fraction = (1..200).rev().fold(0.0, |rest, n| f64::from(n) / (x.abs() + rest));
        let tail = density / (x.abs() + fraction);
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    const ALL: [Activation; 3] = [Activation::Silu, Activation::GeluTanh, Activation::Gelu];

    #[test]
    fn gates_are_their_formula_on_every_path() {
        let gate: Vec<f32> = (0..70_001).map(|i| (i as f32 - 35_000.0) * 1e-3).collect();
        let up: Vec<f32> = gate.iter().map(|g| g * 0.3 + 1.0).collect();
        for (path, activation) in Path::all().into_iter().flat_map(|p| ALL.map(|a| (p, a))) {
            let mut out = vec![0.0; gate.len()];
            gated_on(path, activation, &gate, &up, &mut out);
            for ((&g, &u), &got) in gate.iter().zip(&up).zip(&out) {
                let expected = exact(activation, f64::from(g)) * f64::from(u);
                let error = (f64::from(got) - expected).abs();
                // Where nearly nothing of a GELU is left, `exp` has reached its largest value; the
                // exponential of a square is as wrong as the square is large.
                let (share, least) = match activation {
                    Activation::Silu => (1e-6, 0.0),
                    Activation::GeluTanh => (1e-6, 1e-9),
                    Activation::Gelu => (2e-6, 1e-9),
                };
                assert!(error <= share * expected.abs() + least, "{activation:?}({g})");
            }
        }
    }

    /// Values of `torch.nn.functional.gelu`, with `approximate="tanh"` and without.
    #[test]
    fn the_gelu_agrees_with_torch() {
        let mut out = [0.0; 4];
        gated(Activation::GeluTanh, &[-2.0, -0.5, 0.3, 1.7], &[1.0; 4], &mut out);
        let torch = [-0.045_402_29, -0.154_286, 0.185_370_94, 1.624_105_9];
        for (out, expected) in out.iter().zip(torch) {
            assert!((out - expected).abs() < 1e-6, "{out} {expected}");
        }
        activate(Activation::Gelu, &[-2.0, -0.5, 0.3, 1.7], &mut out);
        let torch = [-0.045_500_26, -0.154_268_8, 0.185_373_4, 1.624_239];
        for (out, expected) in out.iter().zip(torch) {
            assert!((out - expected).abs() < 1e-6, "{out} {expected}");
        }
    }

    /// An activation is its gate before a one.
    #[test]
    fn without_a_factor_it_is_the_same_on_every_path() {
        let x: Vec<f32> = (0..40_001).map(|i| (i as f32 - 20_000.0) * 1e-3).collect();
        let g: Vec<f32> = (0..x.len()).map(|i| (i as f32 * 0.07).cos()).collect();
        let ones = vec![1.0; x.len()];
        for (path, activation) in Path::all().into_iter().flat_map(|p| ALL.map(|a| (p, a))) {
            let (mut alone, mut gate) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            activate_on(path, activation, &x, &mut alone);
            gated_on(path, activation, &x, &ones, &mut gate);
            assert_eq!(alone, gate);
            let mut g_up = vec![0.0; x.len()];
            activate_backward_on(path, activation, &x, &g, &mut alone);
            gated_backward_on(path, activation, &x, &ones, &g, [&mut gate, &mut g_up]);
            assert_eq!(alone, gate);
        }
    }

    /// Central differences of the formula in `f64`.
    #[test]
    fn the_gradient_is_the_slope_on_every_path() {
        let gate: Vec<f32> = (0..40_001).map(|i| (i as f32 - 20_000.0) * 1e-3).collect();
        let up: Vec<f32> = (0..gate.len()).map(|i| (i as f32 * 0.11).sin()).collect();
        let g_out: Vec<f32> = (0..gate.len()).map(|i| (i as f32 * 0.07).cos()).collect();
        for (path, activation) in Path::all().into_iter().flat_map(|p| ALL.map(|a| (p, a))) {
            let (mut g_gate, mut g_up) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
            let gradients = [&mut g_gate[..], &mut g_up[..]];
            gated_backward_on(path, activation, &gate, &up, &g_out, gradients);
            for i in 0..gate.len() {
                let (x, up, g) = (f64::from(gate[i]), f64::from(up[i]), f64::from(g_out[i]));
                let curve = |x| exact(activation, x);
                let slope = (curve(x + 1e-5) - curve(x - 1e-5)) / 2e-5;
                assert!((f64::from(g_gate[i]) - g * up * slope).abs() < 2e-6, "gate at {x}");
                assert!((f64::from(g_up[i]) - g * curve(x)).abs() < 2e-6, "up at {x}");
            }
        }
    }
}
