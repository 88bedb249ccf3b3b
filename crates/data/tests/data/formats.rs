//! The same table through every format, and what each format has of its own.

use std::io::Write;

use fidelio_data::{DataError, Format, ReadOptions, Source, Table, Unit, text};
use serde_json::{Value, json};

use super::{cells, column, fixture, table_of, table_with};

fn expected() -> Vec<Vec<Value>> {
    let rows = json!([
        [1, "plain", 0.5, true, "a"],
        [2, "comma, \"quote\" and\nline break", -1.25, false, null],
        [3, "Größe 你好 🦀", 0.001, true, "NA"],
        [4, "  spaces  ", null, false, "x;y|z"],
        [5, "'=1+1", 12_345_678.75, true, "last"],
    ]);
    serde_json::from_value(rows).unwrap()
}

fn open(name: &str) -> Table {
    Table::open(&[fixture(name)], &ReadOptions::default()).unwrap()
}

#[test]
fn one_table_reads_the_same_from_every_typed_format() {
    for name in [
        "same.jsonl",
        "same.json",
        "columns.json",
        "pandas.json",
        "same.snappy.parquet",
        "same.zstd.parquet",
        "same.gzip.parquet",
        "same.xlsx",
        "same.xls",
    ] {
        let table = open(name);
        assert_eq!(table.columns(), ["id", "text", "score", "ok", "note"], "{name}");
        assert_eq!(cells(&table), expected(), "{name}");
    }
}

#[test]
fn an_opendocument_sheet_reads_the_same_but_for_folded_space() {
    // The format itself folds a cell's line breaks and runs of spaces, unless they are marked up.
    let table = open("same.ods");
    for name in ["id", "score", "ok", "note"] {
        assert_eq!(column(&table, name), column(&open("same.jsonl"), name), "{name}");
    }
}

#[test]
fn csv_reads_the_same_as_text() {
    let as_text = |cell: &Value| match cell {
        // Python writes its own words for these.
        Value::Bool(yes) => json!(if *yes { "True" } else { "False" }),
        cell => text(cell).map_or(Value::Null, |text| json!(text)),
    };
    let expected: Vec<Vec<Value>> =
        expected().iter().map(|row| row.iter().map(as_text).collect()).collect();
    assert_eq!(cells(&open("same.csv")), expected);
}

#[test]
fn parquet_types_become_plain_cells() {
    let expected = json!([
        ["2024-02-29", "2024-02-29T13:05:07.123", "1969-12-31T23:59:59.999999",
         "2024-02-29T13:05:07.123456789", "-12.30", 0.1, ["a", "b"],
         [{"role": "user", "content": "hi"}], 18_446_744_073_709_551_615_u64, "ok"],
        [null, "2024-02-29T13:05:07.123", "1969-12-31T23:59:59.999999", null, "0.05", null, [],
         null, 0, ""],
    ]);
    assert_eq!(json!(cells(&open("types.parquet"))), expected);
}

#[test]
fn a_sheet_is_chosen_by_name() {
    let options = ReadOptions { sheet: Some("Dates".to_owned()), ..ReadOptions::default() };
    let table = Table::open(&[fixture("same.xlsx")], &options).unwrap();
    assert_eq!(json!(cells(&table)), json!([["2024-02-29T13:05:07", 1], ["2023-01-02", 2]]));
    let place = table.row(1).unwrap().place;
    assert_eq!((place.line, place.unit), (4, Unit::Sheet("Dates".into())));

    let options = ReadOptions { sheet: Some("Date".to_owned()), ..ReadOptions::default() };
    let error = Table::open(&[fixture("same.xlsx")], &options).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `Dates`?");
}

#[test]
fn separators_marks_and_line_ends_are_understood() {
    let check = |name: &str, content: &str| {
        let table = table_of(name, content.as_bytes()).unwrap();
        assert_eq!(table.columns(), ["a", "b"], "{content:?}");
        assert_eq!(json!(cells(&table)), json!([["1", "x, y"], [null, ""]]), "{content:?}");
    };
    check("t.csv", "a,b\n1,\"x, y\"\n,\"\"\n");
    check("t.csv", "\u{feff}a,b\r\n1,\"x, y\"\r\n,\"\"");
    check("t.csv", "a;b\n1;x, y\n;\"\"\n");
    check("t.csv", "a|b\n1|x, y\n|\"\"\n");
    check("t.csv", "a\tb\n\n1\tx, y\n\t\"\"\n\n");
    check("t.tsv", "a\tb\n1\tx, y\n\t\"\"\n");
}

#[test]
fn words_for_missing_count_only_where_said() {
    let content = b"a,b\nNA,\"NA\"\n";
    assert_eq!(json!(cells(&table_of("t.csv", content).unwrap())), json!([["NA", "NA"]]));
    let options = ReadOptions { null_values: vec!["NA".to_owned()], ..ReadOptions::default() };
    let table = table_with("t.csv", content, &options).unwrap();
    assert_eq!(json!(cells(&table)), json!([[null, "NA"]]), "what is quoted is meant as text");
}

#[test]
fn rows_know_their_lines() {
    let table = table_of("t.csv", b"a,b\n1,\"x\ny\n\nz\"\n\n2,y\n3,z\n").unwrap();
    let lines: Vec<_> = (0..3).map(|i| table.place(i).line).collect();
    assert_eq!(lines, [2, 7, 8]);
    let table = table_of("t.json", b"[{\"a\": 1},\n\n {\"a\":\n 2}, {\"a\": 3}]").unwrap();
    let lines: Vec<_> = (0..3).map(|i| table.place(i).line).collect();
    assert_eq!(lines, [1, 3, 4]);
}

#[test]
fn rows_are_read_in_any_order() {
    let table = table_of("t.csv", b"a\n0\n1\n2\n3\n4\n").unwrap();
    for index in [4, 0, 3, 3, 1, 2, 0, 4] {
        assert_eq!(table.row(index).unwrap().fields["a"], index.to_string());
    }
    assert!(matches!(table.row(5), Err(DataError::OutOfRange { index: 5, len: 5 })));
}

#[test]
fn records_may_lack_columns() {
    let table =
        table_of("t.jsonl", b"{\"a\": 1}\n\n{\"b\": [1, {\"c\": null}], \"a\": 2}\n").unwrap();
    assert_eq!(json!(cells(&table)), json!([[1, null], [2, [1, {"c": null}]]]));
}

#[test]
fn compressed_text_is_unpacked() {
    for (name, content) in [
        ("t.csv.gz", "a,b\n1,x\n2,y\n"),
        ("t.jsonl.gz", "{\"a\":\"1\",\"b\":\"x\"}\n{\"a\":\"2\",\"b\":\"y\"}\n"),
    ] {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(content.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let table = table_of(name, &packed).unwrap();
        assert_eq!(json!(cells(&table)), json!([["1", "x"], ["2", "y"]]), "{name}");
        assert!(table_of(name, &packed[..packed.len() - 9]).is_err(), "cut short");
        assert!(matches!(table_of("t.csv", &packed), Err(DataError::Encoding { .. })));
    }
}

#[test]
fn a_format_can_be_named() {
    let options = ReadOptions { data_format: Some(Format::Jsonl), ..ReadOptions::default() };
    let table = table_with("rows.txt", b"{\"a\": 1}\n", &options).unwrap();
    assert_eq!(table.len(), 1);
    assert!(matches!(table_of("rows.txt", b"a\n1\n"), Err(DataError::UnknownFormat { .. })));
}

#[test]
fn several_files_make_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    write("part-2.csv", "b,a\n3,z\n");
    write("part-1.csv", "a,b\nx,1\ny,2\n");
    let odd = write("odd.csv", "a,c\nx,1\n");
    let open = |paths: &[std::path::PathBuf]| Table::open(paths, &ReadOptions::default());

    let table = open(&[folder.path().join("part-*.csv")]).unwrap();
    assert_eq!(json!(cells(&table)), json!([["x", "1"], ["y", "2"], ["z", "3"]]));
    assert!(table.place(2).file.ends_with("part-2.csv"));
    assert_eq!(table.place(2).line, 2);

    match open(&[folder.path().join("part-1.csv"), odd]).unwrap_err() {
        DataError::DifferentColumns { first, second, missing, extra } => {
            assert!(first.ends_with("part-1.csv") && second.ends_with("odd.csv"));
            assert_eq!((missing, extra), (vec!["b".to_owned()], vec!["c".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(open(&[folder.path().join("none-*.csv")]), Err(DataError::NoMatch { .. })));
    assert!(matches!(open(&["s3://bucket/a.csv".into()]), Err(DataError::Remote { .. })));
}
