//! The loop.

use std::{path::PathBuf, time::Instant};

use fidelio_backend::{BackendError, Learn, LossSum, Part, Session, Verb};

use crate::{
    Checkpoints, Cursor, Evaluate, Evaluated, Event, Example, Flaw, Flow, Goal, Observer, Order,
    Step, Summary, TrainError, TrainPlan, TrainState, Watch,
    batches::{Planting, tokens_learnt},
    checkpoint::Identity,
    example::check_rows,
    state::Candidate,
    tensors,
};

/// So many updates in a row with a gradient that is not finite end a run.
const NOT_FINITE: u64 = 3;

/// A run that is ready to begin, or to go on.
pub struct Trainer<'a> {
    pub(crate) plan: TrainPlan,
    pub(crate) session: &'a mut dyn Session,
    rows: &'a [Example],
    pub(crate) evaluator: Option<&'a mut dyn Evaluate>,
    pub(crate) checkpoints: Option<Checkpoints>,
    observer: &'a mut dyn Observer,
    identity: Identity,
    order: Order,
    pub(crate) state: TrainState,
    /// The last update that is on disk as it stands now.
    saved: u64,
    skipped: Vec<(PathBuf, Flaw)>,
    pub(crate) stopping: bool,
}

impl<'a> Trainer<'a> {
    /// A run from the beginning. Without an evaluator nothing is measured on the way; without
    /// checkpoints nothing is left on disk, and the last parameters are the result.
    ///
    /// # Errors
    /// When the plan or a row cannot be, the session cannot learn as the plan says, or the folder
    /// holds checkpoints already.
    pub fn new(
        plan: TrainPlan,
        session: &'a mut dyn Session,
        rows: &'a [Example],
        evaluator: Option<&'a mut dyn Evaluate>,
        checkpoints: Option<Checkpoints>,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        if let Some(checkpoints) = &checkpoints {
            checkpoints.check_unused()?;
        }
        Self::begin(plan, session, rows, evaluator, checkpoints, observer)
    }

    /// The same run from its last checkpoint that is whole.
    ///
    /// # Errors
    /// As [`Self::new`]; also when there is no such checkpoint, or it belongs to another plan or
    /// other rows.
    pub fn resume(
        plan: TrainPlan,
        session: &'a mut dyn Session,
        rows: &'a [Example],
        evaluator: Option<&'a mut dyn Evaluate>,
        checkpoints: Checkpoints,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let (found, skipped) = checkpoints.last(&Identity::new(&plan, rows))?;
        let mut trainer = Self::begin(plan, session, rows, evaluator, Some(checkpoints), observer)?;
        let learner = trainer.learner()?;
        tensors::restore(learner, Part::Parameters, &found.path)?;
        tensors::restore(learner, Part::Optimizer, &found.path)?;
        trainer.saved = found.state.update;
        trainer.state = found.state;
        trainer.skipped = skipped;
        Ok(trainer)
    }

    fn begin(
        plan: TrainPlan,
        session: &'a mut dyn Session,
        rows: &'a [Example],
        evaluator: Option<&'a mut dyn Evaluate>,
        checkpoints: Option<Checkpoints>,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        plan.check()?;
        check_needs(&plan, evaluator.is_some(), checkpoints.is_some())?;
        check_rows(rows, session.capacity().context)?;
        session.learn(&plan.learn).map_err(|source| TrainError::Engine { update: 0, source })?;
        Ok(Self {
            identity: Identity::new(&plan, rows),
            order: Order::new(rows.len(), plan.shuffle.then_some(plan.seed)),
            plan,
            session,
            rows,
            evaluator,
            checkpoints,
            observer,
            state: TrainState::default(),
            saved: 0,
            skipped: Vec::new(),
            stopping: false,
        })
    }

    /// Trains to the end of the plan, until nothing gets better, or until an observer says stop.
    /// The session then holds the best parameters or their soup; after a stop, the last ones.
    ///
    /// # Errors
    /// When the engine, an evaluation, an observer or a disk fails. Checkpoints that are on disk
    /// by then stay good.
    pub fn run(mut self) -> Result<Summary, TrainError> {
        self.tell_beginning()?;
        loop {
            if self.evaluation_is_due() {
                self.evaluate()?;
            }
            if self.checkpoint_is_due() {
                self.checkpoint()?;
            }
            if self.stopping || self.is_over() {
                return self.finish();
            }
            self.step()?;
        }
    }

    /// One update: every micro-batch of its window adds its gradient, then the optimizer steps.
    fn step(&mut self) -> Result<(), TrainError> {
        let began = Instant::now();
        let learning_rate = self.learning_rate();
        let (window, next) = self.window();
        let mut loss = LossSum::default();
        let (mut learnt, mut computed) = (0, 0);
        for (i, rows) in window.chunks(self.plan.batch_size).enumerate() {
            let planting = Planting::of(self.plan.share_beginnings);
            let batch = planting.batch(rows, i * self.plan.batch_size, self.plan.adapter());
            loss += self.learner()?.accumulate(&batch).map_err(|e| self.engine(e))?;
            learnt += tokens_learnt(&batch);
            computed += batch.forest.tokens.len() as u64;
        }
        let report =
            self.learner()?.update(learning_rate, loss.weight).map_err(|e| self.engine(e))?;
        let step = Step {
            update: self.state.update + 1,
            of: self.plan.updates,
            epoch: next.epochs(self.rows.len()),
            loss: loss.mean(),
            learning_rate,
            gradient_norm: report.gradient_norm,
            clipped: report.clipped,
            applied: report.applied,
            tokens_learnt: learnt,
            tokens_computed: computed,
            seconds: began.elapsed().as_secs_f64(),
        };
        self.record(&step, loss, next);
        self.tell(&Event::Step(step))?;
        self.check_finite(&step)
    }

    /// The rows of the next update, and where the stream goes on after them.
    fn window(&mut self) -> (Vec<&'a Example>, Cursor) {
        let (window, next) = self.order.window(self.state.cursor, self.plan.rows_per_update());
        (window.iter().map(|row| &self.rows[*row as usize]).collect(), next)
    }

    fn record(&mut self, step: &Step, loss: LossSum, next: Cursor) {
        let state = &mut self.state;
        state.update = step.update;
        state.cursor = next;
        state.not_finite = if step.applied { 0 } else { state.not_finite + 1 };
        state.totals.tokens_learnt += step.tokens_learnt;
        state.totals.tokens_computed += step.tokens_computed;
        state.totals.seconds += step.seconds;
        state.add_loss(loss);
    }

    fn check_finite(&self, step: &Step) -> Result<(), TrainError> {
        if self.state.not_finite < NOT_FINITE {
            return Ok(());
        }
        Err(TrainError::NotFinite {
            update: step.update,
            before: NOT_FINITE - 1,
            learning_rate: step.learning_rate,
        })
    }

    fn learning_rate(&self) -> f64 {
        let lowered =
            self.plan.plateau.as_ref().map_or(1.0, |plateau| self.state.plateau.factor(plateau));
        self.plan.learning_rate_at(self.state.update) * lowered
    }

    /// Whether the updates taken so far want an evaluation. One that a stop left out is caught up
    /// with when the run goes on.
    fn evaluation_is_due(&self) -> bool {
        let update = self.state.update;
        let due = update.is_multiple_of(self.plan.evaluate_every) || update == self.plan.updates;
        self.evaluator.is_some() && !self.stopping && due && update > self.state.evaluated
    }

    fn evaluate(&mut self) -> Result<(), TrainError> {
        let update = self.state.update;
        let Some(evaluator) = &mut self.evaluator else { return Ok(()) };
        let measured = evaluator
            .evaluate(self.session)
            .map_err(|source| TrainError::Evaluate { update, source })?;
        let training_loss = std::mem::take(&mut self.state.since_evaluation).mean();
        if let Some(plateau) = &self.plan.plateau {
            let (value, goal) = match &plateau.watch {
                Watch::TrainingLoss => (training_loss, Goal::Minimize),
                Watch::Validation => (measured.metric, self.plan.goal),
                Watch::Value { name, goal } => match measured.values.get(name) {
                    Some(&value) => (value, *goal),
                    None => return Err(not_measured()),
                },
            };
            self.state.plateau.watch(value, goal, plateau);
        }
        let found = Candidate { update, metric: measured.metric };
        let rank = self.state.rank(found, self.plan.goal, self.plan.keeps_best());
        if rank.kept {
            self.save_best(update)?;
        }
        self.state.evaluated = update;
        self.saved = 0; // what was saved of this update has not been evaluated
        let (metric, improved, values) = (measured.metric, rank.improved, measured.values);
        self.tell(&Event::Evaluated(Evaluated {
            update,
            validation_metric: self.plan.validation_metric.clone(),
            metric,
            improved,
            training_loss,
            values,
        }))
    }

    fn save_best(&mut self, update: u64) -> Result<(), TrainError> {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.save_best(update, learner(self.session, update)?)?;
        }
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        let update = self.state.update;
        let due =
            update.is_multiple_of(self.plan.checkpoint_every) || self.stopping || self.is_over();
        self.checkpoints.is_some() && due && update > self.saved
    }

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let update = self.state.update;
        let learner = learner(self.session, update)?;
        let path = checkpoints.save(&self.identity, &self.state, learner)?;
        self.saved = update;
        self.tell(&Event::Checkpointed { update, path })
    }

    /// Whether the plan is fulfilled or nothing gets better.
    fn is_over(&self) -> bool {
        self.state.update >= self.plan.updates || self.nothing_gets_better()
    }

    pub(crate) fn nothing_gets_better(&self) -> bool {
        self.plan.early_stop.is_some_and(|most| self.state.without_improvement >= most)
    }

    fn tell_beginning(&mut self) -> Result<(), TrainError> {
        for (path, flaw) in std::mem::take(&mut self.skipped) {
            self.tell(&Event::Skipped { path, flaw })?;
        }
        let parameters = self.learner()?.parameters();
        let size = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        self.tell(&Event::Began {
            update: self.state.update,
            evaluated: self.state.evaluated,
            of: self.plan.updates,
            rows: self.rows.len(),
            parameters: parameters.iter().map(|parameter| size(&parameter.shape)).sum(),
        })
    }

    pub(crate) fn tell(&mut self, event: &Event) -> Result<(), TrainError> {
        let update = self.state.update;
        match self.observer.on(event) {
            Ok(Flow::Continue) => Ok(()),
            Ok(Flow::Stop) => {
                self.stopping = true;
                Ok(())
            }
            Err(source) => Err(TrainError::Observer { update, source }),
        }
    }

    pub(crate) fn learner(&mut self) -> Result<&mut dyn Learn, TrainError> {
        learner(self.session, self.state.update)
    }

    pub(crate) fn engine(&self, source: BackendError) -> TrainError {
        TrainError::Engine { update: self.state.update, source }
    }
}

fn learner(session: &mut dyn Session, update: u64) -> Result<&mut dyn Learn, TrainError> {
    let nothing = TrainError::Engine { update, source: BackendError::Verb(Verb::Learn) };
    session.learning().ok_or(nothing)
}

fn not_measured() -> TrainError {
    TrainError::Plan { key: "plateau", problem: "watches what the evaluation does not measure" }
}

/// Settings that mean nothing without an evaluation, or without a place to keep parameters.
fn check_needs(plan: &TrainPlan, evaluates: bool, saves: bool) -> Result<(), TrainError> {
    let settings = [
        ("early_stop", plan.early_stop.is_some(), saves),
        ("model_soup", plan.model_soup.is_some(), saves),
        ("plateau", plan.plateau.is_some(), true),
    ];
    for (key, _, has_folder) in settings.into_iter().filter(|(_, is_set, _)| *is_set) {
        if !evaluates {
            return Err(TrainError::Plan { key, problem: "needs rows to evaluate on" });
        }
        if !has_folder {
            return Err(TrainError::Plan { key, problem: "needs a folder for checkpoints" });
        }
    }
    Ok(())
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("plan", &self.plan)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
