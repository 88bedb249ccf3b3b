//! Rows that come one request at a time, answered as a table's rows are.

use std::sync::Arc;

use fidelio_backend::{AdapterId, Session};
use fidelio_config::RunConfig;
use fidelio_data::Memory;
use fidelio_prompting::{SPECIALS, Template};
use fidelio_weights::Progress;
use serde_json::{Map, Value};

use crate::{
    DataArgs, Error, Job, Machine, Model, Observer, Predictions, RunFile, Silent, dataset::Rows,
};

/// A run that answers rows of its features on a session that is open already.
#[derive(Debug)]
pub struct RowAnswerer {
    job: Job,
    features: Vec<String>,
}

impl RowAnswerer {
    /// Settles a run without any table; none where its prompts show rows or passages, which need one,
    /// and where nothing is asked.
    ///
    /// # Errors
    /// As [`Job::prepare`].
    pub fn new(
        machine: &Machine,
        run: &RunFile,
        progress: &dyn Progress,
    ) -> Result<Option<Self>, Error> {
        let config = run.config();
        if config.prompt.retrieval.is_some() || config.prompt.document.is_some() {
            return Ok(None);
        }
        let features = features(config);
        // A row that only says which columns there are.
        let cells = features.iter().map(|name| (name.clone(), Value::from("")));
        let source = Arc::new(Memory::new("the request", vec![cells.collect()]));
        let rows = Rows { source, notes: Vec::new(), files: Vec::new(), read: 0 };
        let model = Model::find(machine, &run.base_model(), progress)?;
        let device = machine.device(&config.device)?;
        let job = Job::settle(machine, run, model, device, rows, &DataArgs::default())?;
        Ok(Some(Self { job, features }))
    }

    /// The columns that every row must have.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Answers rows on the run's model, computed with its adapter.
    ///
    /// # Errors
    /// As [`Job::predict`].
    pub fn answer(
        &mut self,
        rows: Vec<Map<String, Value>>,
        session: &mut dyn Session,
        adapter: Option<AdapterId>,
        observer: &mut dyn Observer,
    ) -> Result<Predictions, Error> {
        self.job.source = Arc::new(Memory::new("the request", rows));
        self.job.adapter = adapter;
        let prepared = self.job.prepared(&mut Silent)?.prepared;
        self.job.answer(session, &prepared, observer)
    }

    /// A row of predictions under the names that a table would have. Where it stands in a request
    /// says nothing.
    pub fn named(&self, predictions: &Predictions, row: usize) -> Option<Map<String, Value>> {
        let prediction = predictions.rows.iter().find(|it| it.row == row)?;
        let piece = |id| self.job.model.vocabulary().piece(id);
        let cells = predictions.cells(prediction, &piece);
        let named = predictions.columns().into_iter().zip(cells);
        Some(named.filter(|(name, _)| name != "row" && name != "line").collect())
    }
}

/// The columns that the run's prompts are made of.
fn features(config: &RunConfig) -> Vec<String> {
    if let Some(column) = &config.prompt.messages {
        return vec![column.clone()];
    }
    let input = config.input();
    let mut features = vec![input.column.clone().unwrap_or_else(|| input.name.clone())];
    let template = config.prompt.template.as_deref().map(Template::parse);
    if let Some(Ok(template)) = template {
        for field in template.fields().map(|field| field.name.as_str()) {
            if !SPECIALS.contains(&field) && !features.iter().any(|have| have == field) {
                features.push(field.to_owned());
            }
        }
    }
    features
}
