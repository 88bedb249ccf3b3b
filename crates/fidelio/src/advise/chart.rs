//! The questions that lead to a way of answering, as decision charts ask them, each answered by what
//! was measured.

use fidelio_eval::{Choice, Comparison, SIGNIFICANCE, compare_scores};
use serde::Serialize;

use super::{Arm, ArmReport, RowScore, contest::Contest};
use crate::Error;

/// A question of the chart, with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// What is asked.
    pub question: &'static str,
    /// What was measured.
    pub answer: String,
}

/// The questions for which something was measured.
pub(super) fn of(contest: &Contest<'_>, choice: &Choice) -> Result<Vec<Fork>, Error> {
    let best_of = |wanted: &dyn Fn(Arm) -> bool| {
        let fitting = (0..contest.entries.len()).filter(|&it| wanted(contest.entries[it].arm));
        fitting.max_by(|&a, &b| {
            let score = |it: usize| choice.standings[it].score.value;
            score(a).total_cmp(&score(b))
        })
    };
    let zero_shot = best_of(&|arm| arm == Arm::ZeroShot);
    let fixed = best_of(&|arm| arm == Arm::FewShot);
    let retrieved = best_of(&|arm| arm.retrieves());
    let passages = best_of(&|arm| arm == Arm::Corpus);
    let prompted = best_of(&|arm| !arm.learns());
    let (probe, lora) = (best_of(&|arm| arm == Arm::Probe), best_of(&|arm| arm == Arm::Lora));
    let mut forks = vec![rows(contest)];
    forks.extend(contest.majority.map(|majority| alone(contest, choice, majority)));
    for (question, without, with) in [
        ("Do examples in the prompt help?", zero_shot, best_of(&|arm| arm.shows_rows())),
        ("Do examples chosen for each row help more than the same for all?", fixed, retrieved),
        ("Do passages of documents help?", zero_shot, passages),
        ("Does a head on a small encoder's vectors do better than prompting?", prompted, probe),
        ("Does fine-tuning do better than prompting?", prompted, lora),
        ("Does fine-tuning do better than a head?", probe, lora),
    ] {
        let (Some(without), Some(with)) = (without, with) else { continue };
        forks.push(Fork { question, answer: beside(contest, without, with)? });
    }
    Ok(forks)
}

fn rows(contest: &Contest<'_>) -> Fork {
    let rows = contest.training_rows;
    let usual = match rows {
        0..100 => "so few are shown in the prompt, or not used",
        100..1_000 => "hundreds can be shown in the prompt, chosen for each row",
        _ => "thousands are enough to learn from",
    };
    Fork {
        question: "How many labelled rows are there?",
        answer: format!("{rows}: {usual}, as charts have it"),
    }
}

/// Whether the prompt alone is better than always the same answer.
fn alone(contest: &Contest<'_>, choice: &Choice, majority: f64) -> Fork {
    let score = choice.standings[0].score;
    let verdict = match () {
        () if score.low > majority => "yes",
        () if score.high < majority => "no, it is worse",
        () => "not beyond chance",
    };
    Fork {
        question: "Does the prompt alone beat always giving the most frequent label?",
        answer: format!(
            "{verdict}: {} {:.3} [{:.3}, {:.3}], the most frequent label {majority:.3}",
            contest.score.name(),
            score.value,
            score.low,
            score.high
        ),
    }
}

/// Two arms on the rows that both answered.
fn beside(contest: &Contest<'_>, without: usize, with: usize) -> Result<String, Error> {
    let [a, b] = [without, with].map(|it| &contest.entries[it]);
    let rows = a.racer.scores.len().min(b.racer.scores.len());
    let (first, second) = (&a.racer.scores[..rows], &b.racer.scores[..rows]);
    let compared = compare_scores(first, second, &contest.bootstrap())?;
    let verdict = match () {
        () if compared.p_value >= SIGNIFICANCE => "no significant difference",
        () if compared.difference.value > 0.0 => "yes",
        () => "no, it is worse",
    };
    let (a, b) = (a.arm.name(), b.arm.name());
    Ok(format!("{verdict}: `{a}` {:.3}, `{b}` {}", compared.first, difference(&compared, rows)))
}

/// The second figure, and how far it is from the first.
fn difference(compared: &Comparison, rows: usize) -> String {
    let Comparison { second, difference, p_value, .. } = compared;
    format!(
        "{second:.3}, {:+.3} [{:+.3}, {:+.3}] on {rows} rows, p = {p_value:.3}",
        difference.value, difference.low, difference.high
    )
}

/// What to do, in a sentence or two.
pub(super) fn verdict(choice: &Choice, arms: &[ArmReport], score: RowScore) -> String {
    let [best, chosen] = [choice.best, choice.recommended].map(|it| &arms[it]);
    let name = chosen.arm.name();
    let (value, low, high) = (chosen.score.value, chosen.score.low, chosen.score.high);
    let reached = format!("{} {value:.3} [{low:.3}, {high:.3}]", score.name());
    if arms.len() == 1 {
        return format!("Only `{name}` was measured: {reached}.");
    }
    if !choice.differ() {
        let seen = choice.least_difference.map_or_else(
            || "these rows are too few to show any".to_owned(),
            |least| {
                format!(
                    "with these rows it would have to be at least {:.1} % of them",
                    least * 100.0
                )
            },
        );
        return format!(
            "No significant difference between the arms ({seen}). Take `{name}`, the cheapest: \
             {reached}."
        );
    }
    if chosen.arm == best.arm {
        return format!("Take `{name}`: the best, and none that is cheaper comes near: {reached}.");
    }
    format!(
        "Take `{name}`: {reached}, the cheapest of those that are not significantly worse than the \
         best, `{}` with {:.3}.",
        best.arm.name(),
        best.score.value
    )
}
