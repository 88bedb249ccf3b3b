//! All that a run must remember, besides what the engine does.

use fidelio_backend::LossSum;
use serde::{Deserialize, Serialize};

use crate::{Cursor, Goal, PlateauState};

/// What a checkpoint holds beside parameters and optimizer: from these three and the plan the run
/// goes on as if it had not been interrupted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Updates taken.
    pub update: u64,
    /// Where the stream of rows goes on.
    pub cursor: Cursor,
    /// The last update that was evaluated.
    pub evaluated: u64,
    /// What has been learnt since.
    pub since_evaluation: LossSum,
    /// The best evaluations whose parameters are kept, best first.
    pub best: Vec<Candidate>,
    /// Evaluations since the best one.
    pub without_improvement: u64,
    /// How far the learning rate was lowered.
    pub plateau: PlateauState,
    /// The last so many updates had a gradient that is not finite.
    pub not_finite: u64,
    /// Sums over the run.
    pub totals: Totals,
}

/// Parameters that an evaluation measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// After how many updates.
    pub update: u64,
    /// What the evaluation found.
    pub metric: f64,
}

/// Sums over a run, interruptions included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// The losses of all learnt tokens.
    pub loss: LossSum,
    /// Tokens that were learnt.
    pub tokens_learnt: u64,
    /// Tokens that went through the model to learn them.
    pub tokens_computed: u64,
    /// Time spent on updates.
    pub seconds: f64,
}

impl TrainState {
    /// Takes a loss into the sums; one that is not finite would spoil them.
    pub(crate) fn add_loss(&mut self, loss: LossSum) {
        if loss.sum.is_finite() {
            self.since_evaluation += loss;
            self.totals.loss += loss;
        }
    }

    /// Puts an evaluation among the best `keep`, an older one before a newer one that equals it.
    /// Tells whether it is the best of all, and whether it is kept.
    pub(crate) fn rank(&mut self, found: Candidate, goal: Goal, keep: usize) -> Rank {
        let improved = goal.improves(found.metric, self.best.first().map(|best| best.metric));
        self.without_improvement = if improved { 0 } else { self.without_improvement + 1 };
        let place =
            self.best.partition_point(|kept| !goal.improves(found.metric, Some(kept.metric)));
        let kept = place < keep && !found.metric.is_nan();
        if kept {
            self.best.insert(place, found);
            self.best.truncate(keep);
        }
        Rank { improved, kept }
    }
}

/// Where an evaluation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) improved: bool,
    pub(crate) kept: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order() {
        let mut state = TrainState::default();
        let mut ranks = Vec::new();
        for (update, metric) in [(1, 3.0), (2, 1.0), (3, f64::NAN), (4, 2.0), (5, 1.0)] {
            let rank = state.rank(Candidate { update, metric }, Goal::Minimize, 2);
            ranks.push((rank.improved, rank.kept));
        }
        assert_eq!(
            ranks,
            [(true, true), (true, true), (false, false), (false, true), (false, true)]
        );
        assert_eq!(state.best.iter().map(|best| best.update).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(state.without_improvement, 3);
    }

    #[test]
    fn a_state_comes_back_bit_for_bit() {
        let mut state = TrainState { update: 7, ..TrainState::default() };
        state.add_loss(LossSum { sum: 0.1 + 0.2, weight: 3.0 });
        state.add_loss(LossSum { sum: f64::INFINITY, weight: 3.0 });
        state.rank(Candidate { update: 7, metric: 1.0 / 3.0 }, Goal::Maximize, 1);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<TrainState>(&text).unwrap(), state);
    }
}
