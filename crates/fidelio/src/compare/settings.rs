//! What two runs have set otherwise.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::RunRecord;

/// Something that two runs have differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The key of the run file, or what it is in plain words.
    pub key: String,
    /// The first run's; none where it has no such key.
    pub first: Option<Value>,
    /// The second run's; none where it has no such key.
    pub second: Option<Value>,
}

/// Parts of a plan that decide what comes out, besides the run file's own keys.
const PLAN: [(&str, &str); 22] = [
    ("model file", "/model/path"),
    ("model format", "/model/description/format"),
    ("model architecture", "/model/description/architecture"),
    ("model parameters", "/model/description/parameters"),
    ("model encodings", "/model/description/encodings"),
    ("tokenizer (SHA-256)", "/model/tokenizer_sha256"),
    ("chat template (SHA-256)", "/model/chat_template_sha256"),
    ("arithmetic", "/precision"),
    ("device", "/device"),
    ("context", "/context"),
    ("prompt template (hash)", "/prompt/fingerprint/source"),
    ("use of the chat template", "/prompt/fingerprint/chat_template"),
    ("prompt rules (hash)", "/prompt/fingerprint/rules"),
    ("BOS token", "/prompt/fingerprint/bos"),
    ("stop tokens", "/prompt/fingerprint/stops"),
    ("how answers are found", "/answer/by"),
    ("labels", "/answer/labels"),
    ("data files", "/data/files"),
    ("split", "/data/split"),
    ("rows in the files", "/data/rows_read"),
    ("rows of the run", "/data/rows"),
    ("Fidelio", "/fidelio_version"),
];

/// The keys of the run files that differ, every default filled.
pub(super) fn of_run_files(first: &RunRecord, second: &RunRecord) -> Vec<Difference> {
    let leaves = |run: &RunRecord| {
        let mut leaves = IndexMap::new();
        flatten(run.run.document().settled(), String::new(), &mut leaves);
        leaves
    };
    differences(&leaves(first), &leaves(second))
}

/// What else differs.
pub(super) fn of_plans(first: &RunRecord, second: &RunRecord) -> Vec<Difference> {
    let items = |run: &RunRecord| -> IndexMap<String, Value> {
        let plan = PLAN.iter().filter_map(|(name, place)| {
            let value = run.plan()?.pointer(place)?;
            Some(((*name).to_owned(), value.clone()))
        });
        let description = run.training.as_ref().and_then(|it| it.description.as_ref());
        let rows = description.and_then(|it| it.pointer("/rows/training").cloned());
        plan.chain(rows.map(|rows| ("training rows".to_owned(), rows))).collect()
    };
    differences(&items(first), &items(second))
}

fn differences(
    first: &IndexMap<String, Value>,
    second: &IndexMap<String, Value>,
) -> Vec<Difference> {
    let mut seen = BTreeSet::new();
    let keys = first.keys().chain(second.keys()).filter(|key| seen.insert(*key));
    let differing = keys.filter(|key| first.get(*key) != second.get(*key));
    let difference = |key: &String| Difference {
        key: key.clone(),
        first: first.get(key).cloned(),
        second: second.get(key).cloned(),
    };
    differing.map(difference).collect()
}

/// A value's leaves by their dotted paths. A list of plain values is a leaf.
fn flatten(value: &Value, path: String, leaves: &mut IndexMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            for (key, value) in map {
                flatten(value, format!("{path}{dot}{key}"), leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                flatten(item, format!("{path}[{i}]"), leaves);
            }
        }
        leaf => {
            leaves.insert(path, leaf.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_that_differ_are_named_by_their_paths() {
        let leaves = |value: Value| {
            let mut leaves = IndexMap::new();
            flatten(&value, String::new(), &mut leaves);
            leaves
        };
        let a = leaves(json!({"a": 1, "b": {"c": [1, 2], "d": {}}, "e": [{"f": "x"}]}));
        let b = leaves(json!({"a": 1, "b": {"c": [2, 1], "d": {}}, "e": [{"f": "y", "g": null}]}));
        let found = differences(&a, &b);
        let keys: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["b.c", "e[0].f", "e[0].g"]);
        assert_eq!((&found[2].first, &found[2].second), (&None, &Some(Value::Null)));
    }
}
