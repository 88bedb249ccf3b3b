//! Products of the few rows that attention's backward pass meets at a time.

use crate::simd::Simd;

/// Rows that lie `stride` behind each other.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    pub(super) fn row(self, i: usize, len: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..len]
    }
}

/// Rows of `out` that are added to at a time.
const BAND: usize = 4;

/// Adds to some rows of `out`, each `width` long, the first `count` rows of `b`, each weighted: for
/// row `r` by the element `[r, k]` of `a`, or by its element `[k, r]` where `ACROSS`.
#[inline(always)]
pub(super) fn add_products<S: Simd, const ACROSS: bool>(
    s: S,
    a: Rows<'_>,
    b: Rows<'_>,
    count: usize,
    out: &mut [f32],
    width: usize,
) {
    let mut first = 0;
    let mut bands = out.chunks_exact_mut(BAND * width);
    for band in &mut bands {
        add_band::<S, BAND, ACROSS>(s, a, first, b, count, band, width);
        first += BAND;
    }
    for row in bands.into_remainder().chunks_exact_mut(width) {
        add_band::<S, 1, ACROSS>(s, a, first, b, count, row, width);
        first += 1;
    }
}

/// The same for the `R` rows that `out` is, the rows of `a` from `first` on.
#[inline(always)]
fn add_band<S: Simd, const R: usize, const ACROSS: bool>(
    s: S,
    a: Rows<'_>,
    first: usize,
    b: Rows<'_>,
    count: usize,
    out: &mut [f32],
    width: usize,
) {
    let mut at = 0;
    // As many sums as there are registers for.
    if S::LANES == 16 {
        while at + 4 * S::LANES <= width {
            add_columns::<S, R, 4, ACROSS>(s, a, first, b, count, out, at);
            at += 4 * S::LANES;
        }
    }
    while at + 2 * S::LANES <= width {
        add_columns::<S, R, 2, ACROSS>(s, a, first, b, count, out, at);
        at += 2 * S::LANES;
    }
    while at + S::LANES <= width {
        add_columns::<S, R, 1, ACROSS>(s, a, first, b, count, out, at);
        at += S::LANES;
    }
    for (r, out) in out.chunks_exact_mut(width).enumerate() {
        for k in 0..count {
            let (i, j) = if ACROSS { (k, first + r) } else { (first + r, k) };
            let weight = a.data[i * a.stride + j];
            for (out, x) in out[at..].iter_mut().zip(&b.row(k, width)[at..]) {
                *out += weight * x;
            }
        }
    }
}

/// The same for `N` registers of columns, from `at` on.
#[inline(always)]
fn add_columns<S: Simd, const R: usize, const N: usize, const ACROSS: bool>(
    s: S,
    a: Rows<'_>,
    first: usize,
    b: Rows<'_>,
    count: usize,
    out: &mut [f32],
    at: usize,
) {
    let width = out.len() / R;
    let mut sums = [[s.splat(0.0); N]; R];
    let mut rows: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        let out = S::chunks(&out[r * width + at..][..N * S::LANES]).0;
        for n in 0..N {
            sums[r][n] = s.load(&out[n]);
        }
        if !ACROSS {
            rows[r] = a.row(first + r, count);
        }
    }
    for (k, row) in b.data.chunks(b.stride).take(count).enumerate() {
        let row = S::chunks(&row[at..][..N * S::LANES]).0;
        let across = if ACROSS { &a.data[k * a.stride + first..][..R] } else { &[] };
        let mut x = [s.splat(0.0); N];
        for n in 0..N {
            x[n] = s.load(&row[n]);
        }
        for r in 0..R {
            let weight = s.splat(if ACROSS { across[r] } else { rows[r][k] });
            for n in 0..N {
                sums[r][n] = s.fma(weight, x[n], sums[r][n]);
            }
        }
    }
    for r in 0..R {
        let out = S::chunks_mut(&mut out[r * width + at..][..N * S::LANES]).0;
        for n in 0..N {
            s.store(sums[r][n], &mut out[n]);
        }
    }
}
