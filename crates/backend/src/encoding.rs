//! How the numbers of a tensor are written down.

use serde::{Deserialize, Serialize};

/// The way a tensor's numbers are stored: plain elements, or blocks of quantised ones.
///
/// Block layouts are those of GGUF (`ggml-common.h` describes them); the names are llama.cpp's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types, reason = "each variant is the format's own name")]
pub enum Encoding {
    F32,
    F16,
    BF16,
    I8,
    I32,
    I64,
    U8,
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

impl Encoding {
    /// Elements in one block; 1 for plain elements.
    pub const fn block_len(self) -> usize {
        use Encoding::*;
        match self {
            F32 | F16 | BF16 | I8 | I32 | I64 | U8 => 1,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 => 32,
            Q2_K | Q3_K | Q4_K | Q5_K | Q6_K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        use Encoding::*;
        match self {
            I8 | U8 => 1,
            F16 | BF16 => 2,
            F32 | I32 => 4,
            I64 => 8,
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

    /// Whether elements stand in quantised blocks.
    pub const fn is_quantised(self) -> bool {
        self.block_len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::Encoding;

    #[test]
    fn partial_blocks_have_no_size() {
        assert_eq!(Encoding::Q4_1.bytes_of(64), Some(40));
        assert_eq!(Encoding::Q4_1.bytes_of(63), None);
        assert_eq!(Encoding::I64.bytes_of(usize::MAX), None);
    }
}
