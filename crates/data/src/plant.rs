//! Sequences to a forest: what they begin with stands once.

use fidelio_backend::{Forest, Parent};

/// A forest, and where each token of each sequence stands in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planted {
    /// The forest.
    pub forest: Forest,
    /// `at[i][j]` is the index in `forest.tokens` of token `j` of sequence `i`.
    pub at: Vec<Vec<u32>>,
}

/// Plants sequences so that they share what they begin with, wherever a shared run is at least
/// `min_shared` tokens long (0 and 1 mean the same: always).
///
/// Equal sequences share everything, and so does a sequence that begins another one: it ends
/// inside the other's nodes, which costs nothing, whatever `min_shared` is. The forest depends on
/// the set of sequences, not on their order. Their tokens together must be fewer than 2³².
///
/// ```
/// use fidelio_data::plant;
///
/// let planted = plant(&[&[5, 6, 7][..], &[5, 6, 8, 9], &[5, 6]], 1);
/// assert_eq!(planted.forest.tokens, [5, 6, 7, 8, 9]);
/// assert_eq!(planted.at, [vec![0, 1, 2], vec![0, 1, 3, 4], vec![0, 1]]);
/// ```
pub fn plant(sequences: &[&[u32]], min_shared: usize) -> Planted {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|i| sequences[*i]);
    // In this order, what begins other sequences stands directly before one of them.
    let mut longest: Vec<&[u32]> = Vec::new();
    let mut stands_in = vec![0; sequences.len()];
    for &i in order.iter().rev() {
        match longest.last() {
            Some(last) if last.starts_with(sequences[i]) => {}
            _ if sequences[i].is_empty() => {}
            _ => longest.push(sequences[i]),
        }
        stands_in[i] = longest.len().saturating_sub(1);
    }
    longest.reverse();

    let (forest, leaves) = grow(&longest, min_shared.max(1));
    let at = (0..sequences.len())
        .map(|i| match sequences[i].len() {
            0 => Vec::new(),
            len => path(&forest, leaves[longest.len() - 1 - stands_in[i]], len),
        })
        .collect();
    Planted { forest, at }
}

/// Sequences of which the first `depth` tokens stand at `parent` already, and which agree in the
/// next one.
struct Bundle {
    first: usize,
    end: usize,
    depth: usize,
    parent: Parent,
}

/// Grows a forest from sorted sequences of which none begins another one. Gives each one's leaf.
fn grow(sequences: &[&[u32]], min_shared: usize) -> (Forest, Vec<u32>) {
    let mut forest = Forest::default();
    let mut leaves = vec![0; sequences.len()];
    // A stack of our own: sequences that each go one token further than the last would
    // otherwise nest as deep as there are sequences.
    let mut open = Vec::new();
    divide(sequences, 0..sequences.len(), 0, |first, end| {
        open.push(Bundle { first, end, depth: 0, parent: Parent::Root });
    });
    open.reverse();
    while let Some(Bundle { first, end, depth, parent }) = open.pop() {
        let sequence = sequences[first];
        if end - first == 1 {
            leaves[first] = forest.push(parent, &sequence[depth..]);
            continue;
        }
        // Sorted: what the first and the last share, all share.
        let shared = shared_run(sequence, sequences[end - 1]);
        let (depth, parent) = if shared - depth >= min_shared {
            (shared, Parent::Node(forest.push(parent, &sequence[depth..shared])))
        } else {
            // Too short to share among all; those that agree further may still share.
            (depth, parent)
        };
        let below = open.len();
        divide(sequences, first..end, shared, |first, end| {
            open.push(Bundle { first, end, depth, parent });
        });
        open[below..].reverse();
    }
    (forest, leaves)
}

/// Divides a range of sorted sequences by the token that each has at `position`.
fn divide(
    sequences: &[&[u32]],
    range: std::ops::Range<usize>,
    position: usize,
    mut each: impl FnMut(usize, usize),
) {
    let mut first = range.start;
    for i in range.clone() {
        if i + 1 == range.end || sequences[i + 1].get(position) != sequences[i].get(position) {
            each(first, i + 1);
            first = i + 1;
        }
    }
}

/// How many tokens two sequences have in common at their beginning.
pub(crate) fn shared_run(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first `len` tokens on the way from a root to the end of a node.
fn path(forest: &Forest, leaf: u32, len: usize) -> Vec<u32> {
    let mut nodes = Vec::new();
    let mut next = Some(leaf);
    while let Some(number) = next {
        let node = forest.nodes[number as usize];
        nodes.push(node);
        next = match node.parent {
            Parent::Node(parent) => Some(parent),
            Parent::Root | Parent::Cached(_) => None,
        };
    }
    nodes.iter().rev().flat_map(|node| node.start..node.start + node.len).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// What a token sees, by the seam's own rule: its node up to itself, and all ancestors.
    fn seen(forest: &Forest, token: u32) -> Vec<u32> {
        let number = forest.nodes.iter().position(|n| (n.start..n.start + n.len).contains(&token));
        let mut node = forest.nodes[number.unwrap()];
        let mut seen: Vec<u32> = (node.start..=token).rev().collect();
        while let Parent::Node(parent) = node.parent {
            node = forest.nodes[parent as usize];
            seen.extend((node.start..node.start + node.len).rev());
        }
        seen.reverse();
        seen
    }

    fn sequences() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(0_u32..3, 0..9), 0..12)
    }

    fn borrowed(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
        sequences.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #[test]
        fn a_path_holds_its_sequence_and_nothing_else(
            sequences in sequences(),
            min_shared in 0_usize..5,
        ) {
            let planted = plant(&borrowed(&sequences), min_shared);
            planted.forest.check().unwrap();
            let depths = planted.forest.depths();
            for (sequence, at) in sequences.iter().zip(&planted.at) {
                let tokens: Vec<u32> =
                    at.iter().map(|at| planted.forest.tokens[*at as usize]).collect();
                prop_assert_eq!(&tokens, sequence);
                for (position, token) in at.iter().enumerate() {
                    prop_assert_eq!(&seen(&planted.forest, *token), &at[..=position]);
                    prop_assert_eq!(depths[*token as usize] as usize, position);
                }
            }
            let used: HashSet<u32> = planted.at.iter().flatten().copied().collect();
            prop_assert_eq!(used.len(), planted.forest.tokens.len(), "every token is somebody's");
        }

        #[test]
        fn sharing_everything_makes_a_trie(sequences in sequences()) {
            let prefixes: HashSet<&[u32]> =
                sequences.iter().flat_map(|s| (1..=s.len()).map(|len| &s[..len])).collect();
            let planted = plant(&borrowed(&sequences), 1);
            prop_assert_eq!(planted.forest.tokens.len(), prefixes.len());
        }

        #[test]
        fn shared_nodes_are_long_enough(sequences in sequences(), min_shared in 1_usize..5) {
            let planted = plant(&borrowed(&sequences), min_shared);
            for node in &planted.forest.nodes {
                if let Parent::Node(parent) = node.parent {
                    prop_assert!(planted.forest.nodes[parent as usize].len as usize >= min_shared);
                }
            }
        }

        #[test]
        fn the_order_of_the_sequences_does_not_matter(sequences in sequences()) {
            let mut turned = sequences.clone();
            turned.reverse();
            let (a, mut b) = (plant(&borrowed(&sequences), 2), plant(&borrowed(&turned), 2));
            b.at.reverse();
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn short_runs_are_repeated_and_long_ones_below_them_shared() {
        let planted = plant(&[&[1, 2, 9], &[1, 3, 3, 3, 4], &[1, 3, 3, 3, 5]], 3);
        assert_eq!(planted.forest.tokens, [1, 2, 9, 1, 3, 3, 3, 4, 5]);
        assert_eq!(planted.at[2], [3, 4, 5, 6, 8]);
    }

    #[test]
    fn a_prefix_ends_inside_its_continuation() {
        let planted = plant(&[&[1, 2], &[1, 2, 3, 4], &[1, 2]], 100);
        assert_eq!(planted.forest.nodes.len(), 1);
        assert_eq!(planted.at[0], [0, 1]);
        assert_eq!(planted.at[0], planted.at[2]);
    }

    #[test]
    fn a_long_chain_does_not_nest_calls() {
        // A comb: each sequence leaves the one before after one more token.
        let sequences: Vec<Vec<u32>> =
            (0..600).map(|n| (0..n).map(|_| 1).chain([2]).collect()).collect();
        let planted = plant(&borrowed(&sequences), 1);
        assert_eq!(planted.forest.tokens.len(), 599 + 600);
    }
}
