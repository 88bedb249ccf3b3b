//! Soft caps: numbers bent so that they stay between a cap and its negative (arXiv 2408.00118,
//! section 2).

use rayon::prelude::*;

use crate::{
    activation::exp,
    simd::{Kernel, Path, Simd},
};

/// Elements that one task takes.
const PIECE: usize = 1 << 14;

/// `cap · tanh(x / cap)`, in place.
pub fn softcap(x: &mut [f32], cap: f32) {
    softcap_on(Path::active(), x, cap);
}

fn softcap_on(path: Path, x: &mut [f32], cap: f32) {
    x.par_chunks_mut(PIECE).for_each(|x| path.run(Softcap { x, cap }));
}

struct Softcap<'a> {
    x: &'a mut [f32],
    cap: f32,
}

impl Kernel for Softcap<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for x in self.x {
            *x = self.cap * tanh(*x / self.cap);
        }
    }
}

/// The gradient of [`softcap`], given its result and, in `g`, that result's gradient: `g` times
/// `1 - (capped / cap)²`, in place.
///
/// # Panics
/// When the lengths differ.
pub fn softcap_backward(capped: &[f32], cap: f32, g: &mut [f32]) {
    assert_eq!(capped.len(), g.len(), "capped and its gradient");
    g.par_chunks_mut(PIECE).zip(capped.par_chunks(PIECE)).for_each(|(g, capped)| {
        for (g, &capped) in g.iter_mut().zip(capped) {
            let bent = capped / cap;
            *g *= 1.0 - bent * bent;
        }
    });
}

/// `tanh(x)`, off by at most five parts in 10⁷ of itself, without branches or calls.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // Near 0 the quotient would lose what the series keeps.
    const NEAR: f32 = 0.25;
    let square = x * x;
    let p = 2.186_949e-2 * square - 5.396_825e-2;
    let p = p * square + 1.333_333_4e-1;
    let p = p * square - 3.333_333_4e-1;
    let near = p * square * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if x.abs() < NEAR { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_within_five_parts_in_ten_million() {
        for i in -200_000..=200_000_i32 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - exact).abs();
            assert!(error <= 5e-7 * exact.abs(), "tanh({x}) is {error} off");
        }
        assert_eq!((tanh(100.0), tanh(-100.0)), (1.0, -1.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    /// Against the formula in `f64`, and its slope.
    #[test]
    fn numbers_are_bent_and_gradients_are_slopes_on_every_path() {
        let x: Vec<f32> = (0..40_001).map(|i| (i as f32 - 20_000.0) * 1e-2).collect();
        let cap = 30.0;
        for path in Path::all() {
            let mut capped = x.clone();
            softcap_on(path, &mut capped, cap);
            let mut g = vec![2.0; x.len()];
            softcap_backward(&capped, cap, &mut g);
            for ((x, capped), g) in x.iter().zip(&capped).zip(&g) {
                let bent = (f64::from(*x) / f64::from(cap)).tanh();
                assert!((f64::from(*capped) - f64::from(cap) * bent).abs() < 2e-5, "{x} {capped}");
                assert!((f64::from(*g) - 2.0 * (1.0 - bent * bent)).abs() < 5e-6, "{x} {g}");
            }
        }
    }
}
