//! Answers measured against what was expected.

use fidelio_eval::{
    Bootstrap, CategoryRows, CategoryStatistics, Figure, LossSum, Report, TextRows, TextStatistics,
    TokenRows,
};
use serde::Serialize;

use crate::{
    Error, Job, Observer, Predictions, Stage, Usage,
    choose::{Scored, score_labels},
    job::Prepared,
    plan::AnswerPlan,
};

/// What a label is called that no rule found.
const NO_LABEL: &str = "(no label)";

/// A measured run.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// The figures, each with its interval.
    pub report: Report,
    /// The figure that the run is judged by (`trainer.validation_metric`); none where these rows
    /// do not define it, such as a ROC curve over rows of one label.
    pub headline: Option<Figure>,
    /// The answers they are of.
    pub predictions: Predictions,
    /// The expected answers, one per prediction.
    pub expected: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

impl Job {
    /// Answers every row and measures the answers.
    ///
    /// # Errors
    /// As [`Job::predict`]; and when a row's expected answer cannot be read.
    pub fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<Evaluation, Error> {
        if self.learns {
            return Err(Error::NotTrained);
        }
        if matches!(self.plan.answer, AnswerPlan::Documents) {
            return self.measure_documents(observer);
        }
        let predictions = self.predict(observer)?;
        if predictions.rows.is_empty() {
            return Err(Error::Stopped);
        }
        let losses = match self.plan.answer {
            AnswerPlan::Text { .. } => self.losses(&predictions, observer)?,
            _ => None,
        };
        let (report, expected) =
            self.measure(&predictions, losses.as_deref(), &self.bootstrap())?;
        let usage = predictions.usage;
        let headline = report.features[0].figure(&self.plan.validation_metric);
        Ok(Evaluation { report, headline, predictions, expected, usage })
    }

    /// Measures answers; `losses` are those of the expected texts, where they are known.
    pub(crate) fn measure(
        &self,
        predictions: &Predictions,
        losses: Option<&[LossSum]>,
        bootstrap: &Bootstrap,
    ) -> Result<(Report, Vec<String>), Error> {
        match self.plan.answer {
            AnswerPlan::Score { .. } | AnswerPlan::Match { .. } => {
                self.measure_labels(predictions, bootstrap)
            }
            AnswerPlan::Text { .. } | AnswerPlan::Documents => {
                self.measure_text(predictions, losses, bootstrap)
            }
        }
    }

    pub(crate) fn bootstrap(&self) -> Bootstrap {
        Bootstrap { seed: self.plan.random_seed, ..Bootstrap::default() }
    }

    fn measure_labels(
        &self,
        predictions: &Predictions,
        bootstrap: &Bootstrap,
    ) -> Result<(Report, Vec<String>), Error> {
        let vocabulary = self.labels.as_ref().expect("a category output has labels");
        let mut labels = vocabulary.labels().to_vec();
        let mut truth = Vec::with_capacity(predictions.rows.len());
        let mut predicted = Vec::with_capacity(predictions.rows.len());
        let mut probabilities = Vec::new();
        for prediction in &predictions.rows {
            let row = self.source.row(prediction.row)?;
            let expected = vocabulary.number_of(&row)?;
            truth.push(expected.expect("rows without an answer were treated before the run"));
            let found = prediction.label.as_deref().and_then(|label| vocabulary.number(label));
            predicted.push(found.unwrap_or(vocabulary.labels().len()));
            probabilities.extend(prediction.probabilities.iter().flatten());
        }
        let unmatched = predicted.contains(&labels.len());
        if unmatched {
            labels.push(NO_LABEL.into());
        }
        let complete = !unmatched && probabilities.len() == labels.len() * truth.len();
        let rows = CategoryRows {
            probabilities: complete.then_some(&probabilities[..]),
            top_k: self.top_k,
            ..CategoryRows::new(&labels, &truth, &predicted)
        };
        let statistics = CategoryStatistics::measure(&rows, bootstrap)?;
        let expected = truth.iter().map(|&label| labels[label].clone()).collect();
        Ok((Report::of(self.output.0.clone(), statistics), expected))
    }

    fn measure_text(
        &self,
        predictions: &Predictions,
        losses: Option<&[LossSum]>,
        bootstrap: &Bootstrap,
    ) -> Result<(Report, Vec<String>), Error> {
        let mut expected = Vec::with_capacity(predictions.rows.len());
        let mut references = Vec::with_capacity(predictions.rows.len());
        for prediction in &predictions.rows {
            let row = self.source.row(prediction.row)?;
            let Some(right) = self.expected(prediction.row)? else { continue };
            let answer = &right.answers[0];
            expected.push(self.expected_text(&row, answer)?);
            references.push(without_stop(answer, self.renderer.stop_ids()).to_vec());
        }
        let responses: Vec<String> =
            predictions.rows.iter().map(|row| row.response.clone().unwrap_or_default()).collect();
        let ids: Vec<Vec<u32>> = predictions.rows.iter().map(|row| row.ids.clone()).collect();
        let rows = TextRows {
            tokens: Some(TokenRows { predictions: &ids, references: &references }),
            losses,
            ..TextRows::new(&responses, &expected)
        };
        let statistics = TextStatistics::measure(&rows, bootstrap)?;
        Ok((Report::of(self.output.0.clone(), statistics), expected))
    }

    /// The expected answer as text: its cell, or what its tokens spell where it is a message.
    pub(crate) fn expected_text(
        &self,
        row: &fidelio_data::Row,
        answer: &[u32],
    ) -> Result<String, Error> {
        if let Some(text) = row.fields.get(&self.output.1).and_then(fidelio_data::text) {
            return Ok(text.into_owned());
        }
        let answer = without_stop(answer, self.renderer.stop_ids());
        self.model
            .vocabulary()
            .tokenizer()
            .decode(answer, true)
            .map_err(|source| fidelio_prompting::PromptError::Tokenizer { source }.into())
    }

    /// The loss of every expected answer; none if the observer stops.
    fn losses(
        &mut self,
        predictions: &Predictions,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<LossSum>>, Error> {
        let mut answers: Vec<Prepared> = Vec::with_capacity(predictions.rows.len());
        for prediction in &predictions.rows {
            answers.extend(self.expected(prediction.row)?);
        }
        let scored = self.score_answers(&answers, observer)?;
        if scored.stopped {
            return Ok(None);
        }
        let of = |row: &Vec<Vec<f32>>| LossSum::of_logprobs(row.iter().flatten().copied());
        Ok(Some(scored.rows.iter().map(of).collect()))
    }

    /// The log-probabilities of each row's answers, for losses. The session comes back even when
    /// scoring fails.
    pub(crate) fn score_answers(
        &mut self,
        rows: &[Prepared],
        observer: &mut dyn Observer,
    ) -> Result<Scored, Error> {
        let mut session = self.open()?;
        let rows_at_once = self.plan.rows_at_once;
        let (engine, stage) = (session.as_mut(), Stage::Losses);
        let scored = score_labels(engine, self.adapter, rows, rows_at_once, stage, observer);
        self.session = Some(session);
        scored
    }
}

/// An answer's tokens without the stop that ends them.
fn without_stop<'a>(answer: &'a [u32], stops: &[u32]) -> &'a [u32] {
    let end = answer.iter().position(|id| stops.contains(id)).unwrap_or(answer.len());
    &answer[..end]
}
