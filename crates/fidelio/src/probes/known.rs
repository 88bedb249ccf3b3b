//! Labels that a head knows: those with a training row.

use fidelio_config::ProbeOutput;
use fidelio_data::Row;
use fidelio_probe::{Rows, Targets};

use super::{ProbeFile, answers::ProbeRows, output::Expected};
use crate::Error;

/// Validation rows whose label no training row has cannot judge anything.
pub(super) fn without_unknown(
    run: &ProbeFile,
    rows: ProbeRows,
    labels: Option<&[String]>,
    notes: &mut Vec<String>,
) -> Result<ProbeRows, Error> {
    let output = run.config().output();
    let Some(labels) = labels else { return Ok(rows) };
    if matches!(output, ProbeOutput::Category(it) if it.preprocessing.vocab.is_some()) {
        return Ok(rows);
    }
    let known = |row: &Row| {
        let cell = row.cell(output.column())?;
        let label = fidelio_data::text(cell).unwrap_or_default();
        Ok::<bool, Error>(labels.iter().any(|known| *known == label))
    };
    let all: Vec<bool> = rows.rows.iter().map(known).collect::<Result<_, _>>()?;
    let left_out = all.iter().filter(|known| !**known).count();
    if left_out == 0 {
        return Ok(rows);
    }
    notes.push(format!(
        "{left_out} validation rows have a label that no training row has, and judge nothing"
    ));
    let numbers: Vec<usize> = (0..all.len()).filter(|&number| all[number]).collect();
    Ok(rows.chosen(numbers))
}

/// What to say about labels without a training row.
pub(super) fn never_answered(labels: Option<&[String]>, expected: &Expected) -> Option<String> {
    let (Some(labels), Expected::Labels(of)) = (labels, expected) else { return None };
    let absent: Vec<String> = labels
        .iter()
        .enumerate()
        .filter(|(number, _)| !of.contains(number))
        .map(|(_, label)| format!("`{label}`"))
        .collect();
    let said = absent.join(", ");
    (!absent.is_empty())
        .then(|| format!("no training row has the label {said}: it is never answered"))
}

/// What rows say in the words of a head, which knows only labels that have training rows.
pub(super) struct Answered {
    labels: Vec<String>,
    of: Expected,
    /// The rows that it can say something about; none is all.
    rows: Option<Vec<usize>>,
}

impl Answered {
    /// `known` are the head's labels; without them, those that occur.
    pub(super) fn of(
        all: Option<&[String]>,
        expected: &Expected,
        known: Option<&[String]>,
    ) -> Self {
        let (Some(all), Expected::Labels(of)) = (all, expected) else {
            return Self { labels: Vec::new(), of: expected.clone(), rows: None };
        };
        let occurs = |number: &usize| match known {
            Some(known) => known.contains(&all[*number]),
            None => of.contains(number),
        };
        let kept: Vec<usize> = (0..all.len()).filter(occurs).collect();
        let place = |number: &usize| kept.iter().position(|kept| kept == number);
        let rows: Vec<usize> = (0..of.len()).filter(|&row| place(&of[row]).is_some()).collect();
        Self {
            labels: kept.iter().map(|&number| all[number].clone()).collect(),
            of: Expected::Labels(of.iter().filter_map(place).collect()),
            rows: Some(rows),
        }
    }

    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(super) fn targets(&self) -> Targets<'_> {
        match &self.of {
            Expected::Labels(of) => Targets::Labels { labels: &self.labels, of },
            Expected::Numbers(of) => Targets::Numbers(of),
        }
    }

    /// The vectors of the rows that it says something about.
    pub(super) fn kept(&self, rows: &Rows) -> Rows {
        match &self.rows {
            Some(numbers) if numbers.len() < rows.len() => rows.chosen(numbers),
            _ => rows.clone(),
        }
    }
}
