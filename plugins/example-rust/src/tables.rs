//! The model: two tables of logits.

use bytes::Bytes;
use fidelio_backend::{BackendError, Encoding, Score, TensorView, Weights};

/// The tensors of a model, in this order.
pub(crate) const NAMES: [&str; 2] = ["last.weight", "before.weight"];

/// What a token's logits depend on: the last token and the one before it, which a row's first token
/// does not have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) last: u32,
    pub(crate) before: Option<u32>,
}

/// Rows of logits, by the last token and by the one before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tables {
    pub(crate) vocabulary: usize,
    /// One table for each of [`NAMES`].
    pub(crate) floats: [Vec<f32>; 2],
}

impl Tables {
    /// Reads both tables; a tensor that is missing, extra or misshapen is an error.
    pub(crate) fn read(weights: &dyn Weights, vocabulary: usize) -> Result<Self, BackendError> {
        let names = weights.names();
        let strange = names.iter().filter(|name| !NAMES.contains(&name.as_str()));
        let mut problems: Vec<String> =
            strange.map(|name| format!("`{name}` belongs to no n-gram model")).collect();
        let mut floats = [Vec::new(), Vec::new()];
        for (table, name) in floats.iter_mut().zip(NAMES) {
            if !names.iter().any(|it| it == name) {
                problems.push(format!("`{name}` is missing"));
                continue;
            }
            let TensorView { encoding, shape, bytes } = weights.get(name)?;
            if encoding != Encoding::F32 || shape != [vocabulary, vocabulary] {
                problems.push(format!(
                    "`{name}` is {shape:?} in {encoding:?}, expected [{vocabulary}, {vocabulary}] \
                     in F32"
                ));
                continue;
            }
            let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            *table = bytes.chunks_exact(4).map(float).collect();
        }
        if problems.is_empty() {
            Ok(Self { vocabulary, floats })
        } else {
            Err(BackendError::Weights { problems })
        }
    }

    /// Both tables full of zeros.
    pub(crate) fn zeros(vocabulary: usize) -> Self {
        let zeros = vec![0.0; vocabulary * vocabulary];
        Self { vocabulary, floats: [zeros.clone(), zeros] }
    }

    /// A table as a tensor.
    pub(crate) fn tensor(&self, table: usize) -> TensorView {
        let bytes: Vec<u8> = self.floats[table].iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = vec![self.vocabulary, self.vocabulary];
        TensorView { encoding: Encoding::F32, shape, bytes: Bytes::from(bytes) }
    }

    /// The logits of what comes next.
    pub(crate) fn logits(&self, place: Place) -> Vec<f32> {
        let row = |table: usize, token: u32| {
            &self.floats[table][token as usize * self.vocabulary..][..self.vocabulary]
        };
        let last = row(0, place.last);
        match place.before {
            Some(before) => last.iter().zip(row(1, before)).map(|(a, b)| a + b).collect(),
            None => last.to_vec(),
        }
    }
}

/// The log of the sum of the exponentials.
pub(crate) fn logsumexp(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    (f64::from(largest) + sum.ln()) as f32
}

/// What `score` answers about a token.
pub(crate) fn score(logits: &[f32], asked: u32) -> Score {
    let it = logits[asked as usize];
    let top = (0..logits.len()).fold(0, |top, i| if logits[i] > logits[top] { i } else { top });
    Score {
        logprob: it - logsumexp(logits),
        rank: logits.iter().filter(|&&logit| logit > it).count() as u32,
        top: top as u32,
    }
}
