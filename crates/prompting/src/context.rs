//! Retrieved rows as readable text.

use serde_json::{Map, Value};

use crate::layout::cell_text;

/// The text of retrieved examples, for [`Row::context`](crate::Row): each example's input and, where it
/// has one, its answer, under their columns' names, with an empty line between examples.
///
/// ```
/// let rows = [
///     serde_json::json!({"review": "Lovely.", "label": "good"}),
///     serde_json::json!({"review": "Awful.", "label": "bad"}),
/// ];
/// let rows: Vec<_> = rows.iter().map(|r| r.as_object().unwrap()).collect();
/// assert_eq!(
///     fidelio_prompting::context_text(&rows, "review", Some("label")),
///     "review: Lovely.\nlabel: good\n\nreview: Awful.\nlabel: bad",
/// );
/// ```
pub fn context_text(shots: &[&Map<String, Value>], input: &str, output: Option<&str>) -> String {
    let line = |shot: &Map<String, Value>, column: &str| {
        let text = cell_text(shot.get(column)?, true)?;
        Some(format!("{column}: {text}"))
    };
    let shots = shots.iter().map(|shot| {
        let lines: Vec<String> =
            [Some(input), output].into_iter().flatten().filter_map(|c| line(shot, c)).collect();
        lines.join("\n")
    });
    shots.collect::<Vec<_>>().join("\n\n")
}
