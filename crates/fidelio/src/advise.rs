//! Prompt, show examples, retrieve, or fine-tune? Each way is measured on the user's own rows.
//!
//! Arms are compared on the validation rows, where weak ones stop early; what is recommended is the
//! cheapest one that is not shown to be worse than the best, and it is measured once more on test
//! rows that nothing has touched.

mod arms;
mod chart;
mod contest;
mod entry;
mod html;
mod leaks;
mod learnt;
mod race;
mod score;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use fidelio_eval::{Comparison, Estimate};
use fidelio_trainer::Observer as Watcher;
use serde::Serialize;

use crate::{DataArgs, Error, Machine, Observer, Results, RunFile};

pub use arms::Arm;
pub use chart::Fork;
pub use leaks::{LabelsInside, Leaks};
pub use learnt::MoreLabels;
pub use race::Stopped;
pub use score::RowScore;

use contest::Contest;

/// The advice as data, in the folder of its results.
const ADVICE: &str = "advice.json";

/// What is wanted of the advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdviseOptions {
    /// How long it may take.
    pub budget: Duration,
    /// The arms that are tried; none for those that the run file suits.
    pub arms: Option<Vec<Arm>>,
    /// Rows that will be answered with the winner: what preparing it costs is spread over them.
    pub answers: u64,
}

impl Default for AdviseOptions {
    fn default() -> Self {
        Self { budget: Duration::from_mins(15), arms: None, answers: 1_000 }
    }
}

/// Which way to take, and what that is known from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// What a row's answer scores.
    pub score: RowScore,
    /// The arms that were measured, in the order in which they were tried.
    pub arms: Vec<ArmReport>,
    /// Arms that were not measured, and why.
    pub left_out: Vec<LeftOut>,
    /// The arm with the highest score on the validation rows.
    pub best: Arm,
    /// The cheapest arm that is not worse than it beyond chance.
    pub recommended: Arm,
    /// What that means, in a sentence or two.
    pub verdict: String,
    /// The questions that lead to an arm, each with what was measured for it.
    pub chart: Vec<Fork>,
    /// The share of rows that must differ, all in favor of one arm, before that is beyond chance.
    pub least_difference: Option<f64>,
    /// The score of always giving the most frequent label; none for texts.
    pub majority: Option<f64>,
    /// The recommended arm on test rows; none where there were none, or no time was left.
    pub confirmed: Option<Confirmed>,
    /// What half of the labelled rows would have reached; none where nothing was learnt, or no time
    /// was left.
    pub more_labels: Option<MoreLabels>,
    /// What looked wrong before anything was measured.
    pub leaks: Leaks,
    /// Validation rows that could be measured.
    pub validation_rows: usize,
    /// Rows that may be learnt or shown.
    pub training_rows: usize,
    /// The time that it was given, in seconds.
    pub budget: f64,
    /// The time that it took, in seconds.
    pub seconds: f64,
    /// Whether the observer stopped it before it was done.
    pub stopped: bool,
    /// Rows that costs are spread over.
    pub answers: u64,
}

/// One arm, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmReport {
    /// Which.
    pub arm: Arm,
    /// Validation rows that it answered: the first ones of those that the others answered.
    pub rows: usize,
    /// Its mean score.
    pub score: Estimate,
    /// The best arm, then this one, on the same rows; none for the best itself.
    pub beside_best: Option<Comparison>,
    /// The chance of a difference like that to the best, corrected for the number of arms.
    pub p_value: f64,
    /// Whether it is worse than the best beyond chance.
    pub worse: bool,
    /// Why it answered fewer rows than the others, if it did.
    pub stopped: Option<Stopped>,
    /// What it costs.
    pub cost: ArmCost,
    /// Its run file, ready to use.
    pub run_file: PathBuf,
    /// The folder of the run that it learnt in; none where it learns nothing.
    pub trained: Option<PathBuf>,
    /// What to know of it.
    pub notes: Vec<String>,
}

/// What an arm costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ArmCost {
    /// Tokens of prompts and answers, for a thousand rows.
    pub tokens_per_thousand: f64,
    /// Of these, what went through the model: less where prompts begin alike.
    pub computed_per_thousand: f64,
    /// Seconds for a thousand rows.
    pub seconds_per_thousand: f64,
    /// Seconds before the first row: learning, and vectors of the rows that may be shown.
    pub preparing: f64,
    /// The most memory that was resident while it answered, in bytes, where the system says so.
    pub peak_memory: Option<u64>,
    /// Seconds for preparing and for as many rows as are to be answered.
    pub total: f64,
}

/// An arm that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Which.
    pub arm: Arm,
    /// Why.
    pub why: String,
}

/// The recommended arm on rows that nothing has touched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confirmed {
    /// Test rows.
    pub rows: usize,
    /// Its mean score on them.
    pub score: Estimate,
    /// The prompt alone, then the recommended arm, on the same rows; none where they are the same.
    pub beside_zero_shot: Option<Comparison>,
}

/// Measures the arms of a run file and advises one of them. Run files of all arms, and what was
/// learnt, go to the folder of `results`; `observer` watches answering, `lessons` learning.
///
/// # Errors
/// When the run file does not fit the model or the data, when rows cannot become prompts, or when
/// the engine fails. An arm that cannot be tried for a reason of its own is left out instead, and the
/// advice says why.
pub fn advise(
    machine: &Machine,
    run: &RunFile,
    data: &DataArgs,
    options: &AdviseOptions,
    results: &Results,
    observer: &mut dyn Observer,
    lessons: &mut dyn Watcher,
) -> Result<Advice, Error> {
    let began = Instant::now();
    let mut contest = Contest::prepare(machine, run, data, options, results, began, observer)?;
    contest.first_round(observer)?;
    let learnt = contest.learn(observer, lessons);
    if contest.goes_on(learnt)? {
        let raced = contest.race(observer);
        contest.goes_on(raced)?;
    }
    contest.choose()?;
    let confirmed = contest.confirm(observer);
    if contest.goes_on(confirmed)? {
        let asked = contest.ask_for_more_labels(observer, lessons);
        contest.goes_on(asked)?;
    }
    let advice = contest.advice()?;
    html::write(&advice, results)?;
    results.write_json(ADVICE, &advice)?;
    Ok(advice)
}
