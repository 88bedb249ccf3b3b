//! A run file half way: what was written, what is settled so far, and where something is broken.

use std::collections::BTreeSet;

use serde_json::Value;

/// Read access to a run file while it is being checked.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(crate) written: &'a Value,
    pub(crate) settled: &'a Value,
    pub(crate) broken: &'a BTreeSet<String>,
}

impl<'a> View<'a> {
    /// What the user wrote at a dotted path, if it was sound. A written `null` is nothing.
    pub fn written(&self, path: &str) -> Option<&'a Value> {
        at(self.written, path).filter(|value| !value.is_null())
    }

    /// The value with defaults filled in.
    pub fn get(&self, path: &str) -> Option<&'a Value> {
        at(self.settled, path).filter(|value| !value.is_null())
    }

    /// The settled value as text.
    pub fn text(&self, path: &str) -> Option<&'a str> {
        self.get(path).and_then(Value::as_str)
    }

    /// The settled value as a number.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.get(path).and_then(Value::as_f64)
    }

    /// Whether the value there, or a part of it, was refused: then nothing follows from it.
    pub fn broken(&self, path: &str) -> bool {
        self.broken.iter().any(|broken| {
            broken == path
                || broken.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
                || path.strip_prefix(broken.as_str()).is_some_and(|rest| rest.starts_with('.'))
                || broken.is_empty()
        })
    }

    /// Whether it is `value`, or broken (so that one mistake is not reported twice).
    pub fn may_be(&self, path: &str, value: &str) -> bool {
        self.broken(path) || self.text(path) == Some(value)
    }

    /// Whether it is true, or broken.
    pub fn may_be_true(&self, path: &str) -> bool {
        self.broken(path) || self.get(path) == Some(&Value::Bool(true))
    }

    /// Whether something stands there, or something broken.
    pub fn may_have(&self, path: &str) -> bool {
        self.broken(path) || self.get(path).is_some()
    }

    /// What the run file's output is measured as: `text`, `category`, or `document` where there are no answers.
    pub fn measured_as(&self) -> &'a str {
        match self.get("prompt.document") {
            Some(_) => "document",
            None => self.text("output_features.0.type").unwrap_or("text"),
        }
    }

    /// Whether the run file has an adapter, or something broken in its place.
    pub fn may_have_adapter(&self) -> bool {
        self.may_have("adapter") || self.may_have("adapters")
    }

    /// Whether nothing stands there, or something broken.
    pub fn may_lack(&self, path: &str) -> bool {
        self.broken(path) || self.get(path).is_none()
    }
}

/// The value at a dotted path; list items by their number.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    path.split('.').try_fold(value, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
        _ => None,
    })
}

/// A key below a path.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
