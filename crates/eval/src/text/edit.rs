//! Word and character error rates from edit distances.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::{is_space, words};

/// What one row contributes; the sums over rows give the rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edits {
    /// Insertions, deletions and substitutions.
    pub edits: usize,
    /// Words or characters expected.
    pub expected: usize,
}

impl Edits {
    /// Over words between white space. (jiwer joins words at a single tab or line feed; here,
    /// as in torchmetrics, they separate too.)
    pub fn of_words(prediction: &str, reference: &str) -> Self {
        let split = |text| words(text).collect::<Vec<&str>>();
        let expected = split(reference);
        Self { edits: edit_distance(&split(prediction), &expected), expected: expected.len() }
    }

    /// Over characters, white space at the ends aside.
    pub fn of_chars(prediction: &str, reference: &str) -> Self {
        let split = |text: &str| text.trim_matches(is_space).chars().collect::<Vec<char>>();
        let expected = split(reference);
        Self { edits: edit_distance(&split(prediction), &expected), expected: expected.len() }
    }

    /// Edits per expected item. Where nothing was expected it is the number of edits, as in
    /// jiwer.
    pub fn rate(&self) -> f64 {
        Self::rate_of_row(&self.row())
    }

    /// As plain numbers, for [`Bootstrap::sums`](crate::Bootstrap::sums).
    pub fn row(&self) -> [f64; 2] {
        [self.edits as f64, self.expected as f64]
    }

    /// The rate from added [`Edits::row`]s.
    pub fn rate_of_row([edits, expected]: &[f64; 2]) -> f64 {
        edits / expected.max(1.0)
    }
}

/// The fewest insertions, deletions and substitutions that turn one sequence into the other
/// (Levenshtein, 1966), 64 cells of the table at a time (Hyyrö, 2003).
pub fn edit_distance<T: Eq + Hash>(a: &[T], b: &[T]) -> usize {
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
    if a.is_empty() || b.is_empty() { a.len().max(b.len()) } else { bit_parallel(a, b) }
}

/// Keeps one column of the table as the differences between neighbors: a bit in `plus` where
/// the cell below is one more, in `minus` where it is one less. `a` runs down the column.
fn bit_parallel<T: Eq + Hash>(a: &[T], b: &[T]) -> usize {
    let blocks = a.len().div_ceil(64);
    let mut places: FxHashMap<&T, Vec<u64>> = FxHashMap::default();
    for (i, item) in a.iter().enumerate() {
        places.entry(item).or_insert_with(|| vec![0; blocks])[i / 64] |= 1 << (i % 64);
    }
    let nowhere = vec![0; blocks];
    let last = 1_u64 << ((a.len() - 1) % 64);
    let mut column = vec![(u64::MAX, 0_u64); blocks]; // plus, minus
    let mut distance = a.len();
    for item in b {
        let equal = places.get(item).unwrap_or(&nowhere);
        // What the row above the block gained or lost: the table's first row grows by 1.
        let (mut more, mut less) = (1, 0);
        for (block, (plus, minus)) in column.iter_mut().enumerate() {
            let vertical = equal[block] | *minus;
            let equal = equal[block] | less;
            let diagonal = ((equal & *plus).wrapping_add(*plus) ^ *plus) | equal;
            let up = *minus | !(diagonal | *plus);
            let down = *plus & diagonal;
            if block == blocks - 1 {
                distance += usize::from(up & last != 0);
                distance -= usize::from(down & last != 0);
            }
            let (shifted_up, shifted_down) = ((up << 1) | more, (down << 1) | less);
            (more, less) = (up >> 63, down >> 63);
            *plus = shifted_down | !(vertical | shifted_up);
            *minus = shifted_up & vertical;
        }
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, cell by cell.
    fn plain(a: &[u8], b: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = row[j + 1];
                row[j + 1] = best;
            }
        }
        row[b.len()]
    }

    #[test]
    fn the_fast_distance_is_the_plain_one() {
        let mut state = 12_345_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..300 {
            let (n, m) = (random(200), random(200));
            let a: Vec<u8> = (0..n).map(|_| random(4) as u8).collect();
            let b: Vec<u8> = (0..m).map(|_| random(4) as u8).collect();
            assert_eq!(edit_distance(&a, &b), plain(&a, &b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn nothing_expected_counts_edits() {
        assert_eq!(Edits::of_words("a b", "").rate(), 2.0);
        assert_eq!(Edits::of_words("", "").rate(), 0.0);
        assert_eq!(Edits::of_words("a\tb", "a b").rate(), 0.0);
    }
}
