//! What to do about cells that are missing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::source::require_columns;
use crate::{DataError, Note, Place, Row, Source, rows, text};

/// What to do about the missing cells of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MissingValues {
    /// The way.
    pub missing_value_strategy: Strategy,
    /// What [`Strategy::FillWithConst`] fills with.
    pub fill_value: Value,
}

/// A way to treat missing cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Fill with one value.
    FillWithConst,
    /// Fill with the most frequent value; of several, the one that appears first.
    FillWithMode,
    /// Fill with the next value; at the end, where there is none, with the one before.
    Bfill,
    /// Fill with the value before; at the beginning, where there is none, with the next.
    Ffill,
    /// Leave the row out.
    DropRow,
}

impl MissingValues {
    /// What holds for input columns unless something else is said: fill with `<UNK>`.
    pub fn input() -> Self {
        Self { missing_value_strategy: Strategy::FillWithConst, fill_value: Value::from("<UNK>") }
    }

    /// What holds for output columns unless something else is said: leave the row out.
    pub fn output() -> Self {
        Self { missing_value_strategy: Strategy::DropRow, ..Self::input() }
    }
}

impl Default for MissingValues {
    fn default() -> Self {
        Self::input()
    }
}

/// A source whose missing cells are treated. One read of the source decides; the values
/// themselves are filled in as rows are read.
pub struct Filled {
    source: Arc<dyn Source>,
    kept: Vec<usize>,
    fills: Vec<(String, Fill)>,
    notes: Vec<Note>,
}

/// How one column's missing cells are filled.
enum Fill {
    With(Value),
    /// From the row of this number, for each row (both numbers of the source below).
    From(HashMap<usize, usize>),
}

impl Filled {
    /// Treats columns as said, each by itself; columns that are not named stay as they are.
    /// Values are looked for in all rows, also in those that another column drops.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`]; [`DataError::NothingToFill`] where a column has to be filled
    /// from its own values and has none.
    pub fn new(
        source: Arc<dyn Source>,
        columns: &[(&str, MissingValues)],
    ) -> Result<Self, DataError> {
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        require_columns(source.as_ref(), &names)?;
        let mut scans: Vec<Scan> = columns.iter().map(|_| Scan::default()).collect();
        let mut dropped: BTreeMap<usize, usize> = BTreeMap::new(); // row, and which column drops it
        for (index, row) in rows(source.as_ref()).enumerate() {
            let row = row?;
            for (number, (name, how)) in columns.iter().enumerate() {
                let cell = row.cell(name)?;
                scans[number].see(index, cell, how.missing_value_strategy);
                if how.missing_value_strategy == Strategy::DropRow && *cell == Value::Null {
                    dropped.entry(index).or_insert(number);
                }
            }
        }
        let mut notes = Vec::new();
        let mut fills = Vec::new();
        for (number, ((name, how), scan)) in columns.iter().zip(scans).enumerate() {
            let drops = dropped.values().filter(|by| **by == number).count();
            if drops > 0 {
                notes.push(Note::Dropped { column: (*name).to_owned(), rows: drops });
            }
            if how.missing_value_strategy == Strategy::DropRow || scan.missing.is_empty() {
                continue;
            }
            let cells = scan.missing.len();
            let (fill, with) = scan
                .settle(how)
                .ok_or_else(|| DataError::NothingToFill { column: (*name).to_owned() })?;
            notes.push(Note::Filled { column: (*name).to_owned(), cells, with });
            fills.push(((*name).to_owned(), fill));
        }
        let kept = (0..source.len()).filter(|row| !dropped.contains_key(row)).collect();
        Ok(Self { source, kept, fills, notes })
    }

    /// What was filled and dropped.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The numbers of the rows that are left, as the source below counts them.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }
}

impl std::fmt::Debug for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filled")
            .field("rows", &self.kept.len())
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl Source for Filled {
    fn columns(&self) -> &[String] {
        self.source.columns()
    }

    fn len(&self) -> usize {
        self.kept.len()
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        let Some(&below) = self.kept.get(index) else {
            return Err(DataError::OutOfRange { index, len: self.len() });
        };
        let mut row = self.source.row(below)?;
        for (column, fill) in &self.fills {
            let Some(cell) = row.fields.get_mut(column) else { continue };
            if *cell != Value::Null {
                continue;
            }
            match fill {
                Fill::With(value) => *cell = value.clone(),
                Fill::From(donors) => {
                    if let Some(donor) = donors.get(&below) {
                        *cell = self.source.row(*donor)?.cell(column)?.clone();
                    }
                }
            }
        }
        Ok(row)
    }

    fn place(&self, index: usize) -> Place {
        self.source.place(self.kept.get(index).copied().unwrap_or(index))
    }
}

/// What one read of a column finds.
#[derive(Default)]
struct Scan {
    missing: Vec<usize>,
    /// For each missing cell, the nearest rows with a value before and behind it.
    near: Vec<(Option<usize>, Option<usize>)>,
    last: Option<usize>,
    open: usize, // missing cells from here on have no row behind them yet
    counts: HashMap<String, (usize, usize)>, // value as JSON: how often, and the first row
}

impl Scan {
    fn see(&mut self, row: usize, cell: &Value, strategy: Strategy) {
        if *cell == Value::Null {
            self.missing.push(row);
            self.near.push((self.last, None));
            return;
        }
        self.last = Some(row);
        for near in &mut self.near[self.open..] {
            near.1 = Some(row);
        }
        self.open = self.near.len();
        if strategy == Strategy::FillWithMode {
            self.counts.entry(cell.to_string()).or_insert((0, row)).0 += 1;
        }
    }

    /// The fill, and how to speak of it.
    fn settle(self, how: &MissingValues) -> Option<(Fill, String)> {
        let quoted = |value: &Value| format!("`{}`", text(value).unwrap_or_default());
        let strategy = how.missing_value_strategy;
        match strategy {
            Strategy::FillWithConst => {
                Some((Fill::With(how.fill_value.clone()), quoted(&how.fill_value)))
            }
            Strategy::FillWithMode => {
                let most = |(count, first): &(usize, usize)| (*count, std::cmp::Reverse(*first));
                let (json, (count, _)) =
                    self.counts.into_iter().max_by_key(|(_, found)| most(found))?;
                let value: Value = serde_json::from_str(&json).ok()?;
                let with = format!("the most frequent value {} ({count} times)", quoted(&value));
                Some((Fill::With(value), with))
            }
            Strategy::Bfill | Strategy::Ffill => {
                let forward = strategy == Strategy::Ffill;
                let mut other_side = 0;
                let mut donors = HashMap::with_capacity(self.missing.len());
                for (row, (before, behind)) in self.missing.into_iter().zip(self.near) {
                    let (wanted, other) = if forward { (before, behind) } else { (behind, before) };
                    other_side += usize::from(wanted.is_none());
                    donors.insert(row, wanted.or(other)?);
                }
                let (this, that) = if forward { ("before", "next") } else { ("next", "before") };
                let mut with = format!("the value of the row {this}");
                if other_side > 0 {
                    with = format!("{with}, {other_side} of them with that of the row {that}");
                }
                Some((Fill::From(donors), with))
            }
            Strategy::DropRow => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use serde_json::json;

    fn fill(strategy: Strategy, cells: &[Value]) -> Result<(Vec<Value>, Vec<String>), DataError> {
        let rows_in = cells.iter().map(|cell| json!({"a": cell}).as_object().unwrap().clone());
        let how = MissingValues { missing_value_strategy: strategy, ..MissingValues::input() };
        let filled = Filled::new(Arc::new(Memory::new("m", rows_in.collect())), &[("a", how)])?;
        let out = rows(&filled).map(|row| row.unwrap().fields["a"].clone()).collect();
        Ok((out, filled.notes().iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn each_strategy_fills_its_way() {
        let cells = [json!(null), json!("x"), json!(null), json!("y"), json!("y"), json!(null)];
        let check = |strategy, expected: &[&str], note: &str| {
            let (out, notes) = fill(strategy, &cells).unwrap();
            assert_eq!(out, expected, "{strategy:?}");
            assert_eq!(notes, [note]);
        };
        check(
            Strategy::FillWithConst,
            &["<UNK>", "x", "<UNK>", "y", "y", "<UNK>"],
            "column `a`: 3 missing cells filled with `<UNK>`",
        );
        check(
            Strategy::FillWithMode,
            &["y", "x", "y", "y", "y", "y"],
            "column `a`: 3 missing cells filled with the most frequent value `y` (2 times)",
        );
        // pandas: Series.bfill().ffill() and Series.ffill().bfill()
        check(
            Strategy::Bfill,
            &["x", "x", "y", "y", "y", "y"],
            "column `a`: 3 missing cells filled with the value of the row next, \
             1 of them with that of the row before",
        );
        check(
            Strategy::Ffill,
            &["x", "x", "x", "y", "y", "y"],
            "column `a`: 3 missing cells filled with the value of the row before, \
             1 of them with that of the row next",
        );
        check(
            Strategy::DropRow,
            &["x", "y", "y"],
            "column `a`: 3 rows dropped, the cell is missing",
        );
    }

    #[test]
    fn ties_of_the_mode_go_to_the_first() {
        let cells = [json!("b"), json!("a"), json!(null)];
        assert_eq!(fill(Strategy::FillWithMode, &cells).unwrap().0[2], "b");
    }

    #[test]
    fn an_empty_column_cannot_fill_itself() {
        for strategy in [Strategy::FillWithMode, Strategy::Bfill, Strategy::Ffill] {
            let error = fill(strategy, &[json!(null)]).unwrap_err();
            assert!(matches!(error, DataError::NothingToFill { .. }));
        }
    }

    #[test]
    fn complete_columns_are_left_alone() {
        let (out, notes) = fill(Strategy::FillWithConst, &[json!("x"), json!("")]).unwrap();
        assert_eq!(out, ["x", ""]);
        assert!(notes.is_empty());
    }
}
