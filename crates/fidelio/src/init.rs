//! A first run file for a table: what can be seen is written down, what cannot is asked.

use fidelio_data::{ColumnProfile, DataError, Looks, Source, profile};

use crate::Error;

/// Beyond so many different values a column is text, whatever it looks like.
const MOST_LABELS: usize = 50;

/// A drafted run file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The run file; open questions stand in it as comments.
    pub text: String,
    /// The questions.
    pub questions: Vec<String>,
}

/// Drafts a run file for a table. `target` is the column to predict; without it the likeliest is
/// taken and a question asked.
///
/// # Errors
/// When the table cannot be read or has no such column.
pub fn draft(source: &dyn Source, target: Option<&str>, base_model: &str) -> Result<Draft, Error> {
    if let Some(target) = target {
        fidelio_data::require_columns(source, &[target])?;
    }
    let seen = profile(source)?;
    let mut questions = Vec::new();
    let output = match target {
        Some(target) => seen.columns.iter().find(|column| column.name == target),
        None => likeliest_target(&seen.columns),
    };
    let Some(output) = output else {
        return Err(DataError::MissingColumn {
            file: source.place(0).file.to_path_buf(),
            column: target.unwrap_or("(a column to predict)").to_owned(),
            have: source.columns().to_vec(),
        }
        .into());
    };
    if target.is_none() {
        questions.push(format!(
            "Is `{}` the column to predict? (`--target` names another.)",
            output.name
        ));
    }
    let inputs: Vec<&ColumnProfile> =
        seen.columns.iter().filter(|column| reads(column, output)).collect();
    let fixed_split = seen.columns.iter().any(|column| column.name == "split");
    let category = is_category(output, seen.rows);
    let text = write(source, base_model, output, &inputs, category, fixed_split, &mut questions)?;
    Ok(Draft { text, questions })
}

/// Whether a column is something the model should read.
fn reads(column: &ColumnProfile, output: &ColumnProfile) -> bool {
    let number = matches!(column.looks, Looks::Number);
    let id = column.name.eq_ignore_ascii_case("id") || column.name.ends_with("_id");
    column.name != output.name && column.name != "split" && !(number && id)
}

fn is_category(column: &ColumnProfile, rows: usize) -> bool {
    let few = column.distinct >= 2 && column.distinct <= MOST_LABELS;
    few && column.distinct * 2 <= rows.max(4) && column.mean_length < 40.0
}

/// A column named as answers usually are, else the last one that looks like labels, else the last.
fn likeliest_target(columns: &[ColumnProfile]) -> Option<&ColumnProfile> {
    const USUAL: [&str; 8] =
        ["label", "target", "output", "answer", "response", "class", "category", "sentiment"];
    let named = |name: &&str| columns.iter().find(|it| it.name.eq_ignore_ascii_case(name));
    USUAL
        .iter()
        .find_map(named)
        .or_else(|| columns.iter().rev().find(|it| matches!(it.looks, Looks::Category)))
        .or(columns.last())
}

fn write(
    source: &dyn Source,
    base_model: &str,
    output: &ColumnProfile,
    inputs: &[&ColumnProfile],
    category: bool,
    fixed_split: bool,
    questions: &mut Vec<String>,
) -> Result<String, Error> {
    let mut lines = vec![
        "# A first run file. `fidelio check` shows what the model will read;".to_owned(),
        "# `fidelio evaluate` measures it.".to_owned(),
        "model_type: llm".to_owned(),
        format!("base_model: {}", scalar(base_model)),
        String::new(),
        "input_features:".to_owned(),
    ];
    let first = inputs.first().map_or("text", |column| column.name.as_str());
    lines.push(format!("  - name: {}", scalar(first)));
    lines.push("    type: text".to_owned());
    lines.push(String::new());
    lines.push("output_features:".to_owned());
    lines.push(format!("  - name: {}", scalar(&output.name)));
    if category {
        let known = fidelio_data::Vocabulary::of(source, &output.name, None)?;
        lines.push("    type: category".to_owned());
        lines.push("    preprocessing:".to_owned());
        let labels: Vec<String> = known.labels().iter().map(|label| scalar(label)).collect();
        lines.push(format!("      vocab: [{}]", labels.join(", ")));
    } else {
        lines.push("    type: text".to_owned());
    }
    lines.push(String::new());
    let question = if category {
        "What shall the model decide? Say it in the task below, with what each label means."
    } else {
        "What shall the model write? Say it in the task below."
    };
    questions.push(question.to_owned());
    lines.push(format!("# {question}"));
    lines.push("prompt:".to_owned());
    lines.push("  template: |-".to_owned());
    for column in inputs {
        lines.push(format!("    {}: {{{}}}", column.name.replace(['{', '}'], ""), column.name));
    }
    lines.push("    {__task__}".to_owned());
    lines.push(format!("  task: {}", scalar(&task(source, output, category)?)));
    if !category {
        lines.push(String::new());
        lines.push("generation:".to_owned());
        let room = (output.mean_length / 2.0).clamp(16.0, 512.0) as usize;
        questions.push(format!("Are {room} tokens enough for an answer?"));
        lines.push(format!("  # Are {room} tokens enough for an answer?"));
        lines.push(format!("  max_new_tokens: {room}"));
    }
    if fixed_split {
        lines.push(String::new());
        lines.push("preprocessing:".to_owned());
        lines.push("  split: {type: fixed, column: split}".to_owned());
    }
    lines.push(String::new());
    lines.push("trainer: {type: none}".to_owned());
    Ok(lines.join("\n") + "\n")
}

fn task(source: &dyn Source, output: &ColumnProfile, category: bool) -> Result<String, Error> {
    if !category {
        return Ok(format!("Write the {}.", output.name));
    }
    let known = fidelio_data::Vocabulary::of(source, &output.name, None)?;
    Ok(format!("Which {} fits? Answer with one of: {}.", output.name, known.labels().join(", ")))
}

/// A YAML scalar that reads back as this text.
fn scalar(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && text.starts_with(char::is_alphabetic)
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use fidelio_data::Memory;
    use serde_json::json;

    use super::*;
    use crate::RunFile;

    fn table(rows: &[serde_json::Value]) -> Memory {
        let rows = rows.iter().map(|row| row.as_object().unwrap().clone()).collect();
        Memory::new("table", rows)
    }

    #[test]
    fn a_label_column_becomes_a_category_and_the_draft_is_sound() {
        let rows: Vec<_> = (0..20)
            .map(|i| {
                json!({"id": i, "review text": format!("it was the number {i} for us, really"),
                "label": if i % 2 == 0 { "yes" } else { "no: never" }})
            })
            .collect();
        let draft = draft(&table(&rows), None, "smollm2-135m").unwrap();
        let run = RunFile::parse("draft.yaml", &draft.text, &[])
            .unwrap_or_else(|error| panic!("{error:?}\n{}", draft.text));
        assert_eq!(run.config().output().column(), "label");
        assert!(matches!(run.config().output(), fidelio_config::OutputFeature::Category(_)));
        assert!(draft.text.contains(r#"vocab: ["no: never", "yes"]"#), "{}", draft.text);
        assert_eq!(draft.questions.len(), 2);
    }

    #[test]
    fn long_answers_become_text() {
        let rows: Vec<_> = (0..8)
            .map(|i| json!({"question": format!("why {i}?"), "answer": format!("because {i} is so and so")}))
            .collect();
        let draft = draft(&table(&rows), Some("answer"), "smollm2-135m").unwrap();
        let run = RunFile::parse("draft.yaml", &draft.text, &[])
            .unwrap_or_else(|error| panic!("{error:?}\n{}", draft.text));
        assert!(matches!(run.config().output(), fidelio_config::OutputFeature::Text(_)));
    }

    #[test]
    fn a_missing_target_names_the_columns() {
        let error = draft(&table(&[json!({"a": "x"})]), Some("b"), "m").unwrap_err();
        assert!(error.to_string().contains("`b`"), "{error}");
    }
}
