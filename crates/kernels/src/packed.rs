//! Rows in eights: stored blocks in an order that vectors read as it is.
//!
//! The same block of eight rows is one piece of memory. Within it, the fields of a block (halves of
//! two bytes, and units of four bytes for all else) stand in their order, each as eight of them,
//! one of each row: a field of `w` bytes that begins at byte `f` of a block begins at byte `8 · f`
//! of the piece, and that of row `j` at `8 · f + j · w`. Nothing is decoded and nothing is lost; a
//! piece is as large as its eight blocks.

use rayon::prelude::*;

use crate::{Format, Matrix, threads::worth_spreading};

/// Rows that lie together.
pub(crate) const EIGHT: usize = 8;

/// How the rows of a matrix lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// One after the other, as files have them.
    #[default]
    Rows,
    /// In eights, as [`pack`] makes them; the last eight is filled up with rows of zeros, and rows
    /// of [`Format::Int8`] with zeros up to whole 32.
    Eights,
}

impl Format {
    /// Whether [`pack`] knows the format.
    pub const fn packs(self) -> bool {
        self.has_integers()
    }

    /// Bytes of the blocks that [`pack`] puts in eights, in a row of `cols` elements.
    pub(crate) const fn packed_block(self, cols: usize) -> usize {
        match self {
            // The whole row.
            Self::Int8 => 4 + cols.next_multiple_of(32),
            _ => self.block_bytes(),
        }
    }

    /// Bytes of a packed matrix, or `None` when its rows are not whole blocks or the bytes overflow.
    pub fn packed_bytes(self, rows: usize, cols: usize) -> Option<usize> {
        if !self.packs() || !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        rows.checked_next_multiple_of(EIGHT)?.checked_mul(self.packed_row(cols))
    }

    /// Bytes that a row takes of a packed matrix.
    pub(crate) const fn packed_row(self, cols: usize) -> usize {
        match self {
            Self::Int8 => self.packed_block(cols),
            _ => self.row_bytes(cols),
        }
    }

    /// How many halves stand before the units of four bytes of a block, and how many behind them.
    const fn halves(self) -> [usize; 2] {
        use Format::*;
        match self {
            Q4_0 | Q5_0 | Q8_0 => [1, 0],
            Q4_1 | Q5_1 | Q4_K | Q5_K => [2, 0],
            Q2_K => [0, 2],
            Q3_K | Q6_K => [0, 1],
            F32 | F16 | BF16 | Nf4 | Fp4 | Nf4Double | Fp4Double | Int8 => [0, 0],
        }
    }
}

/// Bytes of a packed matrix, from the beginning of a cache line on.
#[derive(Debug)]
pub struct Packed {
    /// A line longer than what counts.
    bytes: Vec<u8>,
    begin: usize,
    len: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl Packed {
    fn zeros(len: usize) -> Self {
        let bytes = vec![0; len + LINE];
        let begin = bytes.as_ptr().align_offset(LINE).min(LINE);
        Self { bytes, begin, len }
    }
}

impl AsRef<[u8]> for Packed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.begin..][..self.len]
    }
}

/// Puts the rows of a matrix in eights: what `bytes` of a [`Matrix`] with [`Layout::Eights`] are.
///
/// # Panics
/// When the sizes do not fit, the matrix is packed already, or its format [has no
/// eights](Format::packs).
pub fn pack(w: Matrix<'_>) -> Packed {
    w.check();
    assert!(w.layout == Layout::Rows && w.format.packs(), "{:?} in {:?}", w.format, w.layout);
    let len =
        w.format.packed_bytes(w.rows, w.cols).expect("the bytes of the rows did not overflow");
    let mut packed = Packed::zeros(len);
    let of_eight = EIGHT * w.format.packed_row(w.cols);
    if of_eight == 0 {
        return packed;
    }
    let fill = |(i, packed): (usize, &mut [u8])| {
        for j in 0..EIGHT.min(w.rows - i * EIGHT) {
            put(w.format, w.cols, w.row(i * EIGHT + j), j, packed);
        }
    };
    let bytes = &mut packed.bytes[packed.begin..][..len];
    if worth_spreading(len) {
        bytes.par_chunks_mut(of_eight).enumerate().for_each(fill);
    } else {
        bytes.chunks_mut(of_eight).enumerate().for_each(fill);
    }
    packed
}

/// Writes a row where it belongs among its eight.
fn put(format: Format, cols: usize, row: &[u8], j: usize, eight: &mut [u8]) {
    let len = format.packed_block(cols);
    let [before, after] = format.halves();
    for (block, piece) in row.chunks(len).zip(eight.chunks_exact_mut(EIGHT * len)) {
        let (first, rest) = block.split_at(2 * before);
        let (units, last) = rest.split_at(rest.len() - 2 * after);
        let (to_first, to_rest) = piece.split_at_mut(EIGHT * first.len());
        let (to_units, to_last) = to_rest.split_at_mut(EIGHT * (len - first.len() - last.len()));
        put_fields::<2>(first, j, to_first);
        put_fields::<4>(units, j, to_units);
        put_fields::<2>(last, j, to_last);
    }
}

fn put_fields<const WIDTH: usize>(fields: &[u8], j: usize, eights: &mut [u8]) {
    let (whole, rest) = fields.as_chunks::<WIDTH>();
    let mut eights = eights.as_chunks_mut::<WIDTH>().0.chunks_exact_mut(EIGHT);
    for (field, eight) in whole.iter().zip(&mut eights) {
        eight[j] = *field;
    }
    if let Some(eight) = eights.next().filter(|_| !rest.is_empty()) {
        eight[j][..rest.len()].copy_from_slice(rest);
    }
}

/// The bytes of one row as a file has them, into `out`.
pub(crate) fn unpack_row(w: Matrix<'_>, row: usize, out: &mut [u8]) {
    let (len, of_eight) = (w.format.packed_block(w.cols), EIGHT * w.format.packed_row(w.cols));
    let [before, after] = w.format.halves();
    let (eight, j) = (&w.bytes[row / EIGHT * of_eight..][..of_eight], row % EIGHT);
    for (block, piece) in out.chunks_mut(len).zip(eight.chunks_exact(EIGHT * len)) {
        let (first, rest) = block.split_at_mut(2 * before);
        let (units, last) = rest.split_at_mut(rest.len() - 2 * after);
        let (of_first, of_rest) = piece.split_at(EIGHT * first.len());
        let (of_units, of_last) = of_rest.split_at(EIGHT * (len - first.len() - last.len()));
        take_fields::<2>(of_first, j, first);
        take_fields::<4>(of_units, j, units);
        take_fields::<2>(of_last, j, last);
    }
}

fn take_fields<const WIDTH: usize>(eights: &[u8], j: usize, fields: &mut [u8]) {
    let (whole, rest) = fields.as_chunks_mut::<WIDTH>();
    let mut eights = eights.as_chunks::<WIDTH>().0.chunks_exact(EIGHT);
    for (field, eight) in whole.iter_mut().zip(&mut eights) {
        *field = eight[j];
    }
    if let Some(eight) = eights.next().filter(|_| !rest.is_empty()) {
        rest.copy_from_slice(&eight[j][..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Layout, pack};
    use crate::{Format, Matrix, dequantize_rows, embed, random::Random};

    fn check(format: Format, rows: usize, cols: usize) {
        let stored = Random(1).weights(format, rows, cols);
        let bytes = pack(stored.matrix());
        let bytes = bytes.as_ref();
        assert_eq!(Some(bytes.len()), format.packed_bytes(rows, cols));
        let packed = Matrix { bytes, layout: Layout::Eights, ..stored.matrix() };
        let rows_again: Vec<u8> = (0..rows)
            .flat_map(|row| {
                let mut bytes = vec![0; packed.row_bytes()];
                super::unpack_row(packed, row, &mut bytes);
                bytes
            })
            .collect();
        assert_eq!(rows_again, stored.matrix().bytes, "{format:?} [{rows}, {cols}]");
        let mut decoded = vec![0.0; rows * cols];
        dequantize_rows(packed, 0, &mut decoded);
        assert_eq!(decoded, stored.decoded());
        let mut last = vec![0.0; cols];
        embed(&[rows as u32 - 1], packed, &mut last);
        assert_eq!(last, decoded[(rows - 1) * cols..]);
    }

    proptest! {
        #[test]
        fn rows_come_back(
            format in prop::sample::select(
                Format::ALL.into_iter().filter(|it| it.packs()).collect::<Vec<_>>()
            ),
            rows in 1..40_usize,
            blocks in 1..5_usize,
            short in 0..32_usize,
        ) {
            let cols = match format.block_len() {
                1 => blocks * 32 - short,
                len => blocks * len,
            };
            check(format, rows, cols);
        }
    }

    /// Fields of a block of `Q4_1`: scale, minimum, four units.
    #[test]
    fn fields_stand_in_eights() {
        let bytes: Vec<u8> = (0..160).collect();
        let w =
            Matrix { format: Format::Q4_1, bytes: &bytes, rows: 8, cols: 32, layout: Layout::Rows };
        let packed = pack(w);
        let packed = packed.as_ref();
        assert_eq!(packed[..6], [0, 1, 20, 21, 40, 41]); // scales
        assert_eq!(packed[16..20], [2, 3, 22, 23]); // minima
        assert_eq!(packed[32..42], [4, 5, 6, 7, 24, 25, 26, 27, 44, 45]);
        assert_eq!(packed[64..68], [8, 9, 10, 11]);
        assert_eq!(packed[156..], [156, 157, 158, 159]);
    }

    #[test]
    fn a_matrix_without_columns_is_nothing() {
        let w = Matrix { format: Format::Q8_0, bytes: &[], rows: 3, cols: 0, layout: Layout::Rows };
        assert!(pack(w).as_ref().is_empty());
    }

    #[test]
    #[should_panic(expected = "BF16 in Rows")]
    fn plain_elements_are_refused() {
        pack(Random(1).weights(Format::BF16, 8, 32).matrix());
    }
}
