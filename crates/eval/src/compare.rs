//! Is the second model better than the first, on the same rows?

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    Bleu, BleuStats, Bootstrap, ChrfStats, Edits, Estimate, EvalError, Rouge, confusion::averages,
    error::same_length,
};

/// Two result sets over the same rows, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first one's figure.
    pub first: f64,
    /// The second one's figure.
    pub second: f64,
    /// Second minus first, its interval from resampling both by the same rows.
    pub difference: Estimate,
    /// Rows where the second scores higher.
    pub higher: u64,
    /// Rows where the second scores lower.
    pub lower: u64,
    /// Probability of a split at least this uneven by chance: the exact sign test, which for
    /// right and wrong answers is McNemar's exact test.
    pub p_value: f64,
}

/// Two classifiers over the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CategoryComparison {
    /// Their accuracy, with McNemar's exact test.
    pub accuracy: Comparison,
    /// Second minus first in macro-F1.
    pub f1_macro: Estimate,
}

/// Two models that write text, over the same rows. Figures are those of
/// [`TextStatistics`](crate::TextStatistics).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TextComparison {
    /// The share of rows that are equal, with McNemar's exact test.
    pub exact_match: Comparison,
    /// Longest common subsequence of words.
    #[serde(rename = "rougeL")]
    pub rouge_l: Comparison,
    /// Corpus BLEU.
    pub bleu: Comparison,
    /// Corpus chrF2.
    pub chrf: Comparison,
    /// Words to change, insert or delete, per expected word.
    pub word_error_rate: Comparison,
    /// Characters to change, insert or delete, per expected character.
    pub char_error_rate: Comparison,
}

impl Comparison {
    /// Whether the interval of the difference lies on one side of 0. Without resamples there is
    /// none, and nothing is known to differ.
    pub fn differs(&self) -> bool {
        self.difference.low > 0.0 || self.difference.high < 0.0
    }
}

/// Compares the means of one score per row (1 and 0 for right and wrong).
///
/// # Errors
/// When the lengths differ or there are no rows.
pub fn compare_scores(
    first: &[f64],
    second: &[f64],
    bootstrap: &Bootstrap,
) -> Result<Comparison, EvalError> {
    let wrap = |scores: &[f64]| scores.iter().map(|&score| [score, 1.0]).collect::<Vec<_>>();
    compare_sums(&wrap(first), &wrap(second), |[sum, rows]| sum / rows, bootstrap)
}

/// Compares a figure of column sums, such as corpus BLEU, WER or the mean loss. The sign test
/// counts the rows on which the figure of the row alone is higher.
///
/// # Errors
/// When the lengths differ or there are no rows.
pub fn compare_sums<const N: usize>(
    first: &[[f64; N]],
    second: &[[f64; N]],
    figure: impl Fn(&[f64; N]) -> f64,
    bootstrap: &Bootstrap,
) -> Result<Comparison, EvalError> {
    same_length("the second result", second.len(), first.len())?;
    let whole = |rows: &[[f64; N]]| Ok(Bootstrap::none().sums(rows, &figure)?.value);
    let difference = paired(first, second, &figure, bootstrap)?;
    let (mut higher, mut lower) = (0, 0);
    for (a, b) in first.iter().zip(second) {
        let (a, b) = (figure(a), figure(b));
        higher += u64::from(b > a);
        lower += u64::from(b < a);
    }
    Ok(Comparison {
        first: whole(first)?,
        second: whole(second)?,
        difference,
        higher,
        lower,
        p_value: sign_test(higher, lower),
    })
}

/// Compares two classifiers by accuracy and macro-F1. All are label numbers below `labels`.
///
/// # Errors
/// When the lengths differ, a label does not exist, or there are no rows.
pub fn compare_categories(
    labels: usize,
    truth: &[usize],
    first: &[usize],
    second: &[usize],
    bootstrap: &Bootstrap,
) -> Result<CategoryComparison, EvalError> {
    same_length("the first result", first.len(), truth.len())?;
    same_length("the second result", second.len(), truth.len())?;
    let mut triples: HashMap<[usize; 3], u32> = HashMap::new();
    let mut kinds = Vec::with_capacity(truth.len());
    for (row, ((&t, &a), &b)) in truth.iter().zip(first).zip(second).enumerate() {
        if let Some(&label) = [t, a, b].iter().find(|&&label| label >= labels) {
            return Err(EvalError::NoLabel { row, label, labels });
        }
        let next = triples.len() as u32;
        kinds.push(*triples.entry([t, a, b]).or_insert(next));
    }
    let mut cells = vec![[0; 3]; triples.len()];
    for (triple, kind) in triples {
        cells[kind as usize] = triple;
    }
    let firsts: Vec<_> = cells.iter().map(|&[t, a, _]| (t, a)).collect();
    let seconds: Vec<_> = cells.iter().map(|&[t, _, b]| (t, b)).collect();
    let [f1_macro] = bootstrap.kinds(&kinds, cells.len(), |counts| {
        [averages(&seconds, counts, labels).f1_macro - averages(&firsts, counts, labels).f1_macro]
    })?;
    let right = |answers: &[usize]| -> Vec<f64> {
        answers.iter().zip(truth).map(|(a, t)| f64::from(u8::from(a == t))).collect()
    };
    let accuracy = compare_scores(&right(first), &right(second), bootstrap)?;
    Ok(CategoryComparison { accuracy, f1_macro })
}

/// Compares two models that write text, row by row with what was expected.
///
/// # Errors
/// When the lengths differ or there are no rows.
pub fn compare_texts(
    references: &[String],
    first: &[String],
    second: &[String],
    bootstrap: &Bootstrap,
) -> Result<TextComparison, EvalError> {
    same_length("the first result", first.len(), references.len())?;
    same_length("the second result", second.len(), references.len())?;
    let scores = |score: &dyn Fn(&str, &str) -> f64| {
        let of = |texts: &[String]| -> Vec<f64> {
            texts.iter().zip(references).map(|(text, right)| score(text, right)).collect()
        };
        compare_scores(&of(first), &of(second), bootstrap)
    };
    let bleu = rows(references, [first, second], |p, r| BleuStats::of(p, r).row());
    let chrf = rows(references, [first, second], |p, r| ChrfStats::of(p, r).row());
    let words = rows(references, [first, second], |p, r| Edits::of_words(p, r).row());
    let chars = rows(references, [first, second], |p, r| Edits::of_chars(p, r).row());
    Ok(TextComparison {
        exact_match: scores(&|p, r| f64::from(u8::from(p.trim() == r.trim())))?,
        rouge_l: scores(&|p, r| Rouge::of(p, r).rouge_l)?,
        bleu: compare_sums(&bleu[0], &bleu[1], |sums| Bleu::of_row(sums).score, bootstrap)?,
        chrf: compare_sums(&chrf[0], &chrf[1], ChrfStats::score_of_row, bootstrap)?,
        word_error_rate: compare_sums(&words[0], &words[1], Edits::rate_of_row, bootstrap)?,
        char_error_rate: compare_sums(&chars[0], &chars[1], Edits::rate_of_row, bootstrap)?,
    })
}

/// What each text adds to a figure of sums.
fn rows<const N: usize>(
    references: &[String],
    results: [&[String]; 2],
    row: impl Fn(&str, &str) -> [f64; N],
) -> [Vec<[f64; N]>; 2] {
    results.map(|texts| texts.iter().zip(references).map(|(p, r)| row(p, r)).collect())
}

/// The two-sided exact sign test: how often a fair coin is at least as one-sided. 1 without rows.
pub fn sign_test(higher: u64, lower: u64) -> f64 {
    let (n, few) = (higher + lower, higher.min(lower));
    // ln of C(n, k) / 2^n for k = 0, 1, ..., few, each from the one before.
    let mut ln_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = ln_term.exp();
    for k in 1..=few {
        ln_term += ((n - k + 1) as f64 / k as f64).ln();
        tail += ln_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Resamples both sides by the same rows, which the same seed and length make sure of.
fn paired<const N: usize>(
    first: &[[f64; N]],
    second: &[[f64; N]],
    figure: &impl Fn(&[f64; N]) -> f64,
    bootstrap: &Bootstrap,
) -> Result<Estimate, EvalError> {
    let both: Vec<([f64; N], [f64; N])> =
        first.iter().copied().zip(second.iter().copied()).collect();
    bootstrap.pairs(&both, |(a, b)| figure(b) - figure(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_test_is_the_binomial_one() {
        // scipy.stats.binomtest(min, n, 0.5).pvalue
        for (higher, lower, expected) in [
            (0, 0, 1.0),
            (5, 5, 1.0),
            (9, 1, 0.021_484_375),
            (8, 20, 0.035_698_138_177_394_87),
            (600, 500, 0.002_819_544_991_436_428_4),
        ] {
            let got = sign_test(higher, lower);
            assert!((got - expected).abs() < 1e-12, "{higher} {lower}: {got}");
        }
        assert!(sign_test(30_000, 29_000) > 0.0);
    }

    #[test]
    fn the_pair_knows_more_than_its_parts() {
        // The second is right on the same rows and on five more: a small but sure difference.
        let first: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 50))).collect();
        let second: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 58))).collect();
        let got = compare_scores(&first, &second, &Bootstrap::default()).unwrap();
        assert_eq!((got.first, got.second, got.higher, got.lower), (0.5, 0.58, 8, 0));
        assert!(got.difference.low > 0.0 && got.difference.high < 0.15, "{got:?}");
        assert!((got.p_value - 2.0 * 0.5_f64.powi(8)).abs() < 1e-12);
    }

    #[test]
    fn equal_classifiers_do_not_differ() {
        let truth = [0, 1, 2, 1, 0, 2];
        let answers = [0, 1, 1, 1, 0, 0];
        let got = compare_categories(3, &truth, &answers, &answers, &Bootstrap::default()).unwrap();
        assert_eq!((got.f1_macro.low, got.f1_macro.high), (0.0, 0.0));
        assert_eq!(got.accuracy.p_value, 1.0);
    }

    #[test]
    fn texts_differ_by_what_each_reaches_alone() {
        use crate::{TextRows, TextStatistics};
        let texts = |list: [&str; 3]| list.map(str::to_owned);
        let right = texts(["the cat sat on the mat", "a dog ran home", "it rains today again"]);
        let first = texts(["the cat sat", "a cat ran home", "it rains today again"]);
        let second = texts(["the cat sat on the mat", "a dog ran off", "no idea"]);
        let bootstrap = Bootstrap::default();
        let got = compare_texts(&right, &first, &second, &bootstrap).unwrap();
        let alone = |texts: &[String]| {
            TextStatistics::measure(&TextRows::new(texts, &right), &Bootstrap::none()).unwrap()
        };
        let (a, b) = (alone(&first), alone(&second));
        for (compared, first, second) in [
            (got.exact_match, a.exact_match, b.exact_match),
            (got.rouge_l, a.rouge_l, b.rouge_l),
            (got.bleu, a.bleu, b.bleu),
            (got.chrf, a.chrf, b.chrf),
            (got.word_error_rate, a.word_error_rate, b.word_error_rate),
            (got.char_error_rate, a.char_error_rate, b.char_error_rate),
        ] {
            assert_eq!((compared.first, compared.second), (first.value, second.value));
            let difference = second.value - first.value;
            assert!((compared.difference.value - difference).abs() < 1e-12, "{compared:?}");
        }
        assert!(!got.exact_match.differs(), "three rows prove nothing");
        assert!(compare_texts(&right, &first, &second[..2], &bootstrap).is_err());
    }

    #[test]
    fn macro_f1_differs_by_what_each_has() {
        let (truth, first, second) = ([0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]);
        let got = compare_categories(2, &truth, &first, &second, &Bootstrap::default()).unwrap();
        assert!((got.f1_macro.value - (1.0 - 1.0 / 3.0)).abs() < 1e-12);
        assert!(
            compare_categories(2, &truth, &first, &[0, 0, 2, 1], &Bootstrap::default()).is_err()
        );
        assert!(compare_categories(2, &truth, &first, &[0], &Bootstrap::default()).is_err());
    }
}
