//! Choosing among labels by what the model thinks of each: the arithmetic.

use serde::{Deserialize, Serialize};

use crate::GenerateError;

/// How the log-probabilities of a label's tokens become its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelScore {
    /// Their sum: the probability of the label as a whole.
    #[default]
    Sum,
    /// Their mean, which does not prefer short labels.
    Mean,
    /// Their sum minus the label's sum under a neutral prompt, which does not prefer labels that
    /// are likely anywhere.
    Calibrated,
}

/// The labels' scores under one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScores {
    scores: Vec<f64>,
}

impl LabelScores {
    /// Scores labels from the log-probabilities of their tokens, one list per label.
    /// `neutral` holds those under the neutral prompt and is needed for [`LabelScore::Calibrated`]
    /// only.
    ///
    /// # Errors
    /// [`GenerateError::Labels`] when there are no labels, a label has no tokens, a number is not
    /// one, no label is possible, or `neutral` is missing or does not fit.
    pub fn new<L: AsRef<[f32]>>(
        how: LabelScore,
        labels: &[L],
        neutral: Option<&[L]>,
    ) -> Result<Self, GenerateError> {
        let wrong = |what: String| Err(GenerateError::Labels(what));
        if labels.is_empty() {
            return wrong("there are no labels to choose from".to_owned());
        }
        let sums = sums(labels)?;
        let scores: Vec<f64> = match how {
            LabelScore::Sum => sums,
            LabelScore::Mean => {
                sums.iter().zip(labels).map(|(sum, it)| sum / it.as_ref().len() as f64).collect()
            }
            LabelScore::Calibrated => {
                let Some(neutral) = neutral else {
                    return wrong("calibrated scores need those of a neutral prompt".to_owned());
                };
                if neutral.len() != labels.len() {
                    let (got, expected) = (neutral.len(), labels.len());
                    return wrong(format!("{got} neutral scores for {expected} labels"));
                }
                let neutral = self::sums(neutral)?;
                if let Some(i) = neutral.iter().position(|it| it.is_infinite()) {
                    return wrong(format!("label {i} is impossible under the neutral prompt"));
                }
                sums.iter().zip(neutral).map(|(sum, neutral)| sum - neutral).collect()
            }
        };
        if scores.iter().all(|score| *score == f64::NEG_INFINITY) {
            return wrong("no label is possible".to_owned());
        }
        Ok(Self { scores })
    }

    /// One per label; larger is better.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The scores' softmax: probabilities over the labels that sum to 1.
    pub fn probabilities(&self) -> Vec<f64> {
        let largest = self.scores[self.best()];
        let weights: Vec<f64> = self.scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    /// The label with the largest score; the first among equals.
    pub fn best(&self) -> usize {
        let mut best = 0;
        for (i, score) in self.scores.iter().enumerate() {
            if *score > self.scores[best] {
                best = i;
            }
        }
        best
    }
}

fn sums<L: AsRef<[f32]>>(labels: &[L]) -> Result<Vec<f64>, GenerateError> {
    let wrong = |i: usize, what| Err(GenerateError::Labels(format!("label {i} {what}")));
    let sum = |(i, label): (usize, &L)| {
        let label = label.as_ref();
        if label.is_empty() {
            return wrong(i, "has no tokens");
        }
        if label.iter().any(|it| it.is_nan() || *it == f32::INFINITY) {
            return wrong(i, "has a log-probability that is not a number");
        }
        Ok(label.iter().map(|&it| f64::from(it)).sum())
    };
    labels.iter().enumerate().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&[f32]; 3] = [&[-1.0, -1.0], &[-2.5], &[-0.5, -0.5, -2.0]];
    const NEUTRAL: [&[f32]; 3] = [&[-1.5, -1.0], &[-2.0], &[-4.0, -1.0, -1.0]];

    #[test]
    fn each_way_chooses_by_its_own_rule() {
        let cases = [
            (LabelScore::Sum, [-2.0, -2.5, -3.0], 0),
            (LabelScore::Mean, [-1.0, -2.5, -1.0], 0), // a tie: the first
            (LabelScore::Calibrated, [0.5, -0.5, 3.0], 2),
        ];
        for (how, scores, best) in cases {
            let chosen = LabelScores::new(how, &LABELS, Some(&NEUTRAL)).unwrap();
            assert_eq!(chosen.scores(), scores);
            assert_eq!(chosen.best(), best);
            let probabilities = chosen.probabilities();
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            // The ratio of two probabilities is the exponential of the scores' difference.
            let ratio = probabilities[0] / probabilities[1];
            assert!((ratio.ln() - (scores[0] - scores[1])).abs() < 1e-12);
        }
    }

    #[test]
    fn very_unlikely_labels_still_sum_to_one() {
        let labels: [&[f32]; 3] = [&[-4000.0], &[-4001.0], &[f32::NEG_INFINITY]];
        let chosen = LabelScores::new(LabelScore::Sum, &labels, None).unwrap();
        let probabilities = chosen.probabilities();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((probabilities[0] - 0.731_058_578_630_004_9).abs() < 1e-12);
        assert!(probabilities[2].abs() < f64::MIN_POSITIVE);
    }

    #[test]
    fn scores_that_do_not_fit_are_refused() {
        let nan: [&[f32]; 1] = [&[f32::NAN]];
        let empty: [&[f32]; 1] = [&[]];
        let impossible: [&[f32]; 1] = [&[f32::NEG_INFINITY]];
        let none: [&[f32]; 0] = [];
        for labels in [&nan[..], &empty, &impossible, &none] {
            assert!(LabelScores::new(LabelScore::Sum, labels, None).is_err(), "{labels:?}");
        }
        assert!(LabelScores::new(LabelScore::Calibrated, &LABELS, None).is_err());
        assert!(LabelScores::new(LabelScore::Calibrated, &LABELS, Some(&NEUTRAL[..2])).is_err());
    }
}
