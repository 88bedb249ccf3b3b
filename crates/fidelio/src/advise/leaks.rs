//! What would make every measurement a lie: rows that are measured and learnt, and answers that
//! stand in the question.

use std::collections::{HashMap, HashSet};

use fidelio_data::{Source, rows, text};
use serde::Serialize;

use crate::{Error, audit::Finding};

/// A label stands in its rows' text suspiciously often: in so many of them, and so much oftener
/// than another label does.
const OFTEN: f64 = 0.5;
const OFTENER: f64 = 0.3;

/// What was found before anything was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Leaks {
    /// Validation rows that stand among the training rows in the same words: they are not measured.
    pub validation: Finding,
    /// Test rows that stand among the training or validation rows in the same words: they are not
    /// measured.
    pub test: Finding,
    /// Labels that stand in the rows they are to be found for; none where they do not.
    pub labels_inside: Option<LabelsInside>,
}

/// How often labels stand in the text of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LabelsInside {
    /// The share of rows in which the row's own label stands.
    pub own: f64,
    /// The share of rows in which another label stands, for each other label.
    pub others: f64,
}

impl Leaks {
    /// In words, one sentence for each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, found, among) in [
            ("validation", &self.validation, "training"),
            ("test", &self.test, "training or validation"),
        ] {
            if found.rows > 0 {
                let first = found.first.join(", ");
                notes.push(format!(
                    "{} {name} rows stand among the {among} rows in the same words and are not \
                     measured: {first}",
                    found.rows
                ));
            }
        }
        notes.extend(self.labels_inside.map(|inside| {
            format!(
                "the answer stands in the text of {:.0} % of the rows, and another label in {:.0} %: \
                 a model may only have to find it",
                inside.own * 100.0,
                inside.others * 100.0
            )
        }));
        notes
    }
}

/// The texts that rows have in the columns which a prompt shows.
pub(super) struct Texts<'a> {
    pub(super) columns: &'a [String],
}

impl Texts<'_> {
    /// All of a table's.
    pub(super) fn of(&self, source: &dyn Source) -> Result<HashSet<String>, Error> {
        rows(source).map(|row| Ok(self.text(&row?.fields))).collect()
    }

    /// The numbers of the rows that say nothing of `seen`; what is left out goes to `found`.
    pub(super) fn unseen(
        &self,
        source: &dyn Source,
        seen: &HashSet<String>,
        found: &mut Finding,
    ) -> Result<Vec<usize>, Error> {
        let mut unseen = Vec::with_capacity(source.len());
        for (number, row) in rows(source).enumerate() {
            let row = row?;
            if seen.contains(&self.text(&row.fields)) {
                found.add(&row.place);
            } else {
                unseen.push(number);
            }
        }
        Ok(unseen)
    }

    /// Whether the labels of `output` stand in the rows that they belong to.
    pub(super) fn labels_inside(
        &self,
        source: &dyn Source,
        output: &str,
        labels: &[String],
    ) -> Result<Option<LabelsInside>, Error> {
        let words: HashMap<&str, String> =
            labels.iter().map(|label| (label.as_str(), padded(label))).collect();
        let (mut own, mut others, mut count) = (0_usize, 0_usize, 0_usize);
        for row in rows(source) {
            let row = row?;
            let Some(label) = row.fields.get(output).and_then(text) else { continue };
            let shown = padded(&self.text(&row.fields));
            count += 1;
            for (name, word) in &words {
                let inside = usize::from(shown.contains(word.as_str()));
                if *name == label.as_ref() { own += inside } else { others += inside }
            }
        }
        let rows = count.max(1) as f64;
        let others_of_each = labels.len().saturating_sub(1).max(1) as f64;
        let inside =
            LabelsInside { own: own as f64 / rows, others: others as f64 / rows / others_of_each };
        let often = inside.own >= OFTEN && inside.own - inside.others >= OFTENER;
        Ok(often.then_some(inside))
    }

    /// What a row says, whatever its spaces and its case.
    fn text(&self, fields: &serde_json::Map<String, serde_json::Value>) -> String {
        let cells = self.columns.iter().filter_map(|column| fields.get(column).and_then(text));
        let cells: Vec<_> = cells.collect();
        let words = cells.iter().flat_map(|cell| cell.split_whitespace());
        words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
    }
}

/// Words between spaces, so that one is found as a whole.
fn padded(text: &str) -> String {
    let apart = text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ");
    format!(" {} ", apart.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use fidelio_data::Memory;
    use serde_json::json;

    use super::*;

    fn table(rows: &[(&str, &str)]) -> Memory {
        let row = |(text, label): &(&str, &str)| {
            serde_json::Map::from_iter([
                ("text".to_owned(), json!(text)),
                ("label".to_owned(), json!(label)),
            ])
        };
        Memory::new("table", rows.iter().map(row).collect())
    }

    fn columns() -> [String; 1] {
        ["text".to_owned()]
    }

    #[test]
    fn a_row_in_the_same_words_is_found_whatever_its_spaces() {
        let columns = columns();
        let texts = Texts { columns: &columns };
        let seen = texts.of(&table(&[("A good  film", "yes")])).unwrap();
        let mut found = Finding::default();
        let rows = table(&[("another", "no"), ("a good\nfilm ", "no")]);
        assert_eq!(texts.unseen(&rows, &seen, &mut found).unwrap(), [0]);
        let notes = Leaks { validation: found, ..Leaks::default() }.notes();
        assert!(notes[0].starts_with("1 validation rows stand among"), "{notes:?}");
    }

    #[test]
    fn answers_that_stand_in_the_question_are_found() {
        let columns = columns();
        let texts = Texts { columns: &columns };
        let labels = ["spam".to_owned(), "ham".to_owned()];
        let leaky = table(&[("[SPAM] buy", "spam"), ("Ham: hello", "ham"), ("hm", "ham")]);
        let inside = texts.labels_inside(&leaky, "label", &labels).unwrap().unwrap();
        assert!((inside.own - 2.0 / 3.0).abs() < 1e-12 && inside.others == 0.0);
        // A hamburger is no ham; and a text that names both labels tells nothing.
        let sound =
            table(&[("a hamburger", "ham"), ("spam or ham?", "spam"), ("ham, spam", "ham")]);
        assert_eq!(texts.labels_inside(&sound, "label", &labels).unwrap(), None);
    }
}
