//! Layouts over rows: `cases/*.txt` hold a JSON object, `---`, and a template (none: the default layout).
//! The snapshots show the prompt, or every problem with its place and hint.

use std::fmt::Write as _;

use fidelio_prompting::{Example, Layout, LayoutSpec, PromptError, Row, ShowExamples};
use serde_json::Value;

#[test]
fn layouts() {
    insta::glob!("cases/*.txt", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        insta::assert_snapshot!(shown(&text));
    });
}

fn shown(case: &str) -> String {
    let (head, template) = match case.split_once("---\n") {
        Some((head, template)) => (head, Some(template)),
        None => (case, None),
    };
    let head: Value = serde_json::from_str(head).unwrap();
    let text = |key: &str| head.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let cells = head["row"].as_object().unwrap();
    let columns: Vec<String> = cells.keys().cloned().collect();
    let spec = LayoutSpec {
        template: template.map(ToOwned::to_owned),
        task: text("task"),
        examples: examples_as(&head),
        input: text("input").unwrap_or_default(),
        output: text("output"),
        null_text: text("null_text"),
    };
    let layout = match Layout::new(&spec, &columns) {
        Ok(layout) => layout,
        Err(problems) => {
            let mut out = String::new();
            for problem in problems {
                let format = text("format").unwrap_or_default();
                let written =
                    if problem.in_format { &format } else { template.unwrap_or_default() };
                let excerpt = written.get(problem.range.clone());
                writeln!(out, "error at {:?} {excerpt:?}: {problem}", problem.range).unwrap();
                writeln!(out, "  hint: {}", problem.hint().unwrap_or_default()).unwrap();
            }
            return out;
        }
    };
    let shots = head.get("examples").and_then(Value::as_array);
    let shots: Vec<Example<'_>> = shots
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .enumerate()
        .map(|(number, cells)| Example { number, cells: cells.as_object().unwrap(), rank: number })
        .collect();
    let row = Row { examples: head.get("examples").map(|_| &shots[..]), ..Row::new(7, cells) };
    match layout.render(&row) {
        Ok(prompt) => prompt,
        Err(problem) => failed(&problem),
    }
}

/// `"examples"` alone means in the text.
fn examples_as(head: &Value) -> Option<ShowExamples> {
    let text = |key: &str| head.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let separator = || text("separator").unwrap_or("\n\n".to_owned());
    match (head.get("examples"), head.get("turns")) {
        (None, None) => None,
        (_, Some(_)) => Some(ShowExamples::AsTurns),
        _ => Some(ShowExamples::InText { format: text("format"), separator: separator() }),
    }
}

fn failed(problem: &PromptError) -> String {
    format!("error: {problem}\n  hint: {}", problem.hint().unwrap_or_default())
}
