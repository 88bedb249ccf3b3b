//! Products of activations with stored weights, and rows of a stored table.
//!
//! Weights are decoded a panel at a time into scratch memory that stays in the nearest cache, and
//! never as a whole. Rows that lie one after the other are multiplied as they are, along the summed
//! dimension (here); packed ones eight at a time, in `floats` or `int8`.

use rayon::prelude::*;

use crate::{
    Format, Layout, Matrix,
    dequantize::{decode_part, dequantize_rows_on},
    packed::pack,
    simd::{Kernel, Path, Simd, brain_dot, dots},
    threads::{with_scratch, worth_spreading},
};

mod brain;
mod eights;
mod floats;
mod int8;

/// Columns that a panel spans: a multiple of every block length, small enough that a few rows of
/// activations and of weights stay in the first-level cache.
const DEPTH: usize = 1024;

/// Weight rows of a tile, at least and in steps of: whole groups of the widest products.
const STEP: usize = 12;

/// Weight rows of a panel when many rows of activations share it.
const PANEL: usize = 48;

/// What numbers a product of activations with stored weights is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Arithmetic {
    /// Weights are decoded to 32-bit floats, activations are taken as they are.
    #[default]
    F32,
    /// Where the weights [are integers with scales](Format::has_integers), activations are rounded
    /// to integers of 8 bits with a scale for each 32 of them, and integers are multiplied. With
    /// weights of other formats as `F32`. Weights that are not [packed](crate::pack) are packed for
    /// each product.
    ///
    /// An activation moves by at most 1/254 of the largest size among its 32. One that is not
    /// finite makes all of its row NaN. Activations below 1.5e-36 count as 0 where all 32 are.
    Int8,
    /// Activations and decoded weights are rounded to brain floats (bfloat16), their products are
    /// summed as 32-bit floats. Subnormal numbers may count as 0.
    ///
    /// A factor moves by at most 1/256 of its size.
    Bf16,
}

/// `out[n, rows] = x[n, cols] · wᵀ (+ bias)`.
///
/// Each number of `out` depends on its own row of `x` and of `w` alone, to the last bit: neither
/// the number of rows nor the number of threads changes it. With [`Arithmetic::Int8`] and integers
/// it is the same on every machine.
///
/// # Panics
/// When the sizes do not fit.
pub fn linear(
    x: &[f32],
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    arithmetic: Arithmetic,
    out: &mut [f32],
) {
    linear_on(Path::active(), x, w, bias, arithmetic, out);
}

pub(crate) fn linear_on(
    path: Path,
    x: &[f32],
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    arithmetic: Arithmetic,
    out: &mut [f32],
) {
    w.check();
    if out.is_empty() {
        return;
    }
    assert!(out.len().is_multiple_of(w.rows), "out is not rows of {}", w.rows);
    let n = out.len() / w.rows;
    assert_eq!(x.len(), n * w.cols, "x is not [{n}, {}]", w.cols);
    assert!(bias.is_none_or(|bias| bias.len() == w.rows), "bias is not [{}]", w.rows);
    let packed;
    let w = if arithmetic != Arithmetic::F32 && w.format.packs() && w.layout == Layout::Rows {
        packed = pack(w);
        Matrix { bytes: packed.as_ref(), layout: Layout::Eights, ..w }
    } else {
        w
    };
    if w.cols > 0 {
        match (arithmetic, w.layout) {
            (Arithmetic::F32, Layout::Eights) => return floats::multiply(path, x, w, bias, out),
            (Arithmetic::Int8, Layout::Eights) => return int8::multiply(path, x, w, bias, out),
            (Arithmetic::Bf16, _) => return brain::multiply(path, x, w, bias, out),
            (Arithmetic::F32 | Arithmetic::Int8, Layout::Rows) => {}
        }
    }

    each_tile(w, bias, out, STEP, PANEL, |first, out| {
        with_scratch(panel_rows(n) * w.cols.min(DEPTH), |panel| {
            path.run(Tile { x, w, first, out, panel });
        });
    });
}

/// The gradient of [`linear`] for `x`, given that of its result: `out[n, cols] = g[n, rows] · w`.
///
/// With [`Arithmetic::F32`] or [`Arithmetic::Int8`], `w` is [packed](crate::pack), and is multiplied
/// as floats.
///
/// Each number depends on its own row of `g` and on `w` alone, to the last bit.
///
/// # Panics
/// When the sizes do not fit, or `w` is not packed where it has to be.
pub fn linear_backward(g: &[f32], w: Matrix<'_>, arithmetic: Arithmetic, out: &mut [f32]) {
    linear_backward_on(Path::active(), g, w, arithmetic, out);
}

pub(crate) fn linear_backward_on(
    path: Path,
    g: &[f32],
    w: Matrix<'_>,
    arithmetic: Arithmetic,
    out: &mut [f32],
) {
    w.check();
    if out.is_empty() {
        return;
    }
    assert!(out.len().is_multiple_of(w.cols), "out is not rows of {}", w.cols);
    let n = out.len() / w.cols;
    assert_eq!(g.len(), n * w.rows, "g is not [{n}, {}]", w.rows);
    match arithmetic {
        Arithmetic::F32 | Arithmetic::Int8 => floats::multiply_backward(path, g, w, out),
        Arithmetic::Bf16 if w.rows > 0 => brain::multiply_backward(path, g, w, out),
        Arithmetic::Bf16 => out.fill(0.0),
    }
}

/// Gathers and decodes rows of a table: `out[ids.len(), cols]`.
///
/// # Panics
/// When the sizes do not fit or an id is not below `table.rows`.
pub fn embed(ids: &[u32], table: Matrix<'_>, out: &mut [f32]) {
    table.check();
    assert_eq!(out.len(), ids.len() * table.cols, "out is not [{}, {}]", ids.len(), table.cols);
    if out.is_empty() {
        return;
    }
    let path = Path::active();
    for (&id, out) in ids.iter().zip(out.chunks_exact_mut(table.cols)) {
        assert!((id as usize) < table.rows, "row {id} of a table of {}", table.rows);
        dequantize_rows_on(path, table, id as usize, out);
    }
}

/// Does `work` for the products with some rows of the weight, in whole `step`s and no more than
/// `most` when many rows of activations share them: for the first of these rows, and where their
/// products are to be added.
fn each_tile(
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
    step: usize,
    most: usize,
    work: impl Fn(usize, &mut [&mut [f32]]) + Sync,
) {
    let n = out.len() / w.rows;
    let spread = worth_spreading(n.saturating_mul(w.rows).saturating_mul(w.cols));
    let width = share(w.rows, step, if n == 1 { usize::MAX } else { most }, spread);
    each_piece(out, w.rows, width, spread, |first, out| {
        start(out, bias, first);
        work(first, out);
    });
}

/// How many of `outputs` one task has, in whole `step`s, at most `most`: so few that threads end at
/// about the same time.
fn share(outputs: usize, step: usize, most: usize, spread: bool) -> usize {
    let tasks = if spread { rayon::current_num_threads() * 4 } else { 1 };
    outputs.div_ceil(tasks).next_multiple_of(step).min(most)
}

/// Weight rows that are decoded before they are multiplied.
const fn panel_rows(n: usize) -> usize {
    match n {
        1 => 4,
        2..=8 => 6,
        _ => PANEL,
    }
}

/// Cuts each row of `out` at multiples of `width`: the pieces of the first columns, one per row,
/// then those of the next.
fn columns(out: &mut [f32], rows: usize, width: usize) -> Vec<&mut [f32]> {
    let n = out.len() / rows;
    let mut cuts: Vec<_> = out.chunks_mut(rows).map(|row| row.chunks_mut(width)).collect();
    let mut pieces = Vec::with_capacity(n * rows.div_ceil(width));
    for _ in 0..rows.div_ceil(width) {
        pieces.extend(cuts.iter_mut().filter_map(Iterator::next));
    }
    pieces
}

/// Does `work` for each `width` columns of `out`, whose rows are `cols` long: for the first of these
/// columns, and what each row of `out` has of them.
fn each_piece(
    out: &mut [f32],
    cols: usize,
    width: usize,
    spread: bool,
    work: impl Fn(usize, &mut [&mut [f32]]) + Sync,
) {
    let n = out.len() / cols;
    let mut pieces = columns(out, cols, width);
    let work = |(i, out): (usize, &mut [&mut [f32]])| work(i * width, out);
    if spread {
        pieces.par_chunks_mut(n).enumerate().for_each(work);
    } else {
        pieces.chunks_mut(n).enumerate().for_each(work);
    }
}

/// What products are added to: the bias from row `first` of the weights on, or 0.
fn start(out: &mut [&mut [f32]], bias: Option<&[f32]>, first: usize) {
    for out in out {
        match bias {
            Some(bias) => out.copy_from_slice(&bias[first..][..out.len()]),
            None => out.fill(0.0),
        }
    }
}

/// Some rows of the weight times all rows of `x`.
struct Tile<'a, 'o> {
    x: &'a [f32],
    w: Matrix<'a>,
    first: usize,
    out: &'a mut [&'o mut [f32]],
    panel: &'a mut [f32],
}

impl Kernel for Tile<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, first, out, panel } = self;
        if let ([out], Format::BF16) = (&mut *out, w.format) {
            return lone_brains(s, x, w, first, out);
        }
        let (rows, panel_rows) = (out[0].len(), panel_rows(out.len()));
        for k in (0..w.cols).step_by(DEPTH) {
            let depth = DEPTH.min(w.cols - k);
            for row in (0..rows).step_by(panel_rows) {
                let count = panel_rows.min(rows - row);
                let floats = as_floats(w, first + row, count);
                let weights = if let Some(floats) = floats {
                    Rows { data: &floats[k..], stride: w.cols, depth }
                } else {
                    for (i, panel) in panel.chunks_exact_mut(depth).take(count).enumerate() {
                        decode_part(s, w, first + row + i, k, panel);
                    }
                    Rows { data: &*panel, stride: depth, depth }
                };
                let x = Rows { data: &x[k..], stride: w.cols, depth };
                multiply(s, x, weights, count, row, out);
            }
        }
    }
}

/// Adds the products of one row of `x` with rows of brain floats from `first` on: without a panel,
/// which only one row would read, and row after row, so that memory is one stream.
#[inline(always)]
fn lone_brains<S: Simd>(s: S, x: &[f32], w: Matrix<'_>, first: usize, out: &mut [f32]) {
    for (row, out) in out.iter_mut().enumerate() {
        let row = w.row(first + row);
        for k in (0..w.cols).step_by(DEPTH) {
            let depth = DEPTH.min(w.cols - k);
            *out += brain_dot(s, &x[k..][..depth], &row[2 * k..][..2 * depth]);
        }
    }
}

/// `count` rows of a weight whose bytes are floats already.
#[inline(always)]
fn as_floats(w: Matrix<'_>, first: usize, count: usize) -> Option<&[f32]> {
    if w.format != Format::F32 || cfg!(target_endian = "big") {
        return None;
    }
    let len = w.row_bytes();
    bytemuck::try_cast_slice(&w.bytes[first * len..][..count * len]).ok()
}

/// Rows of which the first `depth` numbers count.
#[derive(Clone, Copy)]
struct Rows<'a> {
    data: &'a [f32],
    stride: usize,
    depth: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn get<const N: usize>(self, first: usize) -> [&'a [f32]; N] {
        let mut rows: [&[f32]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.data[(first + i) * self.stride..][..self.depth];
        }
        rows
    }
}

/// Adds the products of all rows of `x` with `count` rows of weights to `out[..][at..]`.
#[inline(always)]
fn multiply<S: Simd>(
    s: S,
    x: Rows<'_>,
    w: Rows<'_>,
    count: usize,
    at: usize,
    out: &mut [&mut [f32]],
) {
    let mut i = 0;
    while i + 4 <= out.len() {
        band::<S, 4, 3>(s, x.get(i), w, count, at, &mut out[i..]);
        i += 4;
    }
    match out.len() - i {
        3 => band::<S, 3, 3>(s, x.get(i), w, count, at, &mut out[i..]),
        2 => band::<S, 2, 3>(s, x.get(i), w, count, at, &mut out[i..]),
        1 => band::<S, 1, 4>(s, x.get(i), w, count, at, &mut out[i..]),
        _ => {}
    }
}

/// The same for `R` rows of `x`, `C` rows of weights at a time.
#[inline(always)]
fn band<S: Simd, const R: usize, const C: usize>(
    s: S,
    x: [&[f32]; R],
    w: Rows<'_>,
    count: usize,
    at: usize,
    out: &mut [&mut [f32]],
) {
    let mut j = 0;
    while j + C <= count {
        add(dots::<S, R, C>(s, x, w.get(j)), at + j, out);
        j += C;
    }
    while j < count {
        add(dots::<S, R, 1>(s, x, w.get(j)), at + j, out);
        j += 1;
    }
}

#[inline(always)]
fn add<const R: usize, const C: usize>(sums: [[f32; C]; R], at: usize, out: &mut [&mut [f32]]) {
    for (sums, out) in sums.iter().zip(out) {
        for (sum, out) in sums.iter().zip(&mut out[at..at + C]) {
            *out += sum;
        }
    }
}

#[cfg(test)]
mod tests;
