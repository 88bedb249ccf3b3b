//! Cached rows that share what they have in common.
//!
//! A cached token is a cell that knows the one before it; a row is its last cell. A larger engine
//! keeps keys and values where this one keeps the token.

use std::collections::BTreeMap;

use fidelio_backend::{BackendError, RowId};

use crate::tables::Place;

/// A cached token.
#[derive(Debug, Clone, Copy)]
struct Cell {
    token: u32,
    before: Option<usize>,
    /// Rows that end here, and cells that continue it.
    users: u32,
}

/// A row: its last cell, and how many there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Row {
    end: Option<usize>,
    pub(crate) len: usize,
}

/// All rows of a session.
#[derive(Debug)]
pub(crate) struct Rows {
    cells: Vec<Cell>,
    unused: Vec<usize>,
    rows: BTreeMap<RowId, Row>,
    next: u64,
    most_rows: usize,
    most_tokens: usize,
}

impl Rows {
    pub(crate) fn new(most_rows: usize, most_tokens: usize) -> Self {
        let (cells, unused) = (Vec::new(), Vec::new());
        Self { cells, unused, rows: BTreeMap::new(), next: 0, most_rows, most_tokens }
    }

    pub(crate) fn free_rows(&self) -> usize {
        self.most_rows - self.rows.len()
    }

    pub(crate) fn free_tokens(&self) -> usize {
        self.most_tokens + self.unused.len() - self.cells.len()
    }

    pub(crate) fn get(&self, row: RowId) -> Result<Row, BackendError> {
        self.rows.get(&row).copied().ok_or(BackendError::NoRow(row))
    }

    /// The last token of a row.
    pub(crate) fn last(&self, row: Row) -> Option<u32> {
        row.end.map(|cell| self.cells[cell].token)
    }

    /// A new row that is a copy of another.
    pub(crate) fn open(&mut self, row: Row) -> RowId {
        if let Some(cell) = row.end {
            self.cells[cell].users += 1;
        }
        let id = RowId(self.next);
        self.next += 1;
        self.rows.insert(id, row);
        id
    }

    /// Adds a token and says what the next one depends on.
    pub(crate) fn push(&mut self, id: RowId, token: u32) -> Result<Place, BackendError> {
        let row = self.get(id)?;
        let before = self.last(row);
        // The row's claim on its last cell becomes the new cell's.
        let cell = Cell { token, before: row.end, users: 1 };
        let end = if let Some(at) = self.unused.pop() {
            self.cells[at] = cell;
            at
        } else {
            self.cells.push(cell);
            self.cells.len() - 1
        };
        self.rows.insert(id, Row { end: Some(end), len: row.len + 1 });
        Ok(Place { last: token, before })
    }

    /// Keeps the first tokens of a row; none frees it.
    pub(crate) fn truncate(&mut self, id: RowId, keep: usize) -> Result<(), BackendError> {
        let row = self.get(id)?;
        if keep > row.len {
            let what = format!("row {} holds {} tokens, {keep} are to be kept", id.0, row.len);
            return Err(BackendError::Engine(what));
        }
        let mut end = row.end;
        for _ in keep..row.len {
            end = end.and_then(|cell| self.cells[cell].before);
        }
        // The new end is claimed before the old one is given up.
        if let Some(cell) = end {
            self.cells[cell].users += 1;
        }
        self.release(row.end);
        if keep == 0 {
            self.rows.remove(&id);
        } else {
            self.rows.insert(id, Row { end, len: keep });
        }
        Ok(())
    }

    /// Gives up a claim on a cell, and the cells that nobody claims any more.
    fn release(&mut self, mut end: Option<usize>) {
        while let Some(at) = end {
            let cell = &mut self.cells[at];
            cell.users -= 1;
            if cell.users > 0 {
                return;
            }
            end = cell.before;
            self.unused.push(at);
        }
    }
}
