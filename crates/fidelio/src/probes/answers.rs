//! What a fitted head answers, and how good that is.

use std::{path::PathBuf, sync::Arc};

use fidelio_config::{ProbeOutput, ProbeTrainer};
use fidelio_data::{Format, Note, Row, Source, Subset, Vocabulary, rows};
use fidelio_eval::{Bootstrap, CategoryRows, CategoryStatistics, Figure, NumberStatistics, Report};
use serde::Serialize;
use serde_json::{Value, json};

use super::{FittedProbe, ProbeFile, output, output::Expected};
use crate::{
    DataArgs, EmbedUsage, Error, Observer, Results, SplitChoice, dataset,
    results::{MANIFEST, RUN_FILE, STATISTICS},
};

/// The rows of a run: read, sampled, divided, with missing cells treated.
#[derive(Clone)]
pub struct ProbeRows {
    pub(super) rows: Vec<Row>,
    pub(super) source: Arc<dyn Source>,
    pub(super) notes: Vec<Note>,
    files: Vec<PathBuf>,
    split: SplitChoice,
    read: usize,
}

impl std::fmt::Debug for ProbeRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeRows").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// The answer for one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeAnswer {
    /// The row's number within the run, from 0.
    pub row: usize,
    /// Where the row stands.
    pub line: usize,
    /// The label, where the head answers with labels.
    pub label: Option<String>,
    /// One per label that the head knows; they sum to 1.
    pub probabilities: Option<Vec<f64>>,
    /// The number, where the head answers with numbers.
    pub number: Option<f64>,
}

/// The answers of a head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbePredictions {
    /// The output feature.
    pub feature: String,
    /// The head's labels; none for numbers.
    pub labels: Option<Vec<String>>,
    /// One per row, in the order of the rows.
    pub rows: Vec<ProbeAnswer>,
    /// What making vectors took.
    pub usage: EmbedUsage,
}

/// A measured head.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeEvaluation {
    /// The figures, each with its interval.
    pub report: Report,
    /// The figure that the run is judged by; none where these rows do not define it.
    pub headline: Option<Figure>,
    /// The answers they are of.
    pub predictions: ProbePredictions,
    /// The expected answers, one per prediction.
    pub expected: Vec<String>,
}

impl ProbeRows {
    /// Reads what `data` names; `answers`: rows without an expected answer are treated as the run file
    /// says.
    ///
    /// # Errors
    /// When the data cannot be read or divided, or lacks a column.
    pub fn read(run: &ProbeFile, data: &DataArgs, answers: bool) -> Result<Self, Error> {
        let config = run.config();
        let mut treatments = Vec::new();
        for input in &config.input_features {
            let cells = &input.preprocessing;
            let treated =
                dataset::treatment(cells.missing_value_strategy, cells.fill_value.as_deref());
            treatments.push((&*input.column, treated));
        }
        let column = config.output().column();
        if answers {
            let (strategy, fill) = config.output().missing_values();
            treatments.push((column, dataset::treatment(strategy, fill)));
        }
        let read = dataset::rows_of(&config.preprocessing, config.random_seed, data, &treatments)?;
        let source = read.source;
        let inputs: Vec<&str> = config.input_features.iter().map(|it| &*it.column).collect();
        fidelio_data::require_columns(source.as_ref(), &inputs)?;
        if answers && !source.columns().iter().any(|have| have == column) {
            let have = source.columns().to_vec();
            return Err(Error::NoAnswers { column: column.to_owned(), have });
        }
        let rows = rows(source.as_ref()).collect::<Result<_, _>>()?;
        let (notes, files, split) = (read.notes, read.files, data.split);
        Ok(Self { rows, source, notes, files, split, read: read.read })
    }

    /// The rows of these numbers.
    pub(super) fn chosen(self, numbers: Vec<usize>) -> Self {
        let rows = numbers.iter().map(|&number| self.rows[number].clone()).collect();
        let source = Arc::new(Subset::new(Arc::clone(&self.source), numbers));
        Self { rows, source, ..self }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What was done that the run file does not say in so many words.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.notes.iter().map(Note::to_string)
    }
}

impl FittedProbe {
    /// Answers rows, in the order they are given.
    ///
    /// # Errors
    /// [`Error::Texts`], [`Error::Stopped`], and when an engine fails.
    pub fn answer(
        &mut self,
        rows: &[Row],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProbeAnswer>, EmbedUsage), Error> {
        let (vectors, usage) = self.encoders.vectors(rows, observer)?;
        let answers = rows.iter().zip(&vectors).enumerate();
        let answers = answers.map(|(number, (row, vector))| self.answer_one(number, row, vector));
        Ok((answers.collect::<Result<_, _>>()?, usage))
    }

    fn answer_one(&self, number: usize, row: &Row, vector: &[f32]) -> Result<ProbeAnswer, Error> {
        let answer = ProbeAnswer {
            row: number,
            line: row.place.line,
            label: None,
            probabilities: None,
            number: None,
        };
        let Some(labels) = self.labels() else {
            return Ok(ProbeAnswer { number: Some(self.head.number(vector)?), ..answer });
        };
        let probabilities = self.head.probabilities(vector)?;
        let best = match self.run.config().output() {
            ProbeOutput::Binary(it) => usize::from(probabilities[1] >= it.threshold),
            _ => first_largest(&probabilities),
        };
        let label = Some(labels[best].clone());
        Ok(ProbeAnswer { label, probabilities: Some(probabilities), ..answer })
    }

    /// Answers every row.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn predict(
        &mut self,
        rows: &ProbeRows,
        observer: &mut dyn Observer,
    ) -> Result<ProbePredictions, Error> {
        let (answers, usage) = self.answer(&rows.rows, observer)?;
        Ok(ProbePredictions {
            feature: self.run.config().output().name().to_owned(),
            labels: self.labels().map(<[String]>::to_vec),
            rows: answers,
            usage,
        })
    }

    /// Answers every row and measures the answers.
    ///
    /// # Errors
    /// As [`Self::answer`]; [`Error::NotMeasured`], and when a row's expected answer cannot be read.
    pub fn evaluate(
        &mut self,
        rows: &ProbeRows,
        observer: &mut dyn Observer,
    ) -> Result<ProbeEvaluation, Error> {
        let ProbeTrainer::Trainer { skip_all_evaluation, validation_metric, .. } =
            self.run.config().trainer.clone()
        else {
            return Err(Error::NotMeasured);
        };
        if skip_all_evaluation {
            return Err(Error::NotMeasured);
        }
        let labels = self.all_labels(rows)?;
        let output = self.run.config().output().clone();
        let truth = output::expected(&output, labels.as_deref(), rows.source.as_ref(), &rows.rows)?;
        let predictions = self.predict(rows, observer)?;
        let bootstrap = Bootstrap { seed: self.run.config().random_seed, ..Bootstrap::default() };
        let (report, expected) = match (&truth, labels) {
            (Expected::Labels(truth), Some(labels)) => {
                let top_k = match &output {
                    ProbeOutput::Category(it) => it.top_k.unwrap_or(1),
                    _ => 1,
                };
                let statistics = measured(&labels, truth, &predictions, top_k, &bootstrap)?;
                let expected = truth.iter().map(|&label| labels[label].clone()).collect();
                (Report::of(output.name(), statistics), expected)
            }
            (Expected::Numbers(truth), _) => {
                let answers: Vec<f64> =
                    predictions.rows.iter().filter_map(|answer| answer.number).collect();
                let statistics = NumberStatistics::measure(truth, &answers, &bootstrap)?;
                let expected = truth.iter().map(ToString::to_string).collect();
                (Report::of(output.name(), statistics), expected)
            }
            (Expected::Labels(_), None) => return Err(Error::NotMeasured),
        };
        let headline = validation_metric.and_then(|metric| report.features[0].figure(&metric));
        Ok(ProbeEvaluation { report, headline, predictions, expected })
    }

    /// The labels of measured rows: those of the run file or of the head, then those of a category
    /// that only these rows have, which the head never answers.
    fn all_labels(&self, rows: &ProbeRows) -> Result<Option<Vec<String>>, Error> {
        let Some(known) = self.labels() else { return Ok(None) };
        let mut labels = known.to_vec();
        if let ProbeOutput::Category(output) = self.run.config().output() {
            let found = match &output.preprocessing.vocab {
                Some(given) => given.clone(),
                None => {
                    Vocabulary::of(rows.source.as_ref(), &output.column, None)?.labels().to_vec()
                }
            };
            labels.extend(found.into_iter().filter(|label| !known.contains(label)));
        }
        Ok(Some(labels))
    }

    fn plan(&self, rows: &ProbeRows) -> Value {
        json!({
            "fidelio_version": env!("CARGO_PKG_VERSION"),
            "model": { "base_model": self.run.config().input_features[0].encoder.model() },
            "encoders": self.encoders.plans().collect::<Vec<_>>(),
            "data": {
                "files": rows.files,
                "split": rows.split,
                "rows_read": rows.read,
                "rows": rows.rows.len(),
                "notes": rows.notes().collect::<Vec<_>>(),
            },
            "random_seed": self.run.config().random_seed,
        })
    }
}

fn measured(
    labels: &[String],
    truth: &[usize],
    predictions: &ProbePredictions,
    top_k: usize,
    bootstrap: &Bootstrap,
) -> Result<CategoryStatistics, Error> {
    let (mut predicted, mut probabilities) = (Vec::new(), Vec::new());
    for answer in &predictions.rows {
        let label = answer.label.as_ref().and_then(|label| labels.iter().position(|l| l == label));
        predicted.push(label.expect("the labels of the head come first among all labels"));
        let known = answer.probabilities.iter().flatten().map(|&p| p as f32);
        let unknown = std::iter::repeat(0.0);
        probabilities.extend(known.chain(unknown).take(labels.len()));
    }
    let rows = CategoryRows {
        probabilities: Some(&probabilities),
        top_k,
        ..CategoryRows::new(labels, truth, &predicted)
    };
    Ok(CategoryStatistics::measure(&rows, bootstrap)?)
}

/// Of equally likely labels the first.
fn first_largest(probabilities: &[f64]) -> usize {
    let mut best = 0;
    for (number, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[best] {
            best = number;
        }
    }
    best
}

impl ProbePredictions {
    /// The columns of the predictions table, named as Ludwig names them.
    pub fn columns(&self) -> Vec<String> {
        let x = &self.feature;
        let mut columns = vec!["row".to_owned(), "line".to_owned(), format!("{x}_predictions")];
        if let Some(labels) = &self.labels {
            columns.push(format!("{x}_probabilities"));
            columns.push(format!("{x}_probability"));
            columns.extend(labels.iter().map(|label| format!("{x}_probabilities_{label}")));
        }
        columns
    }

    fn cells(&self, answer: &ProbeAnswer) -> Vec<Value> {
        let mut cells = vec![json!(answer.row), json!(answer.line)];
        match &answer.label {
            Some(label) => cells.push(json!(label)),
            None => cells.push(json!(answer.number)),
        }
        if let Some(probabilities) = &answer.probabilities {
            cells.push(json!(probabilities));
            let label =
                self.labels.iter().flatten().position(|it| Some(it) == answer.label.as_ref());
            cells.push(json!(label.map(|label| probabilities[label])));
            cells.extend(probabilities.iter().map(|probability| json!(probability)));
        }
        cells
    }
}

impl Results {
    /// Writes `predictions.<format>` of a head: one row per answer, with the expected answer where
    /// known. Returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_probe_predictions(
        &self,
        run: &ProbeFile,
        predictions: &ProbePredictions,
        expected: Option<&[String]>,
        format: Format,
    ) -> Result<PathBuf, Error> {
        let expected = expected.map(|expected| (run.config().output().column(), expected));
        let cells = predictions.rows.iter().map(|answer| predictions.cells(answer));
        self.write_answers(predictions.columns(), cells, expected, format)
    }

    /// Writes `statistics.json` of a head. Returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_probe_statistics(&self, evaluation: &ProbeEvaluation) -> Result<PathBuf, Error> {
        self.write_json(STATISTICS, &evaluation.report)
    }

    /// Writes the run file with every default (`run.yaml`) and, last, `run.json`: the plan, what the
    /// run took, and the figure it is judged by where it was measured.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish_probe(
        &self,
        fitted: &FittedProbe,
        rows: &ProbeRows,
        predictions: &ProbePredictions,
        headline: Option<&Figure>,
    ) -> Result<(), Error> {
        self.write(RUN_FILE, fitted.run.document().render().as_bytes())?;
        let manifest = json!({
            "plan": fitted.plan(rows),
            "headline": headline,
            "usage": { "rows": predictions.rows.len(), "vectors": predictions.usage },
            "complete": true,
        });
        self.write_json(MANIFEST, &manifest)?;
        Ok(())
    }
}
