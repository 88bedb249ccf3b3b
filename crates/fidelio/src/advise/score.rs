//! What one row's answer is worth, so that arms can be compared row by row.

use std::collections::BTreeMap;

use fidelio_eval::Rouge;
use serde::Serialize;

use crate::{Error, Job, Predictions, plan::AnswerPlan};

/// What a row's answer scores, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowScore {
    /// 1 for the right label.
    Accuracy,
    /// 1 for the expected text.
    ExactMatch,
    /// The longest common subsequence of words (F1).
    RougeL,
}

impl RowScore {
    /// Its name, as metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::ExactMatch => "exact_match",
            Self::RougeL => "rougeL",
        }
    }

    /// The score that comes nearest to what a run is judged by.
    pub(super) fn of(job: &Job) -> Self {
        match (&job.plan.answer, job.plan.validation_metric.as_str()) {
            (AnswerPlan::Score { .. } | AnswerPlan::Match { .. }, _) => Self::Accuracy,
            (_, "exact_match" | "sequence_accuracy") => Self::ExactMatch,
            _ => Self::RougeL,
        }
    }
}

impl Job {
    /// What each answer scores, by the row's number.
    pub(super) fn scores(
        &self,
        predictions: &Predictions,
        score: RowScore,
    ) -> Result<BTreeMap<usize, f64>, Error> {
        let mut scores = BTreeMap::new();
        for prediction in &predictions.rows {
            let value = if let Some(labels) = &self.labels {
                let expected = labels.number_of(&self.source.row(prediction.row)?)?;
                let found = prediction.label.as_deref().and_then(|it| labels.number(it));
                f64::from(u8::from(found.is_some() && found == expected))
            } else {
                let response = prediction.response.as_deref().unwrap_or_default();
                score.of_text(response, &self.right_text(prediction.row)?)
            };
            scores.insert(prediction.row, value);
        }
        Ok(scores)
    }

    /// The text that a row expects.
    fn right_text(&self, row: usize) -> Result<String, Error> {
        let cells = self.source.row(row)?;
        let answers = self.expected(row)?.map(|it| it.answers);
        let answer = answers.and_then(|it| it.into_iter().next()).unwrap_or_default();
        self.expected_text(&cells, &answer)
    }
}

impl RowScore {
    fn of_text(self, response: &str, expected: &str) -> f64 {
        match self {
            Self::RougeL => Rouge::of(response, expected).rouge_l,
            Self::Accuracy | Self::ExactMatch => {
                f64::from(u8::from(response.trim() == expected.trim()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RowScore;

    #[test]
    fn a_text_scores_what_it_shares_with_the_expected_one() {
        let rouge = RowScore::RougeL.of_text("the cat sat", "the cat lay");
        assert!((rouge - 2.0 / 3.0).abs() < 1e-12);
        assert!(RowScore::ExactMatch.of_text(" Paris\n", "Paris") > 0.5);
        assert!(RowScore::ExactMatch.of_text("paris", "Paris") < 0.5);
    }
}
