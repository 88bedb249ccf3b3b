//! Products of brain floats (bfloat16: the upper half of a 32-bit float), summed as 32-bit floats.
//!
//! Activations are rounded once for a product, weights in panels of [`TILE`] outputs, some of which
//! stay in the second cache while blocks of rows pass by. Two neighbours along the summed dimension
//! lie in one word, as the instructions that multiply brain floats want them. A number of the result
//! is summed along its row in order, whatever the number of rows and threads.

use std::{cell::Cell, ops::Range};

use rayon::prelude::*;

use super::{
    as_floats, each_piece,
    eights::{BLOCK, Eight},
    floats::Decode,
    share,
};
use crate::{
    Format, Layout, Matrix,
    dequantize::decode_part,
    packed::EIGHT,
    simd::{Kernel, Path, Simd, brain_pair},
    threads::{with_scratch, worth_spreading},
};

/// Outputs of a panel.
const TILE: usize = 32;

/// Numbers that are summed over in a panel: whole blocks of every format.
const DEPTH: usize = 768;

/// Panels that exist at a time.
const PANELS: usize = 4;

/// Outputs that one task has at most where many rows of activations share them.
const SHARE: usize = PANELS * TILE;

/// Rows that pass by the panels at a time: whole bands, whose numbers stay in the second cache.
const ROWS: usize = 20 * BAND;

/// Rows of a band, the most for whose sums there are registers.
const BAND: usize = 12;

/// Words of a panel.
const WORDS: usize = DEPTH / 2 * TILE;

/// Numbers of the panels, and of what one is made from: floats, and these rounded.
const SCRATCH: usize = PANELS * WORDS + DEPTH * TILE + WORDS;

/// As many multiply-adds take about as long as to round one number.
const WORK: usize = 2;

/// Rows of a weight between what is read and what is asked for meanwhile, across its rows.
const AHEAD: usize = 32;

/// Two neighbours of each output.
type Words = [u32; TILE];

/// `out[n, rows] = x[n, cols] · wᵀ (+ bias)`, everything checked, no side 0.
pub(super) fn multiply(
    path: Path,
    x: &[f32],
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    product(path, x, Along::Columns(w), bias, out);
}

/// `out[n, cols] = g[n, rows] · w`, everything checked, no side 0.
pub(super) fn multiply_backward(path: Path, g: &[f32], w: Matrix<'_>, out: &mut [f32]) {
    product(path, g, Along::Rows(w), None, out);
}

fn product(path: Path, x: &[f32], w: Along<'_>, bias: Option<&[f32]>, out: &mut [f32]) {
    let (outputs, n) = (w.outputs(), out.len() / w.outputs());
    let spread = worth_spreading(out.len().saturating_mul(w.depth()));
    let most = if n == 1 { usize::MAX } else { SHARE };
    let x = Rounded::of(path, x, w.depth());
    each_piece(out, outputs, share(outputs, TILE, most, spread), spread, |first, out| {
        let bias = bias.map(|bias| &bias[first..]);
        with_scratch(SCRATCH, |scratch| {
            path.run(Piece { x: &x, w, first, bias, out, scratch });
        });
    });
    x.recycle();
}

/// Rows of activations as pairs of neighbours; an odd last one stands beside a 0.
///
/// Rows lie in [bands](band_rows), whose words take turns: the first of each row, then the second.
struct Rounded {
    pairs: Vec<u32>,
    /// Words of a row.
    stride: usize,
}

thread_local! {
    /// Memory that the thread has used. A product within another one finds none and makes some.
    static RECYCLED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

impl Rounded {
    /// Rounds rows of `cols` numbers.
    fn of(path: Path, x: &[f32], cols: usize) -> Self {
        let stride = cols.div_ceil(2);
        let n = x.len() / cols;
        let mut pairs = RECYCLED.take();
        if pairs.len() < n * stride {
            pairs.resize(n * stride, 0);
        }
        let to = &mut pairs[..n * stride];
        let round = |(x, to): (&[f32], &mut [u32])| path.run(Round { x, cols, to });
        if worth_spreading(x.len() * WORK) {
            let rows = n.div_ceil(rayon::current_num_threads()).next_multiple_of(BAND);
            x.par_chunks(rows * cols).zip(to.par_chunks_mut(rows * stride)).for_each(round);
        } else {
            round((x, to));
        }
        Self { pairs, stride }
    }

    /// Keeps the memory for the thread's next product.
    fn recycle(self) {
        RECYCLED.set(self.pairs);
    }

    /// `words` words of the band of `R` rows that begins with row `first`, from word `from` on.
    #[inline(always)]
    fn band<const R: usize>(&self, first: usize, from: usize, words: usize) -> &[[u32; R]] {
        self.pairs[first * self.stride + from * R..][..words * R].as_chunks().0
    }
}

/// How many rows the band has that begins with row `first` of `n`.
#[inline(always)]
const fn band_rows<S: Simd>(first: usize, n: usize) -> usize {
    match n - first {
        BAND.. if S::LANES == 16 => BAND,
        4.. => 4,
        _ => 1,
    }
}

/// Some rows, the first of which begins a band, and where they go.
struct Round<'a> {
    x: &'a [f32],
    cols: usize,
    to: &'a mut [u32],
}

impl Kernel for Round<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, cols, to } = self;
        let (n, stride) = (x.len() / cols, cols.div_ceil(2));
        let mut first = 0;
        while first < n {
            let rows = band_rows::<S>(first, n);
            let x = &x[first * cols..][..rows * cols];
            let to = &mut to[first * stride..][..rows * stride];
            match rows {
                BAND => round_band::<S, BAND>(s, x, cols, to),
                4 => round_band::<S, 4>(s, x, cols, to),
                _ => round_row(s, x, to),
            }
            first += rows;
        }
    }
}

/// Rounds `R` rows to pairs that take turns.
#[inline(always)]
fn round_band<S: Simd, const R: usize>(s: S, x: &[f32], cols: usize, to: &mut [u32]) {
    const SOME: usize = 128;
    let mut pairs = [0; SOME];
    for (r, row) in x.chunks_exact(cols).enumerate() {
        for (row, to) in row.chunks(2 * SOME).zip(to.as_chunks_mut::<R>().0.chunks_mut(SOME)) {
            let pairs = &mut pairs[..to.len()];
            round_row(s, row, pairs);
            for (to, pair) in to.iter_mut().zip(pairs) {
                to[r] = *pair;
            }
        }
    }
}

/// Rounds a row to pairs; beside an odd last number stands a 0.
#[inline(always)]
fn round_row<S: Simd>(s: S, row: &[f32], to: &mut [u32]) {
    let (chunks, _) = S::chunks(row);
    for (i, to) in S::pair_chunks_mut(to).iter_mut().take(chunks.len() / 2).enumerate() {
        s.round_row(s.load(&chunks[2 * i]), s.load(&chunks[2 * i + 1]), to);
    }
    let done = chunks.len() / 2 * S::LANES;
    let (pairs, odd) = row[2 * done..].as_chunks::<2>();
    for (to, [low, high]) in to[done..].iter_mut().zip(pairs) {
        *to = brain_pair(*low, *high);
    }
    if let [odd] = odd {
        to[done + pairs.len()] = brain_pair(*odd, 0.0);
    }
}

/// Rounds the numbers of two rows to pairs.
#[inline(always)]
fn round_lanes<S: Simd>(s: S, low: &[f32; TILE], high: &[f32; TILE], to: &mut Words) {
    let rows = S::chunks(low).0.iter().zip(S::chunks(high).0);
    for (to, (low, high)) in S::pair_chunks_mut(to).iter_mut().zip(rows) {
        s.round_lanes(s.load(low), s.load(high), to);
    }
}

/// A weight, and which of its sides is summed over.
#[derive(Clone, Copy)]
enum Along<'a> {
    /// Outputs are the weight's rows.
    Columns(Matrix<'a>),
    /// Outputs are the weight's columns.
    Rows(Matrix<'a>),
}

impl Along<'_> {
    fn outputs(self) -> usize {
        match self {
            Self::Columns(w) => w.rows,
            Self::Rows(w) => w.cols,
        }
    }

    /// Numbers that are summed.
    fn depth(self) -> usize {
        match self {
            Self::Columns(w) => w.cols,
            Self::Rows(w) => w.rows,
        }
    }
}

/// Some outputs of all rows of `x`.
struct Piece<'a, 'o> {
    x: &'a Rounded,
    w: Along<'a>,
    first: usize,
    bias: Option<&'a [f32]>,
    out: &'a mut [&'o mut [f32]],
    scratch: &'a mut [f32],
}

impl Kernel for Piece<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, w, first, bias, out, scratch } = self;
        let (panels, floats) = scratch.split_at_mut(PANELS * WORDS);
        let panels: &mut [Words] = bytemuck::cast_slice_mut::<_, u32>(panels).as_chunks_mut().0;
        let (n, width) = (out.len(), out[0].len());
        for share in (0..width).step_by(SHARE) {
            let tiles = || (share..width.min(share + SHARE)).step_by(TILE);
            for from in (0..w.depth()).step_by(DEPTH) {
                let depth = DEPTH.min(w.depth() - from);
                let words = depth.div_ceil(2);
                for (at, panel) in tiles().zip(panels.chunks_exact_mut(words)) {
                    match w {
                        Along::Columns(w) => {
                            fill_rows(s, w, first + at, from, depth, floats, panel);
                        }
                        Along::Rows(w) => {
                            fill_columns(s, w, first + at, from, depth, floats, panel);
                        }
                    }
                }
                for row in (0..n).step_by(ROWS) {
                    for (at, panel) in tiles().zip(panels.chunks_exact(words)) {
                        let begin = match bias {
                            _ if from > 0 => Begin::Sums,
                            Some(bias) => Begin::Bias(&bias[at..]),
                            None => Begin::Zero,
                        };
                        bands(s, x, row..n.min(row + ROWS), from / 2, panel, begin, at, out);
                    }
                }
            }
        }
    }
}

/// A panel of the weight's rows from `first` on, elements `from` to `from + depth` of each.
#[inline(always)]
fn fill_rows<S: Simd>(
    s: S,
    w: Matrix<'_>,
    first: usize,
    from: usize,
    depth: usize,
    floats: &mut [f32],
    panel: &mut [Words],
) {
    if w.layout == Layout::Eights {
        let last = w.rows.div_ceil(EIGHT) - 1;
        for i in 0..TILE / EIGHT {
            let eight = Eight::of(w, (first / EIGHT + i).min(last));
            let blocks = from / BLOCK..(from + depth).div_ceil(BLOCK);
            let to = &mut floats.as_chunks_mut().0[i..];
            s.call(Decode { eight, blocks, to, stride: TILE / EIGHT });
        }
        let (elements, _) = floats.as_chunks::<TILE>();
        for (words, [low, high]) in panel.iter_mut().zip(elements.as_chunks().0) {
            round_lanes(s, low, high, words);
        }
        return;
    }
    let count = TILE.min(w.rows - first);
    if w.format == Format::BF16 && cfg!(target_endian = "little") {
        let mut rows: [&[u8]; TILE] = [&[]; TILE];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &w.row(first + i.min(count - 1))[2 * from..][..2 * depth];
        }
        return put_across(s, rows, panel);
    }
    for (i, row) in floats.chunks_exact_mut(depth).take(count).enumerate() {
        decode_part(s, w, first + i, from, row);
    }
    round_across(s, floats, depth, panel);
}

/// Rounds [`TILE`] rows of floats, `stride` behind each other, and puts them across.
#[inline(always)]
fn round_across<S: Simd>(s: S, floats: &mut [f32], stride: usize, panel: &mut [Words]) {
    let (floats, pairs) = floats.split_at_mut(DEPTH * TILE);
    let (len, words) = (stride.min(2 * panel.len()), panel.len());
    let pairs: &mut [u32] = &mut bytemuck::cast_slice_mut(pairs)[..TILE * words];
    for (row, pairs) in floats.chunks_exact(stride).zip(pairs.chunks_exact_mut(words)) {
        round_row(s, &row[..len], pairs);
    }
    let mut rows: [&[u8]; TILE] = [&[]; TILE];
    for (row, pairs) in rows.iter_mut().zip(pairs.chunks_exact(words)) {
        *row = bytemuck::cast_slice(pairs);
    }
    put_across(s, rows, panel);
}

/// Puts rows of pairs across, the last of which may lack its second half.
#[inline(always)]
fn put_across<S: Simd>(s: S, rows: [&[u8]; TILE], panel: &mut [Words]) {
    let whole = rows[0].len() / 16 * 4;
    let (fours, rest) = panel.split_at_mut(whole);
    for (i, four) in fours.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let mut pairs = [&[0; 16]; TILE];
        for j in 0..TILE {
            pairs[j] = rows[j][16 * i..].first_chunk().expect("rows are equally long");
        }
        let [a, b, c, d] = four;
        for lane in (0..TILE).step_by(S::LANES) {
            let to = [
                &mut S::pair_chunks_mut(&mut a[lane..])[0],
                &mut S::pair_chunks_mut(&mut b[lane..])[0],
                &mut S::pair_chunks_mut(&mut c[lane..])[0],
                &mut S::pair_chunks_mut(&mut d[lane..])[0],
            ];
            s.across(&pairs[lane..], to);
        }
    }
    for (i, words) in rest.iter_mut().enumerate() {
        for (word, row) in words.iter_mut().zip(rows) {
            *word = match row[4 * (whole + i)..] {
                [a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
                [a, b, ..] => u32::from_le_bytes([a, b, 0, 0]),
                _ => 0,
            };
        }
    }
}

/// A panel of the weight's columns from `first` on, rows `from` to `from + depth` of each.
#[inline(always)]
fn fill_columns<S: Simd>(
    s: S,
    w: Matrix<'_>,
    first: usize,
    from: usize,
    depth: usize,
    floats: &mut [f32],
    panel: &mut [Words],
) {
    if w.layout == Layout::Eights {
        let eights = depth.div_ceil(EIGHT);
        for i in 0..eights {
            let eight = Eight::of(w, from / EIGHT + i);
            let blocks = first / BLOCK..first / BLOCK + 1;
            s.call(Decode {
                eight,
                blocks,
                to: &mut floats.as_chunks_mut().0[i..],
                stride: eights,
            });
        }
        return round_across(s, floats, EIGHT * eights, panel);
    }
    if first + TILE <= w.cols && matches!(w.format, Format::BF16 | Format::F32) {
        return fill_stored(s, w, first, from, depth, panel);
    }
    // Whole blocks are decoded, which may begin before the first column and end behind the last.
    let block = w.format.block_len();
    let begin = first / block * block;
    let len = (first + TILE).next_multiple_of(block).min(w.cols) - begin;
    let (low, rest) = floats.split_at_mut(len.max(first - begin + TILE));
    let high = &mut rest[..low.len()];
    for (i, words) in panel.iter_mut().enumerate() {
        decode_part(s, w, from + 2 * i, begin, &mut low[..len]);
        if 2 * i + 1 < depth {
            decode_part(s, w, from + 2 * i + 1, begin, &mut high[..len]);
        } else {
            high.fill(0.0);
        }
        let [low, high] = [&*low, &*high].map(|row| row[first - begin..].first_chunk());
        if let (Some(low), Some(high)) = (low, high) {
            round_lanes(s, low, high, words);
        }
    }
}

/// The same of floats or brain floats, all columns of which exist.
#[inline(always)]
fn fill_stored<S: Simd>(
    s: S,
    w: Matrix<'_>,
    first: usize,
    from: usize,
    depth: usize,
    panel: &mut [Words],
) {
    let ask = |row: usize| {
        // Rows are a page apart or so, which no processor foresees.
        let at = w.bytes.as_ptr().wrapping_add((from + row + AHEAD) * w.row_bytes());
        let len = w.row_bytes() / w.cols;
        for line in (first * len..(first + TILE) * len).step_by(64) {
            s.prefetch(at.wrapping_add(line));
        }
    };
    for (i, words) in panel.iter_mut().enumerate() {
        ask(2 * i);
        ask(2 * i + 1);
        let (low, high) = (from + 2 * i, (2 * i + 1 < depth).then_some(from + 2 * i + 1));
        if let Some(low) = as_floats(w, low, 1) {
            let high = high.and_then(|high| as_floats(w, high, 1)?[first..].first_chunk());
            let low = low[first..].first_chunk().expect("all columns exist");
            round_lanes(s, low, high.unwrap_or(&[0.0; TILE]), words);
        } else {
            let row = |row| w.row(row)[2 * first..].first_chunk().expect("all columns exist");
            interleave(row(low), high.map_or(&[0; 2 * TILE], row), words);
        }
    }
}

/// Pairs of the brain floats of two rows.
#[inline(always)]
fn interleave(low: &[u8; 2 * TILE], high: &[u8; 2 * TILE], to: &mut Words) {
    let rows = low.as_chunks::<2>().0.iter().zip(high.as_chunks::<2>().0);
    for (to, ([a, b], [c, d])) in to.iter_mut().zip(rows) {
        *to = u32::from_le_bytes([*a, *b, *c, *d]);
    }
}

/// What products are added to.
#[derive(Clone, Copy)]
enum Begin<'a> {
    Zero,
    Bias(&'a [f32]),
    /// What stands where they go.
    Sums,
}

/// Puts the products of some rows of `x`, from word `from` on, into `out[rows][at..]`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what a band has, for some of them")]
fn bands<S: Simd>(
    s: S,
    x: &Rounded,
    rows: Range<usize>,
    from: usize,
    panel: &[Words],
    begin: Begin<'_>,
    at: usize,
    out: &mut [&mut [f32]],
) {
    let Range { start: mut row, end } = rows;
    while row < end {
        let (count, words) = (band_rows::<S>(row, out.len()), panel.len());
        let out = &mut out[row..];
        match count {
            BAND => band::<S, BAND>(s, x.band(row, from, words), panel, begin, at, out),
            4 => band::<S, 4>(s, x.band(row, from, words), panel, begin, at, out),
            _ => band::<S, 1>(s, x.band(row, from, words), panel, begin, at, out),
        }
        row += count;
    }
}

/// The same for the first `R` rows.
#[inline(always)]
fn band<S: Simd, const R: usize>(
    s: S,
    x: &[[u32; R]],
    panel: &[Words],
    begin: Begin<'_>,
    at: usize,
    out: &mut [&mut [f32]],
) {
    const WIDTH: usize = 2;
    for lane in (0..TILE).step_by(WIDTH * S::LANES) {
        let at = at + lane;
        if at >= out[0].len() {
            return;
        }
        let mut sums = [[s.splat(0.0); WIDTH]; R];
        for (sums, out) in sums.iter_mut().zip(&*out) {
            for (c, sum) in sums.iter_mut().enumerate() {
                let skip = c * S::LANES;
                match begin {
                    Begin::Zero => {}
                    Begin::Bias(bias) => *sum = read(s, from(bias, lane + skip)),
                    Begin::Sums => *sum = read(s, from(out, at + skip)),
                }
            }
        }
        for (words, x) in panel.iter().zip(x) {
            let chunks = S::pair_chunks(&words[lane..]);
            let w = [s.pairs(&chunks[0]), s.pairs(&chunks[1])];
            for r in 0..R {
                for c in 0..WIDTH {
                    sums[r][c] = s.mul_pairs(w[c], x[r], sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..WIDTH {
                let end = out[r].len();
                write(s, sums[r][c], &mut out[r][(at + c * S::LANES).min(end)..]);
            }
        }
    }
}

/// What lies from `at` on, if anything.
#[inline(always)]
fn from(numbers: &[f32], at: usize) -> &[f32] {
    numbers.get(at..).unwrap_or_default()
}

/// A register of what `from` begins with, 0 where it ends.
#[inline(always)]
fn read<S: Simd>(s: S, from: &[f32]) -> S::V {
    if let Some(chunk) = S::chunks(from).0.first() {
        return s.load(chunk);
    }
    let mut filled = [0.0; TILE];
    filled[..from.len()].copy_from_slice(from);
    s.load(&S::chunks(&filled).0[0])
}

/// A register to what `to` begins with, as far as it goes.
#[inline(always)]
fn write<S: Simd>(s: S, v: S::V, to: &mut [f32]) {
    if let Some(chunk) = S::chunks_mut(to).0.first_mut() {
        return s.store(v, chunk);
    }
    let mut filled = [0.0; TILE];
    s.store(v, &mut S::chunks_mut(&mut filled).0[0]);
    to.copy_from_slice(&filled[..to.len()]);
}

#[cfg(test)]
mod tests {
    use super::{Path, Round};

    /// Numbers whose rounding is special, and neighbours of ties.
    fn numbers() -> Vec<f32> {
        let ties = (0..=u16::MAX).map(|upper| f32::from_bits(u32::from(upper) << 16 | 0x8000));
        let near = ties.clone().flat_map(|x| [x.next_down(), x.next_up()]);
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN];
        ties.chain(near).chain(special).collect()
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_on_every_path() {
        let numbers = numbers();
        assert_eq!(numbers.len() % 2, 1, "an odd one too");
        for path in Path::all() {
            let mut pairs = vec![u32::MAX; numbers.len().div_ceil(2)];
            path.run(Round { x: &numbers, cols: numbers.len(), to: &mut pairs });
            let halves = pairs.iter().flat_map(|pair| [*pair as u16, (*pair >> 16) as u16]);
            for (x, bits) in numbers.iter().chain([&0.0]).zip(halves) {
                let (found, expected) = (half::bf16::from_bits(bits), half::bf16::from_f32(*x));
                let same = found.to_bits() == expected.to_bits()
                    || found.is_nan() && expected.is_nan()
                    || x.is_subnormal() && found.to_f32() == 0.0;
                assert!(same, "{x:e} is {found:e} on {path:?}, not {expected:e}");
            }
        }
    }
}
