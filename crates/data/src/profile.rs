//! What a table's columns look like, found in one read.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use serde_json::Value;

use crate::dates::Forms;
use crate::{DataError, Source, rows, text};

/// What a column's values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Looks {
    /// Conversations: lists of objects with `role` and `content`.
    Messages,
    /// Two values that mean yes and no.
    Bool,
    /// Few short values that repeat.
    Category,
    /// Numbers.
    Number,
    /// Dates or times of one form.
    Date,
    /// Anything else.
    Text,
    /// Nothing: every cell is missing.
    Empty,
}

/// One column of a table, summed up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// How many cells are missing.
    pub missing: usize,
    /// How many different values there are, counted up to [`ColumnProfile::MOST_DISTINCT`].
    pub distinct: usize,
    /// The mean length of the values, in characters.
    pub mean_length: f64,
    /// The first different values.
    pub samples: Vec<String>,
    /// What they look like.
    pub looks: Looks,
}

/// A table, summed up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// How many rows there are.
    pub rows: usize,
    /// The columns, in order.
    pub columns: Vec<ColumnProfile>,
}

impl ColumnProfile {
    /// Where counting different values stops, so that memory stays small.
    pub const MOST_DISTINCT: usize = 10_000;
    /// How many samples are kept.
    const SAMPLES: usize = 5;
}

/// Reads a table once and sums up its columns.
///
/// # Errors
/// Whatever reading a row finds.
pub fn profile(source: &dyn Source) -> Result<Profile, DataError> {
    let mut scans: Vec<Scan> = source.columns().iter().map(|_| Scan::new()).collect();
    for row in rows(source) {
        for (scan, cell) in scans.iter_mut().zip(row?.fields.values()) {
            scan.see(cell);
        }
    }
    let columns = source.columns().iter().zip(scans);
    Ok(Profile {
        rows: source.len(),
        columns: columns.map(|(name, scan)| scan.finish(name.clone())).collect(),
    })
}

/// What is known of a column so far. A guess that one value refutes is out for good.
struct Scan {
    missing: usize,
    values: usize,
    characters: usize,
    longest: usize,
    distinct: HashSet<u64>,
    samples: Vec<String>,
    messages: bool,
    bool: bool,
    number: bool,
    dates: Option<Forms>,
}

impl Scan {
    fn new() -> Self {
        Self {
            missing: 0,
            values: 0,
            characters: 0,
            longest: 0,
            distinct: HashSet::new(),
            samples: Vec::new(),
            messages: true,
            bool: true,
            number: true,
            dates: Some(Forms::new()),
        }
    }

    fn see(&mut self, cell: &Value) {
        let Some(value) = text(cell) else {
            self.missing += 1;
            return;
        };
        let length = value.chars().count();
        self.values += 1;
        self.characters += length;
        self.longest = self.longest.max(length);
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        if self.distinct.len() < ColumnProfile::MOST_DISTINCT
            && self.distinct.insert(hasher.finish())
            && self.samples.len() < ColumnProfile::SAMPLES
        {
            self.samples.push(value.clone().into_owned());
        }
        self.messages &= self.messages && is_messages(cell);
        self.bool &= self.bool && is_bool(cell, &value);
        self.number &= cell.is_number()
            || (cell.is_string() && value.trim().parse::<f64>().is_ok_and(f64::is_finite));
        // A number is no date, though some forms would take it.
        if self.dates.as_mut().is_some_and(|forms| cell.is_number() || !forms.narrow(&value)) {
            self.dates = None;
        }
    }

    fn finish(self, name: String) -> ColumnProfile {
        let distinct = self.distinct.len();
        let looks = if self.values == 0 {
            Looks::Empty
        } else if self.messages {
            Looks::Messages
        } else if self.bool && distinct <= 2 {
            Looks::Bool
        } else if self.number {
            Looks::Number
        } else if self.dates.is_some() {
            Looks::Date
        } else if self.is_category(distinct) {
            Looks::Category
        } else {
            Looks::Text
        };
        ColumnProfile {
            name,
            missing: self.missing,
            distinct,
            mean_length: self.characters as f64 / self.values.max(1) as f64,
            samples: self.samples,
            looks,
        }
    }

    /// Labels are short, at most 100 in number, and each stands at least three times on average.
    fn is_category(&self, distinct: usize) -> bool {
        self.longest <= 60 && distinct <= 100 && distinct * 3 <= self.values
    }
}

fn is_bool(cell: &Value, value: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "0", "1", "t", "f", "y", "n"];
    cell.is_boolean() || WORDS.contains(&value.trim().to_lowercase().as_str())
}

fn is_messages(cell: &Value) -> bool {
    let parsed;
    let list = match cell {
        Value::Array(list) => list,
        Value::String(written) if written.trim_start().starts_with('[') => {
            parsed = serde_json::from_str::<Vec<Value>>(written).unwrap_or_default();
            &parsed
        }
        _ => return false,
    };
    let is_message = |m: &Value| m.get("role").is_some() && m.get("content").is_some();
    !list.is_empty() && list.iter().all(is_message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use serde_json::json;

    fn looks(cells: &[Value]) -> Looks {
        let rows = cells.iter().map(|cell| json!({"a": cell}).as_object().unwrap().clone());
        profile(&Memory::new("m", rows.collect())).unwrap().columns[0].looks
    }

    #[test]
    fn columns_are_recognised() {
        let check = |cells: Value, expected| {
            assert_eq!(looks(cells.as_array().unwrap()), expected, "{cells}");
        };
        let chat = json!([{"role": "user", "content": "hi"}]);
        check(json!([chat, chat]), Looks::Messages);
        check(json!([chat.to_string()]), Looks::Messages);
        check(json!(["yes", "No", null]), Looks::Bool);
        check(json!([true, false]), Looks::Bool);
        check(json!(["1", "2.5", -3]), Looks::Number);
        check(json!([20_240_229, 20_240_301]), Looks::Number);
        check(json!(["2024-02-29", "2024-03-01"]), Looks::Date);
        check(json!(["spam", "ham", "ham", "ham", "spam", "spam"]), Looks::Category);
        check(json!(["I came.", "I saw.", "I won."]), Looks::Text);
        check(json!([null, null]), Looks::Empty);
        check(json!(["inf", "nan"]), Looks::Text);
    }

    #[test]
    fn columns_are_counted() {
        let rows = ["ä", "ä", "bcd"].iter().map(|t| json!({"t": t}).as_object().unwrap().clone());
        let mut rows: Vec<_> = rows.collect();
        rows.push(json!({"t": null}).as_object().unwrap().clone());
        let profile = profile(&Memory::new("m", rows)).unwrap();
        let column = &profile.columns[0];
        assert_eq!((profile.rows, column.missing, column.distinct), (4, 1, 2));
        assert!((column.mean_length - 5.0 / 3.0).abs() < 1e-12);
        assert_eq!(column.samples, ["ä", "bcd"]);
    }
}
