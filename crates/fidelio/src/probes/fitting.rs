//! Fitting a head: rows are read, their vectors made or taken from disk, and the optimum found.

use std::time::Instant;

use fidelio_config::{OrAuto, ProbeTrainer};
use fidelio_data::{Note, Row};
use fidelio_probe::{Choice, Fit, Head, Judge, Probe, choose};
use fidelio_weights::Progress;
use serde::Serialize;

use super::{
    Encoders, ProbeFile,
    answers::ProbeRows,
    known::{Answered, never_answered, without_unknown},
    output,
    output::{Expected, label_weights},
    provenance::{ProbeProvenance, check_encoders},
};
use crate::{
    DataArgs, EmbedPlan, EmbedUsage, Error, FileHash, Machine, Observer, Results, RowCounts,
    SplitChoice, provenance::PROVENANCE, train::DESCRIPTION,
};

/// Parts that the training rows are divided into where there are no validation rows.
const FOLDS: usize = 5;
/// The head's file, below a run's folder.
const HEAD: &str = "model/head.safetensors";

/// A head that is about to be fitted: rows are read, nothing is computed yet.
#[derive(Debug)]
pub struct ProbeTraining {
    run: ProbeFile,
    encoders: Encoders,
    training: Part,
    validation: Option<Part>,
    /// All labels, also those without a training row; none for numbers.
    labels: Option<Vec<String>>,
    notes: Vec<String>,
    data: Vec<FileHash>,
}

/// Some rows, and what they say.
#[derive(Debug)]
struct Part {
    rows: Vec<Row>,
    expected: Expected,
}

/// What decided how much regularization there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegularizedBy {
    /// The run file.
    RunFile,
    /// The validation rows.
    ValidationRows,
    /// The training rows, each by heads that were fitted on others.
    CrossValidation,
}

/// What came of fitting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeSummary {
    /// The version that fitted it.
    pub fidelio_version: &'static str,
    /// How vectors are made.
    pub encoders: Vec<EmbedPlan>,
    /// Numbers of a row's vector.
    pub width: usize,
    /// The labels that it answers with; none for numbers.
    pub labels: Option<Vec<String>>,
    /// How many rows.
    pub rows: RowCounts,
    /// What the sum of the squared weights was multiplied with.
    pub regularization: f64,
    /// What decided it.
    pub regularized_by: RegularizedBy,
    /// All that were tried, where rows decided it.
    pub tried: Option<Choice>,
    /// What making vectors took.
    pub vectors: EmbedUsage,
    /// Seconds of fitting, all that were tried included.
    pub fitting_seconds: f64,
}

/// A fitted head with its encoders: answers rows.
#[derive(Debug)]
pub struct FittedProbe {
    pub(super) encoders: Encoders,
    pub(super) head: Probe,
    pub(super) run: ProbeFile,
}

impl ProbeTraining {
    /// Reads the training and validation rows of `data`, and finds the encoders.
    ///
    /// # Errors
    /// When the data cannot be read, a row's answer is none, or an encoder cannot be found.
    pub fn prepare(
        machine: &Machine,
        run: &ProbeFile,
        data: &DataArgs,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let encoders = Encoders::open(machine, run, progress)?;
        let part = |split| ProbeRows::read(run, &DataArgs { split, ..data.clone() }, true);
        let training = part(SplitChoice::Training)?;
        let validation = match part(SplitChoice::Validation) {
            Ok(rows) => Some(rows),
            Err(Error::EmptySplit { .. }) => None,
            // Sets that are divided already need not have validation rows.
            Err(_) if data.dataset.is_empty() && data.validation_set.is_empty() => None,
            Err(error) => return Err(error),
        };
        let labels = output::labels(run, training.source.as_ref())?;
        let mut notes: Vec<String> = training.notes.iter().map(Note::to_string).collect();
        let read = |rows: &ProbeRows, labels: Option<&[String]>| {
            let expected =
                output::expected(run.config().output(), labels, rows.source.as_ref(), &rows.rows)?;
            Ok::<_, Error>(Part { rows: rows.rows.clone(), expected })
        };
        let learnt = read(&training, labels.as_deref())?;
        let validation = match validation {
            Some(rows) => Some(read(
                &without_unknown(run, rows, labels.as_deref(), &mut notes)?,
                labels.as_deref(),
            )?),
            None => None,
        };
        notes.extend(never_answered(labels.as_deref(), &learnt.expected));
        let data = machine.hashes().of(&data.learnt_from())?;
        let run = run.clone();
        Ok(Self { run, encoders, training: learnt, validation, labels, notes, data })
    }

    /// Leaves the validation rows out: what they would decide is decided among the training rows.
    #[must_use]
    pub fn without_validation_rows(self) -> Self {
        Self { validation: None, ..self }
    }

    /// What was done that the run file does not say in so many words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many rows.
    pub fn rows(&self) -> RowCounts {
        RowCounts {
            training: self.training.rows.len(),
            validation: self.validation.as_ref().map_or(0, |part| part.rows.len()),
        }
    }

    /// The labels with the number of their training rows; none for numbers.
    pub fn labels(&self) -> Option<Vec<(&str, usize)>> {
        let (Some(labels), Expected::Labels(of)) = (&self.labels, &self.training.expected) else {
            return None;
        };
        let rows = |number: usize| of.iter().filter(|label| **label == number).count();
        Some(labels.iter().enumerate().map(|(i, label)| (label.as_str(), rows(i))).collect())
    }

    /// How vectors are made, encoder by encoder.
    pub fn encoders(&self) -> impl Iterator<Item = &EmbedPlan> {
        self.encoders.plans()
    }

    /// Looks at all rows as fitting would, and computes nothing.
    ///
    /// # Errors
    /// [`Error::Texts`] with every text that is too long or has no token.
    pub fn survey(&mut self) -> Result<EmbedUsage, Error> {
        let rows = self.all_rows();
        self.encoders.survey(&rows)
    }

    fn all_rows(&self) -> Vec<Row> {
        let validation = self.validation.iter().flat_map(|part| &part.rows);
        self.training.rows.iter().chain(validation).cloned().collect()
    }

    /// Fits the head.
    ///
    /// # Errors
    /// When a text is too long, the engine fails, or there is no optimum.
    pub fn fit(
        mut self,
        observer: &mut dyn Observer,
    ) -> Result<(FittedProbe, ProbeSummary), Error> {
        let (vectors, usage) = self.encoders.vectors(&self.all_rows(), observer)?;
        let started = Instant::now();
        let (fitted, rest) = vectors.split_at(self.training.rows.len());
        let learnt = Answered::of(self.labels.as_deref(), &self.training.expected, None);
        let labels = learnt.labels();
        let ProbeTrainer::Trainer { regularization_lambda, standardize, .. } =
            self.run.config().trainer
        else {
            return Err(Error::NothingLearns);
        };
        let weights = label_weights(self.run.config().output(), labels);
        let with =
            |regularization| Fit { regularization, standardize, label_weights: weights.clone() };
        let targets = learnt.targets();
        let (choice, by) = match (regularization_lambda, &self.validation) {
            (OrAuto::Value(_), _) => (None, RegularizedBy::RunFile),
            (OrAuto::Auto(_), Some(part)) => {
                let known = Answered::of(self.labels.as_deref(), &part.expected, Some(labels));
                let rest = known.kept(&rest);
                let judge = Judge::HeldOut(&rest, known.targets());
                let choice = choose(&fitted, &targets, &with(1.0), judge)?;
                (Some(choice), RegularizedBy::ValidationRows)
            }
            (OrAuto::Auto(_), None) => {
                let choice = choose(&fitted, &targets, &with(1.0), Judge::Folds(FOLDS))?;
                (Some(choice), RegularizedBy::CrossValidation)
            }
        };
        let chosen = choice.as_ref().map(|choice| choice.regularization);
        let regularization = chosen.or(regularization_lambda.value()).unwrap_or(1.0);
        let head = Probe::fit(&fitted, &targets, &with(regularization))?;
        let summary = ProbeSummary {
            fidelio_version: env!("CARGO_PKG_VERSION"),
            encoders: self.encoders.plans().cloned().collect(),
            width: fitted.width(),
            labels: (!labels.is_empty()).then(|| labels.to_vec()),
            rows: self.rows(),
            regularization,
            regularized_by: by,
            tried: choice,
            vectors: usage,
            fitting_seconds: started.elapsed().as_secs_f64(),
        };
        Ok((FittedProbe { encoders: self.encoders, head, run: self.run }, summary))
    }

    /// Fits the head and writes the run's folder: `run.yaml`, the head, what it stands on, and last
    /// `description.json`.
    ///
    /// # Errors
    /// As [`Self::fit`], and when a file cannot be written.
    pub fn run(
        self,
        results: &Results,
        observer: &mut dyn Observer,
    ) -> Result<(FittedProbe, ProbeSummary), Error> {
        let (run, data) = (self.run.clone(), self.data.clone());
        let (fitted, summary) = self.fit(observer)?;
        results.write(crate::results::RUN_FILE, run.document().render().as_bytes())?;
        results.write_below(HEAD, &fitted.head.to_bytes())?;
        results.write_json(PROVENANCE, &ProbeProvenance::of(&fitted.encoders, data))?;
        results.write_json(DESCRIPTION, &summary)?;
        Ok((fitted, summary))
    }
}

impl FittedProbe {
    /// The head of a training run's folder.
    ///
    /// # Errors
    /// [`Error::NoHead`] where the run file belongs to no training run, [`Error::OtherWeights`] where
    /// an encoder is another than it was, and when a file cannot be read.
    pub fn of_run(
        machine: &Machine,
        run: &ProbeFile,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let folder = run.trained().ok_or(Error::NoHead)?;
        let path = folder.join(HEAD);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
        let head = Probe::from_bytes(&bytes)?;
        let encoders = Encoders::open(machine, run, progress)?;
        check_encoders(folder, run, &encoders)?;
        Ok(Self { encoders, head, run: run.clone() })
    }

    /// The same, which computes vectors even if the cache has them: for measuring what they take.
    pub(crate) fn anew(mut self) -> Self {
        self.encoders.compute_anew();
        self
    }

    /// The head.
    pub fn head(&self) -> &Probe {
        &self.head
    }

    /// Its run file.
    pub fn run_file(&self) -> &ProbeFile {
        &self.run
    }

    /// The labels that it answers with; none for numbers.
    pub fn labels(&self) -> Option<&[String]> {
        match self.head.head() {
            Head::Labels(labels) => Some(labels),
            Head::Number => None,
        }
    }
}
