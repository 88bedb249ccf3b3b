//! Counting runs of items.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// How many runs of length `n` both sides have, and how many of them are the same
/// (each as often as it stands on the side that has it less often).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) predicted: usize,
    pub(crate) expected: usize,
    pub(crate) shared: usize,
}

/// Compares the runs of length `n`, at least 1.
pub(crate) fn overlap<T: Eq + Hash>(predicted: &[T], expected: &[T], n: usize) -> Overlap {
    let mut left: FxHashMap<&[T], usize> = FxHashMap::default();
    left.reserve(expected.len());
    for run in expected.windows(n) {
        *left.entry(run).or_default() += 1;
    }
    let mut shared = 0;
    for run in predicted.windows(n) {
        if let Some(count) = left.get_mut(run).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    let runs = |len: usize| (len + 1).saturating_sub(n);
    Overlap { predicted: runs(predicted.len()), expected: runs(expected.len()), shared }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_runs_count_as_often_as_both_have_them() {
        let got = overlap(&["the"; 7], &["the", "cat", "the"], 1);
        assert_eq!(got, Overlap { predicted: 7, expected: 3, shared: 2 });
        let short = overlap(&["a"], &["a", "b"], 2);
        assert_eq!(short, Overlap { predicted: 0, expected: 1, shared: 0 });
    }
}
