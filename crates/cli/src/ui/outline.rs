//! A nested value for people: one key a line, indented, in the manner of YAML.

use std::fmt::Write as _;

use serde_json::Value;

/// A list longer than this is cut with a word on how much is missing.
const SHOWN: usize = 12;

/// The lines of a value.
pub(crate) fn outline(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text
}

fn write(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        let _ = writeln!(out, "{indent}{key}:");
                        write(out, value, depth + 1);
                    }
                    Value::Array(items) if items.iter().any(Value::is_object) => {
                        let _ = writeln!(out, "{indent}{key}:");
                        for item in items {
                            let _ = writeln!(out, "{indent}- {item}");
                        }
                    }
                    value => {
                        let _ = writeln!(out, "{indent}{key}: {}", scalar(value));
                    }
                }
            }
        }
        value => {
            let _ = writeln!(out, "{indent}{}", scalar(value));
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if plain(text) => text.clone(),
        Value::Array(items) if items.len() > SHOWN => {
            let shown: Vec<String> = items.iter().take(SHOWN).map(scalar).collect();
            format!("[{}, … {} more]", shown.join(", "), items.len() - SHOWN)
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// Whether a text cannot be taken for anything else without its quotes.
fn plain(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.chars().any(|c| c.is_control() || matches!(c, '"' | '[' | ']' | ','))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn maps_nest_and_lists_stand_on_a_line() {
        let value = json!({
            "model": {"name": "a b", "context": 8192, "system": null},
            "labels": ["x", ""],
            "ids": (0..20).collect::<Vec<_>>(),
            "text": "two\nlines",
        });
        let expected = "model:\n  name: a b\n  context: 8192\n  system: none\n\
                        labels: [x, \"\"]\nids: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 8 more]\n\
                        text: \"two\\nlines\"\n";
        assert_eq!(super::outline(&value), expected);
    }
}
