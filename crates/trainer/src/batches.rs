//! Rows to batches: what an update computes.

use std::collections::HashMap;

use fidelio_backend::{AdapterId, Ask, Batch, Forest, Parent, Target};
use fidelio_data::plant;

use crate::Example;

/// How rows become the forest of a micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planting {
    /// One root per row, numbered within the update: random masks depend on the row.
    Apart,
    /// Beginnings of at least so many tokens that rows have in common stand once.
    Shared(usize),
}

impl Planting {
    pub(crate) fn of(share_beginnings: Option<usize>) -> Self {
        share_beginnings.map_or(Self::Apart, Self::Shared)
    }

    /// A batch of rows, of which the first is number `first` of its update.
    pub(crate) fn batch(
        self,
        rows: &[&Example],
        first: usize,
        adapter: Option<AdapterId>,
    ) -> Batch {
        let (mut forest, at) = match self {
            Self::Apart => stand_apart(rows),
            Self::Shared(min_tokens) => {
                let fed: Vec<&[u32]> = rows.iter().map(|row| row.fed()).collect();
                let planted = plant(&fed, min_tokens);
                (planted.forest, planted.at)
            }
        };
        forest.adapter = adapter;
        let rows_of_nodes = match self {
            Self::Apart => (first as u64..).take(rows.len()).collect(),
            Self::Shared(_) => Vec::new(),
        };
        Batch { forest, targets: ask(rows, &at), rows: rows_of_nodes }
    }
}

fn stand_apart(rows: &[&Example]) -> (Forest, Vec<Vec<u32>>) {
    let mut forest = Forest::default();
    let at = rows.iter().map(|row| {
        let start = forest.tokens.len() as u32;
        forest.push(Parent::Root, row.fed());
        (start..forest.tokens.len() as u32).collect()
    });
    let at = at.collect();
    (forest, at)
}

/// The questions of rows whose token `j` stands at `at[row][j]`. What several rows ask at the same
/// token is asked once, with the weight of them all: the head is the dearest part of a small model.
fn ask(rows: &[&Example], at: &[Vec<u32>]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut known = HashMap::new();
    for (row, at) in rows.iter().zip(at) {
        for (position, token) in row.questions() {
            let at = at[position];
            let next = targets.len();
            match *known.entry((at, token)).or_insert(next) {
                new if new == next => {
                    targets.push(Target { at, ask: Ask::Token(token), weight: 1.0, group: 0 });
                }
                old => targets[old].weight += 1.0,
            }
        }
    }
    targets
}

/// How many tokens a batch's rows learn.
pub(crate) fn tokens_learnt(batch: &Batch) -> u64 {
    batch.targets.iter().map(|target| f64::from(target.weight)).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example(ids: &[u32], learnt_from: usize) -> Example {
        let learn = (0..ids.len()).map(|i| i >= learnt_from).collect();
        Example { ids: ids.to_vec(), learn }
    }

    /// What a batch asks: the path that each question sees, the token, and the weight.
    fn asked(batch: &Batch) -> Vec<(Vec<u32>, u32, u32)> {
        let forest = &batch.forest;
        let mut paths: Vec<Vec<u32>> = Vec::new();
        for node in &forest.nodes {
            let mut path = match node.parent {
                Parent::Node(parent) => {
                    let parent = forest.nodes[parent as usize];
                    paths[(parent.start + parent.len) as usize - 1].clone()
                }
                _ => Vec::new(),
            };
            for token in &forest.tokens[node.start as usize..][..node.len as usize] {
                path.push(*token);
                paths.push(path.clone());
            }
        }
        let mut sums = std::collections::BTreeMap::new();
        for target in &batch.targets {
            let Ask::Token(token) = target.ask else { panic!() };
            *sums.entry((paths[target.at as usize].clone(), token)).or_insert(0) +=
                target.weight as u32;
        }
        sums.into_iter().map(|((path, token), weight)| (path, token, weight)).collect()
    }

    proptest! {
        #[test]
        fn sharing_asks_the_same_questions(
            rows in prop::collection::vec(prop::collection::vec(0_u32..3, 2..8), 1..8),
            learnt_from in 1_usize..3,
            min_tokens in 0_usize..4,
        ) {
            let rows: Vec<Example> =
                rows.iter().map(|ids| example(ids, learnt_from.min(ids.len() - 1))).collect();
            let rows: Vec<&Example> = rows.iter().collect();
            let apart = Planting::Apart.batch(&rows, 0, None);
            let shared = Planting::Shared(min_tokens).batch(&rows, 0, None);
            apart.check().unwrap();
            shared.check().unwrap();
            prop_assert!(shared.forest.tokens.len() <= apart.forest.tokens.len());
            prop_assert_eq!(tokens_learnt(&apart), tokens_learnt(&shared));
            prop_assert_eq!(asked(&apart), asked(&shared));
        }
    }

    #[test]
    fn rows_that_are_equal_stand_once_and_count_twice() {
        let row = example(&[4, 5, 6], 2);
        let batch = Planting::Shared(1).batch(&[&row, &row], 0, None);
        assert_eq!(batch.forest.tokens, [4, 5]);
        assert_eq!(batch.targets.len(), 1);
        assert_eq!(tokens_learnt(&batch), 2);
    }

    #[test]
    fn rows_that_stand_apart_know_their_numbers() {
        let row = example(&[4, 5, 6], 1);
        let batch = Planting::Apart.batch(&[&row, &row], 6, Some(AdapterId(3)));
        assert_eq!(batch.rows, [6, 7]);
        assert_eq!(batch.forest.nodes.len(), 2);
        assert_eq!(batch.forest.adapter, Some(AdapterId(3)));
        assert_eq!(batch.targets.len(), 4);
        assert!(Planting::Shared(1).batch(&[&row], 6, None).rows.is_empty());
    }
}
