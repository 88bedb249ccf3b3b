//! From stored blocks of eight rows to vectors of integers.
//!
//! The layouts are those that `dequantize` documents.

use super::{BLOCK, Kind, TILE, Tile, WIDTH};
use crate::{
    Format, Matrix,
    dequantize::INT8_STEP,
    simd::{Simd, pair},
};

/// The same bytes of eight rows.
type Eight<'a, const BYTES: usize> = [&'a [u8; BYTES]; 8];

impl Tile<'_> {
    /// Unpacks the rows from `first` on, from block `from` on, as many blocks as the tile is to have.
    /// Rows beyond the last one are copies of it.
    #[inline(always)]
    pub(super) fn fill<S: Simd>(&mut self, s: S, w: Matrix<'_>, first: usize, from: usize) {
        // The next rows are asked for meanwhile: so many rows at a time are more streams than the
        // machine follows by itself.
        let ahead = TILE * w.row_bytes();
        for c in 0..WIDTH {
            let mut rows: [&[u8]; 8] = [&[]; 8];
            for (j, row) in rows.iter_mut().enumerate() {
                *row = w.row((first + c * TILE / WIDTH + j).min(w.rows - 1));
            }
            macro_rules! each {
                ($($format:ident)|+) => {
                    match w.format {
                        $(Format::$format => self.fill_blocks::<
                            S,
                            { Format::$format as usize },
                            { Format::$format.block_bytes() },
                        >(s, rows, c, from, ahead),)+
                        _ => self.fill_bytes(s, rows, c, from, ahead),
                    }
                };
            }
            each!(Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q2_K | Q3_K | Q4_K | Q5_K | Q6_K);
        }
    }

    /// Eight rows of blocks.
    #[inline(always)]
    fn fill_blocks<S: Simd, const F: usize, const BYTES: usize>(
        &mut self,
        s: S,
        rows: [&[u8]; 8],
        c: usize,
        from: usize,
        ahead: usize,
    ) {
        let format = const { Format::ALL[F] };
        let kind = const { Kind::of(Format::ALL[F]) };
        let parts = format.block_len() / BLOCK;
        let mut blocks: [&[[u8; BYTES]]; 8] = [&[]; 8];
        for j in 0..8 {
            blocks[j] = &rows[j].as_chunks().0[from / parts..][..self.blocks.div_ceil(parts)];
        }
        for block in 0..self.blocks {
            let mut eight = [&[0; BYTES]; 8];
            for j in 0..8 {
                eight[j] = &blocks[j][block / parts];
                // A part of the block for each of its parts.
                let skip = ahead + BYTES / parts * (block % parts);
                s.prefetch(eight[j].as_ptr().wrapping_add(skip));
            }
            self.put(s, kind, codes(s, format, eight, block % parts), c, block);
            for group in 0..kind.groups {
                let (scale, offset) = scales(s, format, eight, block % parts * kind.groups + group);
                let at = (block * kind.groups + group) * WIDTH + c;
                s.store_eight(scale, &mut self.scales[at]);
                if kind.offset {
                    s.store_eight(offset, &mut self.offsets[at]);
                }
            }
        }
    }

    /// Eight rows of bytes behind their scales, the last block filled up with zeros.
    #[inline(always)]
    fn fill_bytes<S: Simd>(&mut self, s: S, rows: [&[u8]; 8], c: usize, from: usize, ahead: usize) {
        let mut scales = [0.0; 8];
        for (scale, row) in scales.iter_mut().zip(rows) {
            *scale = f32::from_le_bytes([row[0], row[1], row[2], row[3]]) * INT8_STEP;
        }
        let kind = Kind::of(Format::Int8);
        for block in 0..self.blocks {
            let at = 4 + (from + block) * BLOCK;
            for row in rows {
                s.prefetch(row.as_ptr().wrapping_add(at + ahead));
            }
            let mut filled = [[0; BLOCK]; 8];
            let mut eight = [&[0; BLOCK]; 8];
            if rows[0].len() < at + BLOCK {
                for (filled, row) in filled.iter_mut().zip(rows) {
                    filled[..row.len() - at].copy_from_slice(&row[at..]);
                }
                for j in 0..8 {
                    eight[j] = &filled[j];
                }
            } else {
                for j in 0..8 {
                    eight[j] = some(rows[j], at);
                }
            }
            self.put(s, kind, all(s, eight, 0), c, block);
            self.scales[block * WIDTH + c] = scales;
        }
    }

    /// Stores the elements of a block of eight rows.
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, kind: Kind, codes: [S::Ints; 8], c: usize, block: usize) {
        let to = &mut self.codes[block * kind.steps() * WIDTH..][..kind.steps() * WIDTH];
        for (i, codes) in codes.into_iter().enumerate() {
            if kind.wide {
                let [even, odd] = s.widen(codes);
                s.store_ints(even, &mut to[2 * i * WIDTH + c]);
                s.store_ints(odd, &mut to[(2 * i + 1) * WIDTH + c]);
            } else {
                s.store_ints(codes, &mut to[i * WIDTH + c]);
            }
        }
    }
}

/// The elements of the `part`th 32 in eight blocks, as bytes.
#[inline(always)]
fn codes<S: Simd, const BYTES: usize>(
    s: S,
    format: Format,
    blocks: Eight<'_, BYTES>,
    part: usize,
) -> [S::Ints; 8] {
    use Format::*;
    let (half, layer) = (part / 4, part % 4);
    match format {
        Q4_0 => halves(s, blocks, 2),
        Q4_1 => halves(s, blocks, 4),
        Q5_0 => with(s, halves(s, blocks, 6), fifths(s, blocks, 2), 4),
        Q5_1 => with(s, halves(s, blocks, 8), fifths(s, blocks, 4), 4),
        Q8_0 => all(s, blocks, 2),
        Q2_K => fields(s, all(s, blocks, 16 + half * 32), layer * 2, 3),
        Q3_K => {
            let low = fields(s, all(s, blocks, 32 + half * 32), layer * 2, 3);
            with(s, low, fields(s, all(s, blocks, 0), part, 1), 2)
        }
        Q4_K => fields(s, all(s, blocks, 16 + part / 2 * 32), part % 2 * 4, 15),
        Q5_K => {
            let low = fields(s, all(s, blocks, 48 + part / 2 * 32), part % 2 * 4, 15);
            with(s, low, fields(s, all(s, blocks, 16), part, 1), 4)
        }
        Q6_K => {
            let low = all(s, blocks, half * 64 + layer % 2 * 32);
            let high = all(s, blocks, 128 + half * 32);
            with(s, fields(s, low, layer / 2 * 4, 15), fields(s, high, layer * 2, 3), 4)
        }
        other => unreachable!("{other:?} has no blocks of integers"),
    }
}

/// The scales of the `part`th group in eight blocks, and the offsets where the format has them.
#[inline(always)]
fn scales<S: Simd, const BYTES: usize>(
    s: S,
    format: Format,
    blocks: Eight<'_, BYTES>,
    part: usize,
) -> (S::Eight, S::Eight) {
    use Format::*;
    let none = s.splat_eight(0.0);
    match format {
        Q4_0 | Q5_0 | Q8_0 => (halves_at(s, blocks, 0), none),
        Q4_1 | Q5_1 => (halves_at(s, blocks, 0), halves_at(s, blocks, 2)),
        Q2_K => {
            let both = lane(s, s.transpose(sixteen(blocks, 0)), part, 0, 255);
            let minimum = s.mul_eight(halves_at(s, blocks, 82), s.splat_eight(-1.0));
            (
                s.mul_eight(halves_at(s, blocks, 80), s.float(s.bits(both, 0, 15))),
                s.mul_eight(minimum, s.float(s.bits(both, 4, 15))),
            )
        }
        Q3_K => {
            // The twelve bytes from 96 on, behind four others.
            let packed = s.transpose(sixteen(blocks, 92));
            let low = lane(s, packed, 4 + part % 8, part / 8 * 4, 15);
            let high = lane(s, packed, 12 + part % 4, part / 4 * 2, 3);
            let scale = s.add_ints(s.join(low, high, 4), s.splat_int(-32));
            (s.mul_eight(halves_at(s, blocks, 108), s.float(scale)), none)
        }
        Q4_K | Q5_K => {
            // The twelve bytes from 4 on, behind the two halves.
            let packed = s.transpose(sixteen(blocks, 0));
            let (scale, offset) = if part < 4 {
                (lane(s, packed, 4 + part, 0, 63), lane(s, packed, 8 + part, 0, 63))
            } else {
                let (scale, offset) =
                    (lane(s, packed, 8 + part, 0, 15), lane(s, packed, 8 + part, 4, 15));
                (
                    s.join(scale, lane(s, packed, part, 6, 3), 4),
                    s.join(offset, lane(s, packed, 4 + part, 6, 3), 4),
                )
            };
            let minimum = s.mul_eight(halves_at(s, blocks, 2), s.splat_eight(-1.0));
            (
                s.mul_eight(halves_at(s, blocks, 0), s.float(scale)),
                s.mul_eight(minimum, s.float(offset)),
            )
        }
        Q6_K => {
            let four = s.transpose(sixteen(blocks, 192))[part / 4];
            // One of the two signed halves.
            let one = s.splat_int(if part % 4 < 2 { pair(1, 0) } else { pair(0, 1) });
            let scale = s.mul_halves(s.widen(four)[part % 2], one, s.splat_int(0));
            (s.mul_eight(halves_at(s, blocks, 208), s.float(scale)), none)
        }
        other => unreachable!("{other:?} has no blocks of integers"),
    }
}

/// 32 bytes of each row, four in a lane.
#[inline(always)]
fn all<S: Simd, const BYTES: usize>(s: S, rows: Eight<'_, BYTES>, at: usize) -> [S::Ints; 8] {
    let [a, b, c, d] = s.transpose(sixteen(rows, at));
    let [e, f, g, h] = s.transpose(sixteen(rows, at + 16));
    [a, b, c, d, e, f, g, h]
}

/// The lower halves of 16 bytes of each row, then their upper halves.
#[inline(always)]
fn halves<S: Simd, const BYTES: usize>(s: S, rows: Eight<'_, BYTES>, at: usize) -> [S::Ints; 8] {
    let four = s.transpose(sixteen(rows, at));
    let mut eight = [four[0]; 8];
    for (i, bytes) in four.into_iter().enumerate() {
        eight[i] = s.bits(bytes, 0, 0x0f0f_0f0f);
        eight[4 + i] = s.bits(bytes, 4, 0x0f0f_0f0f);
    }
    eight
}

/// Four bytes of each row, each bit as a byte of 0 or 1.
#[inline(always)]
fn fifths<S: Simd, const BYTES: usize>(s: S, rows: Eight<'_, BYTES>, at: usize) -> [S::Ints; 8] {
    let mut packed = [0; 8];
    for (packed, row) in packed.iter_mut().zip(rows) {
        *packed = i32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
    }
    let packed = s.ints(&packed);
    let mut eight = [packed; 8];
    for (i, bits) in eight.iter_mut().enumerate() {
        *bits = s.spread(packed, i as u32 * 4);
    }
    eight
}

/// `byte >> shift & mask` of all bytes.
#[inline(always)]
fn fields<S: Simd>(s: S, mut bytes: [S::Ints; 8], shift: usize, mask: u8) -> [S::Ints; 8] {
    for bytes in &mut bytes {
        *bytes = s.bits(*bytes, shift as u32, u32::from_le_bytes([mask; 4]));
    }
    bytes
}

/// `low | high << shift` of all bytes.
#[inline(always)]
fn with<S: Simd>(s: S, mut low: [S::Ints; 8], high: [S::Ints; 8], shift: u32) -> [S::Ints; 8] {
    for (low, high) in low.iter_mut().zip(high) {
        *low = s.join(*low, high, shift);
    }
    low
}

/// Byte `at` of 16 transposed ones: `byte >> shift & mask`.
#[inline(always)]
fn lane<S: Simd>(s: S, packed: [S::Ints; 4], at: usize, shift: usize, mask: u32) -> S::Ints {
    s.bits(packed[at / 4], (at % 4 * 8 + shift) as u32, mask)
}

/// `BYTES` bytes of a row.
#[inline(always)]
fn some<const BYTES: usize>(row: &[u8], at: usize) -> &[u8; BYTES] {
    row[at..].first_chunk().expect("a block has the field")
}

/// 16 bytes of each row.
#[inline(always)]
fn sixteen<const BYTES: usize>(rows: Eight<'_, BYTES>, at: usize) -> Eight<'_, 16> {
    let mut parts = [&[0; 16]; 8];
    for (part, row) in parts.iter_mut().zip(rows) {
        *part = some(row, at);
    }
    parts
}

/// The half at `at` of each row.
#[inline(always)]
fn halves_at<S: Simd, const BYTES: usize>(s: S, rows: Eight<'_, BYTES>, at: usize) -> S::Eight {
    let mut halves = [[0; 2]; 8];
    for (half, row) in halves.iter_mut().zip(rows) {
        *half = [row[at], row[at + 1]];
    }
    s.eight_halves(halves)
}
