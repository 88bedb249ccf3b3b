//! The learning rate of each update.
//!
//! Formulas are those of `torch.optim.lr_scheduler` and of transformers' schedules, where `t` is
//! the number of updates taken before. Ludwig counts micro-batches; we count updates.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How the learning rate changes over a run. A [`Plateau`](crate::Plateau) comes on top of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The first updates, in which the rate rises from 0 in equal steps. `one_cycle` and `wsd`
    /// have a warm-up of their own and must have 0 here.
    pub warmup_updates: u64,
    /// What comes after.
    pub decay: Decay,
}

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Decay {
    /// It stays.
    #[default]
    None,
    /// In equal steps to 0 at the end of the run.
    Linear,
    /// By the factor `rate` in every `steps` updates.
    Exponential {
        /// The factor.
        rate: f64,
        /// Updates in which it is reached.
        steps: u64,
        /// All at once at the end of the `steps` instead of a little at each update.
        staircase: bool,
    },
    /// Half a cosine down to `eta_min`, begun anew after `t_0` updates, then after `t_0 · t_mult`,
    /// and so on (SGDR, arXiv 1608.03983).
    Cosine {
        /// Updates of the first descent; none is the rest of the run, without a restart.
        t_0: Option<u64>,
        /// Each descent is so many times as long as the one before.
        t_mult: u64,
        /// The rate at its end.
        eta_min: f64,
    },
    /// One rise and one fall, each half a cosine (arXiv 1708.07120).
    OneCycle {
        /// The highest rate; none is the run's learning rate.
        max_lr: Option<f64>,
        /// The share of the run that rises.
        pct_start: f64,
        /// It begins at `max_lr` over this.
        div_factor: f64,
        /// It ends at its beginning over this.
        final_div_factor: f64,
    },
    /// Constant until `steps` updates have been taken, warm-up included, then as one over the root
    /// of their number.
    InverseSqrt {
        /// Updates before it falls.
        steps: u64,
    },
    /// To `end_lr` at the end of the run, as a power of the share that is left.
    Polynomial {
        /// The power; 1 is linear.
        power: f64,
        /// The rate at the end.
        end_lr: f64,
    },
    /// Warm-up, a stable part, and a descent by half a cosine to 0 (arXiv 2404.06395), each a share
    /// of the run. What the shares leave over is stable.
    Wsd {
        /// The share of the warm-up.
        warmup_fraction: f64,
        /// The share of the descent.
        decay_fraction: f64,
    },
}

/// How many updates warm up: the larger of a share of the run and a number of evaluations.
pub fn warmup_updates(fraction: f64, evaluations: u64, updates: u64, evaluate_every: u64) -> u64 {
    let share = (fraction * updates as f64).ceil() as u64;
    share.max(evaluations.saturating_mul(evaluate_every))
}

impl Schedule {
    /// The rate of the update that comes after `t` updates, in a run of `updates` at the learning
    /// rate `lr`.
    pub fn at(&self, t: u64, updates: u64, lr: f64) -> f64 {
        if t < self.warmup_updates {
            return lr * t as f64 / self.warmup_updates as f64;
        }
        let since = t - self.warmup_updates;
        let rest = updates.saturating_sub(self.warmup_updates).max(1);
        let done = (since as f64 / rest as f64).min(1.0);
        match self.decay {
            Decay::None => lr,
            Decay::Linear => lr * (1.0 - done),
            Decay::Exponential { rate, steps, staircase } => {
                let steps = since as f64 / steps as f64;
                lr * rate.powf(if staircase { steps.floor() } else { steps })
            }
            Decay::Cosine { t_0, t_mult, eta_min } => {
                let descent = match t_0 {
                    None => done,
                    Some(t_0) => descent(since, t_0, t_mult),
                };
                half_cosine(lr, eta_min, descent)
            }
            Decay::OneCycle { max_lr, pct_start, div_factor, final_div_factor } => {
                let top = max_lr.unwrap_or(lr);
                let begin = top / div_factor;
                one_cycle(t, updates, pct_start, [begin, top, begin / final_div_factor])
            }
            Decay::InverseSqrt { steps } => {
                let steps = steps.max(self.warmup_updates);
                lr * (steps as f64 / t.max(steps) as f64).sqrt()
            }
            Decay::Polynomial { power, end_lr } => {
                (lr - end_lr) * (1.0 - done).powf(power) + end_lr
            }
            Decay::Wsd { warmup_fraction, decay_fraction } => {
                let part = |fraction: f64| (fraction * updates as f64).round() as u64;
                let (rises, falls) = (part(warmup_fraction), part(decay_fraction));
                let stable = updates.saturating_sub(falls);
                if t < rises {
                    lr * t as f64 / rises as f64
                } else if t < stable || falls == 0 {
                    lr
                } else {
                    half_cosine(lr, 0.0, (t - stable).min(falls) as f64 / falls as f64)
                }
            }
        }
    }

    /// Checks what the types do not say.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let wrong = |key, problem| Err(TrainError::Plan { key, problem });
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let above_0 = |x: f64| x.is_finite() && x > 0.0;
        match self.decay {
            Decay::OneCycle { .. } | Decay::Wsd { .. } if self.warmup_updates > 0 => {
                wrong("schedule.warmup_updates", "must be 0: this decay has its own warm-up")
            }
            Decay::Exponential { steps: 0, .. } => {
                wrong("schedule.decay.steps", "must be at least 1")
            }
            Decay::Exponential { rate, .. } if !above_0(rate) => {
                wrong("schedule.decay.rate", "must be above 0")
            }
            Decay::Cosine { t_0: Some(0), .. } => wrong("schedule.decay.t_0", "must be at least 1"),
            Decay::Cosine { t_mult: 0, .. } => wrong("schedule.decay.t_mult", "must be at least 1"),
            Decay::Cosine { eta_min, .. } if !(eta_min.is_finite() && eta_min >= 0.0) => {
                wrong("schedule.decay.eta_min", "must be at least 0")
            }
            Decay::OneCycle { pct_start, .. } if !share(pct_start) => {
                wrong("schedule.decay.pct_start", "must be between 0 and 1")
            }
            Decay::OneCycle { max_lr: Some(max_lr), .. } if !above_0(max_lr) => {
                wrong("schedule.decay.max_lr", "must be above 0")
            }
            Decay::OneCycle { div_factor: a, final_div_factor: b, .. }
                if !(above_0(a) && above_0(b)) =>
            {
                wrong("schedule.decay.div_factor", "must be above 0, and `final_div_factor` too")
            }
            Decay::InverseSqrt { steps: 0 } => wrong("schedule.decay.steps", "must be at least 1"),
            Decay::Polynomial { power, end_lr }
                if !(above_0(power) && end_lr.is_finite() && end_lr >= 0.0) =>
            {
                wrong("schedule.decay.power", "must be above 0, and `end_lr` at least 0")
            }
            Decay::Wsd { warmup_fraction: a, decay_fraction: b }
                if !(share(a) && share(b) && share(a + b)) =>
            {
                wrong("schedule.decay.warmup_fraction", "and `decay_fraction` must fit into 1")
            }
            _ => Ok(()),
        }
    }
}

/// From `from` to `to` while `done` goes from 0 to 1.
fn half_cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * done).cos()) / 2.0
}

/// How much of its descent is done after `since` updates, when descents grow by `t_mult`.
fn descent(since: u64, t_0: u64, t_mult: u64) -> f64 {
    let (mut since, mut length) = (since, t_0);
    if t_mult == 1 {
        since %= length;
    }
    while since >= length {
        since -= length;
        length = length.saturating_mul(t_mult);
    }
    since as f64 / length as f64
}

/// The rate of `torch.optim.lr_scheduler.OneCycleLR`: from `begin` to `top` to `end`.
fn one_cycle(t: u64, updates: u64, pct_start: f64, [begin, top, end]: [f64; 3]) -> f64 {
    let (t, last) = (t as f64, updates.saturating_sub(1) as f64);
    let summit = (pct_start * updates as f64 - 1.0).max(0.0);
    if t < summit {
        half_cosine(begin, top, t / summit)
    } else if last > summit {
        half_cosine(top, end, ((t - summit) / (last - summit)).min(1.0))
    } else {
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_warms_up_for_the_longer_of_both() {
        assert_eq!(warmup_updates(0.03, 0, 100, 10), 3);
        assert_eq!(warmup_updates(0.031, 0, 100, 10), 4);
        assert_eq!(warmup_updates(0.03, 2, 100, 10), 20);
        assert_eq!(warmup_updates(0.0, 0, 100, 10), 0);
    }

    #[test]
    fn every_schedule_is_finite_wherever_it_is_asked() {
        let decays = [
            Decay::None,
            Decay::Linear,
            Decay::Exponential { rate: 0.5, steps: 1, staircase: true },
            Decay::Cosine { t_0: None, t_mult: 1, eta_min: 0.0 },
            Decay::Cosine { t_0: Some(1), t_mult: 3, eta_min: 0.0 },
            Decay::OneCycle {
                max_lr: None,
                pct_start: 0.3,
                div_factor: 25.0,
                final_div_factor: 1e4,
            },
            Decay::InverseSqrt { steps: 1 },
            Decay::Polynomial { power: 0.5, end_lr: 0.0 },
            Decay::Wsd { warmup_fraction: 0.5, decay_fraction: 0.5 },
        ];
        for decay in decays {
            for updates in 1..6 {
                for t in 0..8 {
                    let rate = Schedule { warmup_updates: 0, decay }.at(t, updates, 1.0);
                    assert!((0.0..=1.0).contains(&rate), "{decay:?} {t} of {updates}: {rate}");
                }
            }
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let refused = |warmup_updates, decay| Schedule { warmup_updates, decay }.check().is_err();
        assert!(refused(1, Decay::Wsd { warmup_fraction: 0.1, decay_fraction: 0.1 }));
        assert!(refused(0, Decay::Wsd { warmup_fraction: 0.6, decay_fraction: 0.6 }));
        assert!(refused(0, Decay::Exponential { rate: 0.9, steps: 0, staircase: false }));
        assert!(refused(0, Decay::Cosine { t_0: None, t_mult: 0, eta_min: 0.0 }));
        assert!(refused(0, Decay::Polynomial { power: f64::NAN, end_lr: 0.0 }));
        assert!(!refused(3, Decay::Linear));
    }
}
