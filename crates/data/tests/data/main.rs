//! Files in, rows out, and back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod broken;
mod division;
mod formats;
mod memory;
mod round_trip;

use std::path::PathBuf;

use fidelio_data::{DataError, ReadOptions, Source, Table, rows};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/fixtures").join(name)
}

/// A table over one file with this content.
fn table_of(name: &str, content: &[u8]) -> Result<Table, DataError> {
    table_with(name, content, &ReadOptions::default())
}

fn table_with(name: &str, content: &[u8], options: &ReadOptions) -> Result<Table, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    // The open file outlives its name, as it does when a user replaces it.
    Table::open(&[path], options)
}

fn cells(table: &dyn Source) -> Vec<Vec<Value>> {
    rows(table).map(|row| row.unwrap().fields.values().cloned().collect()).collect()
}

fn column(table: &dyn Source, name: &str) -> Vec<Value> {
    rows(table).map(|row| row.unwrap().fields[name].clone()).collect()
}
