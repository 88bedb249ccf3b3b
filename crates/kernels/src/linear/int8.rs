//! Products of activations rounded to 8 bits with weights whose elements are integers.
//!
//! Within a block of 32 the products are integers and their sums exact, so the order of summation
//! does not matter there; blocks are added in their order as floats, never fused. That makes a
//! number the same on every path, for any number of rows and threads.
//!
//! Weights are unpacked into a tile of [`TILE`] rows that stays in the nearest cache: a vector holds
//! four elements of eight rows each, so that the sums of eight rows need no adding across lanes.

mod round;
mod unpack;

use rayon::prelude::*;

use super::{columns, start};
use crate::{
    Format, Matrix,
    linear::int8::round::Rounded,
    simd::{Kernel, Path, Simd},
    threads::{with_scratch, worth_spreading},
};

/// Elements of activations that share a scale.
const BLOCK: usize = 32;

/// Vectors of weight rows, eight rows each, that a tile holds.
const WIDTH: usize = 2;

/// Weight rows of a tile.
const TILE: usize = 8 * WIDTH;

/// Blocks that a tile spans: whole blocks of every format, small enough that a tile and a few rows
/// of activations stay in the first-level cache.
const DEPTH: usize = 24;

/// Rows of activations that are multiplied at a time.
const BAND: usize = 4;

/// Weight rows that one task multiplies when many rows of activations share it.
const PANEL: usize = 4 * TILE;

/// How a format's elements are multiplied.
#[derive(Clone, Copy)]
struct Kind {
    /// What is taken from each unpacked element.
    center: i32,
    /// Whether unpacked elements are signed halves rather than unsigned bytes.
    wide: bool,
    /// Steps that sums have room for.
    chain: usize,
    /// Groups in a block, each with its scale.
    groups: usize,
    /// Whether groups have offsets.
    offset: bool,
}

impl Kind {
    /// That of a format [with integers](Format::has_integers).
    const fn of(format: Format) -> Self {
        use Format::*;
        let (center, bits, groups, offset) = match format {
            Q4_0 => (8, 4, 1, false),
            Q5_0 => (16, 5, 1, false),
            Q4_1 | Q4_K => (0, 4, 1, true),
            Q5_1 | Q5_K => (0, 5, 1, true),
            Q2_K => (0, 2, 2, true),
            Q3_K => (4, 3, 2, false),
            Q6_K => (32, 6, 2, false),
            _ => (0, 8, 1, false),
        };
        let chain = match bits {
            8 => 16, // of halves, whose sums have room for all
            6 | 3 => 2,
            5 => 4,
            _ => 8 / groups, // all of a group
        };
        Self { center, wide: bits == 8, chain, groups, offset }
    }

    /// Vectors in a block of eight rows.
    const fn steps(self) -> usize {
        if self.wide { 16 } else { 8 }
    }
}

/// `out[n, rows] = x[n, cols] · wᵀ`, everything checked, `out` not empty, `w` with integers.
pub(super) fn multiply(
    path: Path,
    x: &[f32],
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let n = out.len() / w.rows;
    let spread = worth_spreading(n.saturating_mul(w.rows).saturating_mul(w.cols));
    let x = Rounded::of(path, x, n, w.cols, Kind::of(w.format));
    let width = tile_rows(n, w.rows, spread);
    let mut pieces = columns(out, w.rows, width);
    let multiply = |(i, out): (usize, &mut [&mut [f32]])| {
        let first = i * width;
        start(out, bias, first);
        with_scratch(Tile::len(Kind::of(w.format)), |scratch| {
            path.run(Piece { x: &x, w, first, out, scratch });
        });
    };
    if spread {
        pieces.par_chunks_mut(n).enumerate().for_each(multiply);
    } else {
        pieces.chunks_mut(n).enumerate().for_each(multiply);
    }
    x.recycle();
}

/// Weight rows that one task multiplies.
fn tile_rows(n: usize, rows: usize, spread: bool) -> usize {
    let tasks = if spread { rayon::current_num_threads() * 4 } else { 1 };
    let share = rows.div_ceil(tasks).next_multiple_of(TILE);
    if n == 1 { share } else { share.min(PANEL) }
}

/// Some rows of the weight times all rows of `x`.
struct Piece<'a, 'o> {
    x: &'a Rounded,
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [&'o mut [f32]],
    scratch: &'a mut [f32],
}

impl Kernel for Piece<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, first, out, scratch } = self;
        let mut tile = Tile::within(scratch, Kind::of(w.format));
        for at in (0..out[0].len()).step_by(TILE) {
            for from in (0..x.blocks).step_by(DEPTH) {
                tile.blocks = DEPTH.min(x.blocks - from);
                tile.fill(s, w, first + at, from);
                tile.multiply(s, w.format, x, from, at, out);
            }
        }
    }
}

/// Unpacked weights: [`TILE`] rows, up to [`DEPTH`] blocks of each.
struct Tile<'a> {
    blocks: usize,
    /// For each block and step, [`WIDTH`] times eight rows.
    codes: &'a mut [[i32; 8]],
    /// For each block and group, the same.
    scales: &'a mut [[f32; 8]],
    /// As `scales`; what is left of the memory when the format has none.
    offsets: &'a mut [[f32; 8]],
}

impl<'a> Tile<'a> {
    /// Floats that a tile needs.
    const fn len(kind: Kind) -> usize {
        let scales = kind.groups * if kind.offset { 2 } else { 1 };
        DEPTH * WIDTH * 8 * (kind.steps() + scales)
    }

    #[inline(always)]
    fn within(scratch: &'a mut [f32], kind: Kind) -> Self {
        let (codes, scratch) = scratch.split_at_mut(DEPTH * WIDTH * 8 * kind.steps());
        let (scales, offsets) = scratch.split_at_mut(DEPTH * WIDTH * 8 * kind.groups);
        Self {
            blocks: 0,
            codes: bytemuck::cast_slice_mut(codes).as_chunks_mut().0,
            scales: scales.as_chunks_mut().0,
            offsets: offsets.as_chunks_mut().0,
        }
    }

    /// Adds the products with all rows of `x`, from block `from` on, to `out[..][at..]`.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        s: S,
        format: Format,
        x: &Rounded,
        from: usize,
        at: usize,
        out: &mut [&mut [f32]],
    ) {
        // One copy of the product for formats of the same kind, whatever their center is.
        macro_rules! each {
            ($($format:ident $(with $other:ident)?,)+) => {
                match format {
                    $(Format::$format $(| Format::$other)? => {
                        self.bands::<S, { Format::$format as usize }>(s, x, from, at, out);
                    })+
                    other => unreachable!("{other:?} has no integers"),
                }
            };
        }
        each! {
            Q4_0, Q4_1 with Q4_K, Q5_0, Q5_1 with Q5_K, Q8_0 with Int8, Q2_K, Q6_K with Q3_K,
        }
    }

    /// The same for the format that is number `F`.
    #[inline(always)]
    fn bands<S: Simd, const F: usize>(
        &self,
        s: S,
        x: &Rounded,
        from: usize,
        at: usize,
        out: &mut [&mut [f32]],
    ) {
        let whole = out.len() - out.len() % BAND;
        for row in (0..whole).step_by(BAND) {
            self.band::<S, F, BAND>(s, x, row, from, at, &mut out[row..]);
        }
        for row in whole..out.len() {
            self.band::<S, F, 1>(s, x, row, from, at, &mut out[row..]);
        }
    }

    /// The same for rows `row` to `row + R` of `x` and of `out`.
    #[inline(always)]
    fn band<S: Simd, const F: usize, const R: usize>(
        &self,
        s: S,
        x: &Rounded,
        row: usize,
        from: usize,
        at: usize,
        out: &mut [&mut [f32]],
    ) {
        let kind = const { Kind::of(Format::ALL[F]) };
        let steps = kind.steps() / kind.groups;
        let mut totals = [[s.splat_eight(0.0); WIDTH]; R];
        for (totals, out) in totals.iter_mut().zip(out.iter()) {
            for (c, total) in totals.iter_mut().enumerate() {
                *total = read(s, &out[at..], c);
            }
        }
        let groups = self.blocks * kind.groups;
        let x = x.band::<R>(row, from * kind.groups, groups, steps);
        let xs = x.codes.chunks_exact(steps * R).zip(x.scales.as_chunks::<R>().0);
        let xs = xs.zip(x.sums.as_chunks::<R>().0).zip(x.centers.as_chunks::<R>().0);
        let codes = self.codes.chunks_exact(steps * WIDTH);
        // Where there are no offsets, anything as long will do.
        let offsets = if kind.offset { &*self.offsets } else { &*self.scales };
        let ws = codes.zip(self.scales.as_chunks::<WIDTH>().0).zip(offsets.as_chunks::<WIDTH>().0);
        for ((((x, scales), shares), centers), ((w, w_scales), w_offsets)) in xs.zip(ws) {
            let sums = sums::<S, F, R>(s, x, w);
            for r in 0..R {
                for c in 0..WIDTH {
                    let mut sum = sums[r][c];
                    if kind.center != 0 {
                        sum = s.add_ints(sum, s.splat_int(centers[r]));
                    }
                    let scale = s.mul_eight(s.eight(&w_scales[c]), s.splat_eight(scales[r]));
                    let product = s.mul_eight(s.float(sum), scale);
                    totals[r][c] = s.add_eight(totals[r][c], product);
                    if kind.offset {
                        let share = s.splat_eight(shares[r]);
                        let product = s.mul_eight(s.eight(&w_offsets[c]), share);
                        totals[r][c] = s.add_eight(totals[r][c], product);
                    }
                }
            }
        }
        for (totals, out) in totals.into_iter().zip(out) {
            for (c, total) in totals.into_iter().enumerate() {
                write(s, total, &mut out[at..], c);
            }
        }
    }
}

/// The exact sums of a group's products.
#[inline(always)]
fn sums<S: Simd, const F: usize, const R: usize>(
    s: S,
    x: &[i32],
    w: &[[i32; 8]],
) -> [[S::Ints; WIDTH]; R] {
    let kind = const { Kind::of(Format::ALL[F]) };
    let mut sums = [[s.splat_int(0); WIDTH]; R];
    for first in (0..kind.steps() / kind.groups).step_by(kind.chain) {
        let mut chains = [[s.splat_int(0); WIDTH]; R];
        for step in first..first + kind.chain {
            for r in 0..R {
                let x = s.splat_int(x[step * R + r]);
                for c in 0..WIDTH {
                    let w = s.ints(&w[step * WIDTH + c]);
                    chains[r][c] = if kind.wide {
                        s.mul_halves(w, x, chains[r][c])
                    } else {
                        s.mul_bytes(w, x, chains[r][c])
                    };
                }
            }
        }
        for r in 0..R {
            for c in 0..WIDTH {
                let settled = if kind.wide { chains[r][c] } else { s.settle(chains[r][c]) };
                sums[r][c] = s.add_ints(sums[r][c], settled);
            }
        }
    }
    sums
}

/// The `c`th eight of `from`, 0 where it ends.
#[inline(always)]
fn read<S: Simd>(s: S, from: &[f32], c: usize) -> S::Eight {
    let (eights, rest) = from.as_chunks();
    if let Some(eight) = eights.get(c) {
        return s.eight(eight);
    }
    let mut eight = [0.0; 8];
    if c == eights.len() {
        eight[..rest.len()].copy_from_slice(rest);
    }
    s.eight(&eight)
}

/// Stores as many as `to` has room for.
#[inline(always)]
fn write<S: Simd>(s: S, v: S::Eight, to: &mut [f32], c: usize) {
    let (eights, rest) = to.as_chunks_mut();
    let count = eights.len();
    if let Some(eight) = eights.get_mut(c) {
        return s.store_eight(v, eight);
    }
    if c == count {
        let mut eight = [0.0; 8];
        s.store_eight(v, &mut eight);
        rest.copy_from_slice(&eight[..rest.len()]);
    }
}

#[cfg(test)]
mod tests;
