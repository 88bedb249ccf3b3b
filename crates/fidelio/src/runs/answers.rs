//! The answers of a run, read from its predictions file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fidelio_data::{Format, ReadOptions, Row, Source, Table, rows, text};
use serde_json::Value;

use crate::Error;

/// The predictions files that a run may have written.
const FILES: [(&str, Format); 3] = [
    ("predictions.csv", Format::Csv),
    ("predictions.jsonl", Format::Jsonl),
    ("predictions.parquet", Format::Parquet),
];
/// What ends the names of columns.
const PREDICTIONS: &str = "_predictions";

/// The answers of a run, in the order of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// The file.
    pub path: PathBuf,
    /// The output feature.
    pub feature: String,
    /// The column of the expected answers; none where they were not known.
    pub expected: Option<String>,
    /// Whether an answer is a label; else it is a text.
    pub labels: bool,
    /// The rows.
    pub rows: Vec<Answer>,
}

/// The answer to one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The row's number within the run, from 0.
    pub row: usize,
    /// Where the row stands in its file.
    pub line: usize,
    /// The label or text; none where no label was found.
    pub answer: Option<String>,
    /// What was expected.
    pub expected: Option<String>,
    /// The probability of the label, where labels were scored.
    pub probability: Option<f64>,
}

impl Answers {
    /// Reads the predictions of a folder, if there are any.
    pub(super) fn find(folder: &Path, by: By) -> Result<Option<Self>, Error> {
        let files = FILES.map(|(name, format)| (folder.join(name), format));
        let mut there = files.into_iter().filter(|(path, _)| path.exists());
        let Some((path, format)) = there.next() else { return Ok(None) };
        if let Some((other, _)) = there.next() {
            let reason = format!("it stands beside `{}`, and one must be old", path.display());
            return Err(Error::Damaged { path: other, line: None, reason });
        }
        let separator = (format == Format::Csv).then_some(',');
        let options = ReadOptions { separator, ..ReadOptions::default() };
        let table = Table::open(&[&path], &options)?;
        Self::of(path, &table, by).map(Some)
    }

    fn of(path: PathBuf, table: &Table, by: By) -> Result<Self, Error> {
        let columns = Columns::of(&path, table.columns(), by)?;
        let rows =
            rows(table).map(|row| columns.answer(&path, &row?, by)).collect::<Result<_, _>>()?;
        let Columns { feature, expected, .. } = columns;
        Ok(Self { path, feature, expected, labels: by != By::Text, rows })
    }

    /// The texts of the run's data at some of the answers' lines, by the answer's place among the
    /// answers: one cell for each column but the expected one. What cannot be found for sure is
    /// left out, so that no row stands beside another's answer.
    pub fn cells(
        &self,
        files: &[PathBuf],
        wanted: &[usize],
    ) -> BTreeMap<usize, Vec<(String, String)>> {
        let mut found = BTreeMap::new();
        let Ok(table) = Table::open(files, &ReadOptions::default()) else { return found };
        let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in 0..table.len() {
            places.entry(table.place(index).line).or_default().push(index);
        }
        for &answer in wanted {
            let Some(candidates) = places.get(&self.rows[answer].line) else { continue };
            let read = candidates.iter().filter_map(|index| table.row(*index).ok());
            let mut fitting = read.filter(|row| self.fits(answer, row));
            if let (Some(row), None) = (fitting.next(), fitting.next()) {
                found.insert(answer, self.inputs(&row));
            }
        }
        found
    }

    /// Whether a row of the data has the expected answer of a row of the run.
    fn fits(&self, answer: usize, row: &Row) -> bool {
        let column = self.expected.as_ref().and_then(|column| row.fields.get(column));
        let cell = column.and_then(text).map(std::borrow::Cow::into_owned);
        cell.is_some() && cell == self.rows[answer].expected
    }

    fn inputs(&self, row: &Row) -> Vec<(String, String)> {
        let inputs = row.fields.iter().filter(|(name, _)| Some(*name) != self.expected.as_ref());
        inputs.filter_map(|(name, cell)| Some((name.clone(), text(cell)?.into_owned()))).collect()
    }
}

/// How a run found its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Text was generated, and is the answer.
    Text,
    /// Text was generated, and a label was found in it.
    Match,
    /// Labels were scored.
    Score,
}

/// Which columns hold what.
struct Columns {
    feature: String,
    answer: String,
    probability: Option<String>,
    expected: Option<String>,
}

impl Columns {
    fn of(path: &Path, columns: &[String], by: By) -> Result<Self, Error> {
        let damaged =
            |reason: String| Error::Damaged { path: path.to_owned(), line: Some(1), reason };
        let need = |name: &str| {
            let found = columns.iter().find(|column| *column == name).cloned();
            found.ok_or_else(|| damaged(format!("its column `{name}` is missing")))
        };
        need("row")?;
        need("line")?;
        // It stands first behind these two, so no label can pass for it.
        let feature = columns.iter().skip(2).find_map(|name| name.strip_suffix(PREDICTIONS));
        let feature = feature
            .ok_or_else(|| damaged(format!("it has no column `NAME{PREDICTIONS}`")))?
            .to_owned();
        let answer = match by {
            By::Text => format!("{feature}_response"),
            By::Match | By::Score => format!("{feature}{PREDICTIONS}"),
        };
        let probability = match by {
            By::Score => Some(need(&format!("{feature}_probability"))?),
            By::Text | By::Match => None,
        };
        let own = format!("{feature}_");
        let expected = columns.last().filter(|name| !name.starts_with(&own)).cloned();
        Ok(Self { answer: need(&answer)?, feature, probability, expected })
    }

    fn answer(&self, path: &Path, row: &Row, by: By) -> Result<Answer, Error> {
        let line = Some(row.place.line);
        let cell = |name: &str| text(row.fields.get(name).unwrap_or(&Value::Null));
        let said = |name: &str| cell(name).map(std::borrow::Cow::into_owned);
        let wrong = |name: &str| {
            let reason = format!("`{name}` is `{}`, no number", cell(name).unwrap_or_default());
            Error::Damaged { path: path.to_owned(), line, reason }
        };
        let count =
            |name: &str| cell(name).and_then(|it| it.parse().ok()).ok_or_else(|| wrong(name));
        let probability = match &self.probability {
            Some(name) => {
                let read = cell(name).and_then(|it| it.parse().ok());
                Some(read.ok_or_else(|| wrong(name))?)
            }
            None => None,
        };
        let answer = match by {
            // An answer of no letters is an empty text.
            By::Text => Some(said(&self.answer).unwrap_or_default()),
            By::Match | By::Score => said(&self.answer),
        };
        Ok(Answer {
            row: count("row")?,
            line: count("line")?,
            answer,
            expected: self.expected.as_deref().map(|name| said(name).unwrap_or_default()),
            probability,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, by: By) -> Result<Answers, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        Answers::find(folder.path(), by).map(|it| it.unwrap())
    }

    #[test]
    fn labels_come_with_what_was_expected() {
        let text = "row,line,tag_predictions,tag_probabilities,tag_probability,\
             tag_probabilities_a;b;c;d,tag_probabilities_x_predictions,label\n\
             0,2,a;b;c;d,\"[0.75,0.25]\",0.75,0.75,0.25,x_predictions\n";
        let answers = read("predictions.csv", text, By::Score).unwrap();
        assert_eq!((answers.feature.as_str(), answers.expected.as_deref()), ("tag", Some("label")));
        let row = &answers.rows[0];
        assert_eq!((row.row, row.line, row.probability), (0, 2, Some(0.75)));
        assert_eq!(row.answer.as_deref(), Some("a;b;c;d"));
        assert_eq!(row.expected.as_deref(), Some("x_predictions"));
    }

    #[test]
    fn texts_are_the_responses_and_labels_found_in_them_are_not() {
        let text = "{\"row\":0,\"line\":2,\"x_predictions\":null,\"x_response\":\"hm\",\
             \"x_finish_reason\":\"stop\",\"x_probabilities\":[0.5],\"x_probability\":-0.7}\n";
        let matched = read("predictions.jsonl", text, By::Match).unwrap();
        assert_eq!((&matched.rows[0].answer, matched.labels), (&None, true));
        assert_eq!((matched.rows[0].probability, matched.expected.as_ref()), (None, None));
        let written = read("predictions.jsonl", text, By::Text).unwrap();
        assert_eq!((written.rows[0].answer.as_deref(), written.labels), (Some("hm"), false));
    }

    #[test]
    fn two_files_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["predictions.csv", "predictions.jsonl"] {
            std::fs::write(folder.path().join(name), "row,line\n").unwrap();
        }
        match Answers::find(folder.path(), By::Text).unwrap_err() {
            Error::Damaged { path, .. } => assert!(path.ends_with("predictions.jsonl")),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn damage_is_named_with_its_line() {
        let head = "row,line,x_predictions,x_probability,x\n0,2,a,0.9,a\n";
        for (text, expected) in [
            (format!("{head}one,3,a,0.9,a\n"), "`row` is `one`, no number"),
            (format!("{head}1,3,a,much,a\n"), "`x_probability` is `much`, no number"),
        ] {
            match read("predictions.csv", &text, By::Score).unwrap_err() {
                Error::Damaged { line, reason, .. } => {
                    assert_eq!((line, reason.as_str()), (Some(3), expected));
                }
                other => panic!("{other}"),
            }
        }
        let error = read("predictions.csv", "row,x_predictions\n0,a\n", By::Match).unwrap_err();
        assert!(error.to_string().contains("predictions.csv"), "{error}");
    }
}
