//! Statistics of all output features: as JSON for programs, as tables for people.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    CategoryStatistics, DocumentStatistics, Estimate, NumberStatistics, TextStatistics,
    table::Table,
};

/// Above this many labels the table of confusions stands for the matrix.
const MATRIX_LABELS: usize = 10;
/// How many labels the table of classes shows: the largest ones.
const CLASSES: usize = 30;

/// What is written as `test_statistics.json`: every output feature's figures by its name.
///
/// Serialize it for programs, format it with `{}` for people (Markdown that a terminal shows
/// aligned).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    /// Statistics by output feature.
    pub features: IndexMap<String, FeatureStatistics>,
}

/// The figures of one output feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FeatureStatistics {
    /// A label was chosen.
    Category(Box<CategoryStatistics>),
    /// Text was written.
    Text(Box<TextStatistics>),
    /// Documents were read.
    Document(Box<DocumentStatistics>),
    /// A number was answered.
    Number(Box<NumberStatistics>),
}

impl Report {
    /// The report on a single output feature.
    pub fn of(feature: impl Into<String>, statistics: impl Into<FeatureStatistics>) -> Self {
        Self { features: IndexMap::from([(feature.into(), statistics.into())]) }
    }
}

impl From<CategoryStatistics> for FeatureStatistics {
    fn from(statistics: CategoryStatistics) -> Self {
        Self::Category(Box::new(statistics))
    }
}

impl From<TextStatistics> for FeatureStatistics {
    fn from(statistics: TextStatistics) -> Self {
        Self::Text(Box::new(statistics))
    }
}

impl From<DocumentStatistics> for FeatureStatistics {
    fn from(statistics: DocumentStatistics) -> Self {
        Self::Document(Box::new(statistics))
    }
}

impl From<NumberStatistics> for FeatureStatistics {
    fn from(statistics: NumberStatistics) -> Self {
        Self::Number(Box::new(statistics))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, statistics)) in self.features.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            match statistics {
                FeatureStatistics::Category(category) => {
                    writeln!(f, "{gap}## {name}: {} rows\n", category.rows)?;
                    write_category(f, category)?;
                }
                FeatureStatistics::Text(text) => {
                    writeln!(f, "{gap}## {name}: {} rows\n", text.rows)?;
                    write_text(f, text)?;
                }
                FeatureStatistics::Document(read) => {
                    let (documents, tokens) = (read.documents, read.tokens);
                    writeln!(f, "{gap}## {name}: {documents} documents, {tokens} tokens\n")?;
                    write_documents(f, read)?;
                }
                FeatureStatistics::Number(answered) => {
                    writeln!(f, "{gap}## {name}: {} rows\n", answered.rows)?;
                    write_numbers(f, answered)?;
                }
            }
        }
        Ok(())
    }
}

fn write_category(f: &mut fmt::Formatter<'_>, of: &CategoryStatistics) -> fmt::Result {
    let mut headline = Table::new([
        "figure".to_owned(),
        "value".to_owned(),
        interval_name(of.bootstrap.confidence),
        format!("always `{}`", of.baseline.label),
    ]);
    let mut line = |name: &str, estimate: Estimate, baseline: String| {
        headline.row([name.to_owned(), number(estimate.value), interval(estimate), baseline]);
    };
    line("accuracy", of.accuracy, number(of.baseline.accuracy));
    line("macro-F1", of.f1_macro, number(of.baseline.f1_macro));
    line("balanced accuracy", of.balanced_accuracy, String::new());
    if let Some(probability) = &of.probability {
        line("log loss", probability.loss, String::new());
        if let Some(hits) = probability.hits_at_k {
            line(&format!("hits at {}", hits.k), hits.share, String::new());
        }
    }
    let plain = [
        ("kappa", of.kappa),
        ("ROC-AUC", of.probability.as_ref().and_then(|p| p.roc_auc)),
        ("Brier score", of.probability.as_ref().map(|p| p.brier)),
        ("calibration error", of.probability.as_ref().map(|p| p.calibration_error)),
    ];
    for (name, value) in plain {
        if let Some(value) = value {
            headline.row([name.to_owned(), number(value)]);
        }
    }
    f.write_str(&headline.render())?;
    if !of.accuracy.low.is_nan() && !of.beats_baseline() {
        writeln!(
            f,
            "\nThe accuracy is not surely above that of always answering `{}`.",
            of.baseline.label
        )?;
    }
    writeln!(f)?;
    write_classes(f, of)?;
    writeln!(f)?;
    write_confusion(f, of)
}

fn write_classes(f: &mut fmt::Formatter<'_>, of: &CategoryStatistics) -> fmt::Result {
    let mut table = Table::new(["label", "precision", "recall", "F1", "rows"]);
    let mut classes: Vec<_> = of.per_class.iter().collect();
    if classes.len() > CLASSES {
        classes.sort_by_key(|(_, class)| std::cmp::Reverse(class.support));
    }
    for (label, class) in classes.iter().take(CLASSES) {
        table.row([
            shown(label).to_owned(),
            number(class.precision),
            number(class.recall),
            number(class.f1),
            class.support.to_string(),
        ]);
    }
    f.write_str(&table.render())?;
    match classes.len().checked_sub(CLASSES) {
        Some(hidden @ 1..) => writeln!(f, "\n{hidden} labels with fewer rows are not shown."),
        _ => Ok(()),
    }
}

fn write_confusion(f: &mut fmt::Formatter<'_>, of: &CategoryStatistics) -> fmt::Result {
    let matrix = of.confusion_matrix.as_ref().filter(|matrix| matrix.len() <= MATRIX_LABELS);
    let Some(matrix) = matrix else {
        let mut table = Table::new(["true label", "taken for", "rows"]);
        for confused in &of.confusions {
            table.row([
                shown(&confused.truth),
                shown(&confused.predicted),
                &confused.rows.to_string(),
            ]);
        }
        return f.write_str(&table.render());
    };
    let labels = of.per_class.keys().map(|label| shown(label));
    let mut table = Table::new(std::iter::once("true \\ predicted").chain(labels));
    for (label, counts) in of.per_class.keys().zip(matrix) {
        let counts = counts.iter().map(u64::to_string);
        table.row(std::iter::once(shown(label).to_owned()).chain(counts));
    }
    f.write_str(&table.render())
}

fn write_text(f: &mut fmt::Formatter<'_>, of: &TextStatistics) -> fmt::Result {
    let mut table = Table::new([
        "figure".to_owned(),
        "value".to_owned(),
        interval_name(of.bootstrap.confidence),
    ]);
    let lines = [
        ("exact match", Some(of.exact_match)),
        ("token accuracy", of.token_accuracy),
        ("sequence accuracy", of.sequence_accuracy),
        ("BLEU", Some(of.bleu)),
        ("chrF", Some(of.chrf)),
        ("ROUGE-1", Some(of.rouge1)),
        ("ROUGE-2", Some(of.rouge2)),
        ("ROUGE-L", Some(of.rouge_l)),
        ("ROUGE-Lsum", Some(of.rouge_lsum)),
        ("word error rate", Some(of.word_error_rate)),
        ("character error rate", Some(of.char_error_rate)),
        ("loss", of.loss),
        ("perplexity", of.perplexity),
    ];
    for (name, estimate) in lines {
        if let Some(estimate) = estimate {
            table.row([name.to_owned(), number(estimate.value), interval(estimate)]);
        }
    }
    f.write_str(&table.render())?;
    if of.empty_predictions > 0 {
        writeln!(f, "\nRows for which nothing was generated: {}.", of.empty_predictions)?;
    }
    for note in &of.notes {
        writeln!(f, "\n{note}.")?;
    }
    Ok(())
}

fn write_documents(f: &mut fmt::Formatter<'_>, of: &DocumentStatistics) -> fmt::Result {
    let mut table = Table::new([
        "figure".to_owned(),
        "value".to_owned(),
        interval_name(of.bootstrap.confidence),
    ]);
    for (name, estimate) in
        [("loss", of.loss), ("perplexity", of.perplexity), ("bits per byte", of.bits_per_byte)]
    {
        table.row([name.to_owned(), number(estimate.value), interval(estimate)]);
    }
    f.write_str(&table.render())
}

fn write_numbers(f: &mut fmt::Formatter<'_>, of: &NumberStatistics) -> fmt::Result {
    let mut table = Table::new([
        "figure".to_owned(),
        "value".to_owned(),
        interval_name(of.bootstrap.confidence),
        format!("always {}", number(of.baseline.mean)),
    ]);
    let mut line = |name: &str, of: Option<Estimate>, baseline: Option<f64>| {
        let Some(of) = of else { return };
        let baseline = baseline.map(number).unwrap_or_default();
        table.row([name.to_owned(), number(of.value), interval(of), baseline]);
    };
    let (root, absolute) = (of.baseline.root_mean_squared_error, of.baseline.mean_absolute_error);
    line("root mean squared error", Some(of.root_mean_squared_error), Some(root));
    line("mean squared error", Some(of.mean_squared_error), Some(root * root));
    line("mean absolute error", Some(of.mean_absolute_error), Some(absolute));
    line("R²", of.r2, Some(0.0));
    f.write_str(&table.render())?;
    if !of.root_mean_squared_error.high.is_nan() && !of.beats_baseline() {
        writeln!(f, "\nThe answers are not surely nearer than the mean of these rows.")?;
    }
    Ok(())
}

/// An empty label (Ludwig's default fallback) would be an invisible one.
fn shown(label: &str) -> &str {
    if label.is_empty() { "(empty)" } else { label }
}

fn interval_name(confidence: f64) -> String {
    format!("{} % interval", (confidence * 1_000.0).round() / 10.0)
}

/// Three digits after the point below 10, two above, scientific above a million.
fn number(value: f64) -> String {
    if !value.is_finite() {
        "undefined".to_owned()
    } else if value.abs() >= 1e6 {
        format!("{value:.2e}")
    } else if value.abs() >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

fn interval(of: Estimate) -> String {
    if of.low.is_nan() {
        String::new()
    } else {
        format!("{} – {}", number(of.low), number(of.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bootstrap, CategoryRows, LossSum, TextRows};

    fn report() -> Report {
        let labels = ["ham", "spam", ""].map(String::from);
        let truth: Vec<usize> = (0..60).map(|i| usize::from(i % 3 == 0)).collect();
        let predicted: Vec<usize> = (0..60).map(|i| [0, 1, 0, 1, 2][i % 5]).collect();
        let rows = CategoryRows::new(&labels, &truth, &predicted);
        let category = CategoryStatistics::measure(&rows, &Bootstrap::default()).unwrap();
        let predictions = ["the cat sat", "", "好き"].map(String::from);
        let references = ["the cat sat down", "a dog", "好き"].map(String::from);
        let losses =
            [(3.0, 4.0), (9.0, 2.0), (2.5, 1.0)].map(|(sum, weight)| LossSum { sum, weight });
        let rows = TextRows { losses: Some(&losses), ..TextRows::new(&predictions, &references) };
        let text = TextStatistics::measure(&rows, &Bootstrap::default()).unwrap();
        let mut report = Report::of("label", category);
        report.features.insert("answer".into(), text.into());
        let read = DocumentStatistics::measure(&losses, &[20, 9, 5], &Bootstrap::default());
        report.features.insert("document".into(), read.unwrap().into());
        report
    }

    #[test]
    fn tables_read_well() {
        insta::assert_snapshot!(report());
    }

    #[test]
    fn numbers_stand_beside_their_mean() {
        let truth = [3.0, -0.5, 2.0, 7.0];
        let of = NumberStatistics::measure(&truth, &[2.5, 0.0, 2.0, 8.0], &Bootstrap::default());
        let report = Report::of("stars", of.unwrap());
        insta::assert_snapshot!(report);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["stars"]["type"], "number");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }

    #[test]
    fn many_labels_show_confusions_instead_of_a_matrix() {
        let labels: Vec<String> = (0..40).map(|i| format!("label {i}")).collect();
        let truth: Vec<usize> = (0..80).map(|i| i % 40).collect();
        let predicted: Vec<usize> = (0..80).map(|i| if i < 3 { 7 } else { i % 40 }).collect();
        let rows = CategoryRows::new(&labels, &truth, &predicted);
        let category = CategoryStatistics::measure(&rows, &Bootstrap::none()).unwrap();
        let text = Report::of("topic", category).to_string();
        assert!(text.contains("| label 1    |   label 7 |    1 |"), "{text}");
        assert!(text.contains("10 labels with fewer rows are not shown."), "{text}");
    }

    #[test]
    fn statistics_survive_json() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["label"]["type"], "category");
        assert_eq!(json["label"]["confusion_matrix"][0][0], 16);
        assert_eq!(json["label"]["per_class"]["spam"]["support"], 20);
        assert!(json["answer"]["rougeLsum"]["value"].is_number());
        let back: Report = serde_json::from_value(json).unwrap();
        assert_eq!(back, report());
    }

    #[test]
    fn what_is_not_finite_is_null_and_comes_back() {
        let labels = ["a", "b"].map(String::from);
        let rows = CategoryRows::new(&labels, &[0, 1], &[0, 1]);
        let category = CategoryStatistics::measure(&rows, &Bootstrap::none()).unwrap();
        let text = serde_json::to_string(&Report::of("x", category)).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        let FeatureStatistics::Category(back) = &back.features["x"] else { panic!("{back:?}") };
        assert!(back.accuracy.low.is_nan() && back.accuracy.value == 1.0);
    }
}
