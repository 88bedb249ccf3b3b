//! ROUGE (Lin, 2004) as rouge_score computes it without a stemmer: F1 over words of the letters
//! a to z and digits.

use rustc_hash::FxHashMap;

use super::ngrams::overlap;

/// The F1 of one row, each from 0 to 1. The figures of a table are the means over its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouge {
    /// Words.
    pub rouge1: f64,
    /// Pairs of words.
    pub rouge2: f64,
    /// Longest common subsequence of words.
    pub rouge_l: f64,
    /// The union of the subsequences that each line of the expected text shares with the lines
    /// of the generated one.
    pub rouge_lsum: f64,
}

impl Rouge {
    /// Measures one row.
    pub fn of(prediction: &str, reference: &str) -> Self {
        let (predicted, expected) = (tokens(prediction), tokens(reference));
        let of_runs = |n| {
            let runs = overlap(&predicted, &expected, n);
            f1(runs.shared, runs.predicted, runs.expected)
        };
        let shared = Subsequence::of(&expected, &predicted).len();
        Self {
            rouge1: of_runs(1),
            rouge2: of_runs(2),
            rouge_l: f1(shared, predicted.len(), expected.len()),
            rouge_lsum: of_lines(prediction, reference),
        }
    }
}

/// Whether ROUGE finds a word in this text.
pub(crate) fn sees(text: &str) -> bool {
    !tokens(text).is_empty()
}

fn tokens(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

fn f1(shared: usize, predicted: usize, expected: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    let (precision, recall) = (shared as f64 / predicted as f64, shared as f64 / expected as f64);
    2.0 * precision * recall / (precision + recall)
}

fn of_lines(prediction: &str, reference: &str) -> f64 {
    let lines = |text: &str| text.split('\n').map(tokens).collect::<Vec<_>>();
    let (predicted, expected) = (lines(prediction), lines(reference));
    // No word counts more often than it stands in either text.
    let mut left: [FxHashMap<&str, usize>; 2] = Default::default();
    for (counts, lines) in left.iter_mut().zip([&predicted, &expected]) {
        for token in lines.iter().flatten() {
            *counts.entry(token).or_default() += 1;
        }
    }
    let mut shared = 0;
    for line in &expected {
        let mut in_union = vec![false; line.len()];
        for other in &predicted {
            for at in Subsequence::of(line, other).places() {
                in_union[at] = true;
            }
        }
        for (token, _) in line.iter().zip(in_union).filter(|(_, is_in)| *is_in) {
            let [predicted, expected] = &mut left;
            let counts = (predicted.get_mut(token.as_str()), expected.get_mut(token.as_str()));
            if let (Some(p @ 1..), Some(e @ 1..)) = counts {
                *p -= 1;
                *e -= 1;
                shared += 1;
            }
        }
    }
    let total = |lines: &[Vec<String>]| lines.iter().map(Vec::len).sum::<usize>();
    f1(shared, total(&predicted), total(&expected))
}

/// The longest common subsequence of two lists of words. Of the table only one bit per cell is
/// kept, so that texts of some thousand words take megabytes, not hundreds of them.
struct Subsequence<'a> {
    a: &'a [String],
    b: &'a [String],
    /// Whether the way back goes left (in `b`) where the two words differ.
    left: Vec<u64>,
    len: usize,
}

impl<'a> Subsequence<'a> {
    fn of(a: &'a [String], b: &'a [String]) -> Self {
        let width = b.len().div_ceil(64);
        let mut left = vec![0_u64; width * a.len()];
        let mut row = vec![0_u32; b.len() + 1];
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = 0;
            for (j, y) in b.iter().enumerate() {
                let above = row[j + 1];
                if x == y {
                    row[j + 1] = diagonal + 1;
                } else if row[j] > above {
                    row[j + 1] = row[j];
                    left[i * width + j / 64] |= 1 << (j % 64);
                }
                diagonal = above;
            }
        }
        let len = row[b.len()] as usize;
        Self { a, b, left, len }
    }

    fn len(&self) -> usize {
        self.len
    }

    /// Where in `a` its words stand, last first. Of several longest ones, which is found decides
    /// about their union; the way back is rouge_score's.
    fn places(&self) -> Vec<usize> {
        let width = self.b.len().div_ceil(64);
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut places = Vec::with_capacity(self.len);
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                places.push(i - 1);
                (i, j) = (i - 1, j - 1);
            } else if self.left[(i - 1) * width + (j - 1) / 64] >> ((j - 1) % 64) & 1 == 1 {
                j -= 1;
            } else {
                i -= 1;
            }
        }
        places
    }
}
