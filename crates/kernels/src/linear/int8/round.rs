//! Activations as integers.

use std::cell::Cell;

use rayon::prelude::*;

use super::{BAND, BLOCK, Kind};
use crate::{
    simd::{Kernel, Path, Simd, pair},
    threads::worth_spreading,
};

/// The largest code.
const MOST: f32 = 127.0;

/// As many multiply-adds take about as long as to round one number.
const WORK: usize = 4;

/// Added to a number of at most 22 bits, leaves its nearest integer in the lowest bits.
const NEAREST: f32 = (3 << 22) as f32;

/// Rows of activations: codes of 8 bits, a scale for each block of 32.
///
/// The scale is the largest size in the block, divided by 127; the codes are the integers nearest to
/// the numbers divided by the scale, the even ones of two equally near. A block whose scale would
/// be subnormal counts as zeros; one with a number that is not finite has the scale NaN.
///
/// Rows lie in bands of [`BAND`]; those that are left are bands of one. Within a band, numbers of
/// all its rows that belong to the same step or group are neighbours.
pub(super) struct Rounded {
    /// Blocks in a row; the last one is filled up with zeros.
    pub(super) blocks: usize,
    /// Groups in a row.
    groups: usize,
    /// As [`Simd::mul_bytes`] or [`Simd::mul_halves`] wants them.
    codes: Vec<i32>,
    /// One for each group of the weights.
    scales: Vec<f32>,
    /// For each group the sum of its codes, times the scale.
    sums: Vec<f32>,
    /// For each group what the center of the weights takes away from the sum of products.
    centers: Vec<i32>,
}

thread_local! {
    /// Memory that the thread has used. A product within another one finds none and makes some.
    static RECYCLED: Cell<Rounded> = const { Cell::new(Rounded::NONE) };
}

/// Numbers of some rows, and where their codes, scales, sums and centers go.
type Parts<'a> = (&'a [f32], &'a mut [i32], &'a mut [f32], (&'a mut [f32], &'a mut [i32]));

/// Some groups of some rows.
pub(super) struct Band<'a> {
    pub(super) codes: &'a [i32],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
    pub(super) centers: &'a [i32],
}

impl Default for Rounded {
    fn default() -> Self {
        Self::NONE
    }
}

impl Rounded {
    const NONE: Self = Self {
        blocks: 0,
        groups: 0,
        codes: Vec::new(),
        scales: Vec::new(),
        sums: Vec::new(),
        centers: Vec::new(),
    };

    /// Rounds `x[n, cols]`, no side being 0, for weights of a kind.
    pub(super) fn of(path: Path, x: &[f32], n: usize, cols: usize, kind: Kind) -> Self {
        let mut rounded = RECYCLED.take();
        let blocks = cols.div_ceil(BLOCK);
        rounded.blocks = blocks;
        rounded.groups = blocks * kind.groups;
        let (steps, groups) = (blocks * kind.steps(), rounded.groups);
        let Self { codes, scales, sums, centers, .. } = &mut rounded;
        codes.resize(n * steps, 0);
        scales.resize(n * groups, 0.0);
        sums.resize(n * groups, 0.0);
        centers.resize(n * groups, 0);
        let round = |(x, codes, scales, (sums, centers)): Parts<'_>| {
            // A whole band together, or each row that is left by itself.
            let rows = if x.len() == BAND * cols { BAND } else { 1 };
            let shares = sums.chunks_mut(rows * groups).zip(centers.chunks_mut(rows * groups));
            let bands = x.chunks(rows * cols).zip(codes.chunks_mut(rows * steps));
            let bands = bands.zip(scales.chunks_mut(rows * groups)).zip(shares);
            for (((x, codes), scales), (sums, centers)) in bands {
                path.run(Round { kind, cols, x, codes, scales, sums, centers });
            }
        };
        if n > BAND && worth_spreading(n * cols * WORK) {
            let (steps, groups) = (BAND * steps, BAND * groups);
            let shares = sums.par_chunks_mut(groups).zip(centers.par_chunks_mut(groups));
            let x = x.par_chunks(BAND * cols);
            (x, codes.par_chunks_mut(steps), scales.par_chunks_mut(groups), shares)
                .into_par_iter()
                .with_min_len(4)
                .for_each(round);
        } else {
            let (steps, groups) = (BAND * steps, BAND * groups);
            let shares = sums.chunks_mut(groups).zip(centers.chunks_mut(groups));
            let bands = x.chunks(BAND * cols).zip(codes.chunks_mut(steps));
            let bands = bands.zip(scales.chunks_mut(groups)).zip(shares);
            bands.for_each(|(((x, codes), scales), shares)| round((x, codes, scales, shares)));
        }
        rounded
    }

    /// Keeps the memory for the thread's next product.
    pub(super) fn recycle(self) {
        RECYCLED.set(self);
    }

    /// `groups` groups of `steps` steps, from group `from` on, of the `R` rows of the band that
    /// begins with row `row`.
    #[inline(always)]
    pub(super) fn band<const R: usize>(
        &self,
        row: usize,
        from: usize,
        groups: usize,
        steps: usize,
    ) -> Band<'_> {
        let (first, len) = (row * self.groups + from * R, groups * R);
        Band {
            codes: &self.codes[first * steps..][..len * steps],
            scales: &self.scales[first..][..len],
            sums: &self.sums[first..][..len],
            centers: &self.centers[first..][..len],
        }
    }
}

/// A band, and where it goes.
struct Round<'a> {
    kind: Kind,
    cols: usize,
    x: &'a [f32],
    codes: &'a mut [i32],
    scales: &'a mut [f32],
    sums: &'a mut [f32],
    centers: &'a mut [i32],
}

impl Kernel for Round<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { kind, cols, x, codes: to, scales, sums, centers } = self;
        let rows = x.len() / cols;
        for (r, x) in x.chunks_exact(cols).enumerate() {
            let (whole, rest) = x.as_chunks::<BLOCK>();
            let mut last = [0.0; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            let last = (!rest.is_empty()).then_some(&last);
            for (i, x) in whole.iter().chain(last).enumerate() {
                let (scale, codes) = rounded(x);
                let to = &mut to[i * kind.steps() * rows..][..kind.steps() * rows];
                for (step, four) in codes.as_chunks::<4>().0.iter().enumerate() {
                    if kind.wide {
                        to[2 * step * rows + r] = pair(four[0].into(), four[2].into());
                        to[(2 * step + 1) * rows + r] = pair(four[1].into(), four[3].into());
                    } else {
                        to[step * rows + r] = i32::from_le_bytes(four.map(i8::cast_unsigned));
                    }
                }
                for (group, codes) in codes.chunks_exact(BLOCK / kind.groups).enumerate() {
                    let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
                    let at = (i * kind.groups + group) * rows + r;
                    scales[at] = scale;
                    sums[at] = sum as f32 * scale;
                    centers[at] = -kind.center * sum;
                }
            }
        }
    }
}

/// The scale and the codes of a block.
#[inline(always)]
fn rounded(x: &[f32; BLOCK]) -> (f32, [i8; BLOCK]) {
    let mut codes = [0; BLOCK];
    // Sizes as bits, whose order is that of the numbers and in which NaN is the largest.
    let mut most = 0;
    for x in x {
        most = most.max(x.abs().to_bits());
    }
    let most = f32::from_bits(most);
    let scale = most / MOST;
    if !most.is_finite() {
        return (f32::NAN, codes);
    }
    if scale < f32::MIN_POSITIVE {
        return (0.0, codes);
    }
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x / scale + NEAREST).to_bits() as i8;
    }
    (scale, codes)
}
