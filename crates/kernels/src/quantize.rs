//! From floats to the formats of bitsandbytes, to the bit where its own arithmetic is defined.
//!
//! Rows are decoded, rounded and let go one at a time, so that the floats of a whole matrix never
//! exist.

use rayon::prelude::*;

use crate::{
    Dynamic, Format, Matrix,
    dequantize::{CODES, code_of, dequantize_rows_on},
    simd::Path,
    threads::with_scratch,
};

/// Codes that share a scale.
const BLOCK: usize = 64;
/// Below this a scale counts as 0, whose inverse does not exist.
pub(crate) const SMALLEST: f32 = 1e-38;

/// Rounds a matrix to `Nf4`, `Fp4`, their doubles, or `Int8`.
///
/// # Panics
/// When rows are not whole blocks, or `to` is a format of files.
pub fn quantize(source: Matrix<'_>, to: Format) -> Vec<u8> {
    source.check();
    let bytes = to.bytes_of_matrix(source.rows, source.cols).expect("rows are whole blocks");
    match to {
        Format::Int8 => {
            let mut out = vec![0; bytes];
            each_row(source, &mut out, to.row_bytes(source.cols), round_row);
            out
        }
        Format::Nf4 | Format::Fp4 => {
            let mut out = vec![0; bytes];
            round_blocks(source, to, &mut out);
            out
        }
        Format::Nf4Double => double(source, Format::Nf4),
        Format::Fp4Double => double(source, Format::Fp4),
        other => panic!("{other:?} is a format of files"),
    }
}

/// Hands out each row's floats with the place for its bytes.
fn each_row(
    source: Matrix<'_>,
    out: &mut [u8],
    row_bytes: usize,
    round: impl Fn(&[f32], &mut [u8]) + Sync,
) {
    out.par_chunks_exact_mut(row_bytes).enumerate().for_each(|(row, out)| {
        with_scratch(source.cols, |floats| {
            dequantize_rows_on(Path::active(), source, row, floats);
            round(floats, out);
        });
    });
}

/// A scale, then a byte for each number: the nearest of 255 equal steps.
fn round_row(row: &[f32], out: &mut [u8]) {
    let scale = largest(row);
    let (head, bytes) = out.split_at_mut(4);
    head.copy_from_slice(&scale.to_le_bytes());
    // The inverse first, as PyTorch divides a number by a tensor.
    let steps = if scale > 0.0 { scale.recip() * 127.0 } else { 0.0 };
    for (out, x) in bytes.iter_mut().zip(row) {
        *out = ((x * steps).round_ties_even() as i8).cast_unsigned();
    }
}

/// Blocks of a scale and its codes.
fn round_blocks(source: Matrix<'_>, to: Format, out: &mut [u8]) {
    let grid = Grid::new(code_of(to));
    each_row(source, out, to.row_bytes(source.cols), |floats, out| {
        let blocks = floats.as_chunks::<BLOCK>().0.iter().zip(out.as_chunks_mut::<36>().0);
        for (floats, out) in blocks {
            let (head, codes) = out.split_at_mut(4);
            head.copy_from_slice(&largest(floats).to_le_bytes());
            grid.round(floats, codes);
        }
    });
}

/// Blocks whose scales are rounded in their turn, as distances from their mean.
fn double(source: Matrix<'_>, simple: Format) -> Vec<u8> {
    let mut blocks = vec![0; source.rows * simple.row_bytes(source.cols)];
    round_blocks(source, simple, &mut blocks);
    let (blocks, _) = blocks.as_chunks::<36>();
    let scales: Vec<f32> =
        blocks.iter().map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect();
    let sum: f64 = scales.iter().copied().map(f64::from).sum();
    let offset = (sum / scales.len().max(1) as f64) as f32;
    let distances: Vec<f32> = scales.iter().map(|scale| scale - offset).collect();
    let nested = Dynamic::round(&distances, true);

    let mut out = Vec::with_capacity(blocks.len() * 33 + 4 + nested.scales.len() * 4);
    for (block, byte) in blocks.iter().zip(nested.codes) {
        out.push(byte);
        out.extend_from_slice(&block[4..]);
    }
    out.extend(offset.to_le_bytes());
    out.extend(nested.scales.into_iter().flat_map(f32::to_le_bytes));
    out
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| x.abs().max(most))
}

/// Where one code of four bits gives way to the next.
struct Grid {
    /// Midpoints of neighbours; a number that falls on one goes down.
    bounds: [f32; CODES - 1],
    /// The codes in rising order of what they stand for.
    order: [u8; CODES],
}

impl Grid {
    fn new(values: &[f32; CODES]) -> Self {
        let mut order: [u8; CODES] = std::array::from_fn(|code| code as u8);
        // Not the total order: the two zeros are equal, and the positive one comes first.
        order.sort_by(|&a, &b| {
            let [a, b] = [a, b].map(|code| values[usize::from(code)]);
            a.partial_cmp(&b).expect("codes stand for numbers")
        });
        let value = |i: usize| values[usize::from(order[i])];
        let bounds = std::array::from_fn(|i| f32::midpoint(value(i), value(i + 1)));
        Self { bounds, order }
    }

    /// The codes of a block, two in each byte.
    fn round(&self, block: &[f32; BLOCK], out: &mut [u8]) {
        let inverse = 1.0 / largest(block).max(SMALLEST);
        let code = |x: f32| {
            let x = (x * inverse).clamp(-1.0, 1.0);
            let below: usize = self.bounds.iter().map(|bound| usize::from(*bound < x)).sum();
            self.order[below]
        };
        for (out, [first, second]) in out.iter_mut().zip(block.as_chunks::<2>().0) {
            *out = code(*first) << 4 | code(*second);
        }
    }
}

#[cfg(test)]
mod tests;
