//! One forward pass: where its tokens stand, what they see, and where keys and values go.

use std::sync::Arc;

use burn::tensor::Tensor;
use fidelio_backend::{BackendError, Forest, Parent, RowId};
use fidelio_ops::{Run, Scoring, Sees, Span};

use crate::{
    adapter::{Adapted, Adapter},
    cache::Pool,
    layers::{Rotary, Turn},
    loader::ModuleId,
    noise::Noise,
};

/// What the tokens of a batch see, as runs over spans; and their positions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    positions: Vec<u32>,
    runs: Vec<Run>,
    spans: Vec<Span>,
}

impl Layout {
    /// Adds a run of `len` tokens that sees `spans` and then itself.
    pub(crate) fn push(&mut self, spans: &[Span], len: usize) {
        let first = self.positions.len() as u32;
        let from = self.spans.len() as u32;
        let seen: u32 = spans.iter().map(|span| span.len).sum();
        self.spans.extend_from_slice(spans);
        self.runs.push(Run { first, len: len as u32, spans: from..self.spans.len() as u32 });
        self.positions.extend(seen..seen + len as u32);
    }

    /// The layout of a forest: each node sees its ancestors' tokens, oldest first.
    pub(crate) fn of(
        forest: &Forest,
        cached: impl Fn(RowId) -> Result<Vec<Span>, BackendError>,
    ) -> Result<Self, BackendError> {
        let mut layout = Self::default();
        let mut paths: Vec<Vec<Span>> = Vec::with_capacity(forest.nodes.len());
        for node in &forest.nodes {
            let mut path = match node.parent {
                Parent::Root => Vec::new(),
                Parent::Node(parent) => paths[parent as usize].clone(),
                Parent::Cached(row) => cached(row)?,
            };
            layout.push(&path, node.len as usize);
            match path.last_mut() {
                Some(last) if !last.past && last.start + last.len == node.start => {
                    last.len += node.len;
                }
                _ => path.push(Span { past: false, start: node.start, len: node.len }),
            }
            paths.push(path);
        }
        Ok(layout)
    }

    /// Each token's position.
    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Tokens on the longest path.
    pub(crate) fn longest(&self) -> usize {
        self.positions.iter().max().map_or(0, |&last| last as usize + 1)
    }
}

/// A forward pass over a [`Layout`].
pub(crate) struct Pass<'a> {
    positions: Vec<u32>,
    /// Without a window: each layer has its own.
    sees: Sees,
    pool: &'a mut Pool,
    slots: Option<Vec<u32>>,
    adapter: Option<&'a Adapter>,
    noise: Option<&'a Noise>,
    /// Layers may turn by different angles.
    turns: Vec<(Arc<Rotary>, Turn)>,
}

impl<'a> Pass<'a> {
    /// `slots`: where to keep each token's keys and values; `None` keeps nothing.
    pub(crate) fn new(layout: Layout, pool: &'a mut Pool, slots: Option<Vec<u32>>) -> Self {
        let sees = Sees { runs: layout.runs.into(), spans: layout.spans.into(), window: None };
        let positions = layout.positions;
        Self { positions, sees, pool, slots, adapter: None, noise: None, turns: Vec::new() }
    }

    /// With what an adapter adds.
    pub(crate) fn with_adapter(mut self, adapter: Option<&'a Adapter>) -> Self {
        self.adapter = adapter;
        self
    }

    /// With what is random while learning.
    pub(crate) fn with_noise(mut self, noise: Option<&'a Noise>) -> Self {
        self.noise = noise;
        self
    }

    /// What the adapter has for a linear layer.
    pub(crate) fn adapted(&self, module: ModuleId) -> Option<&'a Adapted> {
        self.adapter?.layer(module)
    }

    /// Each token's position.
    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }

    pub(crate) fn noise(&self) -> Option<&'a Noise> {
        self.noise
    }

    /// The angles of the tokens' positions, made once.
    pub(crate) fn turn(&mut self, rotary: &Arc<Rotary>) -> Turn {
        if let Some((_, turn)) = self.turns.iter().find(|(made, _)| Arc::ptr_eq(made, rotary)) {
            return turn.clone();
        }
        let turn = rotary.at(&self.positions, self.pool.device());
        self.turns.push((rotary.clone(), turn.clone()));
        turn
    }

    /// Attention of a layer: `q` `[t, hq, d]`, `k` and `v` `[t, hk, d]` to `[t, hq, d]`.
    pub(crate) fn attend(
        &mut self,
        layer: usize,
        [q, k, v]: [Tensor<3>; 3],
        window: Option<u32>,
        scoring: Scoring,
    ) -> Tensor<3> {
        let past = self.pool.layer(layer);
        let new = [k.clone(), v.clone()];
        let sees = Sees { window, ..self.sees.clone() };
        let out = fidelio_ops::attention(q, new, past, sees, scoring);
        if let Some(slots) = &self.slots {
            self.pool.store(layer, [k, v], slots);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_sees_its_ancestors_and_joined_spans() {
        let mut forest = Forest::default();
        let a = forest.push(Parent::Root, &[1, 2]);
        let b = forest.push(Parent::Node(a), &[3]); // follows its parent directly
        forest.push(Parent::Node(b), &[4]);
        forest.push(Parent::Node(a), &[5]); // a sibling stands between
        let layout = Layout::of(&forest, |_| unreachable!("no cached parent")).unwrap();
        assert_eq!(layout.positions, [0, 1, 2, 3, 2]);
        let seen: Vec<&[Span]> = layout
            .runs
            .iter()
            .map(|run| &layout.spans[run.spans.start as usize..run.spans.end as usize])
            .collect();
        let batch = |start, len| Span { past: false, start, len };
        assert_eq!(seen[0], []);
        assert_eq!(seen[1], [batch(0, 2)]);
        assert_eq!(seen[2], [batch(0, 3)]);
        assert_eq!(seen[3], [batch(0, 2)]);
    }
}
