//! How stored weights are laid out.

/// The way stored weights are to be read: plain elements, or blocks of quantised ones.
///
/// Block layouts are those of GGUF; the names are llama.cpp's. All numbers are little-endian.
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
}

impl Format {
    /// Every format, in the order of the enum.
    pub const ALL: [Self; 13] = {
        use Format::*;
        [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K]
    };

    /// Elements in one block; 1 for plain elements.
    pub const fn block_len(self) -> usize {
        use Format::*;
        match self {
            F32 | F16 | BF16 => 1,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 => 32,
            Q2_K | Q3_K | Q4_K | Q5_K | Q6_K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        use Format::*;
        match self {
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

    /// Bytes of `elements` elements, or `None` when they do not fill whole blocks or overflow.
    pub const fn bytes_of(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }
}

/// A stored matrix `[rows, cols]`, rows being outputs, each row contiguous in whole blocks.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// How `bytes` are to be read.
    pub format: Format,
    /// `rows` times [`Matrix::row_bytes`] bytes.
    pub bytes: &'a [u8],
    /// Outputs of the product.
    pub rows: usize,
    /// Inputs of the product, a multiple of the format's block length.
    pub cols: usize,
}

impl<'a> Matrix<'a> {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.cols / self.format.block_len() * self.format.block_bytes()
    }

    /// The bytes of one row.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        let len = self.row_bytes();
        &self.bytes[row * len..][..len]
    }

    /// Panics unless rows are whole blocks and the bytes are exactly those of all rows.
    pub(crate) fn check(&self) {
        assert!(
            self.cols.is_multiple_of(self.format.block_len()),
            "a row of {} elements is not whole blocks of {:?}",
            self.cols,
            self.format
        );
        assert_eq!(
            Some(self.bytes.len()),
            self.rows.checked_mul(self.row_bytes()),
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
    }
}
