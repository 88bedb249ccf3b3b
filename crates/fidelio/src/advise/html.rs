//! The advice as a page that stands alone.

use fidelio_charts::{Bar, BarChart, BarGroup, Mark};

use super::{Advice, ArmReport};
use crate::{
    Error, Results,
    page::{Page, number, thousands},
    results::write_whole,
};

/// The page's file.
const PAGE: &str = "advice.html";

/// Writes the page into the folder of the results.
pub(super) fn write(advice: &Advice, results: &Results) -> Result<(), Error> {
    write_whole(&results.folder().join(PAGE), render(advice)?.as_bytes())
}

fn render(advice: &Advice) -> Result<String, Error> {
    let mut page = Page::new("Prompt, show examples, or fine-tune?");
    let (rows, training) = (advice.validation_rows as u64, advice.training_rows as u64);
    page.paragraph(&format!(
        "{} training rows, {} validation rows; {:.0} s of {:.0} s",
        thousands(training),
        thousands(rows),
        advice.seconds,
        advice.budget
    ));
    for note in advice.leaks.notes() {
        page.warning(&note);
    }
    page.heading("Advice");
    page.paragraph(&advice.verdict);
    write_cards(&mut page, advice);
    write_arms(&mut page, advice)?;
    page.heading("The way there");
    let forks = advice.chart.iter().map(|it| vec![it.question.to_owned(), it.answer.clone()]);
    page.table(&["question", "measured"], &forks.collect::<Vec<_>>());
    if !advice.left_out.is_empty() {
        page.heading("Not tried");
        let rows = advice.left_out.iter().map(|it| vec![it.arm.name().to_owned(), it.why.clone()]);
        page.table(&["arm", "why"], &rows.collect::<Vec<_>>());
    }
    Ok(page.finish())
}

fn write_cards(page: &mut Page, advice: &Advice) {
    let score = advice.score.name();
    if let Some(confirmed) = &advice.confirmed {
        let value = interval(confirmed.score.value, confirmed.score.low, confirmed.score.high);
        let rows = format!("{} test rows", thousands(confirmed.rows as u64));
        let note = format!("{}, on rows that nothing has touched", advice.recommended.name());
        page.card(score, &value, &rows, &note);
    }
    if let Some(more) = &advice.more_labels {
        let gain = more.difference.difference;
        let value = format!("{:+.3} [{:+.3}, {:+.3}]", gain.value, gain.low, gain.high);
        let rows = format!("{} rows beside {}", more.rows, more.half);
        page.card(score, &value, &rows, "what twice as many labels were worth");
    }
}

fn write_arms(page: &mut Page, advice: &Advice) -> Result<(), Error> {
    page.heading("Arms");
    let name = advice.score.name();
    let mark = |arm: &ArmReport| Bar {
        name: arm.arm.name().to_owned(),
        value: arm.score.value,
        interval: Some((arm.score.low, arm.score.high)),
        series: 0,
        mark: advice.majority.map(|value| Mark { name: "the most frequent label".into(), value }),
    };
    let groups = vec![BarGroup { name: name.into(), bars: advice.arms.iter().map(mark).collect() }];
    let chart = BarChart { title: "What they reach".into(), axis: "1 is best".into(), groups };
    page.picture(&chart.draw()?);
    let seconds = |arm: &ArmReport| Bar {
        name: arm.arm.name().to_owned(),
        value: arm.cost.total,
        interval: None,
        series: 0,
        mark: None,
    };
    let groups = vec![BarGroup {
        name: format!("{} rows", thousands(advice.answers)),
        bars: advice.arms.iter().map(seconds).collect(),
    }];
    let axis = "seconds, preparing included".into();
    page.picture(&BarChart { title: "What they cost".into(), axis, groups }.draw()?);
    let rows: Vec<Vec<String>> = advice.arms.iter().map(|arm| row(arm, advice)).collect();
    page.table(
        &["arm", "rows", name, "beside the best", "p", "tokens/row", "s/1,000 rows", "prepare", ""],
        &rows,
    );
    page.paragraph(
        "Intervals are 95 % bootstrap intervals, the differences paired over the same rows; p is the \
         exact sign test, corrected for the number of arms by Holm's method.",
    );
    Ok(())
}

fn row(arm: &ArmReport, advice: &Advice) -> Vec<String> {
    let beside = arm.beside_best.map_or_else(String::new, |it| {
        let gap = it.difference;
        format!("{:+.3} [{:+.3}, {:+.3}]", gap.value, gap.low, gap.high)
    });
    let mut notes = arm.notes.clone();
    if arm.arm == advice.recommended {
        notes.insert(0, "recommended".into());
    }
    notes.extend(arm.stopped.map(|why| why.said().to_owned()));
    vec![
        arm.arm.name().to_owned(),
        thousands(arm.rows as u64),
        interval(arm.score.value, arm.score.low, arm.score.high),
        beside,
        arm.beside_best.map_or_else(String::new, |_| number(arm.p_value)),
        format!("{:.0}", arm.cost.tokens_per_thousand / 1_000.0),
        format!("{:.1}", arm.cost.seconds_per_thousand),
        format!("{:.1} s", arm.cost.preparing),
        notes.join("; "),
    ]
}

fn interval(value: f64, low: f64, high: f64) -> String {
    format!("{} [{}, {}]", number(value), number(low), number(high))
}
