//! BLEU (Papineni et al., 2002) as sacrebleu computes it: one reference, 13a tokens, orders 1 to
//! 4, exponential smoothing.

use std::sync::LazyLock;

use regex::Regex;

use super::{is_space, ngrams::overlap, words};

const ORDERS: usize = 4;

/// What one row contributes; the sum over rows gives corpus BLEU.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BleuStats {
    /// Tokens of the generated text.
    pub predicted: f64,
    /// Tokens of the expected text.
    pub expected: f64,
    /// Runs of 1 to 4 tokens that both have.
    pub correct: [f64; ORDERS],
    /// Runs of 1 to 4 tokens of the generated text.
    pub total: [f64; ORDERS],
}

/// BLEU and its parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bleu {
    /// From 0 to 100.
    pub score: f64,
    /// Precision of each order, from 0 to 100.
    pub precisions: [f64; ORDERS],
    /// What too short texts cost: a factor from 0 to 1.
    pub brevity_penalty: f64,
}

impl BleuStats {
    /// Counts one row.
    pub fn of(prediction: &str, reference: &str) -> Self {
        let (prediction, reference) = (tokenize(prediction), tokenize(reference));
        let predicted: Vec<&str> = words(&prediction).collect();
        let expected: Vec<&str> = words(&reference).collect();
        let mut stats = Self {
            predicted: predicted.len() as f64,
            expected: expected.len() as f64,
            ..Self::default()
        };
        for n in 0..ORDERS {
            let runs = overlap(&predicted, &expected, n + 1);
            stats.correct[n] = runs.shared as f64;
            stats.total[n] = runs.predicted as f64;
        }
        stats
    }

    /// BLEU of this row alone: orders for which it is too short are left out, as sacrebleu does
    /// for sentences.
    pub fn sentence(&self) -> Bleu {
        self.bleu(true)
    }

    /// BLEU of a corpus whose rows were added up here.
    pub fn corpus(&self) -> Bleu {
        self.bleu(false)
    }

    /// As plain numbers, for [`Bootstrap::sums`](crate::Bootstrap::sums).
    pub fn row(&self) -> [f64; 10] {
        let mut row = [0.0; 10];
        row[0] = self.predicted;
        row[1] = self.expected;
        row[2..6].copy_from_slice(&self.correct);
        row[6..].copy_from_slice(&self.total);
        row
    }

    fn bleu(&self, skip_absent_orders: bool) -> Bleu {
        let brevity_penalty = if self.predicted >= self.expected {
            1.0
        } else if self.predicted > 0.0 {
            (1.0 - self.expected / self.predicted).exp()
        } else {
            0.0
        };
        let mut precisions = [0.0; ORDERS];
        if self.correct[0] == 0.0 {
            return Bleu { score: 0.0, precisions, brevity_penalty };
        }
        let present = self.total.iter().take_while(|&&total| total > 0.0).count();
        let mut smoothing = 1.0;
        let counts = self.correct.into_iter().zip(self.total);
        for (precision, (correct, total)) in precisions.iter_mut().zip(counts).take(present) {
            *precision = if correct > 0.0 {
                100.0 * correct / total
            } else {
                smoothing *= 2.0;
                100.0 / (smoothing * total)
            };
        }
        let orders = if skip_absent_orders { present } else { ORDERS };
        let mean = precisions[..orders].iter().map(|p| p.ln()).sum::<f64>() / orders as f64;
        Bleu { score: brevity_penalty * mean.exp(), precisions, brevity_penalty }
    }
}

impl Bleu {
    /// Corpus BLEU from added [`BleuStats::row`]s.
    pub fn of_row(sums: &[f64; 10]) -> Self {
        let four = |at: usize| [sums[at], sums[at + 1], sums[at + 2], sums[at + 3]];
        let stats =
            BleuStats { predicted: sums[0], expected: sums[1], correct: four(2), total: four(6) };
        stats.corpus()
    }
}

/// Splits punctuation off, by the rules of mteval-v13a; tokens are then between spaces.
fn tokenize(text: &str) -> String {
    static STEPS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let pattern = |pattern| Regex::new(pattern).expect("the pattern is a constant");
        [
            // All ASCII signs but the apostrophe, comma, hyphen and period.
            (pattern(r"([{-~\[-` -&(-+:-@/])"), " $1 "),
            // A period or comma stays only between digits.
            (pattern(r"([^0-9])([.,])"), "$1 $2 "),
            (pattern(r"([.,])([^0-9])"), " $1 $2"),
            // A hyphen after a digit.
            (pattern(r"([0-9])(-)"), "$1 $2 "),
        ]
    });
    let mut text = text
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    for (entity, sign) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, sign);
    }
    let mut text = format!(" {text} ");
    for (pattern, with) in STEPS.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(words(&tokenize(text)).collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn tokens_are_those_of_mteval() {
        check("Hello, world!", "Hello , world !");
        check("It's 3.14, or 1,000-2,000.", "It's 3.14 , or 1,000 - 2,000 .");
        check("a &quot;b&quot; &amp;lt; c", "a \" b \" < c");
        check("end-\nless", "endless");
        check("wait...", "wait . . .");
        check("", "");
    }

    #[test]
    fn short_sentences_leave_long_orders_out() {
        let stats = BleuStats::of("good day", "good day");
        assert!((stats.sentence().score - 100.0).abs() < 1e-9);
        assert_eq!(stats.corpus().score, 0.0);
    }
}
