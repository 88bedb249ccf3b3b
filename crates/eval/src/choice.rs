//! Which of several ways of answering to take: the cheapest that is not shown to be worse than the
//! best.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Comparison, Estimate, EvalError, compare_scores, sign_test};

/// The share of choices in which chance alone may make one of the contenders look worse.
pub const SIGNIFICANCE: f64 = 0.05;

/// One way of answering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contender<'a> {
    /// One score per row, higher being better. One that gave up early has fewer rows than the
    /// others: their first ones.
    pub scores: &'a [f64],
    /// What answering with it costs, in any unit.
    pub cost: f64,
}

/// How a contender stands beside the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its mean score.
    pub score: Estimate,
    /// The best, then this one, on the rows that both answered; none for the best itself.
    pub beside_best: Option<Comparison>,
    /// The sign test's probability, corrected for the number of contenders by Holm's method.
    pub p_value: f64,
    /// Whether it is worse than the best beyond chance.
    pub worse: bool,
}

/// What to take of several contenders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The one with the highest mean score; of equals the cheapest.
    pub best: usize,
    /// The cheapest of those with all rows that are not worse than the best beyond chance.
    pub recommended: usize,
    /// All of them, in the order in which they came.
    pub standings: Vec<Standing>,
    /// The smallest share of rows on which two contenders must differ, all in favor of one, before
    /// that is beyond chance; none where these rows can show nothing.
    pub least_difference: Option<f64>,
}

impl Choice {
    /// Chooses. What "worse" means is decided by exact sign tests over the rows that two contenders
    /// share (McNemar's test where scores are 0 and 1), each against the best, with Holm's
    /// correction (Holm 1979, "A simple sequentially rejective multiple test procedure").
    ///
    /// # Errors
    /// Without contenders, or where one of them has no rows.
    pub fn of(contenders: &[Contender<'_>], bootstrap: &Bootstrap) -> Result<Self, EvalError> {
        let scores = contenders.iter().map(|it| bootstrap.mean(it.scores));
        let scores = scores.collect::<Result<Vec<_>, _>>()?;
        let better = |&a: &usize, &b: &usize| {
            let by_score = scores[a].value.total_cmp(&scores[b].value);
            by_score.then(contenders[b].cost.total_cmp(&contenders[a].cost))
        };
        // One that gave up had few rows, which show little: it is one of the others that is taken.
        let most = contenders.iter().map(|it| it.scores.len()).max().ok_or(EvalError::NoRows)?;
        let all = 0..contenders.len();
        let finished: Vec<usize> = all.filter(|&it| contenders[it].scores.len() == most).collect();
        let best = finished.iter().copied().max_by(better).ok_or(EvalError::NoRows)?;
        let beside = contenders.iter().enumerate().map(|(number, it)| {
            let rows = it.scores.len();
            let compare = || compare_scores(&contenders[best].scores[..rows], it.scores, bootstrap);
            (number != best).then(compare).transpose()
        });
        let beside = beside.collect::<Result<Vec<_>, _>>()?;
        let p_values = corrected(&beside);
        let standings = beside.into_iter().zip(&p_values).zip(&scores);
        let standings = standings.map(|((beside_best, &p_value), &score)| {
            let lower = beside_best.is_some_and(|it| it.difference.value < 0.0);
            let worse = lower && p_value < SIGNIFICANCE;
            Standing { score, beside_best, p_value, worse }
        });
        let standings: Vec<Standing> = standings.collect();
        let cheaper = |a: &usize, b: &usize| contenders[*a].cost.total_cmp(&contenders[*b].cost);
        let good = finished.into_iter().filter(|&it| !standings[it].worse);
        let recommended = good.min_by(cheaper).unwrap_or(best);
        let least_difference = least_difference(most, contenders.len() - 1);
        Ok(Self { best, recommended, standings, least_difference })
    }

    /// Whether any contender is worse than the best beyond chance.
    pub fn differ(&self) -> bool {
        self.standings.iter().any(|it| it.worse)
    }
}

/// Each comparison's probability after Holm's correction; 1 where there is none.
fn corrected(beside: &[Option<Comparison>]) -> Vec<f64> {
    let compared: Vec<usize> = (0..beside.len()).filter(|&it| beside[it].is_some()).collect();
    let found: Vec<f64> = beside.iter().flatten().map(|it| it.p_value).collect();
    let mut p_values = vec![1.0; beside.len()];
    for (number, p_value) in compared.into_iter().zip(holm(&found)) {
        p_values[number] = p_value;
    }
    p_values
}

/// Probabilities of several tests, each corrected for their number by Holm's method: none of those
/// below a level is wrongly so with more than that probability.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, &test) in order.iter().enumerate() {
        let times = (p_values.len() - rank) as f64;
        least = least.max((p_values[test] * times).min(1.0));
        corrected[test] = least;
    }
    corrected
}

/// The smallest share of `rows` that, all in favor of one side, is beyond chance in each of so many
/// tests.
fn least_difference(rows: usize, tests: usize) -> Option<f64> {
    let level = SIGNIFICANCE / tests.max(1) as f64;
    let least = (1..=rows).find(|&differing| sign_test(differing as u64, 0) < level)?;
    Some(least as f64 / rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many rows right, the rest wrong.
    fn right(right: usize, rows: usize) -> Vec<f64> {
        (0..rows).map(|row| if row < right { 1.0 } else { 0.0 }).collect()
    }

    fn choose(contenders: &[(Vec<f64>, f64)]) -> Choice {
        let contenders: Vec<Contender<'_>> =
            contenders.iter().map(|(scores, cost)| Contender { scores, cost: *cost }).collect();
        Choice::of(&contenders, &Bootstrap::default()).unwrap()
    }

    /// `statsmodels.stats.multitest.multipletests(p, method="holm")` of version 0.14.4.
    #[test]
    fn probabilities_are_corrected_as_statsmodels_does() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005, 0.6]);
        let expected = [0.04, 0.09, 0.09, 0.025, 0.6];
        for (ours, theirs) in corrected.iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-12, "{corrected:?}");
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn the_cheapest_is_taken_where_nothing_is_shown_to_be_better() {
        let choice = choose(&[(right(70, 100), 1.0), (right(72, 100), 9.0)]);
        assert_eq!((choice.best, choice.recommended, choice.differ()), (1, 0, false));
    }

    #[test]
    fn what_is_worse_beyond_chance_is_not_taken_however_cheap() {
        let choice = choose(&[(right(60, 100), 1.0), (right(90, 100), 9.0), (right(88, 100), 5.0)]);
        assert!(choice.standings[0].worse && !choice.standings[2].worse);
        assert_eq!((choice.best, choice.recommended), (1, 2));
    }

    #[test]
    fn one_that_gave_up_is_compared_on_its_own_rows() {
        // All of its twenty rows were right by luck; it is not the best, and not shown to be worse.
        let choice = choose(&[(right(20, 20), 1.0), (right(90, 100), 2.0)]);
        let beside = choice.standings[0].beside_best.unwrap();
        assert_eq!((choice.best, beside.first, beside.second), (1, 1.0, 1.0));
        assert_eq!(choice.recommended, 1);
    }

    #[test]
    fn many_contenders_make_chance_likelier() {
        // Six rows of difference: p = 0.031, enough for one test and not for four.
        let best = (right(56, 100), 9.0);
        let alone = choose(&[(right(50, 100), 1.0), best.clone()]);
        let others = || (right(55, 100), 8.0);
        let among = choose(&[(right(50, 100), 1.0), best, others(), others(), others()]);
        assert!(alone.standings[0].worse && !among.standings[0].worse);
        assert_eq!((alone.least_difference, among.least_difference), (Some(0.06), Some(0.08)));
    }

    #[test]
    fn few_rows_show_nothing() {
        let choice = choose(&[(right(0, 4), 1.0), (right(4, 4), 2.0)]);
        assert_eq!((choice.recommended, choice.least_difference), (0, None));
    }
}
