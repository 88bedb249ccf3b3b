//! Figures of plain documents: how well a model foresees them.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, EvalError, LossSum, error::same_length, perplexity};

/// How well documents are foreseen. Documents are resampled whole; every token counts the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentStatistics {
    /// Documents measured.
    pub documents: usize,
    /// Tokens that were asked for: all but the first of each document.
    pub tokens: u64,
    /// Bytes of text that these tokens stand for.
    pub bytes: u64,
    /// Mean loss of a token, in nats.
    pub loss: Estimate,
    /// Exponential of the loss; it depends on how the tokenizer cuts text.
    pub perplexity: Estimate,
    /// Loss per byte of text, in bits: comparable between models with different tokenizers.
    pub bits_per_byte: Estimate,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
}

impl DocumentStatistics {
    /// Measures documents by the loss of each and the bytes it has.
    ///
    /// # Errors
    /// Without documents, or when columns differ in length.
    pub fn measure(
        losses: &[LossSum],
        bytes: &[usize],
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvalError> {
        same_length("the bytes", bytes.len(), losses.len())?;
        let (loss, perplexity) = perplexity(losses, bootstrap)?;
        let rows: Vec<[f64; 2]> =
            losses.iter().zip(bytes).map(|(loss, bytes)| [loss.sum, *bytes as f64]).collect();
        let bits = |[nats, bytes]: &[f64; 2]| nats / std::f64::consts::LN_2 / bytes;
        Ok(Self {
            documents: losses.len(),
            tokens: losses.iter().map(|loss| loss.weight).sum::<f64>() as u64,
            bytes: bytes.iter().sum::<usize>() as u64,
            loss,
            perplexity,
            bits_per_byte: bootstrap.sums(&rows, bits)?,
            bootstrap: *bootstrap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_guess_among_bytes_takes_eight_bits_each() {
        let byte =
            |count: usize| LossSum { sum: count as f64 * 256.0_f64.ln(), weight: count as f64 };
        let found =
            DocumentStatistics::measure(&[byte(3), byte(5)], &[3, 5], &Bootstrap::default())
                .unwrap();
        assert!((found.bits_per_byte.value - 8.0).abs() < 1e-9);
        assert!((found.perplexity.value - 256.0).abs() < 1e-9);
        assert_eq!((found.documents, found.tokens, found.bytes), (2, 8, 8));
    }

    #[test]
    fn columns_must_agree() {
        let measure = |losses: &[LossSum], bytes: &[usize]| {
            DocumentStatistics::measure(losses, bytes, &Bootstrap::none())
        };
        assert!(matches!(measure(&[LossSum::default()], &[]), Err(EvalError::Lengths { .. })));
        assert_eq!(measure(&[], &[]), Err(EvalError::NoRows));
    }
}
