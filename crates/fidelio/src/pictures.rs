//! Pictures of runs: learning curves, confusion matrices, figures side by side.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use fidelio_charts::{
    Bar, BarChart, BarGroup, ChartError, ConfusionMatrix, Line, LineChart, Mark, Stroke, Svg,
};
use fidelio_eval::{CategoryStatistics, FeatureStatistics};

use crate::{Curves, Error, Measured, RunRecord, results::write_whole};

/// How much finer the pixels of a PNG are than those of its SVG, so that letters stay sharp.
const FINER: f32 = 2.0;
/// What stands on bars as a dashed line.
const BASELINE: &str = "always answering the most frequent label";

/// A picture of one or several runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What it shows.
    pub kind: PictureKind,
    /// What its file is called, without an extension.
    pub name: String,
    /// The picture.
    pub svg: Svg,
}

/// What a picture shows. The names are Ludwig's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureKind {
    /// Losses and metrics over a run's updates.
    LearningCurves,
    /// Which label was taken for which.
    ConfusionMatrix,
    /// Figures of several runs, with their intervals.
    ComparePerformance,
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PictureFormat {
    /// Vectors, as text.
    #[default]
    Svg,
    /// Pixels.
    Png,
}

impl PictureKind {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::LearningCurves => "learning_curves",
            Self::ConfusionMatrix => "confusion_matrix",
            Self::ComparePerformance => "compare_performance",
        }
    }
}

impl Picture {
    /// Writes it into a folder, which is made if need be. Returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path, format: PictureFormat) -> Result<PathBuf, Error> {
        fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        let (extension, bytes) = match format {
            PictureFormat::Svg => ("svg", self.svg.as_str().as_bytes().to_vec()),
            PictureFormat::Png => ("png", self.svg.png(FINER)?),
        };
        let path = folder.join(format!("{}.{extension}", self.name));
        write_whole(&path, &bytes)?;
        Ok(path)
    }
}

/// Every picture that these runs give, each under a name of its own.
///
/// # Errors
/// [`Error::NothingToDraw`] when they give none.
pub fn pictures(runs: &[RunRecord]) -> Result<Vec<Picture>, Error> {
    let mut drawn = learning_curves(runs)?;
    for run in runs.iter().flat_map(RunRecord::with_folds) {
        for measured in &run.measured {
            drawn.extend(confusion_matrices(run, measured)?);
        }
    }
    drawn.extend(figures(runs)?);
    let mut names = BTreeSet::new();
    for picture in &mut drawn {
        let plain = picture.name.clone();
        for number in 2.. {
            if names.insert(picture.name.clone()) {
                break;
            }
            picture.name = format!("{plain}_{number}");
        }
    }
    if drawn.is_empty() { Err(Error::NothingToDraw) } else { Ok(drawn) }
}

/// The losses of all runs in one picture, and each other metric in one.
pub(crate) fn learning_curves(runs: &[RunRecord]) -> Result<Vec<Picture>, Error> {
    let learnt = learnt(runs);
    let names: BTreeSet<&str> = learnt.iter().flat_map(|(_, curves)| curves.metrics()).collect();
    let others = names.into_iter().filter(|name| *name != "loss");
    let charts = std::iter::once("loss").chain(others).map(|name| (name, curve(&learnt, name)));
    let rates = std::iter::once(("learning_rate", rate(&learnt)));
    let draw = |(name, chart): (&str, LineChart)| {
        picture(PictureKind::LearningCurves, &[name], chart.draw())
    };
    charts.chain(rates).filter_map(|it| draw(it).transpose()).collect()
}

/// The runs that learnt, folds included, by name.
fn learnt(runs: &[RunRecord]) -> Vec<(String, &Curves)> {
    let mut found = Vec::new();
    for run in runs {
        for part in run.with_folds() {
            let name = if std::ptr::eq(run, part) || runs.len() == 1 {
                part.name.clone()
            } else {
                format!("{} {}", run.name, part.name)
            };
            found.extend(part.training.as_ref().map(|training| (name, &training.curves)));
        }
    }
    found
}

/// One metric over the updates of all runs.
fn curve(runs: &[(String, &Curves)], metric: &str) -> LineChart {
    let title = if metric == "loss" { "Loss" } else { metric };
    let mut chart = LineChart::new(title, "update", axis(metric));
    let alone = runs.len() == 1;
    let named = |run: &str, what: &str| match (alone, metric) {
        (true, _) => what.to_owned(),
        (false, "loss") => format!("{run}, {what}"),
        (false, _) => run.to_owned(),
    };
    for (series, (run, curves)) in runs.iter().enumerate() {
        if metric == "loss" {
            let line = Line::new(named(run, "training"), curves.training_loss());
            chart.lines.push(Line { series, stroke: Stroke::Faint, ..line });
        }
    }
    for (series, (run, curves)) in runs.iter().enumerate() {
        // One run has a colour for what it learns from and one for what it is measured by.
        let series = if alone && metric == "loss" { 1 } else { series };
        let line = Line::new(named(run, "validation"), curves.evaluated(metric));
        chart.lines.push(Line { series, ..line });
    }
    chart
}

fn rate(runs: &[(String, &Curves)]) -> LineChart {
    let mut chart = LineChart::new("Learning rate", "update", "learning rate");
    for (series, (run, curves)) in runs.iter().enumerate() {
        // A line with a mark at each update would be hard to read.
        let line = Line::new(run.clone(), curves.learning_rate());
        chart.lines.push(Line { series, stroke: Stroke::Faint, ..line });
    }
    chart
}

/// The confusion matrix of each category output that was measured.
pub(crate) fn confusion_matrices(
    run: &RunRecord,
    measured: &Measured,
) -> Result<Vec<Picture>, Error> {
    let features = measured.report.iter().flat_map(|report| &report.features);
    let draw = |(name, of): (&String, &FeatureStatistics)| {
        let FeatureStatistics::Category(category) = of else { return None };
        let counts = category.confusion_matrix.clone()?;
        let labels = category.per_class.keys().cloned().collect();
        let title = format!("{name}: {} rows ({})", category.rows, measured.split());
        let drawn = ConfusionMatrix { title, labels, counts }.draw();
        let names = [run.name.as_str(), measured.split(), name];
        picture(PictureKind::ConfusionMatrix, &names, drawn).transpose()
    };
    features.filter_map(draw).collect()
}

/// Figures that share an axis.
struct Unit {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    metrics: &'static [(&'static str, &'static str)],
}

const UNITS: [Unit; 6] = [
    Unit {
        name: "shares",
        title: "Shares",
        axis: "share, 1 is best",
        metrics: &[
            ("accuracy", "accuracy"),
            ("f1_macro", "macro-F1"),
            ("balanced_accuracy", "balanced accuracy"),
            ("kappa", "kappa"),
            ("roc_auc", "ROC-AUC"),
            ("hits_at_k", "hits at k"),
            ("exact_match", "exact match"),
            ("rouge1", "ROUGE-1"),
            ("rouge2", "ROUGE-2"),
            ("rougeL", "ROUGE-L"),
            ("token_accuracy", "token accuracy"),
        ],
    },
    Unit {
        name: "points",
        title: "BLEU and chrF",
        axis: "points, 100 is best",
        metrics: &[("bleu", "BLEU"), ("chrf", "chrF")],
    },
    Unit {
        name: "errors",
        title: "Errors",
        axis: "share or rate, 0 is best",
        metrics: &[
            ("word_error_rate", "word error rate"),
            ("char_error_rate", "character error rate"),
            ("brier", "Brier score"),
            ("calibration_error", "calibration error"),
        ],
    },
    Unit { name: "loss", title: "Loss", axis: "nats, 0 is best", metrics: &[("loss", "loss")] },
    Unit {
        name: "perplexity",
        title: "Perplexity",
        axis: "perplexity, 1 is best",
        metrics: &[("perplexity", "perplexity")],
    },
    Unit {
        name: "bits",
        title: "Bits per byte",
        axis: "bits per byte, 0 is best",
        metrics: &[("bits_per_byte", "bits per byte")],
    },
];

/// The figures of all runs side by side; a picture for each unit.
pub(crate) fn figures(runs: &[RunRecord]) -> Result<Vec<Picture>, Error> {
    let draw = |unit: &Unit| {
        let groups: Vec<BarGroup> =
            unit.metrics.iter().filter_map(|(metric, name)| group(runs, metric, name)).collect();
        let chart = BarChart { title: unit.title.into(), axis: unit.axis.into(), groups };
        picture(PictureKind::ComparePerformance, &[unit.name], chart.draw()).transpose()
    };
    UNITS.iter().filter_map(draw).collect()
}

/// One figure of all runs that have it.
fn group(runs: &[RunRecord], metric: &str, name: &str) -> Option<BarGroup> {
    let mut bars = Vec::new();
    for (series, run) in runs.iter().enumerate() {
        let several = run.measured.len() > 1;
        for measured in &run.measured {
            for feature in measured.report.iter().flat_map(|report| report.features.values()) {
                let Some(figure) = feature.figure(metric) else { continue };
                let name = if several {
                    format!("{} ({})", run.name, measured.split())
                } else {
                    run.name.clone()
                };
                let mark = baseline(feature, metric);
                let (value, interval) = (figure.value, figure.interval);
                bars.push(Bar { name, value, interval, series, mark });
            }
        }
        if let Some(spread) = run.across.as_ref().and_then(|it| it.metrics.get(metric)) {
            let name = format!("{} (mean of folds)", run.name);
            bars.push(Bar { name, value: spread.mean, interval: None, series, mark: None });
        }
    }
    if let [bar] = &mut bars[..] {
        bar.name.clear();
    }
    (!bars.is_empty()).then(|| BarGroup { name: name.to_owned(), bars })
}

/// What always answering the most frequent label reaches.
fn baseline(feature: &FeatureStatistics, metric: &str) -> Option<Mark> {
    let FeatureStatistics::Category(category) = feature else { return None };
    let CategoryStatistics { baseline, .. } = category.as_ref();
    let value = match metric {
        "accuracy" => baseline.accuracy,
        "f1_macro" => baseline.f1_macro,
        _ => return None,
    };
    Some(Mark { name: BASELINE.to_owned(), value })
}

/// What a metric's axis is called.
fn axis(metric: &str) -> String {
    match metric {
        "loss" => "loss (nats per token)".to_owned(),
        "bleu" | "chrf" => format!("{metric} (points of 100)"),
        other => other.to_owned(),
    }
}

/// A drawing under a file name; what has nothing to show is no picture.
fn picture(
    kind: PictureKind,
    names: &[&str],
    drawn: Result<Svg, ChartError>,
) -> Result<Option<Picture>, Error> {
    let fit = |name: &str| -> String {
        let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.');
        name.chars().take(60).map(|c| if kept(c) { c } else { '_' }).collect()
    };
    let names = names.iter().map(|name| format!("_{}", fit(name)));
    let name = format!("{}{}", kind.name(), names.collect::<String>());
    match drawn {
        Ok(svg) => Ok(Some(Picture { kind, name, svg })),
        Err(ChartError::Empty { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
