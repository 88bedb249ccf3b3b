//! How stored weights are laid out.

use crate::packed::{Layout, unpack_row};

/// The way stored weights are to be read: plain elements, or blocks of quantised ones.
///
/// Block layouts are those of GGUF; the names are llama.cpp's. All numbers are little-endian. The
/// last five hold the numbers of bitsandbytes in layouts of our own: no file has them, [`quantize`]
/// makes them.
///
/// [`quantize`]: crate::quantize
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, non_camel_case_types, reason = "each variant is the format's own name")]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    /// Codes of normal floats: a scale, then 64 codes, the upper half of each byte first.
    Nf4,
    /// The same of floats of four bits.
    Fp4,
    /// As `Nf4`, each scale a byte; behind all rows the scales' offset, then one scale of 256 of
    /// them each.
    Nf4Double,
    /// The same of floats of four bits.
    Fp4Double,
    /// Each row a scale, then its bytes.
    Int8,
}

/// Scales that share a scale of their own.
pub(crate) const NESTED: usize = 256;

impl Format {
    /// Every format, in the order of the enum.
    pub const ALL: [Self; 18] = {
        use Format::*;
        [
            F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Nf4, Fp4,
            Nf4Double, Fp4Double, Int8,
        ]
    };

    /// Elements in one block; 1 for plain elements.
    pub const fn block_len(self) -> usize {
        use Format::*;
        match self {
            F32 | F16 | BF16 | Int8 => 1,
            Nf4 | Fp4 | Nf4Double | Fp4Double => 64,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 => 32,
            Q2_K | Q3_K | Q4_K | Q5_K | Q6_K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        use Format::*;
        match self {
            Int8 => 1,
            Nf4 | Fp4 => 36,
            Nf4Double | Fp4Double => 33,
            F32 => 4,
            F16 | BF16 => 2,
            Q4_0 => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q8_0 => 34,
            Q2_K => 84,
            Q3_K => 110,
            Q4_K => 144,
            Q5_K => 176,
            Q6_K => 210,
        }
    }

    /// Bytes of `elements` elements, or `None` when they do not fill whole blocks or overflow, or
    /// when it is the shape of a matrix that decides.
    pub const fn bytes_of(self, elements: usize) -> Option<usize> {
        if self.needs_shape() || !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Bytes of a matrix, or `None` when its rows are not whole blocks or the bytes overflow.
    pub fn bytes_of_matrix(self, rows: usize, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        let rest = match self {
            Self::Nf4Double | Self::Fp4Double => {
                let scales = (cols / self.block_len()).checked_mul(rows)?;
                4 + scales.div_ceil(NESTED) * 4
            }
            _ => 0,
        };
        rows.checked_mul(self.row_bytes(cols))?.checked_add(rest)
    }

    /// Whether elements are integers times a scale of their group (and plus an offset of it), so
    /// that products with integers are exact within a group: [`Arithmetic::Int8`] is for these.
    ///
    /// [`Arithmetic::Int8`]: crate::Arithmetic::Int8
    pub const fn has_integers(self) -> bool {
        use Format::*;
        match self {
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q2_K | Q3_K | Q4_K | Q5_K | Q6_K | Int8 => true,
            F32 | F16 | BF16 | Nf4 | Fp4 | Nf4Double | Fp4Double => false,
        }
    }

    /// Bytes of one row of a matrix.
    pub(crate) const fn row_bytes(self, cols: usize) -> usize {
        let scale = if matches!(self, Self::Int8) { 4 } else { 0 };
        scale + cols / self.block_len() * self.block_bytes()
    }

    /// Whether elements cannot be decoded without knowing where in a matrix they stand.
    const fn needs_shape(self) -> bool {
        matches!(self, Self::Nf4Double | Self::Fp4Double | Self::Int8)
    }
}

/// A stored matrix `[rows, cols]`, rows being outputs, each row in whole blocks.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// How `bytes` are to be read.
    pub format: Format,
    /// As many as [`Format::bytes_of_matrix`] says, or [`Format::packed_bytes`].
    pub bytes: &'a [u8],
    /// Outputs of the product.
    pub rows: usize,
    /// Inputs of the product, a multiple of the format's block length.
    pub cols: usize,
    /// In which order the bytes of rows lie.
    pub layout: Layout,
}

impl<'a> Matrix<'a> {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.cols)
    }

    /// The bytes of one row, which lie together.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        debug_assert_eq!(self.layout, Layout::Rows);
        let len = self.row_bytes();
        &self.bytes[row * len..][..len]
    }

    /// A matrix of one row, whose bytes are put into `bytes` where they do not lie together.
    pub(crate) fn only<'b>(self, row: usize, bytes: &'b mut Vec<u8>) -> Matrix<'b>
    where
        'a: 'b,
    {
        bytes.resize(self.row_bytes(), 0);
        unpack_row(self, row, bytes);
        Matrix { bytes, rows: 1, layout: Layout::Rows, ..self }
    }

    /// What stands behind all rows.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.rows * self.row_bytes()..]
    }

    /// Panics unless rows are whole blocks and the bytes are exactly those of all rows.
    pub(crate) fn check(&self) {
        assert!(
            self.cols.is_multiple_of(self.format.block_len()),
            "a row of {} elements is not whole blocks of {:?}",
            self.cols,
            self.format
        );
        let bytes = match self.layout {
            Layout::Rows => self.format.bytes_of_matrix(self.rows, self.cols),
            Layout::Eights => self.format.packed_bytes(self.rows, self.cols),
        };
        assert_eq!(
            Some(self.bytes.len()),
            bytes,
            "bytes of a {:?} matrix [{}, {}]",
            self.format,
            self.rows,
            self.cols
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn partial_blocks_have_no_size() {
        assert_eq!(Format::Q4_1.bytes_of(64), Some(40));
        assert_eq!(Format::Q6_K.bytes_of(512), Some(420));
        assert_eq!(Format::Q4_1.bytes_of(63), None);
        assert_eq!(Format::F32.bytes_of(usize::MAX), None);
        assert_eq!(Format::Nf4.bytes_of_matrix(2, 65), None);
    }

    #[test]
    fn some_formats_need_the_shape() {
        assert_eq!(Format::Int8.bytes_of(12), None);
        assert_eq!(Format::Int8.bytes_of_matrix(3, 4), Some(24));
        assert_eq!(Format::Nf4Double.bytes_of_matrix(129, 128), Some(258 * 33 + 3 * 4));
    }
}
