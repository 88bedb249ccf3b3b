//! What is written is what is read.

use fidelio_data::{DataError, Format, ReadOptions, Source, Table, TableWriter};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::cells;

fn write(path: &std::path::Path, format: Format, columns: &[&str], rows: &[Vec<Value>]) {
    let mut writer = TableWriter::create(path, format, columns).unwrap();
    for row in rows {
        writer.write(row).unwrap();
    }
    writer.finish().unwrap();
}

fn round_trip(
    name: &str,
    format: Format,
    columns: &[&str],
    rows: &[Vec<Value>],
) -> Vec<Vec<Value>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, format, columns, rows);
    let table = Table::open(&[path], &ReadOptions::default()).unwrap();
    assert_eq!(table.columns(), columns);
    cells(&table)
}

/// Text with everything that text formats stumble over.
fn weird() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => Just(json!("")),
        4 => "[a,;|\t\"\n\r '\u{feff}é🦀\0]{0,8}".prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ]
}

/// Cells of one typed column each.
fn typed() -> impl Strategy<Value = Vec<Value>> {
    let number = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from)];
    let float = prop::num::f64::NORMAL.prop_map(Value::from);
    let flag = any::<bool>().prop_map(Value::from);
    let list = prop::option::of(prop::collection::vec(weird(), 0..3)).prop_map(|l| json!(l));
    (number, float, flag, weird(), list).prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn csv_keeps_any_text(rows in prop::collection::vec(prop::collection::vec(weird(), 3), 1..6)) {
        let columns = ["id, or \"not\"", "ü\n", "c"];
        prop_assert_eq!(&round_trip("t.csv", Format::Csv, &columns, &rows), &rows);
        prop_assert_eq!(&round_trip("t.tsv", Format::Tsv, &columns, &rows), &rows);
    }

    #[test]
    fn one_column_keeps_its_rows(rows in prop::collection::vec(weird(), 1..6)) {
        let rows: Vec<Vec<Value>> = rows.into_iter().map(|cell| vec![cell]).collect();
        let back = round_trip("t.csv", Format::Csv, &["a"], &rows);
        let expected: Vec<Vec<Value>> = rows
            .iter()
            .map(|row| vec![if row[0].is_null() { json!("") } else { row[0].clone() }])
            .collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn typed_formats_keep_any_cell(rows in prop::collection::vec(typed(), 1..8)) {
        let columns = ["int", "float", "flag", "text", "list"];
        prop_assert_eq!(&round_trip("t.jsonl", Format::Jsonl, &columns, &rows), &rows);
        prop_assert_eq!(&round_trip("t.json", Format::Json, &columns, &rows), &rows);
        let back = round_trip("t.parquet", Format::Parquet, &columns, &rows);
        prop_assert_eq!(json!(back), json!(rows));
    }
}

#[test]
fn mixed_parquet_columns_become_text() {
    let rows = vec![
        vec![json!(1), json!([0.5, 1]), json!({"k": [1]}), json!([[1], "x"])],
        vec![json!("x"), json!([]), json!(null), json!([])],
    ];
    let back = round_trip("t.parquet", Format::Parquet, &["a", "b", "c", "d"], &rows);
    assert_eq!(
        json!(back),
        json!([["1", [0.5, 1.0], "{\"k\":[1]}", ["[1]", "x"]], ["x", [], null, []]])
    );
}

#[test]
fn a_file_appears_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "before").unwrap();
    let mut writer = TableWriter::create(&path, Format::Csv, &["a"]).unwrap();
    writer.write(&[json!("x")]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");

    write(&path, Format::Csv, &["a"], &[vec![json!("x")]]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nx\n");
}

#[test]
fn rows_must_fit_their_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let mut writer = TableWriter::create(&path, Format::Jsonl, &["a", "b"]).unwrap();
    let error = writer.write(&[json!(1)]).unwrap_err();
    assert!(matches!(error, DataError::CellCount { row: 1, expected: 2, got: 1, .. }));
    let error = TableWriter::create(&path, Format::Csv, &["a", "a"]).unwrap_err();
    assert!(matches!(error, DataError::DuplicateColumn { .. }));
    let nowhere = std::path::Path::new("/nowhere/t.csv");
    let error = TableWriter::create(nowhere, Format::Csv, &["a"]).unwrap_err();
    assert!(matches!(error, DataError::Write { .. }));
}
