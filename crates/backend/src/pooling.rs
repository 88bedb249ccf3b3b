//! From the states of a text's tokens to one vector.

use serde::{Deserialize, Serialize};

use crate::{BackendError, Forest, Parent};

/// How the states of a text's tokens, after the model's last norm, become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean,
    /// The state of the first token, as encoders are trained to use `[CLS]`. Where tokens see only
    /// what stands before them, the first one knows nothing of the text: an error there.
    Cls,
    /// The state of the last token: the one that has seen the whole text in a model of that kind.
    Last,
}

impl Pooling {
    /// As a user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
        }
    }
}

impl Forest {
    /// Checks that every node is a text of its own, as `embed` wants it.
    ///
    /// # Errors
    /// [`BackendError::Forest`].
    pub fn check_texts(&self) -> Result<(), BackendError> {
        self.check()?;
        match self.nodes.iter().position(|node| node.parent != Parent::Root) {
            Some(i) => {
                let what = format!("node {i} is no text of its own: it stands below another");
                Err(BackendError::Forest(what))
            }
            None => Ok(()),
        }
    }

    /// The tokens whose states [`Self::pool`] needs, ascending where nodes are.
    pub fn pooled_tokens(&self, pooling: Pooling) -> Vec<u32> {
        match pooling {
            Pooling::Mean => (0..self.tokens.len() as u32).collect(),
            Pooling::Cls => self.nodes.iter().map(|node| node.start).collect(),
            Pooling::Last => self.nodes.iter().map(|node| node.start + node.len - 1).collect(),
        }
    }

    /// One vector per node, from the states of [`Self::pooled_tokens`], each `width` floats.
    /// Means are summed in 64 bits, so that they do not depend on the length of a text.
    pub fn pool(&self, states: &[f32], width: usize, pooling: Pooling) -> Vec<f32> {
        if pooling != Pooling::Mean {
            return states.to_vec();
        }
        let mut vectors = Vec::with_capacity(self.nodes.len() * width);
        let mut sums = vec![0.0_f64; width];
        for node in &self.nodes {
            sums.fill(0.0);
            let (from, len) = (node.start as usize * width, node.len as usize * width);
            for state in states[from..from + len].chunks_exact(width) {
                for (sum, &x) in sums.iter_mut().zip(state) {
                    *sum += f64::from(x);
                }
            }
            vectors.extend(sums.iter().map(|sum| (sum / f64::from(node.len)) as f32));
        }
        vectors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Forest {
        let mut forest = Forest::default();
        forest.push(Parent::Root, &[1, 2, 3]);
        forest.push(Parent::Root, &[4]);
        forest
    }

    #[test]
    fn each_pooling_takes_its_tokens() {
        let forest = texts();
        let states: Vec<f32> = (0..8).map(|x| x as f32).collect(); // 4 tokens, 2 wide
        let pooled = |pooling| {
            let picked = forest.pooled_tokens(pooling).into_iter();
            let picked: Vec<f32> =
                picked.flat_map(|at| states[at as usize * 2..][..2].to_vec()).collect();
            forest.pool(&picked, 2, pooling)
        };
        assert_eq!(pooled(Pooling::Mean), [2.0, 3.0, 6.0, 7.0]);
        assert_eq!(pooled(Pooling::Cls), [0.0, 1.0, 6.0, 7.0]);
        assert_eq!(pooled(Pooling::Last), [4.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn a_text_stands_below_nothing() {
        let mut forest = texts();
        forest.check_texts().unwrap();
        forest.push(Parent::Node(0), &[5]);
        let error = forest.check_texts().unwrap_err();
        assert!(error.to_string().contains("node 2"), "{error}");
    }
}
