//! Root mean square and layer normalisation.

use rayon::prelude::*;

use crate::{
    simd::{Kernel, Path, Simd, dots},
    threads::worth_spreading,
};

/// Rows that one task takes.
const ROWS: usize = 16;

/// `out = x / sqrt(mean(x²) + eps) · weight` for each row of `weight.len()` numbers.
///
/// # Panics
/// When `x` and `out` are not equally many whole rows.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    rms_norm_on(Path::active(), x, weight, eps, out);
}

pub(crate) fn rms_norm_on(path: Path, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out");
    if out.is_empty() {
        return;
    }
    assert!(out.len().is_multiple_of(weight.len()), "out is not rows of {}", weight.len());
    if worth_spreading(out.len() * 2) {
        let piece = ROWS * weight.len();
        out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
            path.run(RmsNorm { x, weight, eps, out });
        });
    } else {
        path.run(RmsNorm { x, weight, eps, out });
    }
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let [[squares]] = dots(s, [x], [x]);
            let scale = 1.0 / (squares / width as f32 + self.eps).sqrt();
            for ((out, &x), &weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * scale * weight;
            }
        }
    }
}

/// The gradients of [`rms_norm`], given that of its result: into `g_x`, and added to `g_weight`.
///
/// # Panics
/// When the sizes do not fit.
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    g_out: &[f32],
    g_x: &mut [f32],
    g_weight: &mut [f32],
) {
    rms_norm_backward_on(Path::active(), x, weight, eps, g_out, g_x, g_weight);
}

pub(crate) fn rms_norm_backward_on(
    path: Path,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    g_out: &[f32],
    g_x: &mut [f32],
    g_weight: &mut [f32],
) {
    assert_eq!(x.len(), g_x.len(), "x and its gradient");
    assert_eq!(x.len(), g_out.len(), "x and the gradient of out");
    assert_eq!(weight.len(), g_weight.len(), "weight and its gradient");
    if x.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(weight.len()), "x is not rows of {}", weight.len());
    let piece = PIECE_ROWS * weight.len();
    let pieces = g_x.par_chunks_mut(piece).zip(x.par_chunks(piece)).zip(g_out.par_chunks(piece));
    // Each piece's sum by itself, then all in order: the same result on any number of threads.
    let sums: Vec<Vec<f32>> = pieces
        .map(|((g_x, x), g_out)| {
            let mut g_weight = vec![0.0; weight.len()];
            path.run(RmsNormBackward { x, weight, eps, g_out, g_x, g_weight: &mut g_weight });
            g_weight
        })
        .collect();
    for sum in sums {
        for (total, sum) in g_weight.iter_mut().zip(sum) {
            *total += sum;
        }
    }
}

/// Rows that one task of the gradient takes.
const PIECE_ROWS: usize = 64;

struct RmsNormBackward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    g_out: &'a [f32],
    g_x: &'a mut [f32],
    g_weight: &'a mut [f32],
}

impl Kernel for RmsNormBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        let mut slope = vec![0.0; width]; // g_out · weight
        let rows = self.x.chunks_exact(width).zip(self.g_out.chunks_exact(width));
        for ((x, g_out), g_x) in rows.zip(self.g_x.chunks_exact_mut(width)) {
            for ((slope, &g), &weight) in slope.iter_mut().zip(g_out).zip(self.weight) {
                *slope = g * weight;
            }
            let [[squares, along]] = dots(s, [x], [x, &slope]);
            let scale = 1.0 / (squares / width as f32 + self.eps).sqrt();
            let back = along * scale * scale * scale / width as f32;
            for ((g_x, &x), &slope) in g_x.iter_mut().zip(x).zip(&slope) {
                *g_x = slope * scale - x * back;
            }
            for ((sum, &x), &g) in self.g_weight.iter_mut().zip(x).zip(g_out) {
                *sum += g * (x * scale);
            }
        }
    }
}

/// `out = (x - mean(x)) / sqrt(variance(x) + eps) · weight + bias` for each row of `weight.len()`
/// numbers (arXiv 1607.06450).
///
/// # Panics
/// When `x` and `out` are not equally many whole rows, or `bias` is not one.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    layer_norm_on(Path::active(), x, weight, bias, eps, out);
}

pub(crate) fn layer_norm_on(
    path: Path,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    assert_eq!(x.len(), out.len(), "x and out");
    assert_eq!(weight.len(), bias.len(), "weight and bias");
    if out.is_empty() {
        return;
    }
    assert!(out.len().is_multiple_of(weight.len()), "out is not rows of {}", weight.len());
    if worth_spreading(out.len() * 2) {
        let piece = ROWS * weight.len();
        out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
            path.run(LayerNorm { x, weight, bias, eps, out });
        });
    } else {
        path.run(LayerNorm { x, weight, bias, eps, out });
    }
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        let ones = vec![1.0; width];
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let scale = center(s, x, &ones, self.eps, out);
            for ((out, &weight), &bias) in out.iter_mut().zip(self.weight).zip(self.bias) {
                *out = *out * scale * weight + bias;
            }
        }
    }
}

/// Writes a row less its mean, and gives what brings that to variance 1.
#[inline(always)]
fn center<S: Simd>(s: S, x: &[f32], ones: &[f32], eps: f32, centered: &mut [f32]) -> f32 {
    let width = x.len() as f32;
    let [[sum]] = dots(s, [x], [ones]);
    let mean = sum / width;
    for (centered, &x) in centered.iter_mut().zip(x) {
        *centered = x - mean;
    }
    let [[squares]] = dots(s, [centered], [centered]);
    1.0 / (squares / width + eps).sqrt()
}

/// The gradients of [`layer_norm`], given that of its result: into `g_x`, and added to `g_weight`
/// and `g_bias`.
///
/// # Panics
/// When the sizes do not fit.
pub fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    g_out: &[f32],
    g_x: &mut [f32],
    gradients: [&mut [f32]; 2],
) {
    layer_norm_backward_on(Path::active(), x, weight, eps, g_out, g_x, gradients);
}

pub(crate) fn layer_norm_backward_on(
    path: Path,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    g_out: &[f32],
    g_x: &mut [f32],
    [g_weight, g_bias]: [&mut [f32]; 2],
) {
    assert_eq!(x.len(), g_x.len(), "x and its gradient");
    assert_eq!(x.len(), g_out.len(), "x and the gradient of out");
    assert_eq!(weight.len(), g_weight.len(), "weight and its gradient");
    assert_eq!(weight.len(), g_bias.len(), "bias and its gradient");
    if x.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(weight.len()), "x is not rows of {}", weight.len());
    let piece = PIECE_ROWS * weight.len();
    let pieces = g_x.par_chunks_mut(piece).zip(x.par_chunks(piece)).zip(g_out.par_chunks(piece));
    // Each piece's sums by themselves, then all in order: the same on any number of threads.
    let sums: Vec<[Vec<f32>; 2]> = pieces
        .map(|((g_x, x), g_out)| {
            let [mut g_weight, mut g_bias] = [vec![0.0; weight.len()], vec![0.0; weight.len()]];
            let sums = [&mut g_weight[..], &mut g_bias[..]];
            path.run(LayerNormBackward { x, weight, eps, g_out, g_x, sums });
            [g_weight, g_bias]
        })
        .collect();
    for [of_weight, of_bias] in sums {
        let add = |total: &mut [f32], sum: Vec<f32>| {
            total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
        };
        add(g_weight, of_weight);
        add(g_bias, of_bias);
    }
}

struct LayerNormBackward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    g_out: &'a [f32],
    g_x: &'a mut [f32],
    /// Of the weight, and of the bias.
    sums: [&'a mut [f32]; 2],
}

impl Kernel for LayerNormBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        let ones = vec![1.0; width];
        let mut normed = vec![0.0; width];
        let mut slope = vec![0.0; width]; // g_out · weight
        let [g_weight, g_bias] = self.sums;
        let rows = self.x.chunks_exact(width).zip(self.g_out.chunks_exact(width));
        for ((x, g_out), g_x) in rows.zip(self.g_x.chunks_exact_mut(width)) {
            let scale = center(s, x, &ones, self.eps, &mut normed);
            for normed in &mut normed {
                *normed *= scale;
            }
            for ((slope, &g), &weight) in slope.iter_mut().zip(g_out).zip(self.weight) {
                *slope = g * weight;
            }
            let [[sum, along]] = dots(s, [&slope], [&ones, &normed]);
            let (mean, along) = (sum / width as f32, along / width as f32);
            for ((g_x, &slope), &normed) in g_x.iter_mut().zip(&slope).zip(&normed) {
                *g_x = (slope - mean - normed * along) * scale;
            }
            let of_row = normed.iter().zip(g_out);
            for ((g_weight, g_bias), (&normed, &g)) in
                g_weight.iter_mut().zip(g_bias.iter_mut()).zip(of_row)
            {
                *g_weight += g * normed;
                *g_bias += g;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_normalised_on_every_path() {
        let (rows, width, eps) = (37, 100, 1e-5);
        let x: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let weight: Vec<f32> = (0..width).map(|i| 0.5 + i as f32 * 0.01).collect();
        for path in Path::all() {
            let mut out = vec![0.0; x.len()];
            rms_norm_on(path, &x, &weight, eps, &mut out);
            for (x, out) in x.chunks(width).zip(out.chunks(width)) {
                let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / width as f64;
                for i in 0..width {
                    let expected =
                        f64::from(x[i]) / (mean + f64::from(eps)).sqrt() * f64::from(weight[i]);
                    assert!((f64::from(out[i]) - expected).abs() < 2e-6, "{} {expected}", out[i]);
                }
            }
        }
    }

    /// Values of `torch.nn.functional.rms_norm` on the same numbers.
    #[test]
    fn agrees_with_torch() {
        let mut out = [0.0; 4];
        rms_norm(&[1.0, -2.0, 3.0, 0.5], &[1.0, 0.5, 2.0, -1.0], 1e-6, &mut out);
        let expected = [0.529_812_8, -0.529_812_8, 3.178_877, -0.264_906_4];
        for (out, expected) in out.iter().zip(expected) {
            assert!((out - expected).abs() < 1e-6, "{out} {expected}");
        }
    }

    /// Values of `torch.autograd` on the same numbers.
    const X: [f32; 4] = [0.097_597_12, -0.062_741_03, 0.027_884_94, -0.613_467_5];
    const WEIGHT: [f32; 4] = [0.158_943_86, 0.741_738, 0.317_887_72, 0.291_397_1];

    #[test]
    fn the_gradient_agrees_with_torch() {
        let (x, weight) = ([1.0, -2.0, 3.0, 0.5], [1.0, 0.5, 2.0, -1.0]);
        for path in Path::all() {
            let (mut g_x, mut g_weight) = ([0.0; 4], [1.0; 4]);
            let g_out = [0.3, -0.7, 0.2, 1.1];
            rms_norm_backward_on(path, &x, &weight, 1e-6, &g_out, &mut g_x, &mut g_weight);
            for (g, expected) in g_x.iter().zip(X) {
                assert!((g - expected).abs() < 1e-6, "{g} {expected}");
            }
            for (g, expected) in g_weight.iter().zip(WEIGHT) {
                assert!((g - 1.0 - expected).abs() < 1e-6, "{g} {expected}");
            }
        }
    }

    #[test]
    fn rows_are_centered_and_scaled_on_every_path() {
        let (rows, width, eps) = (37, 100, 1e-5);
        let x: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin() * 3.0 + 1.0).collect();
        let weight: Vec<f32> = (0..width).map(|i| 0.5 + i as f32 * 0.01).collect();
        let bias: Vec<f32> = (0..width).map(|i| i as f32 * 0.02 - 1.0).collect();
        for path in Path::all() {
            let mut out = vec![0.0; x.len()];
            layer_norm_on(path, &x, &weight, &bias, eps, &mut out);
            for (x, out) in x.chunks(width).zip(out.chunks(width)) {
                let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
                let squares = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
                let scale = 1.0 / (squares / width as f64 + f64::from(eps)).sqrt();
                for i in 0..width {
                    let normed = (f64::from(x[i]) - mean) * scale;
                    let expected = normed * f64::from(weight[i]) + f64::from(bias[i]);
                    assert!((f64::from(out[i]) - expected).abs() < 2e-6, "{} {expected}", out[i]);
                }
            }
        }
    }

    /// Values of `torch.nn.functional.layer_norm` and `torch.autograd` on the same numbers.
    #[test]
    fn layer_norms_and_their_gradients_agree_with_torch() {
        let (x, weight) = ([1.0, -2.0, 3.0, 0.5], [1.0, 0.5, 2.0, -1.0]);
        let near = |found: &[f32], expected: [f32; 4]| {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        };
        for path in Path::all() {
            let mut out = [0.0; 4];
            layer_norm_on(path, &x, &weight, &[0.1, 0.2, -0.3, 0.4], 1e-6, &mut out);
            near(&out, [0.310_558_7, -0.536_955_4, 2.367_077, 0.470_186_2]);
            let (mut g_x, mut g_weight, mut g_bias) = ([0.0; 4], [0.0; 4], [0.0; 4]);
            let g_out = [0.3, -0.7, 0.2, 1.1];
            let sums = [&mut g_weight[..], &mut g_bias[..]];
            layer_norm_backward_on(path, &x, &weight, 1e-6, &g_out, &mut g_x, sums);
            near(&g_x, [0.238_564, 0.154_893_7, 0.107_181, -0.500_638_7]);
            near(&g_weight, [0.063_167_61, 1.031_738, 0.266_707_7, -0.077_204_85]);
            near(&g_bias, g_out);
        }
    }
}
