//! Products of floats with packed weights, eight rows of them in a vector.
//!
//! Elements are decoded as `dequantize` decodes them; a number of the result is summed along its
//! row in order, each step fused, whatever the number of rows and threads.
//!
//! Many rows of activations share a panel of [`TILE`] rows that stays in the nearest cache; a
//! single one meets the weights as they are decoded. The gradient for the activations sums over the
//! rows of the weight, which lie together in a panel of its columns.

use std::ops::Range;

use super::{
    Rows, each_piece, each_tile,
    eights::{BLOCK, Eight, Kind, codes, each_packed, parts, read, scales, write},
    multiply as multiply_rows,
};
use crate::{
    Format, Layout, Matrix,
    packed::EIGHT,
    simd::{Kernel, Path, Simd},
    threads::{with_scratch, worth_spreading},
};

/// Vectors of weight rows that a panel holds.
const WIDTH: usize = 2;

/// Weight rows of a panel.
const TILE: usize = EIGHT * WIDTH;

/// Elements of a row that a panel spans: whole blocks of every format.
const DEPTH: usize = 256;

/// Vectors of weight rows that a single row of activations is multiplied with at a time, so that
/// sums need not wait for each other.
const LONE: usize = 4;

/// Rows of activations that are multiplied at a time.
const BAND: usize = 6;

/// Weight rows that one task multiplies when many rows of activations share it.
const SHARE: usize = 4 * TILE;

/// `out[n, rows] = x[n, cols] · wᵀ`, everything checked, no side 0, `w` packed.
pub(super) fn multiply(
    path: Path,
    x: &[f32],
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    each_tile(w, bias, out, LONE * EIGHT, SHARE, |first, out| {
        if let [out] = out {
            return path.run(Lone { x, w, first, out });
        }
        with_scratch(DEPTH * TILE, |panel| path.run(Piece { x, w, first, out, panel }));
    });
}

/// Eight elements as `dequantize` decodes them (those of `Int8` but for their last bit), each of
/// another row: byte `at` of `codes`, from which the center was taken.
#[inline(always)]
fn element<S: Simd>(
    s: S,
    kind: Kind,
    codes: S::Ints,
    at: u32,
    (scale, offset): (S::Eight, S::Eight),
) -> S::Eight {
    let scaled = s.mul_eight(s.float(s.byte(codes, at)), scale);
    if kind.offset { s.add_eight(scaled, offset) } else { scaled }
}

/// Some rows of the weight times one row of `x`.
struct Lone<'a> {
    x: &'a [f32],
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Lone<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, first, out } = self;
        let last = w.rows.div_ceil(EIGHT) - 1;
        for (i, out) in out.chunks_mut(LONE * EIGHT).enumerate() {
            let mut eights = [Eight::of(w, last); LONE];
            for (c, eight) in eights.iter_mut().enumerate() {
                *eight = Eight::of(w, (first / EIGHT + i * LONE + c).min(last));
            }
            each_packed!(w.format, lone(s, x, eights, out));
        }
    }
}

/// Adds the products of one row of `x` with some eights of the format that is number `F`.
#[inline(always)]
fn lone<S: Simd, const F: usize, const BYTES: usize>(
    s: S,
    x: &[f32],
    eights: [Eight<'_>; LONE],
    out: &mut [f32],
) {
    let format = const { Format::ALL[F] };
    let kind = const { Kind::of(Format::ALL[F]) };
    let parts = const { parts(Format::ALL[F]) };
    let of_group = const { 8 / Kind::of(Format::ALL[F]).groups };
    let mut sums = [s.splat_eight(0.0); LONE];
    for (c, sum) in sums.iter_mut().enumerate() {
        *sum = read(s, out, c);
    }
    for (block, x) in x.chunks(BLOCK).enumerate() {
        // What is short is the last block of `Int8`, whose weights end in zeros.
        let mut filled = [0.0; BLOCK];
        let x = x.first_chunk().unwrap_or_else(|| {
            filled[..x.len()].copy_from_slice(x);
            &filled
        });
        let part = block % parts;
        let mut unpacked = [[[0; EIGHT]; 8]; LONE];
        for c in 0..LONE {
            let piece = &eights[c].pieces::<BYTES>()[block / parts];
            for (codes, to) in codes(s, format, piece, part).into_iter().zip(&mut unpacked[c]) {
                s.store_ints(centered(s, kind, codes), to);
            }
        }
        for group in 0..kind.groups {
            let mut factors = [(s.splat_eight(0.0), s.splat_eight(0.0)); LONE];
            for c in 0..LONE {
                let piece = &eights[c].pieces::<BYTES>()[block / parts];
                factors[c] = scales(s, format, eights[c], piece, part * kind.groups + group);
            }
            for i in group * of_group..(group + 1) * of_group {
                for c in 0..LONE {
                    let codes = s.ints(&unpacked[c][i]);
                    for at in 0..4 {
                        let w = element(s, kind, codes, at as u32, factors[c]);
                        sums[c] = s.fma_eight(s.splat_eight(x[4 * i + at]), w, sums[c]);
                    }
                }
            }
        }
    }
    for (c, sum) in sums.into_iter().enumerate() {
        write(s, sum, out, c);
    }
}

/// Codes without their center, as signed bytes.
#[inline(always)]
fn centered<S: Simd>(s: S, kind: Kind, codes: S::Ints) -> S::Ints {
    if kind.center == 0 { codes } else { s.sub_bytes(codes, kind.center as u8) }
}

/// Some rows of the weight times all rows of `x`.
struct Piece<'a, 'o> {
    x: &'a [f32],
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [&'o mut [f32]],
    panel: &'a mut [f32],
}

impl Kernel for Piece<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, first, out, panel } = self;
        let (panel, _) = panel.as_chunks_mut();
        let last = w.rows.div_ceil(EIGHT) - 1;
        for at in (0..out[0].len()).step_by(TILE) {
            for from in (0..w.cols).step_by(DEPTH) {
                let depth = DEPTH.min(w.cols - from);
                let blocks = from / BLOCK..(from + depth).div_ceil(BLOCK);
                for c in 0..WIDTH {
                    let eight = Eight::of(w, ((first + at) / EIGHT + c).min(last));
                    let to = &mut panel[c..];
                    s.call(Decode { eight, blocks: blocks.clone(), to, stride: WIDTH });
                }
                bands(s, x, w.cols, from, &panel.as_chunks().0[..depth], at, out);
            }
        }
    }
}

/// Decodes some blocks of eight rows: element after element, each eight `stride` eights behind the
/// one before.
pub(super) struct Decode<'a> {
    pub(super) eight: Eight<'a>,
    pub(super) blocks: Range<usize>,
    pub(super) to: &'a mut [[f32; EIGHT]],
    pub(super) stride: usize,
}

impl Kernel for Decode<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { eight, blocks, to, stride } = self;
        each_packed!(eight.format(), decode(s, eight, blocks, to, stride));
    }
}

/// The same for the format that is number `F`.
#[inline(always)]
fn decode<S: Simd, const F: usize, const BYTES: usize>(
    s: S,
    eight: Eight<'_>,
    blocks: Range<usize>,
    to: &mut [[f32; EIGHT]],
    stride: usize,
) {
    let format = const { Format::ALL[F] };
    let kind = const { Kind::of(Format::ALL[F]) };
    let parts = const { parts(Format::ALL[F]) };
    let of_group = const { 8 / Kind::of(Format::ALL[F]).groups };
    let pieces = eight.pieces::<BYTES>();
    for (block, to) in blocks.zip(to.chunks_mut(BLOCK * stride)) {
        let (piece, part) = (&pieces[block / parts], block % parts);
        let codes = codes(s, format, piece, part);
        for group in 0..kind.groups {
            let factors = scales(s, format, eight, piece, part * kind.groups + group);
            for i in group * of_group..(group + 1) * of_group {
                let codes = centered(s, kind, codes[i]);
                for at in 0..4 {
                    let w = element(s, kind, codes, at as u32, factors);
                    s.store_eight(w, &mut to[(4 * i + at) * stride]);
                }
            }
        }
    }
}

/// Adds the products of all rows of `x`, from element `from` on, to `out[..][at..]`.
#[inline(always)]
fn bands<S: Simd>(
    s: S,
    x: &[f32],
    cols: usize,
    from: usize,
    panel: &[[[f32; EIGHT]; WIDTH]],
    at: usize,
    out: &mut [&mut [f32]],
) {
    let mut row = 0;
    while row + BAND <= out.len() {
        band::<S, BAND>(s, &x[row * cols + from..], cols, panel, at, &mut out[row..]);
        row += BAND;
    }
    let (x, out) = (&x[(row * cols + from).min(x.len())..], &mut out[row..]);
    match out.len() {
        1 => band::<S, 1>(s, x, cols, panel, at, out),
        2 => band::<S, 2>(s, x, cols, panel, at, out),
        3 => band::<S, 3>(s, x, cols, panel, at, out),
        4 => band::<S, 4>(s, x, cols, panel, at, out),
        5 => band::<S, 5>(s, x, cols, panel, at, out),
        _ => {}
    }
}

/// The same for the first `R` rows.
#[inline(always)]
fn band<S: Simd, const R: usize>(
    s: S,
    x: &[f32],
    cols: usize,
    panel: &[[[f32; EIGHT]; WIDTH]],
    at: usize,
    out: &mut [&mut [f32]],
) {
    let mut xs: [&[f32]; R] = [&[]; R];
    let mut sums = [[s.splat_eight(0.0); WIDTH]; R];
    for r in 0..R {
        xs[r] = &x[r * cols..][..panel.len()];
        for (c, sum) in sums[r].iter_mut().enumerate() {
            *sum = read(s, &out[r][at..], c);
        }
    }
    for k in 0..panel.len() {
        let mut w = [s.splat_eight(0.0); WIDTH];
        for c in 0..WIDTH {
            w[c] = s.eight(&panel[k][c]);
        }
        for r in 0..R {
            let x = s.splat_eight(xs[r][k]);
            for c in 0..WIDTH {
                sums[r][c] = s.fma_eight(x, w[c], sums[r][c]);
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        for (c, sum) in sums.into_iter().enumerate() {
            write(s, sum, &mut out[at..], c);
        }
    }
}

/// Columns of the weight that a task of [`linear_backward`] has.
const BACK_COLS: usize = BLOCK;

/// Rows of the weight that its panels span.
const BACK_ROWS: usize = 256;

/// `out[n, cols] = g[n, rows] · w`, sizes checked, `out` not empty.
///
/// # Panics
/// When `w` is not packed.
pub(super) fn multiply_backward(path: Path, g: &[f32], w: Matrix<'_>, out: &mut [f32]) {
    assert_eq!(w.layout, Layout::Eights, "the order of rows");
    let n = out.len() / w.cols;
    out.fill(0.0);
    let spread = worth_spreading(n.saturating_mul(w.rows).saturating_mul(w.cols));
    each_piece(out, w.cols, BACK_COLS, spread, |first, out| {
        with_scratch(BACK_COLS * BACK_ROWS, |panel| path.run(Back { g, w, first, out, panel }));
    });
}

/// Some columns of the weight times all rows of `g`.
struct Back<'a, 'o> {
    g: &'a [f32],
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [&'o mut [f32]],
    panel: &'a mut [f32],
}

impl Kernel for Back<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { g, w, first, out, panel } = self;
        let block = first / BLOCK;
        for from in (0..w.rows).step_by(BACK_ROWS) {
            let depth = BACK_ROWS.min(w.rows - from);
            let (eights, _) = panel.as_chunks_mut();
            for at in 0..depth.div_ceil(EIGHT) {
                let eight = Eight::of(w, from / EIGHT + at);
                let (to, stride) = (&mut eights[at..], BACK_ROWS / EIGHT);
                s.call(Decode { eight, blocks: block..block + 1, to, stride });
            }
            let g = Rows { data: &g[from..], stride: w.rows, depth };
            let panel = Rows { data: panel, stride: BACK_ROWS, depth };
            multiply_rows(s, g, panel, out[0].len(), 0, out);
        }
    }
}
