//! The one batch shape: token runs that form trees.
//!
//! A token sees the earlier tokens of its own node and every token of the node's ancestors,
//! and nothing else. Its position is its depth on that path.

use crate::{AdapterId, BackendError, RowId};

/// What `score` computes on: a forest and the questions asked at its tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The tokens.
    pub forest: Forest,
    /// The questions, in any order. Several may stand at one token.
    pub targets: Vec<Target>,
    /// Each node's row within the update, for random masks that do not depend on how rows are
    /// spread over batches. Empty where nothing is random.
    pub rows: Vec<u64>,
}

/// Token runs that form trees. Parents come before their children.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forest {
    /// All tokens, node after node.
    pub tokens: Vec<u32>,
    /// The runs.
    pub nodes: Vec<Node>,
    /// The adapter that all tokens are computed with; none is the model alone.
    pub adapter: Option<AdapterId>,
}

/// A run of tokens below a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// What the run continues.
    pub parent: Parent,
    /// Where its tokens begin in `Forest::tokens`.
    pub start: u32,
    /// How many they are.
    pub len: u32,
}

/// What a node continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: its first token stands at position 0.
    Root,
    /// An earlier node of the same forest, by its number.
    Node(u32),
    /// A row that is already cached in the session; `score` does not change it.
    Cached(RowId),
}

/// A question at a token, which sees itself: what comes next?
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The token asked, as an index into `Forest::tokens`.
    pub at: u32,
    /// What is asked.
    pub ask: Ask,
    /// Its share in a loss or a sum.
    pub weight: f32,
    /// What belongs together, for the caller: the tokens of one label, say.
    pub group: u32,
}

/// What a target asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// The log-probability of this token as the next one.
    Token(u32),
}

impl Forest {
    /// Adds a run and returns its number.
    pub fn push(&mut self, parent: Parent, tokens: &[u32]) -> u32 {
        let node = Node { parent, start: self.tokens.len() as u32, len: tokens.len() as u32 };
        self.tokens.extend_from_slice(tokens);
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// The position of each token, with cached parents counted as empty.
    pub fn depths(&self) -> Vec<u32> {
        self.positions(|_| 0)
    }

    /// The position of each token; `cached` tells how many tokens a cached row holds.
    pub fn positions(&self, cached: impl Fn(RowId) -> u32) -> Vec<u32> {
        let mut ends = Vec::with_capacity(self.nodes.len()); // position after each node's last token
        let mut positions = Vec::with_capacity(self.tokens.len());
        for node in &self.nodes {
            let first = match node.parent {
                Parent::Root => 0,
                Parent::Node(parent) => ends[parent as usize],
                Parent::Cached(row) => cached(row),
            };
            positions.extend(first..first + node.len);
            ends.push(first + node.len);
        }
        positions
    }

    /// Checks that nodes tile the tokens in order and that parents come first.
    ///
    /// # Errors
    /// [`BackendError::Forest`] names the first node that breaks a rule.
    pub fn check(&self) -> Result<(), BackendError> {
        let mut next = 0_usize;
        for (i, node) in self.nodes.iter().enumerate() {
            if node.len == 0 {
                return Err(BackendError::Forest(format!("node {i} is empty")));
            }
            if node.start as usize != next {
                return Err(BackendError::Forest(format!(
                    "node {i} starts at {}, expected {next}",
                    node.start
                )));
            }
            if matches!(node.parent, Parent::Node(parent) if parent as usize >= i) {
                return Err(BackendError::Forest(format!("node {i} stands before its parent")));
            }
            next += node.len as usize;
        }
        if next != self.tokens.len() {
            return Err(BackendError::Forest(format!(
                "the nodes hold {next} of {} tokens",
                self.tokens.len()
            )));
        }
        Ok(())
    }
}

impl Batch {
    /// Checks the forest and that every target stands at one of its tokens.
    ///
    /// # Errors
    /// [`BackendError::Forest`].
    pub fn check(&self) -> Result<(), BackendError> {
        self.forest.check()?;
        match self.targets.iter().find(|t| t.at as usize >= self.forest.tokens.len()) {
            Some(target) => Err(BackendError::Forest(format!(
                "a target stands at token {} of {}",
                target.at,
                self.forest.tokens.len()
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_continue_the_parent() {
        let mut forest = Forest::default();
        let a = forest.push(Parent::Root, &[1, 2]);
        let b = forest.push(Parent::Node(a), &[3]);
        forest.push(Parent::Node(b), &[4, 5]);
        forest.push(Parent::Node(a), &[6]);
        forest.push(Parent::Cached(RowId(7)), &[8]);
        assert_eq!(forest.positions(|_| 10), [0, 1, 2, 3, 4, 2, 10]);
        forest.check().unwrap();
    }

    #[test]
    fn malformed_forests_are_refused() {
        let mut late_parent = Forest::default();
        late_parent.push(Parent::Node(1), &[1]);
        let mut empty_node = Forest::default();
        empty_node.push(Parent::Root, &[]);
        let mut stray_token = Forest::default();
        stray_token.push(Parent::Root, &[1]);
        stray_token.tokens.push(2);
        for forest in [late_parent, empty_node, stray_token] {
            assert!(matches!(forest.check(), Err(BackendError::Forest(_))), "{forest:?}");
        }
    }

    #[test]
    fn a_target_needs_a_token() {
        let mut batch = Batch::default();
        batch.forest.push(Parent::Root, &[1]);
        batch.targets.push(Target { at: 1, ask: Ask::Token(0), weight: 1.0, group: 0 });
        assert!(batch.check().is_err());
    }
}
