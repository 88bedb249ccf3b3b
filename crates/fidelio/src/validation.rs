//! Measuring the validation rows between updates: their loss and, where it is asked for, answers.

use std::{collections::BTreeMap, error::Error as StdError};

use fidelio_backend::{AdapterId, Session};
use fidelio_config::{Finetune, catalogue::metrics_of};
use fidelio_eval::Bootstrap;
use fidelio_trainer::{Evaluate, Example, HeldOut, Measured};

use crate::{Error, Job, Observer, Silent, job::Prepared};

/// Tokens of one forest while the loss of held-out rows is measured.
const FOREST_TOKENS: usize = 1024;
/// Beginnings that held-out rows share are computed once from so many tokens on.
const SHARED_TOKENS: usize = 8;

/// Rows that are not learnt from.
#[derive(Default)]
pub(crate) struct ValidationRows {
    /// With their answers, for the loss.
    pub(crate) examples: Vec<Example>,
    /// As questions; none where only the loss is measured.
    asked: Option<Asked>,
}

/// Rows to be answered, and the run that answers them.
struct Asked {
    job: Job,
    rows: Vec<Prepared>,
}

impl ValidationRows {
    /// The rows of a job that has not learnt yet: as many as an evaluation looks at.
    pub(crate) fn of(
        mut job: Job,
        how: &Finetune,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let mut kept = job.prepared(observer)?.prepared;
        kept.truncate(how.evaluated_rows().unwrap_or(usize::MAX));
        let asked = match how.predict_with_generate {
            Some(true) => {
                job.learns = false;
                let mut rows = job.prepared(&mut Silent)?.prepared;
                // A row that a rule drops with its answer is not asked without it.
                rows.retain(|row| kept.iter().any(|kept| kept.number == row.number));
                Some(Asked { job, rows })
            }
            _ => None,
        };
        let example = |row: Prepared| Example { ids: row.prompt, learn: row.learn };
        Ok(Self { examples: kept.into_iter().map(example).collect(), asked })
    }

    /// What measures them; none where there are no rows.
    pub(crate) fn evaluator(
        &mut self,
        how: &Finetune,
        adapter: Option<AdapterId>,
        context: usize,
    ) -> Result<Option<Validation<'_>>, Error> {
        if self.examples.is_empty() {
            return Ok(None);
        }
        let rows = &self.examples;
        let held_out = HeldOut::new(rows, adapter, context, FOREST_TOKENS, SHARED_TOKENS)?;
        if let Some(asked) = &mut self.asked {
            asked.job.adapter = adapter;
        }
        let judged_by = how.judged_by().to_owned();
        Ok(Some(Validation { held_out, asked: self.asked.as_ref(), judged_by }))
    }
}

/// The evaluation of a training run.
pub(crate) struct Validation<'a> {
    held_out: HeldOut,
    asked: Option<&'a Asked>,
    judged_by: String,
}

impl Evaluate for Validation<'_> {
    fn evaluate(
        &mut self,
        session: &mut dyn Session,
    ) -> Result<Measured, Box<dyn StdError + Send + Sync>> {
        let mut values = self.held_out.evaluate(session)?.values;
        if let Some(asked) = self.asked {
            for (name, value) in asked.measure(session)? {
                // Loss and perplexity are those of what is learnt.
                values.entry(name).or_insert(value);
            }
        }
        match values.get(&self.judged_by) {
            Some(&metric) => Ok(Measured { metric, values }),
            None => Err(Error::Undefined { metric: self.judged_by.clone() }.into()),
        }
    }
}

impl Asked {
    /// Answers the rows and measures the answers, by the names of the metrics.
    fn measure(&self, session: &mut dyn Session) -> Result<BTreeMap<String, f64>, Error> {
        let predictions = self.job.answer(session, &self.rows, &mut Silent)?;
        let (report, _) = self.job.measure(&predictions, None, &Bootstrap::none())?;
        let kind = if self.job.labels.is_some() { "category" } else { "text" };
        let names = metrics_of(kind).iter().map(|metric| metric.name);
        let figures = names.filter_map(|name| report.features[0].figure(name));
        Ok(figures.map(|figure| (figure.metric, figure.value)).collect())
    }
}
