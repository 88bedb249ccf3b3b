//! Dividing rows for cross-validation.

use crate::rng::Rng;

/// The purpose of the shuffle: no split draws the same numbers.
const PURPOSE: u64 = 0x666f_6c64;

/// Puts rows into `count` folds at random by a seed: each row into one, and none has two rows more
/// than another. Fold and rest are ascending; `number` is counted from 0.
///
/// ```
/// let (fold, rest) = fidelio_data::fold(&[10, 11, 12, 13, 14], 0, 2, 42);
/// assert_eq!((fold.len(), rest.len()), (3, 2));
/// assert_eq!(fidelio_data::fold(&[10, 11, 12, 13, 14], 1, 2, 42), (rest, fold));
/// ```
pub fn fold(rows: &[usize], number: usize, count: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut shuffled: Vec<usize> = (0..rows.len()).collect();
    Rng::new(seed, PURPOSE).shuffle(&mut shuffled);
    let mut fold_of = vec![0; rows.len()];
    for (place, row) in shuffled.into_iter().enumerate() {
        fold_of[row] = place % count.max(1);
    }
    let with = |inside: bool| {
        let rows = rows.iter().zip(&fold_of).filter(|(_, fold)| (**fold == number) == inside);
        rows.map(|(row, _)| *row).collect()
    };
    (with(true), with(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_is_in_one_fold_and_folds_are_even(
            rows in 1_usize..60,
            count in 1_usize..9,
            seed in 0_u64..9,
        ) {
            let rows: Vec<usize> = (0..rows).collect();
            let folds: Vec<(Vec<usize>, Vec<usize>)> =
                (0..count).map(|number| fold(&rows, number, count, seed)).collect();
            let mut all: Vec<usize> = folds.iter().flat_map(|(fold, _)| fold.clone()).collect();
            all.sort_unstable();
            prop_assert_eq!(&all, &rows);
            for (fold, rest) in &folds {
                prop_assert_eq!(fold.len() + rest.len(), rows.len());
                prop_assert!(fold.len().abs_diff(folds[0].0.len()) <= 1);
                prop_assert!(fold.is_sorted() && rest.is_sorted());
            }
        }
    }
}
