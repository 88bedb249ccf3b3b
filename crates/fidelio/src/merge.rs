//! An adapter worked into its model, and proof that the result still answers the same.

use std::path::Path;

use fidelio_backend::{AdapterId, Logits, RowStep, RowTo, Session, Shape, Wanted};
use fidelio_eval::{Drift, DriftMeter};
use fidelio_weights::{ExportOptions, Merged, Progress, export_folder_of, peft};

use crate::{Error, Flow, Generator, Machine, Model, Opening, RunFile, train::check_same};

/// The mean divergence in nats that is allowed where nobody says otherwise: rounding to 16 bits
/// stays far below it.
pub const MAX_MEAN_KL: f64 = 1e-2;
/// Tokens of each greedy continuation that is compared.
const CONTINUED: usize = 24;
/// Tokens of a prompt whose logits are compared.
const COMPARED: usize = 64;

/// Prompts on which models are compared where the user gives none.
const CALIBRATION: [&str; 8] = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Is this review positive or negative? The food was cold and the waiter was rude.",
    "Translate to French: Good morning, how are you?",
    "List three uses of a paper clip.",
    "def fibonacci(n):",
    "Summarize: The committee met on Tuesday and agreed to postpone the vote until spring.",
    "12 + 30 =",
];

/// A model and the adapter that is to become a part of it.
pub struct Merge<'a> {
    machine: &'a Machine,
    run: &'a RunFile,
    model: Model,
}

impl std::fmt::Debug for Merge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("model", &self.model).finish_non_exhaustive()
    }
}

impl<'a> Merge<'a> {
    /// Finds the model of a training run, or of a run file that names an adapter.
    ///
    /// # Errors
    /// When there is no adapter, or the model is not the one that it was trained on.
    pub fn new(
        machine: &'a Machine,
        run: &'a RunFile,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        if run.adapter().is_none() {
            return Err(Error::NoAdapter);
        }
        let model = Model::find(machine, &run.base_model(), progress)?;
        if let Some(folder) = run.trained() {
            check_same(folder, &serde_json::json!({ "model": model.card() }))?;
        }
        Ok(Self { machine, run, model })
    }

    /// Merges in 32 bits, writes the folder `to` once in the type of `options`, opens it again and
    /// compares it with the adapter beside its base. A folder that drifts more than `max_mean_kl`
    /// is taken away again.
    ///
    /// # Errors
    /// [`Error::Drift`]; and when the adapter does not fit or something cannot be written.
    pub fn write(
        &self,
        to: &Path,
        options: &ExportOptions,
        max_mean_kl: f64,
    ) -> Result<Drift, Error> {
        let folder = self.run.adapter().ok_or(Error::NoAdapter)?;
        let merged = Merged::new(self.model.checkpoint(), peft::open(&folder)?)?;
        export_folder_of(self.model.checkpoint(), &merged, to, options)?;
        let drift = self.drift(to);
        let refused = match &drift {
            Ok(drift) => drift.mean_kl.is_nan() || drift.mean_kl > max_mean_kl,
            Err(_) => true,
        };
        if refused {
            std::fs::remove_dir_all(to)
                .map_err(|source| Error::Write { path: to.to_owned(), source })?;
        }
        match drift? {
            drift if refused => Err(Error::Drift { drift, allowed: max_mean_kl }),
            drift => Ok(drift),
        }
    }

    /// How far a merged model answers from the run as it learnt, whose base was rounded; none where
    /// it was not. The merged model has the base's own weights.
    ///
    /// # Errors
    /// When one of the two cannot be opened.
    pub fn drift_from_rounded(&self, written: &Path) -> Result<Option<Drift>, Error> {
        let how = Opening::of(self.run.config());
        how.quantization.map(|_| self.drift_from(&how, written)).transpose()
    }

    /// The model that was written, against the adapter beside its base, neither of them rounded.
    fn drift(&self, written: &Path) -> Result<Drift, Error> {
        let how = Opening { quantization: None, ..Opening::of(self.run.config()) };
        self.drift_from(&how, written)
    }

    fn drift_from(&self, how: &Opening, written: &Path) -> Result<Drift, Error> {
        let silent = &fidelio_weights::Silent;
        let written = written.to_string_lossy();
        let device = &self.run.config().device;
        let mut original = Generator::of_run_as(self.machine, self.run, how, silent)?;
        let mut other = Generator::open(self.machine, &written, device, silent)?;
        let mut meter = DriftMeter::default();
        for text in CALIBRATION {
            let ids = original.prompt(text, false, None)?;
            let [one, two] = [&mut original, &mut other].map(|it| it.answers(&ids));
            let ((one, one_ids), (two, two_ids)) = (one?, two?);
            for (one, two) in one.iter().zip(&two) {
                meter.position(one, two);
            }
            meter.continuation(&one_ids, &two_ids);
        }
        Ok(meter.finish())
    }
}

impl Generator {
    /// The logits at a prompt's last tokens, and its greedy continuation.
    fn answers(&mut self, ids: &[u32]) -> Result<(Vec<Vec<f32>>, Vec<u32>), Error> {
        let (session, adapter) = self.session();
        let logits = last_logits(session, adapter, ids)?;
        let decoding = self.decoding()?;
        let decoding = fidelio_generate::Decoding { max_new_tokens: CONTINUED, ..decoding };
        let continued = self.generate(ids, decoding, &mut |_| Flow::Continue)?;
        Ok((logits, continued.ids))
    }
}

fn last_logits(
    session: &mut dyn Session,
    adapter: Option<AdapterId>,
    ids: &[u32],
) -> Result<Vec<Vec<f32>>, Error> {
    let (before, compared) = ids.split_at(ids.len().saturating_sub(COMPARED));
    let mut row = RowTo::New;
    for (tokens, wanted) in [(before, Wanted::Nothing), (compared, Wanted::All(Shape::Full))] {
        if tokens.is_empty() {
            continue;
        }
        let answers = session.extend(&[RowStep { row, tokens, adapter, wanted }])?;
        let Some(answer) = answers.into_iter().next() else { continue };
        row = RowTo::Row(answer.row);
        if wanted != Wanted::Nothing {
            session.truncate(answer.row, 0)?;
            let full = answer.logits.into_iter().filter_map(|logits| match logits {
                Logits::Full(logits) => Some(logits),
                Logits::Top { .. } => None,
            });
            return Ok(full.collect());
        }
    }
    Ok(Vec::new())
}
