//! Which tensor of a file gets how many bits.
//!
//! The names are llama.cpp's, and so are the choices behind them: norms and biases stay floats, the
//! output gets more bits than the rest, and the mixed kinds give more to the tensors that suffer most,
//! in the first and last layers and in every third between them.

use std::{fmt, str::FromStr};

use fidelio_backend::Encoding;

use crate::WeightsError;

/// A kind of GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types, reason = "each variant is llama.cpp's own name")]
pub enum Quantization {
    F32,
    BF16,
    F16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_K_S,
    Q4_1,
    Q4_0,
}

/// What a tensor is for, as far as its bits depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A norm or a bias.
    Vector,
    /// The head, or embeddings that are the head too.
    Output,
    /// The values of a layer's attention.
    Values { layer: usize },
    /// What brings a layer's MLP back to the hidden size.
    Down { layer: usize },
    /// All other matrices.
    Matrix,
}

/// Why a tensor has the encoding that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// It is what was asked for.
    Asked,
    /// Norms and biases are small and are not quantised.
    Vector,
    /// The output gets more bits.
    Output,
    /// The mixed kinds give some layers more bits.
    MoreBits,
    /// Rows of this length do not fill blocks of the encoding that it would have.
    Row(usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("as asked"),
            Self::Vector => f.write_str("norms and biases"),
            Self::Output => f.write_str("output"),
            Self::MoreBits => f.write_str("more bits for some layers"),
            Self::Row(row) => write!(f, "rows of {row} do not fill larger blocks"),
        }
    }
}

impl Quantization {
    /// All of them, from large files to small ones.
    pub const ALL: [Self; 12] = {
        use Quantization::*;
        [F32, BF16, F16, Q8_0, Q6_K, Q5_K_M, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0]
    };

    /// Its name.
    pub const fn name(self) -> &'static str {
        use Quantization::*;
        match self {
            F32 => "F32",
            BF16 => "BF16",
            F16 => "F16",
            Q8_0 => "Q8_0",
            Q6_K => "Q6_K",
            Q5_K_M => "Q5_K_M",
            Q5_1 => "Q5_1",
            Q5_0 => "Q5_0",
            Q4_K_M => "Q4_K_M",
            Q4_K_S => "Q4_K_S",
            Q4_1 => "Q4_1",
            Q4_0 => "Q4_0",
        }
    }

    /// Its number in `general.file_type`.
    pub(super) const fn file_type(self) -> u32 {
        use Quantization::*;
        match self {
            F32 => 0,
            F16 => 1,
            Q4_0 => 2,
            Q4_1 => 3,
            Q8_0 => 7,
            Q5_0 => 8,
            Q5_1 => 9,
            Q4_K_S => 14,
            Q4_K_M => 15,
            Q5_K_M => 17,
            Q6_K => 18,
            BF16 => 32,
        }
    }

    /// What most matrices are written as.
    pub const fn encoding(self) -> Encoding {
        use Quantization::*;
        match self {
            F32 => Encoding::F32,
            BF16 => Encoding::BF16,
            F16 => Encoding::F16,
            Q8_0 => Encoding::Q8_0,
            Q6_K => Encoding::Q6_K,
            Q5_K_M => Encoding::Q5_K,
            Q5_1 => Encoding::Q5_1,
            Q5_0 => Encoding::Q5_0,
            Q4_K_M | Q4_K_S => Encoding::Q4_K,
            Q4_1 => Encoding::Q4_1,
            Q4_0 => Encoding::Q4_0,
        }
    }

    /// What a tensor with rows of length `row`, in a model of so many layers, is written as.
    pub(super) fn of(self, role: Role, row: usize, layers: usize) -> (Encoding, Reason) {
        let plain = self.encoding();
        let (wanted, reason) = match role {
            Role::Vector => return (Encoding::F32, Reason::Vector),
            Role::Output if plain.is_quantised() && plain != Encoding::Q8_0 => {
                (Encoding::Q6_K, Reason::Output)
            }
            Role::Values { layer } => self.in_layer(more_bits(layer, layers), layer < 4),
            Role::Down { layer } => self.in_layer(more_bits(layer, layers), layer < layers / 8),
            Role::Output | Role::Matrix => (plain, Reason::Asked),
        };
        match fitting(wanted, row) {
            fits if fits == wanted => (wanted, reason),
            other => (other, Reason::Row(row)),
        }
    }

    /// `medium` and `small` say whether the mixed kinds of that name give more bits here.
    fn in_layer(self, medium: bool, small: bool) -> (Encoding, Reason) {
        match self {
            Self::Q4_K_M | Self::Q5_K_M if medium => (Encoding::Q6_K, Reason::MoreBits),
            Self::Q4_K_S if small => (Encoding::Q5_K, Reason::MoreBits),
            _ => (self.encoding(), Reason::Asked),
        }
    }
}

/// The first and last eighth of the layers, and every third between them.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The encoding, or where a row does not fill its blocks, the next one that is at least as good.
fn fitting(encoding: Encoding, row: usize) -> Encoding {
    if row.is_multiple_of(encoding.block_len()) {
        return encoding;
    }
    match encoding {
        Encoding::Q4_K => fitting(Encoding::Q5_0, row),
        Encoding::Q5_K => fitting(Encoding::Q5_1, row),
        Encoding::Q6_K => fitting(Encoding::Q8_0, row),
        _ => Encoding::F16,
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quantization {
    type Err = WeightsError;

    fn from_str(name: &str) -> Result<Self, WeightsError> {
        Self::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| WeightsError::UnknownQuantization { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As llama.cpp quantises Llama 3.2 1B: 16 layers, tied embeddings, rows of whole blocks.
    #[test]
    fn q4_k_m_has_the_published_share_of_q6_k() {
        let count = |role: fn(usize) -> Role| {
            let kinds = (0..16).map(|layer| Quantization::Q4_K_M.of(role(layer), 2048, 16).0);
            kinds.filter(|kind| *kind == Encoding::Q6_K).count()
        };
        let layers = count(|layer| Role::Values { layer }) + count(|layer| Role::Down { layer });
        assert_eq!(layers + count(|_| Role::Output) / 16, 17);
        assert_eq!(count(|_| Role::Matrix), 0);
    }

    #[test]
    fn rows_that_do_not_fill_blocks_get_smaller_blocks_or_none() {
        let of = |row| Quantization::Q4_K_M.of(Role::Matrix, row, 30);
        assert_eq!(of(1536), (Encoding::Q4_K, Reason::Asked));
        assert_eq!(of(576), (Encoding::Q5_0, Reason::Row(576)));
        assert_eq!(of(24), (Encoding::F16, Reason::Row(24)));
        let output = Quantization::Q4_1.of(Role::Output, 576, 30);
        assert_eq!(output, (Encoding::Q8_0, Reason::Row(576)), "as the default model's file");
        assert_eq!(Quantization::F16.of(Role::Output, 576, 30).0, Encoding::F16);
        assert_eq!(Quantization::Q4_K_S.of(Role::Values { layer: 3 }, 256, 8).0, Encoding::Q5_K);
    }

    #[test]
    fn names_are_read_in_any_case() {
        for known in Quantization::ALL {
            assert_eq!(known.name().to_lowercase().parse::<Quantization>().unwrap(), known);
        }
        let error = "Q3_K_M".parse::<Quantization>().unwrap_err();
        assert!(error.hint().unwrap().contains("Q4_K_M"), "{error}");
    }
}
