//! The answers that say most about what goes wrong.

use std::path::PathBuf;

use fidelio_eval::ChrfStats;

use crate::page::{Page, number, thousands};
use crate::{Answer, Answers};

/// How many rows are shown.
const SHOWN: usize = 10;
/// Columns of the data that are shown beside an answer.
const COLUMNS: usize = 6;
/// Letters of a text that are shown.
const LETTERS: usize = 600;
/// What stands where no rule found a label.
const NO_LABEL: &str = "(no label)";

/// Writes the wrong answers that the model was surest of, or the texts that are farthest off, with
/// the rows they answer where those still stand in the data.
pub(super) fn write(page: &mut Page, answers: &Answers, files: &[PathBuf]) {
    if answers.expected.is_none() {
        return;
    }
    let worst = worst(answers);
    page.heading("Wrong answers");
    if worst.is_empty() {
        page.paragraph("Every answer is as expected.");
        return;
    }
    let wrong = answers.rows.iter().filter(|row| !is_right(row)).count();
    let order =
        match (answers.labels, worst.iter().any(|it| answers.rows[*it].probability.is_some())) {
            (false, _) => "those that share least with what was expected (by chrF)",
            (true, true) => "those that the model was surest of",
            (true, false) => "the first of them",
        };
    let (wrong, all) = (thousands(wrong as u64), thousands(answers.rows.len() as u64));
    page.paragraph(&format!("{wrong} of {all} answers are not as expected; here are {order}."));
    let cells = answers.cells(files, &worst);
    if cells.is_empty() {
        page.paragraph(
            "The rows' own texts are not shown: the data is not where it was, or changed.",
        );
    }
    for index in worst {
        let row = &answers.rows[index];
        let mut parts: Vec<(String, String)> = cells.get(&index).cloned().unwrap_or_default();
        parts.truncate(COLUMNS);
        let answer = row.answer.clone().unwrap_or_else(|| NO_LABEL.to_owned());
        let sure = row.probability.map(|it| format!(" (probability {})", number(it)));
        parts.push(("expected".into(), row.expected.clone().unwrap_or_default()));
        parts.push(("answered".into(), format!("{answer}{}", sure.unwrap_or_default())));
        for (_, text) in &mut parts {
            *text = clipped(text);
        }
        page.row(&format!("line {}", thousands(row.line as u64)), &parts);
    }
}

/// The places of the worst answers, the worst first.
fn worst(answers: &Answers) -> Vec<usize> {
    let wrong = answers.rows.iter().enumerate().filter(|(_, row)| !is_right(row));
    let badness = |row: &Answer| {
        if answers.labels {
            return row.probability.unwrap_or(0.0);
        }
        let [answer, expected] = [&row.answer, &row.expected].map(|it| it.as_deref());
        -ChrfStats::of(answer.unwrap_or(""), expected.unwrap_or("")).score()
    };
    let mut found: Vec<(f64, usize)> = wrong.map(|(i, row)| (badness(row), i)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.into_iter().take(SHOWN).map(|(_, index)| index).collect()
}

/// Whether an answer is what was expected, white space at the ends aside.
fn is_right(row: &Answer) -> bool {
    match (&row.answer, &row.expected) {
        (Some(answer), Some(expected)) => answer.trim() == expected.trim(),
        _ => false,
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(labels: bool, rows: &[(&str, &str, Option<f64>)]) -> Answers {
        let rows = rows.iter().enumerate().map(|(row, (answer, expected, probability))| Answer {
            row,
            line: row + 2,
            answer: Some((*answer).into()),
            expected: Some((*expected).into()),
            probability: *probability,
        });
        let rows = rows.collect();
        Answers {
            path: "p.csv".into(),
            feature: "x".into(),
            expected: Some("x".into()),
            labels,
            rows,
        }
    }

    #[test]
    fn the_surest_mistakes_come_first() {
        let rows = [("a", "a", Some(1.0)), ("a", "b", Some(0.6)), ("b", "a", Some(0.9))];
        assert_eq!(worst(&answers(true, &rows)), [2, 1]);
    }

    #[test]
    fn texts_that_share_least_come_first() {
        let rows = [
            ("the cat sat", "the cat sits", None),
            (" right ", "right", None),
            ("nothing of it", "quux", None),
        ];
        assert_eq!(worst(&answers(false, &rows)), [2, 0]);
    }

    #[test]
    fn long_texts_are_clipped_between_letters() {
        let text = "ü".repeat(LETTERS + 1);
        assert_eq!(clipped(&text).chars().count(), LETTERS + 1);
        assert!(clipped(&text).ends_with('…'));
    }
}
