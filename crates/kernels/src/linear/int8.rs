//! Products of activations rounded to 8 bits with weights whose elements are integers.
//!
//! Within a block of 32 the products are integers and their sums exact, so the order of summation
//! does not matter there; blocks are added in their order as floats, never fused. That makes a
//! number the same on every path, for any number of rows and threads.
//!
//! Packed weights are unpacked into a tile of [`TILE`] rows that stays in the nearest cache: a
//! vector holds four elements of eight rows each, so that the sums of eight rows need no adding
//! across lanes. A single row of activations meets them where they are.

mod round;

use super::{
    each_tile,
    eights::{BLOCK, Eight, Kind, codes, each_packed, parts, read, scales, write},
};
use crate::{
    Format, Matrix,
    linear::int8::round::Rounded,
    packed::EIGHT,
    simd::{Kernel, Path, Simd},
    threads::with_scratch,
};

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

/// `out[n, rows] = x[n, cols] · wᵀ`, everything checked, `out` not empty, `w` packed.
pub(super) fn multiply(
    path: Path,
    x: &[f32],
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let x = Rounded::of(path, x, out.len() / w.rows, w.cols, Kind::of(w.format));
    each_tile(w, bias, out, TILE, PANEL, |first, out| {
        if let [out] = out {
            return path.run(Lone { x: &x, w, first, out });
        }
        with_scratch(Tile::len(Kind::of(w.format)), |scratch| {
            path.run(Piece { x: &x, w, first, out, scratch });
        });
    });
    x.recycle();
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

    /// Unpacks the rows from `first` on, from block `from` on, as many blocks as the tile is to have.
    /// Rows beyond the last eight are copies of it.
    #[inline(always)]
    fn fill<S: Simd>(&mut self, s: S, w: Matrix<'_>, first: usize, from: usize) {
        let last = w.rows.div_ceil(EIGHT) - 1;
        for c in 0..WIDTH {
            let eight = Eight::of(w, (first / EIGHT + c).min(last));
            each_packed!(w.format, unpack(s, self, eight, c, from));
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

/// Fills column `c` of a tile with eight rows of the format that is number `F`.
#[inline(always)]
fn unpack<S: Simd, const F: usize, const BYTES: usize>(
    s: S,
    tile: &mut Tile<'_>,
    eight: Eight<'_>,
    c: usize,
    from: usize,
) {
    let format = const { Format::ALL[F] };
    let kind = const { Kind::of(Format::ALL[F]) };
    let parts = const { parts(Format::ALL[F]) };
    let pieces = &eight.pieces::<BYTES>()[from / parts..][..tile.blocks.div_ceil(parts)];
    for block in 0..tile.blocks {
        let (piece, part) = (&pieces[block / parts], block % parts);
        let to = &mut tile.codes[block * kind.steps() * WIDTH..][..kind.steps() * WIDTH];
        for (i, codes) in codes(s, format, piece, part).into_iter().enumerate() {
            if kind.wide {
                let [even, odd] = s.widen(codes);
                s.store_ints(even, &mut to[2 * i * WIDTH + c]);
                s.store_ints(odd, &mut to[(2 * i + 1) * WIDTH + c]);
            } else {
                s.store_ints(codes, &mut to[i * WIDTH + c]);
            }
        }
        for group in 0..kind.groups {
            let at = (block * kind.groups + group) * WIDTH + c;
            let (scale, offset) = scales(s, format, eight, piece, part * kind.groups + group);
            s.store_eight(scale, &mut tile.scales[at]);
            if kind.offset {
                s.store_eight(offset, &mut tile.offsets[at]);
            }
        }
    }
}

/// Some rows of the weight times one row of `x`.
struct Lone<'a> {
    x: &'a Rounded,
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Lone<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, first, out } = self;
        each_packed!(w.format, lone(s, x, w, first, out));
    }
}

/// The same for the format that is number `F`. The operations are those of [`Tile::band`], in their
/// order.
#[inline(always)]
fn lone<S: Simd, const F: usize, const BYTES: usize>(
    s: S,
    x: &Rounded,
    w: Matrix<'_>,
    first: usize,
    out: &mut [f32],
) {
    let format = const { Format::ALL[F] };
    let kind = const { Kind::of(Format::ALL[F]) };
    let parts = const { parts(Format::ALL[F]) };
    let steps = kind.steps() / kind.groups;
    let x = x.band::<1>(0, 0, x.blocks * kind.groups, steps);
    for (i, out) in out.chunks_mut(EIGHT).enumerate() {
        let eight = Eight::of(w, first / EIGHT + i);
        let pieces = eight.pieces::<BYTES>();
        let mut total = read(s, out, 0);
        let groups = x.codes.chunks_exact(steps).zip(x.scales).zip(x.sums).zip(x.centers);
        let mut groups = groups.map(|(((codes, scale), sum), center)| (codes, scale, sum, center));
        for block in 0..x.scales.len() / kind.groups {
            let (piece, part) = (&pieces[block / parts], block % parts);
            eight.ask_ahead(s, block, parts);
            let codes = codes(s, format, piece, part);
            for group in 0..kind.groups {
                let Some((x, &x_scale, &share, &center)) = groups.next() else { return };
                let (scale, offset) = scales(s, format, eight, piece, part * kind.groups + group);
                let mut sum = lone_sum::<S, F>(s, x, codes, group);
                if kind.center != 0 {
                    sum = s.add_ints(sum, s.splat_int(center));
                }
                let scale = s.mul_eight(scale, s.splat_eight(x_scale));
                total = s.add_eight(total, s.mul_eight(s.float(sum), scale));
                if kind.offset {
                    let product = s.mul_eight(offset, s.splat_eight(share));
                    total = s.add_eight(total, product);
                }
            }
        }
        write(s, total, out, 0);
    }
}

/// The exact sum of a group's products.
#[inline(always)]
fn lone_sum<S: Simd, const F: usize>(
    s: S,
    x: &[i32],
    codes: [S::Ints; 8],
    group: usize,
) -> S::Ints {
    let kind = const { Kind::of(Format::ALL[F]) };
    let of_group = 8 / kind.groups;
    let mut sum = s.splat_int(0);
    if kind.wide {
        for i in 0..of_group {
            let [even, odd] = s.widen(codes[group * of_group + i]);
            sum = s.mul_halves(even, s.splat_int(x[2 * i]), sum);
            sum = s.mul_halves(odd, s.splat_int(x[2 * i + 1]), sum);
        }
        return sum;
    }
    for first in (0..of_group).step_by(kind.chain) {
        let mut chain = s.splat_int(0);
        for i in first..first + kind.chain {
            chain = s.mul_bytes(codes[group * of_group + i], s.splat_int(x[i]), chain);
        }
        sum = s.add_ints(sum, s.settle(chain));
    }
    sum
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

#[cfg(test)]
mod tests;
