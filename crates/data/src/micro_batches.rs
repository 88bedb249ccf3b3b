//! Which sequences go into one forest together.

use crate::{DataError, plant};

/// Divides sequences into micro-batches whose forests hold at most `budget` tokens each, so that
/// sequences which begin alike come together.
///
/// Sequences of one group (`groups[i]` is that of sequence `i`) are never separated. Groups are
/// put in the order of their smallest sequence, token by token, which brings long common
/// beginnings side by side; equal ones keep their order. Each micro-batch then takes as many as
/// fit, counted on the very forest that [`plant`](crate::plant) makes of them with `min_shared`.
/// The answer lists indices into `sequences`; within a group they ascend.
///
/// # Errors
/// [`DataError::OverBudget`] for the first group, in this order, that does not fit by itself.
pub fn micro_batches(
    sequences: &[&[u32]],
    groups: &[usize],
    budget: usize,
    min_shared: usize,
) -> Result<Vec<Vec<usize>>, DataError> {
    let units = units(sequences, groups);
    let tokens = |units: &[Vec<usize>]| {
        let chosen: Vec<&[u32]> = units.iter().flatten().map(|i| sequences[*i]).collect();
        plant(&chosen, min_shared).forest.tokens.len()
    };
    let mut batches = Vec::new();
    let mut rest = units.as_slice();
    while let Some(first) = rest.first() {
        let alone = tokens(&rest[..1]);
        if alone > budget {
            let group = group_of(groups, first[0]);
            return Err(DataError::OverBudget { group, tokens: alone, budget });
        }
        // Twice as many until they do not fit, then halving in between.
        let (mut fits, mut step) = (1, 1);
        while fits < rest.len() {
            let more = (fits + step).min(rest.len());
            if tokens(&rest[..more]) > budget {
                break;
            }
            fits = more;
            step *= 2;
        }
        let mut too_many = (fits + step).min(rest.len() + 1);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if tokens(&rest[..middle]) > budget {
                too_many = middle;
            } else {
                fits = middle;
            }
        }
        batches.push(rest[..fits].concat());
        rest = &rest[fits..];
    }
    Ok(batches)
}

/// A sequence beyond the end of `groups` belongs to nobody but itself.
fn group_of(groups: &[usize], sequence: usize) -> usize {
    groups.get(sequence).copied().unwrap_or(usize::MAX - sequence)
}

/// The groups' sequences, ordered by the smallest sequence of each.
fn units(sequences: &[&[u32]], groups: &[usize]) -> Vec<Vec<usize>> {
    let mut by_group: indexmap::IndexMap<usize, Vec<usize>> = indexmap::IndexMap::new();
    for i in 0..sequences.len() {
        by_group.entry(group_of(groups, i)).or_default().push(i);
    }
    let mut units: Vec<Vec<usize>> = by_group.into_values().collect();
    units.sort_by_cached_key(|unit| unit.iter().map(|i| sequences[*i]).min());
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn borrowed(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
        sequences.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #[test]
        fn batches_keep_budget_groups_and_sequences(
            sequences in prop::collection::vec(
                (prop::collection::vec(0_u32..3, 1..8), 0_usize..6), 0..20),
            budget in 20_usize..60,
            min_shared in 0_usize..4,
        ) {
            let (sequences, groups): (Vec<_>, Vec<_>) = sequences.into_iter().unzip();
            let sequences = borrowed(&sequences);
            let Ok(batches) = micro_batches(&sequences, &groups, budget, min_shared) else {
                let largest = (0..6).map(|group| {
                    let own: Vec<&[u32]> = sequences.iter().zip(&groups)
                        .filter(|(_, g)| **g == group).map(|(s, _)| *s).collect();
                    plant(&own, min_shared).forest.tokens.len()
                }).max();
                prop_assert!(largest > Some(budget));
                return Ok(());
            };
            let mut all: Vec<usize> = batches.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..sequences.len()).collect::<Vec<_>>());
            for (number, batch) in batches.iter().enumerate() {
                let chosen: Vec<&[u32]> = batch.iter().map(|i| sequences[*i]).collect();
                prop_assert!(plant(&chosen, min_shared).forest.tokens.len() <= budget);
                for other in &batches[number + 1..] {
                    prop_assert!(!batch.iter().any(|a| other.iter().any(|b| groups[*a] == groups[*b])));
                }
            }
        }
    }

    #[test]
    fn common_beginnings_come_together() {
        let (a, b) = ([1, 1, 1, 1, 5], [2, 2, 2, 2, 5]);
        let (c, d) = ([1, 1, 1, 1, 6], [2, 2, 2, 2, 6]);
        let batches = micro_batches(&[&a, &b, &c, &d], &[0, 1, 2, 3], 6, 1).unwrap();
        assert_eq!(batches, [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn a_group_beyond_the_budget_is_an_error() {
        let error = micro_batches(&[&[1], &[1, 2], &[3]], &[7, 8, 8], 2, 1).unwrap_err();
        assert!(
            matches!(error, DataError::OverBudget { group: 8, tokens: 3, budget: 2 }),
            "{error:?}"
        );
    }
}
