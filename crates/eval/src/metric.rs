//! Single figures by the names that run files give them.

use serde::{Deserialize, Serialize};

use crate::{
    CategoryStatistics, DocumentStatistics, Estimate, FeatureStatistics, NumberStatistics,
    TextStatistics,
};

/// One figure of a report: what a run is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// The ends of its bootstrap interval, where it has one.
    pub interval: Option<(f64, f64)>,
    /// Which way is better.
    pub better: Better,
}

/// Which way a figure improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

impl Better {
    /// Which way the metric of this name improves.
    pub fn of(metric: &str) -> Self {
        const LOWER: [&str; 11] = [
            "loss",
            "perplexity",
            "next_token_perplexity",
            "bits_per_byte",
            "word_error_rate",
            "char_error_rate",
            "brier",
            "calibration_error",
            "root_mean_squared_error",
            "mean_squared_error",
            "mean_absolute_error",
        ];
        if LOWER.contains(&metric) { Self::Lower } else { Self::Higher }
    }

    /// Whether `new` is better than `old`. What is not a number is never better.
    pub fn improves(self, new: f64, old: f64) -> bool {
        match self {
            Self::Higher => new > old,
            Self::Lower => new < old,
        }
    }
}

impl FeatureStatistics {
    /// The figure of this name; none where these statistics have no such figure: another type of
    /// output, or no probabilities to make it from.
    pub fn figure(&self, metric: &str) -> Option<Figure> {
        let found = match self {
            Self::Category(of) => category(of, metric),
            Self::Text(of) => text(of, metric),
            Self::Document(of) => document(of, metric),
            Self::Number(of) => number(of, metric),
        }?;
        let better = Better::of(metric);
        let (value, interval) = match found {
            Found::Plain(value) => (value, None),
            Found::Estimate(of) => (of.value, (!of.low.is_nan()).then_some((of.low, of.high))),
        };
        Some(Figure { metric: metric.to_owned(), value, interval, better })
    }
}

enum Found {
    Plain(f64),
    Estimate(Estimate),
}

impl From<f64> for Found {
    fn from(value: f64) -> Self {
        Self::Plain(value)
    }
}

impl From<Estimate> for Found {
    fn from(estimate: Estimate) -> Self {
        Self::Estimate(estimate)
    }
}

fn category(of: &CategoryStatistics, metric: &str) -> Option<Found> {
    let probability = of.probability.as_ref();
    Some(match metric {
        "accuracy" | "accuracy_micro" => of.accuracy.into(),
        "accuracy_macro" => of.accuracy_macro.into(),
        "balanced_accuracy" => of.balanced_accuracy.into(),
        "f1_macro" => of.f1_macro.into(),
        "f1_micro" => of.f1_micro.into(),
        "f1_weighted" => of.f1_weighted.into(),
        "precision_macro" => of.precision_macro.into(),
        "precision_weighted" => of.precision_weighted.into(),
        "kappa" => of.kappa?.into(),
        "hits_at_k" => probability?.hits_at_k?.share.into(),
        "roc_auc" => probability?.roc_auc?.into(),
        "loss" => probability?.loss.into(),
        "brier" => probability?.brier.into(),
        "calibration_error" => probability?.calibration_error.into(),
        _ => return None,
    })
}

fn text(of: &TextStatistics, metric: &str) -> Option<Found> {
    Some(match metric {
        "exact_match" => of.exact_match.into(),
        "bleu" => of.bleu.into(),
        "chrf" => of.chrf.into(),
        "rouge1" => of.rouge1.into(),
        "rouge2" => of.rouge2.into(),
        "rouge" | "rougeL" => of.rouge_l.into(),
        "rougeLsum" => of.rouge_lsum.into(),
        "word_error_rate" => of.word_error_rate.into(),
        "char_error_rate" => of.char_error_rate.into(),
        "token_accuracy" => of.token_accuracy?.into(),
        "sequence_accuracy" => of.sequence_accuracy?.into(),
        "loss" => of.loss?.into(),
        "perplexity" | "next_token_perplexity" => of.perplexity?.into(),
        _ => return None,
    })
}

fn document(of: &DocumentStatistics, metric: &str) -> Option<Found> {
    Some(match metric {
        "loss" => of.loss.into(),
        "perplexity" | "next_token_perplexity" => of.perplexity.into(),
        "bits_per_byte" => of.bits_per_byte.into(),
        _ => return None,
    })
}

fn number(of: &NumberStatistics, metric: &str) -> Option<Found> {
    Some(match metric {
        "root_mean_squared_error" => of.root_mean_squared_error.into(),
        "mean_squared_error" | "loss" => of.mean_squared_error.into(),
        "mean_absolute_error" => of.mean_absolute_error.into(),
        "r2" => of.r2?.into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bootstrap, CategoryRows, TextRows};

    #[test]
    fn figures_are_found_by_name_with_their_direction() {
        let labels = ["a", "b"].map(String::from);
        let rows = CategoryRows::new(&labels, &[0, 1, 1, 1], &[0, 0, 1, 1]);
        let of: FeatureStatistics =
            CategoryStatistics::measure(&rows, &Bootstrap::none()).unwrap().into();
        assert_eq!(of.figure("accuracy").unwrap().value, 0.75);
        assert_eq!(of.figure("balanced_accuracy").unwrap().value, f64::midpoint(1.0, 2.0 / 3.0));
        assert_eq!(of.figure("roc_auc"), None, "there are no probabilities");
        assert_eq!(of.figure("bleu"), None, "a category has no text");
    }

    #[test]
    fn an_interval_stands_beside_the_value_where_there_is_one() {
        let texts = ["yes", "no", "yes"].map(String::from);
        let expected = ["yes", "no", "no"].map(String::from);
        let rows = TextRows::new(&texts, &expected);
        let of: FeatureStatistics =
            TextStatistics::measure(&rows, &Bootstrap::default()).unwrap().into();
        let exact = of.figure("exact_match").unwrap();
        let (low, high) = exact.interval.unwrap();
        assert!(low < exact.value && exact.value < high, "{exact:?}");
        assert_eq!(of.figure("word_error_rate").unwrap().better, Better::Lower);
        assert_eq!(of.figure("perplexity"), None, "no losses were given");
    }

    #[test]
    fn better_knows_its_direction_and_never_prefers_what_is_undefined() {
        assert!(Better::of("loss").improves(1.0, 2.0));
        assert!(Better::of("accuracy").improves(0.6, 0.5));
        assert!(!Better::Lower.improves(f64::NAN, 2.0));
    }
}
