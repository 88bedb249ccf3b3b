//! The end of a run: which parameters it hands back.

use fidelio_backend::{Part, Weights};
use fidelio_weights::Tensors;
use serde::Serialize;

use crate::{
    Checkpoints, Event, Goal, SoupKind, TrainError, Trainer,
    soup::Mean,
    state::{Candidate, Totals},
};

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Updates taken.
    pub update: u64,
    /// Updates that were planned.
    pub of: u64,
    /// Why it ended.
    pub ended: Ended,
    /// The name of the metric that said what is best.
    pub validation_metric: String,
    /// The best evaluation.
    pub best: Option<Candidate>,
    /// Which parameters the session holds now.
    pub handed_back: HandedBack,
    /// Sums over the run, interruptions included.
    pub totals: Totals,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The plan is fulfilled.
    Complete,
    /// Nothing got better any more.
    Early,
    /// An observer said stop. It can be resumed where there are checkpoints.
    Stopped,
}

/// The parameters that a run leaves in the session.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HandedBack {
    /// Those of the last update.
    Last,
    /// Those of the best evaluation.
    Best {
        /// After so many updates.
        update: u64,
    },
    /// The mean of several.
    Soup {
        /// After so many updates each, the best first.
        updates: Vec<u64>,
        /// What an evaluation of the mean found.
        metric: f64,
    },
}

impl Trainer<'_> {
    pub(crate) fn finish(mut self) -> Result<Summary, TrainError> {
        let ended = match () {
            () if self.state.update >= self.plan.updates => Ended::Complete,
            () if self.nothing_gets_better() => Ended::Early,
            () => Ended::Stopped,
        };
        let handed_back = match (ended, self.checkpoints.clone()) {
            (Ended::Stopped, _) | (_, None) => HandedBack::Last,
            (_, Some(checkpoints)) => self.hand_back(&checkpoints)?,
        };
        let summary = Summary {
            update: self.state.update,
            of: self.plan.updates,
            ended,
            validation_metric: self.plan.validation_metric.clone(),
            best: self.state.best.first().copied(),
            handed_back,
            totals: self.state.totals,
        };
        self.tell(&Event::Finished(summary.clone()))?;
        Ok(summary)
    }

    /// Puts the best parameters, or the soup of them, into the session.
    fn hand_back(&mut self, checkpoints: &Checkpoints) -> Result<HandedBack, TrainError> {
        let best = self.state.best.clone();
        let Some(first) = best.first() else { return Ok(HandedBack::Last) };
        let updates: Vec<u64> = best.iter().map(|best| best.update).collect();
        match self.plan.model_soup {
            None if first.update == self.state.update => {
                Ok(HandedBack::Best { update: first.update })
            }
            None => {
                self.load(&checkpoints.open_best(first.update)?)?;
                Ok(HandedBack::Best { update: first.update })
            }
            Some(soup) => {
                let opened = updates.iter().map(|update| checkpoints.open_best(*update));
                let opened = opened.collect::<Result<Vec<_>, _>>()?;
                let (chosen, metric) = match soup.kind {
                    SoupKind::Uniform => {
                        let all: Vec<usize> = (0..opened.len()).collect();
                        let metric = self.taste(&opened, &all)?;
                        (all, metric)
                    }
                    SoupKind::Greedy => self.choose_greedily(&opened, first.metric)?,
                };
                let updates = chosen.iter().map(|i| updates[*i]).collect();
                Ok(HandedBack::Soup { updates, metric })
            }
        }
    }

    /// Begins with the best, and adds each that does not make the mean worse.
    fn choose_greedily(
        &mut self,
        opened: &[Tensors],
        metric: f64,
    ) -> Result<(Vec<usize>, f64), TrainError> {
        let (mut chosen, mut best) = (vec![0], metric);
        for next in 1..opened.len() {
            let more: Vec<usize> = chosen.iter().copied().chain([next]).collect();
            let found = self.taste(opened, &more)?;
            let worse = match self.plan.goal {
                Goal::Minimize => found > best,
                Goal::Maximize => found < best,
            };
            if !worse && !found.is_nan() {
                (chosen, best) = (more, found);
            }
        }
        self.load(&mean(opened, &chosen))?;
        Ok((chosen, best))
    }

    /// Puts the mean of the chosen into the session and measures it.
    fn taste(&mut self, opened: &[Tensors], chosen: &[usize]) -> Result<f64, TrainError> {
        self.load(&mean(opened, chosen))?;
        let update = self.state.update;
        match &mut self.evaluator {
            None => Ok(f64::NAN),
            Some(evaluator) => evaluator
                .evaluate(self.session)
                .map(|measured| measured.metric)
                .map_err(|source| TrainError::Evaluate { update, source }),
        }
    }

    fn load(&mut self, parameters: &dyn Weights) -> Result<(), TrainError> {
        self.learner()?.restore(Part::Parameters, parameters).map_err(|e| self.engine(e))
    }
}

fn mean<'a>(opened: &'a [Tensors], chosen: &[usize]) -> Mean<'a> {
    Mean::new(chosen.iter().map(|i| &opened[*i]).collect())
}
