//! What a training run costs, before its first update: memory by arithmetic, time by one measured
//! step on its largest batch.

use std::time::Instant;

use fidelio_backend::{Footprint, Session, Trains};
use fidelio_trainer::{TrainPlan, Workload};
use serde::Serialize;

use crate::{
    Error, Training,
    memory::{available_memory, peak_memory, reset_peak_memory, resident_memory},
};

/// Memory and time of a training run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Where memory goes; none where the engine cannot say.
    pub memory: Option<Ledger>,
    /// How long it takes; none where nothing was measured.
    pub time: Option<Duration>,
}

/// Where the memory of a training run goes, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ledger {
    /// The program and the rows.
    pub program: u64,
    /// The model's file, where its weights are copied to learn or rounded; the system may take this
    /// back.
    pub file: u64,
    /// What the engine needs.
    #[serde(flatten)]
    pub engine: Footprint,
    /// The most that program, file and engine need at a time.
    pub total: u64,
    /// What this machine has left for it, where the system says so.
    pub available: Option<u64>,
    /// Whether the total is less than that.
    pub fits: Option<bool>,
    /// Changes to the run file with which it would fit, where it does not.
    pub would_fit: Vec<Remedy>,
}

/// A change to a run file, and the total with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Remedy {
    /// The keys, as they would be written.
    pub set: String,
    /// The most memory needed at a time, in bytes.
    pub total: u64,
}

/// How long a training run takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Duration {
    /// Tokens of the largest micro-batch.
    pub largest_batch: u64,
    /// What its gradient took, in seconds.
    pub seconds_per_batch: f64,
    /// What a step of the optimizer took, in seconds.
    pub seconds_per_update: f64,
    /// Tokens of all updates.
    pub tokens: u64,
    /// All updates, without evaluations and checkpoints, in seconds.
    pub seconds: f64,
    /// The most memory that was resident meanwhile, where the system says so.
    pub peak_memory: Option<u64>,
}

impl Training {
    /// What this run costs. With `measure`, and if it fits, one update is computed on its largest
    /// batch; nothing of it is kept.
    ///
    /// # Errors
    /// When the model cannot be opened or the engine fails.
    pub fn cost(&mut self, measure: bool) -> Result<Cost, Error> {
        let how = self.run.config().trainer.finetune().ok_or(Error::NothingLearns)?.clone();
        let program = resident_memory().unwrap_or(0);
        let mut session = self.begin()?;
        let plan = self.settled(&how, self.job.adapter);
        let workload = Workload::of(&plan, &self.rows);
        let memory = self.memory(session.as_mut(), &plan, &workload, program)?;
        let fits = memory.as_ref().is_none_or(|ledger| ledger.fits != Some(false));
        let time =
            if measure && fits { Some(time(session.as_mut(), &plan, &workload)?) } else { None };
        self.job.adapter = None;
        Ok(Cost { memory, time })
    }

    /// A session with the adapter that learns, if not the whole model does.
    pub(crate) fn begin(&mut self) -> Result<Box<dyn Session>, Error> {
        let mut session = self.job.open()?;
        if let (Some(new), None) = (&self.job.adapter_spec, self.job.adapter) {
            self.job.adapter = Some(session.add_adapter(new, None)?);
        }
        Ok(session)
    }

    fn memory(
        &self,
        session: &mut dyn Session,
        plan: &TrainPlan,
        workload: &Workload,
        program: u64,
    ) -> Result<Option<Ledger>, Error> {
        let copied = plan.learn.trains == Trains::All || self.job.plan.quantization.is_some();
        let file = if copied { self.job.model.checkpoint().describe().bytes } else { 0 };
        let Some(engine) = footprint(session, plan, workload)? else { return Ok(None) };
        let total_of = |engine: &Footprint| program + file + engine.peak;
        let available = available_memory().map(|left| left + program);
        let fits = |total: u64| available.is_none_or(|available| total <= available);
        let total = total_of(&engine);
        let mut would_fit = Vec::new();
        if !fits(total) {
            for (set, plan) in smaller(plan) {
                let workload = Workload::of(&plan, &self.rows);
                let engine = footprint(session, &plan, &workload)?;
                let total = engine.as_ref().map_or(u64::MAX, total_of);
                if fits(total) {
                    would_fit.push(Remedy { set, total });
                }
            }
        }
        let fits = available.map(|_| fits(total));
        Ok(Some(Ledger { program, file, engine, total, available, fits, would_fit }))
    }
}

fn footprint(
    session: &mut dyn Session,
    plan: &TrainPlan,
    workload: &Workload,
) -> Result<Option<Footprint>, Error> {
    Ok(session.footprint(&plan.learn, &workload.largest, workload.micro_batches)?)
}

/// Plans that compute the same updates in less memory, with the keys that make them.
fn smaller(plan: &TrainPlan) -> Vec<(String, TrainPlan)> {
    let mut by_block = plan.clone();
    by_block.learn.checkpoint_blocks = true;
    let by_row = |plan: &TrainPlan| TrainPlan {
        batch_size: 1,
        gradient_accumulation_steps: plan.rows_per_update(),
        ..plan.clone()
    };
    let rows = plan.rows_per_update();
    let blocks = "trainer.enable_gradient_checkpointing: true";
    let row = format!("trainer.batch_size: 1, trainer.gradient_accumulation_steps: {rows}");
    let both = by_row(&by_block);
    let mut plans = vec![(blocks.into(), by_block), (row.clone(), by_row(plan))];
    plans.push((format!("{blocks}, {row}"), both));
    plans.retain(|(_, smaller)| smaller != plan);
    plans
}

/// One update on the largest batch, at a rate of zero, and the batch once more: only then is the
/// optimizer's memory there, and the engine warm.
fn time(
    session: &mut dyn Session,
    plan: &TrainPlan,
    workload: &Workload,
) -> Result<Duration, Error> {
    reset_peak_memory();
    let learner = session.learn(&plan.learn)?;
    let loss = learner.accumulate(&workload.largest)?;
    let began = Instant::now();
    learner.update(0.0, loss.weight)?;
    let seconds_per_update = began.elapsed().as_secs_f64();
    let began = Instant::now();
    learner.accumulate(&workload.largest)?;
    let seconds_per_batch = began.elapsed().as_secs_f64();
    let largest_batch = workload.largest.forest.tokens.len() as u64;
    let batches = workload.tokens as f64 / (largest_batch as f64).max(1.0);
    let seconds = batches * seconds_per_batch + workload.updates as f64 * seconds_per_update;
    Ok(Duration {
        largest_batch,
        seconds_per_batch,
        seconds_per_update,
        tokens: workload.tokens,
        seconds,
        peak_memory: peak_memory(),
    })
}
