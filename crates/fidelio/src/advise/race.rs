//! Spending time where it tells most: arms answer more and more of the same rows. Those that are
//! surely worse than the best stop, and where time is short the least promising ones.

use std::ops::Range;

use fidelio_eval::{Bootstrap, compare_scores, holm};
use serde::Serialize;

use crate::Error;

/// Rows of the first round.
pub(super) const FIRST: usize = 32;
/// A round of fewer rows tells nothing.
pub(super) const FEWEST: usize = 8;
/// An arm stops when it is worse with less than this probability of chance. It is looked at after
/// every round, so the level is stricter than that of the final choice.
const STOPS_BELOW: f64 = 0.01;

/// An arm in the race.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Racer {
    /// One per row that it has answered.
    pub(super) scores: Vec<f64>,
    /// What answering them took.
    pub(super) seconds: f64,
    /// Why it has been stopped, if it has.
    pub(super) stopped: Option<Stopped>,
}

/// Why an arm answers no more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// It is worse than the best beyond doubt.
    Beaten,
    /// It was not the most promising, and time was short.
    ForTime,
}

impl Stopped {
    /// In words.
    pub fn said(self) -> &'static str {
        match self {
            Self::Beaten => "stopped: beaten",
            Self::ForTime => "stopped for want of time",
        }
    }
}

/// What the racers run on.
pub(super) trait Track {
    /// Lets an arm answer rows; one score for each.
    fn answer(&mut self, arm: usize, rows: Range<usize>) -> Result<Vec<f64>, Error>;

    /// Seconds that are left for the race.
    fn left(&self) -> f64;

    /// Seconds since some moment.
    fn now(&self) -> f64;
}

impl Racer {
    fn seconds_per_row(&self) -> f64 {
        self.seconds / self.scores.len().max(1) as f64
    }

    fn mean(&self) -> f64 {
        self.scores.iter().sum::<f64>() / self.scores.len().max(1) as f64
    }

    /// Lets it answer the rows up to `end` that it has not answered yet.
    pub(super) fn advance(
        &mut self,
        arm: usize,
        end: usize,
        track: &mut dyn Track,
    ) -> Result<(), Error> {
        let began = track.now();
        let scores = track.answer(arm, self.scores.len()..end)?;
        self.seconds += track.now() - began;
        self.scores.extend(scores);
        Ok(())
    }
}

/// Goes on until all `rows` are answered, time is up, or one arm is left. All arms that go on have
/// answered the same rows. The first arm is what the others are measured by: it is not stopped for
/// want of time.
pub(super) fn race(racers: &mut [Racer], rows: usize, track: &mut dyn Track) -> Result<(), Error> {
    loop {
        stop_the_beaten(racers)?;
        let done = running(racers).map(|it| racers[it].scores.len()).max().unwrap_or(rows);
        let wanted = done.max(FIRST).min(rows - done);
        let affordable = make_time(racers, wanted.min(FIRST), track.left());
        let next = wanted.min(affordable);
        let last = next == rows - done;
        if running(racers).count() < 2 || next == 0 || (next < FEWEST && !last) {
            return Ok(());
        }
        for arm in running(racers).collect::<Vec<_>>() {
            racers[arm].advance(arm, done + next, track)?;
        }
    }
}

/// Those that have not been stopped.
fn running(racers: &[Racer]) -> impl Iterator<Item = usize> {
    (0..racers.len()).filter(|&it| racers[it].stopped.is_none())
}

/// The one with the highest mean among those that run.
fn leader(racers: &[Racer]) -> Option<usize> {
    running(racers).max_by(|&a, &b| racers[a].mean().total_cmp(&racers[b].mean()))
}

/// Stops the least promising arms until the others can answer so many rows each, or two are left;
/// how many rows they can.
fn make_time(racers: &mut [Racer], wanted: usize, left: f64) -> usize {
    loop {
        let per_row: f64 = running(racers).map(|it| racers[it].seconds_per_row()).sum();
        let affordable = (left.max(0.0) / per_row.max(1e-9)) as usize;
        let best = leader(racers);
        let others = running(racers).filter(|&it| it != 0 && Some(it) != best);
        let least = others.min_by(|&a, &b| {
            let by_mean = racers[a].mean().total_cmp(&racers[b].mean());
            by_mean.then(racers[b].seconds_per_row().total_cmp(&racers[a].seconds_per_row()))
        });
        let Some(least) = least.filter(|_| affordable < wanted) else { return affordable };
        racers[least].stopped = Some(Stopped::ForTime);
    }
}

/// Stops arms that are worse than the best one beyond doubt.
fn stop_the_beaten(racers: &mut [Racer]) -> Result<(), Error> {
    let best = leader(racers).filter(|&best| !racers[best].scores.is_empty());
    let Some(best) = best else { return Ok(()) };
    let others: Vec<usize> = running(racers).filter(|&it| it != best).collect();
    let beside =
        |&it: &usize| compare_scores(&racers[best].scores, &racers[it].scores, &Bootstrap::none());
    let compared = others.iter().map(beside).collect::<Result<Vec<_>, _>>()?;
    let chances = holm(&compared.iter().map(|it| it.p_value).collect::<Vec<_>>());
    for ((arm, compared), chance) in others.into_iter().zip(compared).zip(chances) {
        if compared.difference.value < 0.0 && chance < STOPS_BELOW {
            racers[arm].stopped = Some(Stopped::Beaten);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arms that are right on a share of the rows and take a second for each.
    struct Shares {
        shares: Vec<f64>,
        time: f64,
        budget: f64,
    }

    impl Track for Shares {
        fn answer(&mut self, arm: usize, rows: Range<usize>) -> Result<Vec<f64>, Error> {
            self.time += rows.len() as f64;
            // Spread evenly, and for every arm in the same order, so that the better are right
            // wherever the worse are.
            let right = |row: usize| ((row * 37) % 100) as f64 / 100.0 < self.shares[arm];
            Ok(rows.map(|row| f64::from(u8::from(right(row)))).collect())
        }

        fn left(&self) -> f64 {
            self.budget - self.time
        }

        fn now(&self) -> f64 {
            self.time
        }
    }

    fn raced(shares: &[f64], rows: usize, budget: f64) -> (Vec<Racer>, Shares) {
        let mut track = Shares { shares: shares.to_vec(), time: 0.0, budget };
        let mut racers = vec![Racer::default(); shares.len()];
        for (arm, racer) in racers.iter_mut().enumerate() {
            racer.advance(arm, FIRST.min(rows), &mut track).unwrap();
        }
        race(&mut racers, rows, &mut track).unwrap();
        (racers, track)
    }

    #[test]
    fn weak_arms_stop_early_and_the_others_answer_all_rows() {
        let (racers, _) = raced(&[0.3, 0.9, 0.88], 400, 1e9);
        assert_eq!(racers[0].stopped, Some(Stopped::Beaten));
        assert!(racers[0].scores.len() < 100, "{}", racers[0].scores.len());
        assert_eq!([racers[1].scores.len(), racers[2].scores.len()], [400, 400]);
    }

    #[test]
    fn time_is_kept_and_those_that_go_on_have_the_same_rows() {
        let (racers, track) = raced(&[0.8, 0.81], 400, 150.0);
        assert!(track.time <= 150.0 && track.time > 130.0, "{}", track.time);
        assert_eq!(racers[0].scores.len(), racers[1].scores.len());
        assert!((racers[0].seconds - racers[0].scores.len() as f64).abs() < 1e-9);
    }

    #[test]
    fn a_race_with_one_arm_left_is_over() {
        let (racers, _) = raced(&[0.1, 0.95], 400, 1e9);
        assert!(racers[0].stopped.is_some() && racers[1].scores.len() <= 2 * FIRST);
    }

    #[test]
    fn where_time_is_short_it_goes_to_the_promising_ones() {
        // Four arms have used 128 of 200 seconds; the rest is enough for two to answer 32 more.
        let (racers, _) = raced(&[0.72, 0.6, 0.8, 0.75], 400, 200.0);
        let stopped: Vec<Option<Stopped>> = racers.iter().map(|it| it.stopped).collect();
        let for_time = Some(Stopped::ForTime);
        assert_eq!(stopped, [None, for_time, None, for_time]);
        assert_eq!([racers[0].scores.len(), racers[2].scores.len()], [64, 64]);
    }

    #[test]
    fn no_time_is_no_error() {
        let (racers, _) = raced(&[0.8, 0.8], 400, 0.0);
        assert_eq!(racers[0].scores.len(), FIRST);
    }
}
