//! How a failure reads: message, causes, hint; all problems of a run file; rows with their places.

use std::fmt::Write as _;

use fidelio::{Error, RowProblem};
use serde_json::{Map, Value, json};

use super::{Ui, complain};
use crate::failure::Failure;

/// Rows that are shown with their places; of the rest only the number.
const ROWS: usize = 20;

/// Says why the command ended. As JSON also to stdout, so that a program need not read prose.
pub(crate) fn report(ui: &Ui, failure: &Failure) {
    if matches!(failure, Failure::Found) {
        return;
    }
    complain(&text(failure));
    // A run that was stopped has given its result, which says so.
    if ui.is_json() && !matches!(failure, Failure::Interrupted { .. }) {
        // When stdout cannot take it, stderr has it already.
        drop(ui.json(&json!({ "error": value(failure) })));
    }
}

fn text(failure: &Failure) -> String {
    match failure {
        Failure::Library(Error::RunFile(problems)) => problems.to_string(),
        Failure::Library(Error::Rows { problems, .. }) => {
            let mut text = format!("error: {}\n", failure.message());
            text.push_str(&rows(problems));
            text
        }
        _ => {
            let mut text = format!("error: {}", failure.message());
            for cause in failure.causes() {
                let _ = write!(text, "\n  = cause: {cause}");
            }
            if let Some(hint) = failure.hint() {
                let _ = write!(text, "\n  = hint: {hint}");
            }
            text
        }
    }
}

/// Row problems as lines, at most [`ROWS`] of them; each hint once.
pub(crate) fn rows(problems: &[RowProblem]) -> String {
    let mut lines = Vec::new();
    for problem in problems.iter().take(ROWS) {
        lines.push(format!("  {}: {}", problem.place, chain(&problem.error)));
    }
    if let Some(more @ 1..) = problems.len().checked_sub(ROWS) {
        lines.push(format!("  and {more} more; `--json` lists all"));
    }
    let mut hints: Vec<String> = Vec::new();
    for hint in problems.iter().filter_map(|problem| problem.error.hint()) {
        if !hints.iter().any(|known| *known == hint) {
            hints.push(hint.into_owned());
        }
    }
    lines.extend(hints.iter().map(|hint| format!("  = hint: {hint}")));
    lines.join("\n")
}

/// A message and what lies behind it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A failure as data.
fn value(failure: &Failure) -> Value {
    let mut map = Map::new();
    map.insert("message".to_owned(), failure.message().into());
    map.insert("causes".to_owned(), failure.causes().into());
    map.insert("hint".to_owned(), failure.hint().map(std::borrow::Cow::into_owned).into());
    match failure {
        Failure::Library(Error::RunFile(problems)) => {
            map.insert("problems".to_owned(), json!(problems.problems));
        }
        Failure::Library(Error::Rows { problems, .. }) => {
            map.insert("rows".to_owned(), problems.iter().map(row_value).collect());
        }
        _ => {}
    }
    Value::Object(map)
}

fn row_value(problem: &RowProblem) -> Value {
    json!({
        "file": problem.place.file.display().to_string(),
        "line": problem.place.line,
        "message": chain(&problem.error),
        "hint": problem.error.hint(),
    })
}
