//! Root mean square normalisation.

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
}
