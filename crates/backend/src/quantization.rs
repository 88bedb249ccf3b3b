//! How a model's weights are rounded while they are loaded.

use serde::{Deserialize, Serialize};

/// How the weights of a model's blocks are rounded while they are loaded. The numbers are those of
/// bitsandbytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Quantization {
    /// Blocks of 64 four-bit normal floats.
    Nf4 {
        /// Whether the blocks' scales are rounded to 8 bits.
        double_quant: bool,
    },
    /// Blocks of 64 four-bit floats.
    Fp4 {
        /// Whether the blocks' scales are rounded to 8 bits.
        double_quant: bool,
    },
    /// Rows of 8-bit whole numbers with one scale each.
    Int8,
}

/// Numbers that share a scale where four bits are used.
const BLOCK: u64 = 64;
/// Scales that share a scale of their own.
const NESTED: u64 = 256;

impl Quantization {
    /// Whether a tensor is rounded: the weights of the linear layers of a model's numbered blocks.
    /// Embeddings, norms, biases and the output head stay as they are.
    pub fn covers(name: &str, shape: &[usize]) -> bool {
        let numbered = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        shape.len() == 2 && name.ends_with(".weight") && name.split('.').any(numbered)
    }

    /// Bytes of a rounded matrix; `None` where its rows are not whole blocks.
    pub fn bytes(self, rows: usize, cols: usize) -> Option<u64> {
        let (rows, cols) = (rows as u64, cols as u64);
        let double = match self {
            Self::Int8 => return rows.checked_mul(cols + 4),
            Self::Nf4 { double_quant } | Self::Fp4 { double_quant } => double_quant,
        };
        if !cols.is_multiple_of(BLOCK) {
            return None;
        }
        let blocks = rows.checked_mul(cols / BLOCK)?;
        Some(if double { blocks * 33 + 4 + blocks.div_ceil(NESTED) * 4 } else { blocks * 36 })
    }
}

#[cfg(test)]
mod tests {
    use super::Quantization;

    #[test]
    fn linear_layers_of_blocks_are_covered() {
        let covers = |name| Quantization::covers(name, &[64, 64]);
        assert!(covers("model.layers.0.self_attn.q_proj.weight"));
        assert!(!covers("model.embed_tokens.weight"));
        assert!(!covers("lm_head.weight"));
        assert!(!Quantization::covers("model.layers.0.input_layernorm.weight", &[64]));
    }

    #[test]
    fn sizes_are_those_of_the_layouts() {
        let double = Quantization::Nf4 { double_quant: true };
        assert_eq!(double.bytes(129, 128), Some(258 * 33 + 3 * 4));
        assert_eq!(double.bytes(129, 100), None);
        assert_eq!(Quantization::Int8.bytes(3, 5), Some(27));
    }
}
