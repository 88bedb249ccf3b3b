//! Measuring the model between updates.

use std::{collections::BTreeMap, error::Error};

use fidelio_backend::{AdapterId, Batch, LossSum, Session, Want};
use fidelio_data::micro_batches;

use crate::{Example, TrainError, batches::Planting, example::check_rows};

/// Measures the model as it stands.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot evaluate a model",
    note = "implement `fidelio_trainer::Evaluate`, or use `HeldOut` for the loss of rows kept aside"
)]
pub trait Evaluate {
    /// Measures. The session must be left as it was.
    ///
    /// # Errors
    /// When something cannot be measured; the run ends with that error.
    fn evaluate(
        &mut self,
        session: &mut dyn Session,
    ) -> Result<Measured, Box<dyn Error + Send + Sync>>;
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The value that decides what is best; the plan's goal says whether small or large is.
    pub metric: f64,
    /// Everything that was measured, by name.
    pub values: BTreeMap<String, f64>,
}

/// The mean loss per learnt token of rows that are not learnt from.
#[derive(Debug, Clone)]
pub struct HeldOut {
    batches: Vec<Batch>,
}

impl HeldOut {
    /// Puts rows into batches of at most `budget` tokens (a longer row stands alone) in which what
    /// rows begin with alike stands once, from `min_shared` tokens on.
    ///
    /// # Errors
    /// As [`crate::Trainer::new`], for these rows.
    pub fn new(
        rows: &[Example],
        adapter: Option<AdapterId>,
        context: usize,
        budget: usize,
        min_shared: usize,
    ) -> Result<Self, TrainError> {
        check_rows(rows, context)?;
        let fed: Vec<&[u32]> = rows.iter().map(Example::fed).collect();
        let longest = fed.iter().map(|fed| fed.len()).max().unwrap_or(0);
        let alone: Vec<usize> = (0..rows.len()).collect();
        let chosen = micro_batches(&fed, &alone, budget.max(longest), min_shared)
            .expect("no row is longer than the budget");
        let batches = chosen.iter().map(|chosen| {
            let rows: Vec<&Example> = chosen.iter().map(|row| &rows[*row]).collect();
            Planting::Shared(min_shared).batch(&rows, 0, adapter)
        });
        Ok(Self { batches: batches.collect() })
    }
}

impl Evaluate for HeldOut {
    fn evaluate(
        &mut self,
        session: &mut dyn Session,
    ) -> Result<Measured, Box<dyn Error + Send + Sync>> {
        let mut loss = LossSum::default();
        for batch in &self.batches {
            let scores = session.score(batch, Want::default())?.scores;
            for (target, score) in batch.targets.iter().zip(scores) {
                let weight = f64::from(target.weight);
                loss += LossSum { sum: -weight * f64::from(score.logprob), weight };
            }
        }
        let metric = loss.mean();
        let values =
            BTreeMap::from([("loss".to_owned(), metric), ("perplexity".to_owned(), metric.exp())]);
        Ok(Measured { metric, values })
    }
}
