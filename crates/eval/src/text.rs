//! Figures of text outputs: what was written, what should have been.

pub(crate) mod bleu;
pub(crate) mod chrf;
pub(crate) mod edit;
mod ngrams;
pub(crate) mod rouge;

use serde::{Deserialize, Serialize};

use crate::{
    Bleu, BleuStats, Bootstrap, ChrfStats, Edits, Estimate, EvalError, LossSum, Rouge,
    error::same_length, perplexity,
};

/// What is measured: per row the text that was generated and the one that was expected.
#[derive(Debug, Clone, Copy)]
pub struct TextRows<'a> {
    /// The generated texts.
    pub predictions: &'a [String],
    /// The expected texts.
    pub references: &'a [String],
    /// The same as token ids.
    pub tokens: Option<TokenRows<'a>>,
    /// The loss of each expected text under its prompt.
    pub losses: Option<&'a [LossSum]>,
}

/// Generated and expected token ids, without padding, prompts and stop tokens.
#[derive(Debug, Clone, Copy)]
pub struct TokenRows<'a> {
    /// What was generated.
    pub predictions: &'a [Vec<u32>],
    /// What was expected.
    pub references: &'a [Vec<u32>],
}

/// All figures of a text output. BLEU and chrF run from 0 to 100, as sacrebleu's do; shares and
/// ROUGE from 0 to 1; error rates from 0 upwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextStatistics {
    /// Rows measured.
    pub rows: usize,
    /// Rows for which nothing but white space was generated.
    pub empty_predictions: usize,
    /// The share of rows that are equal, white space at the ends aside.
    pub exact_match: Estimate,
    /// Corpus BLEU: 13a tokens, exponential smoothing.
    pub bleu: Estimate,
    /// Corpus chrF2, which also works where words are not separated by spaces.
    pub chrf: Estimate,
    /// Shared words, without stemming.
    pub rouge1: Estimate,
    /// Shared pairs of words.
    pub rouge2: Estimate,
    /// Longest common subsequence of words.
    #[serde(rename = "rougeL")]
    pub rouge_l: Estimate,
    /// The same, line by line.
    #[serde(rename = "rougeLsum")]
    pub rouge_lsum: Estimate,
    /// Words to change, insert or delete, per expected word.
    pub word_error_rate: Estimate,
    /// Characters to change, insert or delete, per expected character.
    pub char_error_rate: Estimate,
    /// The share of positions with the expected token; the longer of both texts counts.
    pub token_accuracy: Option<Estimate>,
    /// The share of rows whose tokens are all as expected.
    pub sequence_accuracy: Option<Estimate>,
    /// Mean loss of an expected token, in nats.
    pub loss: Option<Estimate>,
    /// Exponential of the loss.
    pub perplexity: Option<Estimate>,
    /// What a reader of the figures has to know about these rows.
    pub notes: Vec<String>,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
}

impl<'a> TextRows<'a> {
    /// Rows of which only the texts are known.
    pub fn new(predictions: &'a [String], references: &'a [String]) -> Self {
        Self { predictions, references, tokens: None, losses: None }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.predictions.iter().map(String::as_str).zip(self.references.iter().map(String::as_str))
    }

    fn check(&self) -> Result<(), EvalError> {
        let rows = self.predictions.len();
        same_length("the expected texts", self.references.len(), rows)?;
        if let Some(tokens) = self.tokens {
            same_length("the generated tokens", tokens.predictions.len(), rows)?;
            same_length("the expected tokens", tokens.references.len(), rows)?;
        }
        if let Some(losses) = self.losses {
            same_length("the losses", losses.len(), rows)?;
        }
        if rows == 0 { Err(EvalError::NoRows) } else { Ok(()) }
    }
}

impl TextStatistics {
    /// Measures generated texts against the expected ones.
    ///
    /// # Errors
    /// Without rows, or when columns differ in length.
    pub fn measure(rows: &TextRows<'_>, bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        rows.check()?;
        let exact: Vec<bool> = rows.pairs().map(|(p, r)| p.trim() == r.trim()).collect();
        let bleu: Vec<_> = rows.pairs().map(|(p, r)| BleuStats::of(p, r).row()).collect();
        let chrf: Vec<_> = rows.pairs().map(|(p, r)| ChrfStats::of(p, r).row()).collect();
        let rouge: Vec<Rouge> = rows.pairs().map(|(p, r)| Rouge::of(p, r)).collect();
        let words: Vec<_> = rows.pairs().map(|(p, r)| Edits::of_words(p, r).row()).collect();
        let chars: Vec<_> = rows.pairs().map(|(p, r)| Edits::of_chars(p, r).row()).collect();

        let rouge_mean =
            |part: fn(&Rouge) -> f64| bootstrap.mean(&rouge.iter().map(part).collect::<Vec<f64>>());
        let (token_accuracy, sequence_accuracy) = match rows.tokens {
            Some(tokens) => {
                let (of_tokens, of_rows) = tokens.accuracies(bootstrap)?;
                (Some(of_tokens), Some(of_rows))
            }
            None => (None, None),
        };
        let (loss, perplexity) = match rows.losses {
            Some(losses) => {
                let (loss, perplexity) = perplexity(losses, bootstrap)?;
                (Some(loss), Some(perplexity))
            }
            None => (None, None),
        };
        Ok(Self {
            rows: rows.predictions.len(),
            empty_predictions: rows.predictions.iter().filter(|p| p.trim().is_empty()).count(),
            exact_match: bootstrap.share(&exact)?,
            bleu: bootstrap.sums(&bleu, |sums| Bleu::of_row(sums).score)?,
            chrf: bootstrap.sums(&chrf, ChrfStats::score_of_row)?,
            rouge1: rouge_mean(|r| r.rouge1)?,
            rouge2: rouge_mean(|r| r.rouge2)?,
            rouge_l: rouge_mean(|r| r.rouge_l)?,
            rouge_lsum: rouge_mean(|r| r.rouge_lsum)?,
            word_error_rate: bootstrap.sums(&words, Edits::rate_of_row)?,
            char_error_rate: bootstrap.sums(&chars, Edits::rate_of_row)?,
            token_accuracy,
            sequence_accuracy,
            loss,
            perplexity,
            notes: notes(rows, &bleu),
            bootstrap: *bootstrap,
        })
    }
}

impl TokenRows<'_> {
    fn accuracies(&self, bootstrap: &Bootstrap) -> Result<(Estimate, Estimate), EvalError> {
        let pairs = || self.predictions.iter().zip(self.references);
        let tokens: Vec<[f64; 2]> = pairs()
            .map(|(predicted, expected)| {
                let equal = predicted.iter().zip(expected).filter(|(a, b)| a == b).count();
                [equal as f64, predicted.len().max(expected.len()) as f64]
            })
            .collect();
        let rows: Vec<bool> = pairs().map(|(predicted, expected)| predicted == expected).collect();
        Ok((bootstrap.sums(&tokens, |[equal, all]| equal / all)?, bootstrap.share(&rows)?))
    }
}

/// ROUGE knows the letters a to z and digits only, BLEU runs of four words between spaces: on
/// other scripts and on short answers they are blind, and a perfect answer may score 0.
fn notes(rows: &TextRows<'_>, bleu: &[[f64; 10]]) -> Vec<String> {
    let filled = |text: &str| !text.trim().is_empty();
    let blind = rows.references.iter().filter(|r| filled(r) && !rouge::sees(r)).count();
    let empty = rows.references.iter().filter(|r| !filled(r)).count();
    let mut notes = Vec::new();
    if bleu.iter().all(|&[_, expected, ..]| expected < 4.0) {
        notes.push("no expected text has four words: BLEU is 0 for right answers too".to_owned());
    }
    if blind > 0 {
        notes.push(format!(
            "expected texts without a letter a to z or a digit: {blind}; ROUGE counts them as 0 \
             whatever was generated, so read chrF and the character error rate instead"
        ));
    }
    if empty > 0 {
        notes.push(format!("empty expected texts: {empty}"));
    }
    notes
}

/// White space as Python sees it, which the reference implementations split at: Rust's, and the
/// four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The runs between white space.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn tokens_count_up_to_the_longer_text() {
        let (predictions, references) =
            (vec![vec![1, 2, 9], vec![5], vec![]], vec![vec![1, 3], vec![5], vec![]]);
        let rows = TokenRows { predictions: &predictions, references: &references };
        let (tokens, whole) = rows.accuracies(&Bootstrap::none()).unwrap();
        assert_eq!(tokens.value, 0.5);
        assert!((whole.value - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn blind_metrics_are_named() {
        let (p, r) = (texts(&["猫が好き", "", "x"]), texts(&["猫が好き", " ", "x"]));
        let got = TextStatistics::measure(&TextRows::new(&p, &r), &Bootstrap::none()).unwrap();
        let starts = ["no expected text has four", "expected texts without a letter", "empty"];
        assert_eq!(got.notes.len(), starts.len());
        for (note, start) in got.notes.iter().zip(starts) {
            assert!(note.starts_with(start), "{note}");
        }
        assert_eq!((got.exact_match.value, got.empty_predictions), (1.0, 1));
    }

    #[test]
    fn columns_must_agree() {
        let (p, r) = (texts(&["a"]), texts(&["a", "b"]));
        let measure = |rows| TextStatistics::measure(&rows, &Bootstrap::none());
        assert!(matches!(measure(TextRows::new(&p, &r)), Err(EvalError::Lengths { .. })));
        assert_eq!(measure(TextRows::new(&[], &[])), Err(EvalError::NoRows));
        let losses = [LossSum::default(); 2];
        let rows = TextRows { losses: Some(&losses), ..TextRows::new(&p, &p) };
        assert!(matches!(measure(rows), Err(EvalError::Lengths { what: "the losses", .. })));
    }
}
