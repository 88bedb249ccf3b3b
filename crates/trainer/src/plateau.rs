//! Lowering the learning rate when nothing gets better.

use serde::{Deserialize, Serialize};

use crate::Goal;

/// Lowers the rate for good where a value has not improved for more than `patience` evaluations,
/// as `torch.optim.lr_scheduler.ReduceLROnPlateau` does with a threshold of 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// What is watched.
    pub watch: Watch,
    /// Evaluations without improvement that are borne.
    pub patience: u64,
    /// What the rate is multiplied with.
    pub rate: f64,
    /// How often at most.
    pub times: u64,
}

/// A value that is there at every evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// The mean loss of the rows learnt since the evaluation before.
    TrainingLoss,
    /// What evaluations are judged by, which the plan's goal says is to become small or large.
    Validation,
    /// Something else that the evaluation measures.
    Value {
        /// Its name.
        name: String,
        /// What it should become.
        goal: Goal,
    },
}

/// How far a [`Plateau`] has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The best value so far.
    pub best: Option<f64>,
    /// Evaluations since, or since the rate was lowered.
    pub waited: u64,
    /// How often the rate was lowered.
    pub lowered: u64,
}

impl PlateauState {
    /// What the learning rate is multiplied with.
    pub fn factor(&self, plateau: &Plateau) -> f64 {
        plateau.rate.powf(self.lowered as f64)
    }

    /// Takes the value of an evaluation. One that is not a number is no improvement.
    pub fn watch(&mut self, value: f64, goal: Goal, plateau: &Plateau) {
        if goal.improves(value, self.best) {
            self.best = Some(value);
            self.waited = 0;
            return;
        }
        self.waited += 1;
        if self.waited > plateau.patience && self.lowered < plateau.times {
            self.lowered += 1;
            self.waited = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lowers_so_often_and_no_more() {
        let plateau = Plateau { watch: Watch::Validation, patience: 0, rate: 0.5, times: 2 };
        let mut state = PlateauState::default();
        let mut factors = Vec::new();
        for value in [1.0, 2.0, f64::NAN, 3.0, 0.5] {
            state.watch(value, Goal::Minimize, &plateau);
            factors.push(state.factor(&plateau));
        }
        assert_eq!(factors, [1.0, 0.5, 0.25, 0.25, 0.25]);
        assert_eq!(state.best, Some(0.5));
    }

    #[test]
    fn where_more_is_better_less_is_a_plateau() {
        let plateau = Plateau { watch: Watch::Validation, patience: 0, rate: 0.5, times: 9 };
        let mut state = PlateauState::default();
        for value in [1.0, 2.0, 1.5] {
            state.watch(value, Goal::Maximize, &plateau);
        }
        assert_eq!(state.lowered, 1);
    }
}
