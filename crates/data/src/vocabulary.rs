//! The labels of a category column.

use std::collections::HashMap;

use crate::source::require_columns;
use crate::{DataError, Row, Source, rows, text};

/// Labels in a fixed order, and how often each occurs.
///
/// Labels found in a table are sorted by their code points, so that their numbers do not depend on
/// the order of the rows; labels that were given keep the order they were given in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    column: String,
    labels: Vec<String>,
    counts: Vec<usize>,
    numbers: HashMap<String, usize>,
    missing: usize,
}

impl Vocabulary {
    /// Takes the labels of a column: those `given`, or else all that occur.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`] for a cell that is not among those given,
    /// [`DataError::Vocabulary`] where there is no label, or one is given twice.
    pub fn of(
        source: &dyn Source,
        column: &str,
        given: Option<&[String]>,
    ) -> Result<Self, DataError> {
        require_columns(source, &[column])?;
        let mut counts: HashMap<String, usize> = HashMap::new();
        if let Some(given) = given {
            counts.extend(given.iter().map(|label| (label.clone(), 0)));
        }
        let mut missing = 0;
        for row in rows(source) {
            let row = row?;
            let Some(label) = text(row.cell(column)?) else {
                missing += 1;
                continue;
            };
            match counts.get_mut(label.as_ref()) {
                Some(count) => *count += 1,
                None if given.is_none() => drop(counts.insert(label.into_owned(), 1)),
                None => return Err(unknown(&row, column, &label, given.unwrap_or_default())),
            }
        }
        let labels = given.map_or_else(
            || {
                let mut found: Vec<String> = counts.keys().cloned().collect();
                found.sort_unstable();
                found
            },
            <[String]>::to_vec,
        );
        let refuse =
            |reason: String| Err(DataError::Vocabulary { column: column.to_owned(), reason });
        if labels.is_empty() {
            return refuse("there are none".to_owned());
        }
        let numbers: HashMap<String, usize> =
            labels.iter().enumerate().map(|(number, label)| (label.clone(), number)).collect();
        if let Some((_, twice)) =
            labels.iter().enumerate().find(|(number, label)| numbers[*label] != *number)
        {
            return refuse(format!("`{twice}` is given twice"));
        }
        let counts = labels.iter().map(|label| counts[label]).collect();
        Ok(Self { column: column.to_owned(), labels, counts, numbers, missing })
    }

    /// The labels in order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How often each label occurs, in the order of the labels.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// How many rows have no label.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// The number of a label.
    pub fn number(&self, label: &str) -> Option<usize> {
        self.numbers.get(label).copied()
    }

    /// The number of a row's label; `None` where the cell is missing.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`] with the row's line.
    pub fn number_of(&self, row: &Row) -> Result<Option<usize>, DataError> {
        let Some(label) = text(row.cell(&self.column)?) else { return Ok(None) };
        match self.number(&label) {
            Some(number) => Ok(Some(number)),
            None => Err(unknown(row, &self.column, &label, &self.labels)),
        }
    }
}

fn unknown(row: &Row, column: &str, label: &str, known: &[String]) -> DataError {
    DataError::UnknownLabel {
        place: row.place.clone(),
        column: column.to_owned(),
        label: label.to_owned(),
        known: known.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use serde_json::json;

    fn source() -> Memory {
        let cells = [json!("spam"), json!("ham"), json!(null), json!("ham"), json!(7)];
        let rows = cells.iter().map(|cell| json!({"label": cell}).as_object().unwrap().clone());
        Memory::new("m", rows.collect())
    }

    fn given(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn found_labels_are_sorted_and_counted() {
        let vocabulary = Vocabulary::of(&source(), "label", None).unwrap();
        assert_eq!(vocabulary.labels(), ["7", "ham", "spam"]);
        assert_eq!(vocabulary.counts(), [1, 2, 1]);
        assert_eq!(vocabulary.missing(), 1);
        assert_eq!(vocabulary.number("spam"), Some(2));
    }

    #[test]
    fn given_labels_keep_their_order() {
        let labels = given(&["spam", "unsure", "ham", "7"]);
        let vocabulary = Vocabulary::of(&source(), "label", Some(&labels)).unwrap();
        assert_eq!(vocabulary.labels(), labels);
        assert_eq!(vocabulary.counts(), [1, 0, 2, 1]);
        assert_eq!(vocabulary.number_of(&source().row(0).unwrap()).unwrap(), Some(0));
        assert_eq!(vocabulary.number_of(&source().row(2).unwrap()).unwrap(), None);
    }

    #[test]
    fn a_label_that_was_not_given_is_an_error_with_its_row() {
        let error =
            Vocabulary::of(&source(), "label", Some(&given(&["spam", "hams"]))).unwrap_err();
        assert_eq!(error.to_string(), "`m` row 2, column `label`: unknown label `ham`");
        assert_eq!(error.hint().unwrap(), "did you mean `hams`?");
    }

    #[test]
    fn a_label_given_twice_is_an_error() {
        let labels = given(&["spam", "ham", "7", "ham"]);
        let error = Vocabulary::of(&source(), "label", Some(&labels)).unwrap_err();
        assert!(matches!(error, DataError::Vocabulary { .. }));
    }
}
