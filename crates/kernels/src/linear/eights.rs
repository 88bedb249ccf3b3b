//! Packed blocks of eight rows as vectors: four elements of each row in a lane.
//!
//! The layouts of blocks are those that `dequantize` documents.

use crate::{
    Format, Matrix,
    dequantize::INT8_STEP,
    packed::EIGHT,
    simd::{Simd, pair},
};

/// How a format's elements are multiplied.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// What is taken from each unpacked element.
    pub(super) center: i32,
    /// Whether unpacked elements are signed halves rather than unsigned bytes.
    pub(super) wide: bool,
    /// Steps that sums have room for.
    pub(super) chain: usize,
    /// Groups in a block, each with its scale.
    pub(super) groups: usize,
    /// Whether groups have offsets.
    pub(super) offset: bool,
}

impl Kind {
    /// That of a format [with integers](Format::has_integers).
    pub(super) const fn of(format: Format) -> Self {
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
    pub(super) const fn steps(self) -> usize {
        if self.wide { 16 } else { 8 }
    }
}

/// Elements that vectors of four bytes in each lane hold at a time, whatever the format's blocks.
pub(super) const BLOCK: usize = 32;

/// Bytes of the [pieces](Piece) of a format.
pub(super) const fn piece_bytes(format: Format) -> usize {
    match format {
        Format::Int8 => BLOCK,
        _ => format.block_bytes(),
    }
}

/// Blocks of [`BLOCK`] elements in a piece.
pub(super) const fn parts(format: Format) -> usize {
    match format {
        Format::Int8 => 1,
        _ => format.block_len() / BLOCK,
    }
}

/// Calls a method with the number of a format and the bytes of its pieces, for the formats that
/// have integers.
macro_rules! each_packed {
    ($format:expr, $call:ident $arguments:tt) => {
        crate::linear::eights::each_packed!(
            $format, $call $arguments,
            Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K Int8
        )
    };
    ($format:expr, $call:ident $arguments:tt, $($name:ident)+) => {
        match $format {
            $($crate::Format::$name => $call::<
                S,
                { $crate::Format::$name as usize },
                { crate::linear::eights::piece_bytes($crate::Format::$name) },
            > $arguments,)+
            other => unreachable!("{other:?} has no integers"),
        }
    };
}
pub(super) use each_packed;

/// A block of eight rows: the bytes of its fields, eight times each.
pub(super) type Piece<const BYTES: usize> = [[u8; EIGHT]; BYTES];

/// Bytes between what is read and what is asked for meanwhile.
const AHEAD: usize = 2048;

/// Eight rows of a packed matrix.
#[derive(Clone, Copy)]
pub(super) struct Eight<'a> {
    bytes: &'a [u8],
    format: Format,
}

impl<'a> Eight<'a> {
    /// The `i`th of a packed matrix.
    #[inline(always)]
    pub(super) fn of(w: Matrix<'a>, i: usize) -> Self {
        let len = EIGHT * w.format.packed_row(w.cols);
        Self { bytes: &w.bytes[i * len..][..len], format: w.format }
    }

    #[inline(always)]
    pub(super) fn format(self) -> Format {
        self.format
    }

    /// Asks for what lies some pieces behind a block, which may be what the next eight begins with:
    /// a processor follows a stream of memory by itself, but not beyond the page.
    #[inline(always)]
    pub(super) fn ask_ahead<S: Simd>(self, s: S, block: usize, parts: usize) {
        let len = EIGHT * piece_bytes(self.format) / parts;
        let from = self.bytes.as_ptr().wrapping_add(block * len + AHEAD);
        for line in (0..len).step_by(64) {
            s.prefetch(from.wrapping_add(line));
        }
    }

    /// The blocks of a format that has `BYTES` bytes in each.
    #[inline(always)]
    pub(super) fn pieces<const BYTES: usize>(self) -> &'a [Piece<BYTES>] {
        let from = if matches!(self.format, Format::Int8) { EIGHT * 4 } else { 0 };
        self.bytes[from..].as_chunks().0.as_chunks().0
    }

    /// The scales of rows of `Int8`.
    #[inline(always)]
    fn row_scales(self) -> [f32; EIGHT] {
        let mut scales = [0.0; EIGHT];
        for (scale, bytes) in scales.iter_mut().zip(self.bytes.as_chunks().0) {
            *scale = f32::from_le_bytes(*bytes) * INT8_STEP;
        }
        scales
    }
}

/// The elements of the `part`th 32 in eight blocks, as bytes.
#[inline(always)]
pub(super) fn codes<S: Simd, const BYTES: usize>(
    s: S,
    format: Format,
    piece: &Piece<BYTES>,
    part: usize,
) -> [S::Ints; 8] {
    use Format::*;
    let (half, layer) = (part / 4, part % 4);
    match format {
        Q4_0 => halves(s, piece, 2),
        Q4_1 => halves(s, piece, 4),
        Q5_0 => with(s, halves(s, piece, 6), fifths(s, piece, 2), 4),
        Q5_1 => with(s, halves(s, piece, 8), fifths(s, piece, 4), 4),
        Q8_0 => all(s, piece, 2),
        Int8 => all(s, piece, 0),
        Q2_K => fields(s, all(s, piece, 16 + half * 32), layer * 2, 3),
        Q3_K => {
            let low = fields(s, all(s, piece, 32 + half * 32), layer * 2, 3);
            with(s, low, fields(s, all(s, piece, 0), part, 1), 2)
        }
        Q4_K => fields(s, all(s, piece, 16 + part / 2 * 32), part % 2 * 4, 15),
        Q5_K => {
            let low = fields(s, all(s, piece, 48 + part / 2 * 32), part % 2 * 4, 15);
            with(s, low, fields(s, all(s, piece, 16), part, 1), 4)
        }
        Q6_K => {
            let low = all(s, piece, half * 64 + layer % 2 * 32);
            let high = all(s, piece, 128 + half * 32);
            with(s, fields(s, low, layer / 2 * 4, 15), fields(s, high, layer * 2, 3), 4)
        }
        other => unreachable!("{other:?} has no blocks of integers"),
    }
}

/// The scales of the `part`th group in eight blocks, and the offsets where the format has them.
#[inline(always)]
pub(super) fn scales<S: Simd, const BYTES: usize>(
    s: S,
    format: Format,
    eight: Eight<'_>,
    piece: &Piece<BYTES>,
    part: usize,
) -> (S::Eight, S::Eight) {
    use Format::*;
    let none = s.splat_eight(0.0);
    match format {
        Int8 => (s.eight(&eight.row_scales()), none),
        Q4_0 | Q5_0 | Q8_0 => (halves_at(s, piece, 0), none),
        Q4_1 | Q5_1 => (halves_at(s, piece, 0), halves_at(s, piece, 2)),
        Q2_K => {
            let both = lane(s, four(s, piece, 0), part, 0, 255);
            let minimum = s.mul_eight(halves_at(s, piece, 82), s.splat_eight(-1.0));
            (
                s.mul_eight(halves_at(s, piece, 80), s.float(s.bits(both, 0, 15))),
                s.mul_eight(minimum, s.float(s.bits(both, 4, 15))),
            )
        }
        Q3_K => {
            // The twelve bytes from 96 on, behind four others.
            let packed = four(s, piece, 92);
            let low = lane(s, packed, 4 + part % 8, part / 8 * 4, 15);
            let high = lane(s, packed, 12 + part % 4, part / 4 * 2, 3);
            let scale = s.add_ints(s.join(low, high, 4), s.splat_int(-32));
            (s.mul_eight(halves_at(s, piece, 108), s.float(scale)), none)
        }
        Q4_K | Q5_K => {
            // The twelve bytes from 4 on, behind the two halves.
            let packed = four(s, piece, 0);
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
            let minimum = s.mul_eight(halves_at(s, piece, 2), s.splat_eight(-1.0));
            (
                s.mul_eight(halves_at(s, piece, 0), s.float(scale)),
                s.mul_eight(minimum, s.float(offset)),
            )
        }
        Q6_K => {
            let four = four(s, piece, 192)[part / 4];
            // One of the two signed halves.
            let one = s.splat_int(if part % 4 < 2 { pair(1, 0) } else { pair(0, 1) });
            let scale = s.mul_halves(s.widen(four)[part % 2], one, s.splat_int(0));
            (s.mul_eight(halves_at(s, piece, 208), s.float(scale)), none)
        }
        other => unreachable!("{other:?} has no blocks of integers"),
    }
}

/// 32 bytes of each row, four in a lane.
#[inline(always)]
fn all<S: Simd, const BYTES: usize>(s: S, piece: &Piece<BYTES>, at: usize) -> [S::Ints; 8] {
    let [a, b, c, d] = four(s, piece, at);
    let [e, f, g, h] = four(s, piece, at + 16);
    [a, b, c, d, e, f, g, h]
}

/// The lower halves of 16 bytes of each row, then their upper halves.
#[inline(always)]
fn halves<S: Simd, const BYTES: usize>(s: S, piece: &Piece<BYTES>, at: usize) -> [S::Ints; 8] {
    let four = four(s, piece, at);
    let mut eight = [four[0]; 8];
    for (i, bytes) in four.into_iter().enumerate() {
        eight[i] = s.bits(bytes, 0, 0x0f0f_0f0f);
        eight[4 + i] = s.bits(bytes, 4, 0x0f0f_0f0f);
    }
    eight
}

/// Four bytes of each row, each bit as a byte of 0 or 1.
#[inline(always)]
fn fifths<S: Simd, const BYTES: usize>(s: S, piece: &Piece<BYTES>, at: usize) -> [S::Ints; 8] {
    let packed = s.ints_of(field(piece, at));
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

/// Byte `at` of 16: `byte >> shift & mask`.
#[inline(always)]
fn lane<S: Simd>(s: S, packed: [S::Ints; 4], at: usize, shift: usize, mask: u32) -> S::Ints {
    s.bits(packed[at / 4], (at % 4 * 8 + shift) as u32, mask)
}

/// The field of `WIDTH` bytes at `at` of each row.
#[inline(always)]
fn field<const BYTES: usize, const WIDTH: usize>(piece: &Piece<BYTES>, at: usize) -> &Piece<WIDTH> {
    piece[at..].first_chunk().expect("a block has the field")
}

/// 16 bytes of each row, four in a lane.
#[inline(always)]
fn four<S: Simd, const BYTES: usize>(s: S, piece: &Piece<BYTES>, at: usize) -> [S::Ints; 4] {
    let unit = |i: usize| s.ints_of(field(piece, at + 4 * i));
    [unit(0), unit(1), unit(2), unit(3)]
}

/// The half at `at` of each row.
#[inline(always)]
fn halves_at<S: Simd, const BYTES: usize>(s: S, piece: &Piece<BYTES>, at: usize) -> S::Eight {
    s.eight_halves(field(piece, at))
}

/// The `c`th eight of `from`, 0 where it ends.
#[inline(always)]
pub(super) fn read<S: Simd>(s: S, from: &[f32], c: usize) -> S::Eight {
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
pub(super) fn write<S: Simd>(s: S, v: S::Eight, to: &mut [f32], c: usize) {
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
