//! Which row goes where: one function for each kind of split.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{MIN_ROWS, Shares};
use crate::dates::{Forms, Moment, parse};
use crate::rng::Rng;
use crate::source::require_columns;
use crate::{DataError, Note, Row, Set, Source, text};

/// Training, validation, test.
type Sets = [Vec<usize>; 3];

const PURPOSE: u64 = 0x0073_706c_6974; // "split"

pub(super) fn random(
    mut rows: Vec<usize>,
    shares: &Shares,
    seed: u64,
    notes: &mut Vec<Note>,
) -> Sets {
    Rng::new(seed, PURPOSE).shuffle(&mut rows);
    let cuts = shares.cuts(rows.len());
    cut(&rows, cuts, notes)
}

pub(super) fn fixed(source: &dyn Source, rows: &[usize], column: &str) -> Result<Sets, DataError> {
    require_columns(source, &[column])?;
    let mut sets = Sets::default();
    for &index in rows {
        let row = source.row(index)?;
        let value = text(row.cell(column)?).unwrap_or_default();
        let set = match value.trim().to_lowercase().as_str() {
            "0" | "0.0" | "train" | "training" => 0,
            "1" | "1.0" | "validation" | "valid" | "val" | "dev" => 1,
            "2" | "2.0" | "test" => 2,
            _ => {
                return Err(DataError::SplitValue {
                    place: row.place.clone(),
                    column: column.to_owned(),
                    value: value.into_owned(),
                });
            }
        };
        sets[set].push(index);
    }
    Ok(sets)
}

/// Every value's rows are shuffled and cut by themselves: each set gets its share of them rounded
/// down, and what is left goes, one row each, to the sets that lag most behind over all values so
/// far. So each value is within one row of its share everywhere, and rare values do not all end
/// in the training set.
pub(super) fn stratified(
    source: &dyn Source,
    rows: &[usize],
    column: &str,
    shares: &Shares,
    seed: u64,
    notes: &mut Vec<Note>,
) -> Result<Sets, DataError> {
    let mut by_value: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, key) in keys(source, rows, column, notes)? {
        by_value.entry(key).or_default().push(index);
    }
    let mut rng = Rng::new(seed, PURPOSE);
    let mut sets = Sets::default();
    let mut lag = [0.0; 3];
    for mut members in by_value.into_values() {
        rng.shuffle(&mut members);
        let mut take = [0; 3];
        let mut due = [0.0; 3]; // what each set's share has beyond whole rows
        for set in 0..3 {
            let share = shares.0[set] * members.len() as f64;
            take[set] = (share + 1e-9).floor() as usize;
            due[set] = share - take[set] as f64;
            lag[set] += due[set];
        }
        let left = members.len() - take.iter().sum::<usize>();
        let mut order = [0, 1, 2];
        order.sort_by(|a, b| lag[*b].total_cmp(&lag[*a])); // stable: training first
        for set in order.into_iter().filter(|set| due[*set] > 1e-9).take(left) {
            take[set] += 1;
            lag[set] -= 1.0;
        }
        let mut members = members.into_iter();
        for (set, take) in sets.iter_mut().zip(take) {
            set.extend(members.by_ref().take(take));
        }
        sets[0].extend(members); // none, unless a single share rounds away
    }
    rng.shuffle(&mut sets[0]); // what tops up the others should not all be one value
    let cuts = [sets[0].len(), sets[0].len() + sets[1].len()];
    Ok(cut(&sets.concat(), cuts, notes))
}

/// The time of each row.
pub(super) fn times(
    source: &dyn Source,
    rows: &[usize],
    column: &str,
    form: Option<&str>,
    fill_value: &str,
) -> Result<Vec<(Moment, usize)>, DataError> {
    require_columns(source, &[column])?;
    let no_date = |row: &Row, value: &str, format: &str| DataError::Date {
        place: row.place.clone(),
        column: column.to_owned(),
        value: value.to_owned(),
        format: format.into(),
    };
    let written = |row: &Row| -> Result<String, DataError> {
        match text(row.cell(column)?) {
            Some(value) => Ok(value.into_owned()),
            None if fill_value.is_empty() => Err(no_date(row, "", form.unwrap_or("any"))),
            None => Ok(fill_value.to_owned()),
        }
    };
    let form = if let Some(form) = form {
        form
    } else {
        let mut forms = Forms::new();
        for &index in rows {
            let row = source.row(index)?;
            let value = written(&row)?;
            if !forms.narrow(&value) {
                return Err(no_date(&row, &value, &forms.names()));
            }
        }
        forms.settle().map_err(|(first, second)| DataError::AmbiguousDate {
            column: column.to_owned(),
            first: first.to_owned(),
            second: second.to_owned(),
        })?
    };
    rows.iter()
        .map(|&index| {
            let row = source.row(index)?;
            let value = written(&row)?;
            let time = parse(&value, form).ok_or_else(|| no_date(&row, &value, form))?;
            Ok((time, index))
        })
        .collect()
}

pub(super) fn by_time(
    mut times: Vec<(Moment, usize)>,
    shares: &Shares,
    notes: &mut Vec<Note>,
) -> Sets {
    times.sort_unstable(); // rows of one time in the table's order
    let rows: Vec<usize> = times.into_iter().map(|(_, index)| index).collect();
    let cuts = shares.cuts(rows.len());
    cut(&rows, cuts, notes)
}

pub(super) fn hashed(
    source: &dyn Source,
    rows: &[usize],
    column: &str,
    shares: &Shares,
    notes: &mut Vec<Note>,
) -> Result<Sets, DataError> {
    const VALUES: f64 = 4_294_967_296.0; // how many a CRC-32 can have
    let [train, validation, test] = shares.0;
    let below = |share: f64| share * VALUES;
    let mut sets = Sets::default();
    for (index, key) in keys(source, rows, column, notes)? {
        let hash = f64::from(crc32fast::hash(key.as_bytes()));
        let set = if hash < below(train) {
            0
        } else if hash < below(train + validation) || test == 0.0 {
            // With `test` 0 the first two may sum to a hair below 1.
            1
        } else {
            2
        };
        sets[set].push(index);
    }
    Ok(sets)
}

/// A column's cells as text. Missing cells are one value, and noted.
fn keys(
    source: &dyn Source,
    rows: &[usize],
    column: &str,
    notes: &mut Vec<Note>,
) -> Result<Vec<(usize, String)>, DataError> {
    require_columns(source, &[column])?;
    let mut missing = 0;
    let mut keys = Vec::with_capacity(rows.len());
    for &index in rows {
        let row = source.row(index)?;
        let cell = row.cell(column)?;
        missing += usize::from(*cell == Value::Null);
        keys.push((index, text(cell).unwrap_or_default().into_owned()));
    }
    if missing > 0 {
        notes.push(Note::MissingKeys { column: column.to_owned(), rows: missing });
    }
    Ok(keys)
}

/// Cuts rows that have an order, after moving the cuts towards training where a later set would
/// have only one or two rows: first for test, then for validation, as Ludwig does.
fn cut(rows: &[usize], [mut validation, mut test]: [usize; 2], notes: &mut Vec<Note>) -> Sets {
    let mut top_up = |set: Set, have: usize, train: usize| -> usize {
        if !(1..MIN_ROWS).contains(&have) || train == 0 {
            return 0;
        }
        let shift = (MIN_ROWS - have).min(train);
        notes.push(Note::ToppedUp { set, from: have, to: have + shift });
        shift
    };
    let shift = top_up(Set::Test, rows.len() - test, validation);
    validation -= shift;
    test -= shift;
    validation -= top_up(Set::Validation, test - validation, validation);
    [rows[..validation].to_vec(), rows[validation..test].to_vec(), rows[test..].to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sets_are_topped_up_and_noted() {
        let rows: Vec<usize> = (0..10).collect();
        let mut notes = Vec::new();
        let sets = cut(&rows, [7, 8], &mut notes);
        assert_eq!(sets, [vec![0, 1, 2, 3], vec![4, 5, 6], vec![7, 8, 9]]);
        assert_eq!(
            notes,
            [
                Note::ToppedUp { set: Set::Test, from: 2, to: 3 },
                Note::ToppedUp { set: Set::Validation, from: 1, to: 3 },
            ]
        );
    }

    #[test]
    fn empty_and_large_sets_stay() {
        let rows: Vec<usize> = (0..10).collect();
        let mut notes = Vec::new();
        let sets = cut(&rows, [7, 7], &mut notes);
        assert_eq!(sets.map(|set| set.len()), [7, 0, 3]);
        assert!(notes.is_empty());
    }
}
