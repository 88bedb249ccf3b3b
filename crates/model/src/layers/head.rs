//! The last norm and the output projection, paid only where something is asked.

use burn::tensor::{Int, Tensor, TensorData};
use fidelio_ops::{Asked, Loss, TokenScore, Top, Weighed, Weight};

use super::Norm;

/// Turns hidden states into statements about the next token.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    norm: &'a Norm,
    output: &'a Weight,
    /// Bends logits to stay between it and its negative.
    softcap: Option<f32>,
}

impl<'a> Head<'a> {
    /// `output` is the table of token embeddings where the two are tied.
    pub(crate) fn new(norm: &'a Norm, output: &'a Weight, softcap: Option<f32>) -> Self {
        Self { norm, output, softcap }
    }

    pub(crate) fn vocabulary(&self) -> usize {
        self.output.rows()
    }

    /// The normed hidden states of some tokens: `[t, hidden]` to `[rows, hidden]`.
    pub(crate) fn pick(&self, hidden: Tensor<2>, rows: &[u32]) -> Tensor<2> {
        let all = rows.len() == hidden.dims()[0] && rows.iter().zip(0..).all(|(&r, i)| r == i);
        let picked = if all {
            hidden
        } else {
            let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let index = TensorData::new(index, [rows.len()]);
            let index = Tensor::<1, Int>::from_data(index, &hidden.device());
            hidden.select(0, index)
        };
        self.norm.forward(picked)
    }

    /// All logits of picked tokens, one vector each.
    pub(crate) fn logits(&self, picked: Tensor<2>) -> Vec<Vec<f32>> {
        let logits = self.output.logits(picked, self.softcap);
        logits.chunks_exact(self.vocabulary()).map(<[f32]>::to_vec).collect()
    }

    pub(crate) fn top(&self, picked: Tensor<2>, k: usize, also: &[u32]) -> Vec<Top> {
        self.output.top_logits(picked, k, also, self.softcap)
    }

    pub(crate) fn scores(&self, picked: Tensor<2>, asked: Vec<Asked>) -> Vec<TokenScore> {
        self.output.token_scores(picked, asked, self.softcap)
    }

    /// Logits that [`Self::loss`] has at a time for so many tokens, in bytes.
    pub(crate) fn loss_bytes(&self, tokens: usize) -> usize {
        // Bent logits stay beside their gradient.
        let copies = if self.softcap.is_some() { 2 } else { 1 };
        copies * self.output.loss_bytes(tokens)
    }

    /// The loss at picked tokens, which stand outside of any graph.
    pub(crate) fn loss(&self, picked: Tensor<2>, targets: &[Weighed], of_weight: bool) -> Loss {
        self.output.loss(picked, targets, self.softcap, of_weight)
    }
}
