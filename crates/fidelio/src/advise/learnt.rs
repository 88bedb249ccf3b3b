//! The arms that learn: an adapter as much as the time allows, and a head on vectors.

use std::{path::PathBuf, time::Instant};

use fidelio_config::Length;
use fidelio_eval::{Comparison, Estimate, compare_scores};
use fidelio_trainer::{Ended, Observer as Watcher};
use serde::Serialize;

use super::{
    Arm,
    contest::{Contest, said},
    entry::{Entry, Way},
};
use crate::{Error, Model, Observer, ProbeFile, ProbeTraining, Results, RunFile, Training};

/// The share of the time that learning may take, and the share of what is left.
const LEARNING: [f64; 2] = [0.5, 0.75];
/// The model whose vectors a head reads.
const ENCODER: &str = "minilm";
/// Fewer rows teach nothing.
const FEWEST: usize = 64;
/// So many rows are learnt once; fewer of them three times.
const MANY: usize = 1_000;
/// Below the folder of arms: the run that learnt from half of the rows.
const HALF: &str = "lora-half";

/// What half of the labelled rows would have reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MoreLabels {
    /// Rows that were learnt.
    pub rows: usize,
    /// What they reached.
    pub score: Estimate,
    /// Half of them.
    pub half: usize,
    /// What these reached.
    pub half_score: Estimate,
    /// Half of the rows, then all of them, on the same validation rows.
    pub difference: Comparison,
}

/// What an arm learnt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Learnt {
    /// Rows that it learnt from.
    rows: usize,
    /// How often.
    epochs: usize,
    /// What that took.
    seconds: f64,
    /// The folder of its run.
    pub(super) folder: PathBuf,
}

/// A run file's wishes, and what they take.
#[derive(Debug, Clone, Copy)]
struct Wish {
    rows: usize,
    epochs: usize,
    seconds_per_row: f64,
}

/// How much of a wish is granted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Granted {
    rows: usize,
    epochs: usize,
}

impl Wish {
    /// As much of it as `allowed` seconds are enough for: whole epochs first, then a part of the
    /// rows; none where that would be too few.
    fn within(self, allowed: f64) -> Option<Granted> {
        let affordable = (allowed.max(0.0) / self.seconds_per_row.max(1e-9)) as usize;
        let epochs = (affordable / self.rows.max(1)).min(self.epochs);
        if epochs > 0 {
            return Some(Granted { rows: self.rows, epochs });
        }
        (affordable >= FEWEST).then_some(Granted { rows: affordable, epochs: 1 })
    }
}

impl Contest<'_> {
    /// Lets an adapter (or what the run file says) learn from the training rows, and answer the rows
    /// that the other arms have answered.
    pub(super) fn learn(
        &mut self,
        observer: &mut dyn Observer,
        lessons: &mut dyn Watcher,
    ) -> Result<(), Error> {
        if !self.wants(Arm::Lora) {
            return Ok(());
        }
        let allowed = (LEARNING[0] * self.clock.budget).min(LEARNING[1] * self.left());
        let entry = match self.taught(allowed, observer, lessons) {
            Ok(entry) => entry,
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                self.leave_out(Arm::Lora, said(&error), observer);
                return Ok(());
            }
        };
        let Some(entry) = entry else {
            let why = format!(
                "{:.0} s are left for learning, too few for {FEWEST} rows; give it a longer `--budget`",
                allowed.max(0.0)
            );
            self.leave_out(Arm::Lora, why, observer);
            return Ok(());
        };
        self.entries.push(entry);
        let rows = self.entries[0].racer.scores.len();
        self.advance(self.entries.len() - 1, rows, observer)
    }

    fn taught(
        &self,
        allowed: f64,
        observer: &mut dyn Observer,
        lessons: &mut dyn Watcher,
    ) -> Result<Option<Entry>, Error> {
        let began = Instant::now();
        let (mut training, wish) = self.wish(observer)?;
        let Some(granted) = wish.within(allowed) else { return Ok(None) };
        if granted.epochs < wish.epochs {
            training = self.training(granted.epochs, observer)?;
        }
        let folder = self.results.arms().join(Arm::Lora.name());
        let (run, learnt) = learnt(training, granted, folder, lessons)?;
        let mut entry = self.enter(Arm::Lora, run, observer)?.after(Some(learnt));
        entry.preparing = began.elapsed().as_secs_f64();
        entry.ready = self.arms.learnt(self.default_epochs())?.document().render();
        let Granted { rows, epochs } = granted;
        let whole = granted == Granted { rows: wish.rows, epochs: wish.epochs };
        entry.notes.push(if whole {
            format!("learnt from all {rows} rows, epochs: {epochs}")
        } else {
            format!(
                "for want of time learnt from {rows} of {} rows, epochs: {epochs}; its run file \
                 learns from all, epochs: {}",
                wish.rows, wish.epochs
            )
        });
        Ok(Some(entry))
    }

    /// A head on the vectors of a small encoder, fitted to the training rows. No validation row has a
    /// say in it: they are what it is measured by.
    pub(super) fn fitted(&self, observer: &mut dyn Observer) -> Result<Entry, Error> {
        let began = Instant::now();
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let run = ProbeFile::beside(self.arms.run, &columns, ENCODER)?;
        let folder = self.results.arms().join(Arm::Probe.name());
        let silent = &fidelio_weights::Silent;
        let training = ProbeTraining::prepare(self.machine, &run, self.data, silent)?;
        let training = training.without_validation_rows();
        let rows = training.rows().training;
        let (fitted, _) = training.run(&Results::create(&folder, true)?, observer)?;
        let seconds = began.elapsed().as_secs_f64();
        let learnt = Learnt { rows, epochs: 1, seconds, folder };
        let Way::Prompts(alone) = &self.entries[0].way else { unreachable!("it is made of a job") };
        let mut entry = Entry::of_probe(fitted.anew(), learnt, &alone.job)?;
        entry.preparing = seconds;
        entry.notes.push(format!("a head on the vectors of `{ENCODER}`, fitted to {rows} rows"));
        Ok(entry)
    }

    /// What the run file wants learnt, and what a row of it takes.
    fn wish(&self, observer: &mut dyn Observer) -> Result<(Training, Wish), Error> {
        let epochs = self.epochs();
        let mut training = self.training(epochs, observer)?;
        let cost = training.cost(true)?;
        let lacks = cost.memory.as_ref().filter(|ledger| ledger.fits == Some(false));
        if let Some(ledger) = lacks {
            let have = ledger.available.unwrap_or(0);
            return Err(Error::NoMemory { needed: ledger.total, have });
        }
        let rows = training.rows.len();
        let seconds = cost.time.map_or(0.0, |time| time.seconds);
        let seconds_per_row = seconds / (rows * epochs).max(1) as f64;
        Ok((training, Wish { rows, epochs, seconds_per_row }))
    }

    fn training(&self, epochs: usize, observer: &mut dyn Observer) -> Result<Training, Error> {
        let run = self.arms.learnt(Some(epochs))?;
        let model = Model::find(self.machine, &run.base_model(), &fidelio_weights::Silent)?;
        Training::prepare(self.machine, &run, model, self.data, observer)
    }

    /// How often the rows are learnt if time does not matter.
    fn epochs(&self) -> usize {
        match self.arms.run.config().trainer.finetune().map(|how| how.length) {
            Some(Length::Epochs { epochs }) => epochs,
            _ if self.training_rows >= MANY => 1,
            _ => 3,
        }
    }

    /// The epochs of the run file that is handed over, where the user's says nothing of learning.
    fn default_epochs(&self) -> Option<usize> {
        self.arms.run.config().trainer.finetune().is_none().then(|| self.epochs())
    }

    /// Learns from half of the rows, if the arm that learns is not beaten and time is left, to see
    /// what twice as many labels are worth.
    pub(super) fn ask_for_more_labels(
        &mut self,
        observer: &mut dyn Observer,
        lessons: &mut dyn Watcher,
    ) -> Result<(), Error> {
        let beaten = |number: usize| self.chosen().standings[number].worse;
        let arm = self.entries.iter().enumerate().find(|(_, it)| it.arm == Arm::Lora);
        let Some((_, entry)) = arm.filter(|(number, _)| !beaten(*number)) else { return Ok(()) };
        let Some(all) = entry.learnt().cloned() else { return Ok(()) };
        let scores = entry.racer.scores.clone();
        let half = all.rows / 2;
        if half < FEWEST || all.seconds / 2.0 + entry.racer.seconds > self.clock.left() {
            return Ok(());
        }
        let granted = Granted { rows: half, epochs: all.epochs };
        let folder = self.results.arms().join(HALF);
        let training = self.training(granted.epochs, observer)?;
        let (run, learnt) = learnt(training, granted, folder, lessons)?;
        let mut entry = self.enter(Arm::Lora, run, observer)?.after(Some(learnt));
        let fewer = entry.answer(self.session.as_mut(), 0..scores.len(), self.score, observer)?;
        let bootstrap = self.bootstrap();
        self.more_labels = Some(MoreLabels {
            rows: all.rows,
            score: bootstrap.mean(&scores)?,
            half,
            half_score: bootstrap.mean(&fewer)?,
            difference: compare_scores(&fewer, &scores, &bootstrap)?,
        });
        Ok(())
    }
}

/// Learns so many rows into a folder of a run; gives the run file that uses it.
fn learnt(
    training: Training,
    Granted { rows, epochs }: Granted,
    folder: PathBuf,
    lessons: &mut dyn Watcher,
) -> Result<(RunFile, Learnt), Error> {
    let results = Results::create(&folder, true)?;
    let began = Instant::now();
    let summary = training.in_short(rows).run(&results, false, lessons)?;
    if summary.ended == Ended::Stopped {
        return Err(Error::Stopped);
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok((RunFile::of_run(&folder, &[])?, Learnt { rows, epochs, seconds, folder }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_spent_on_whole_epochs_and_then_on_a_part_of_the_rows() {
        let wish = Wish { rows: 400, epochs: 3, seconds_per_row: 0.1 };
        assert_eq!(wish.within(500.0), Some(Granted { rows: 400, epochs: 3 }));
        assert_eq!(wish.within(100.0), Some(Granted { rows: 400, epochs: 2 }));
        assert_eq!(wish.within(25.0), Some(Granted { rows: 250, epochs: 1 }));
        assert_eq!(wish.within(5.0), None);
        assert_eq!(wish.within(-1.0), None);
    }
}
