//! Files that are not what they should be: an error that says where, never a panic.

use std::error::Error;

use fidelio_data::{DataError, ReadOptions, Source, Table};
use proptest::prelude::*;

use super::{fixture, table_of};

/// The message for a file with this content, with its folder cut out, and its causes.
fn message(name: &str, content: &[u8]) -> String {
    let error = table_of(name, content).expect_err("it is broken");
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    match (text.find("`/"), text.find(name)) {
        (Some(start), Some(end)) => format!("{}{}", &text[..=start], &text[end..]),
        _ => text,
    }
}

#[test]
fn csv_errors_say_where() {
    let check = |content: &[u8], expected: &str| assert_eq!(message("t.csv", content), expected);
    check(b"", "`t.csv` is empty");
    check(b"\n\n", "`t.csv` is empty");
    check(b"a,b\n", "`t.csv` has no rows below its header");
    check(b"a,b,a\n1,2,3\n", "`t.csv`: column `a` appears twice");
    check(b"a,b\n1,2\n\n3\n", "`t.csv` line 4: expected 2 columns, got 1");
    check(b"a,b\n1,\"x\ny\"\n3,4,5\n", "`t.csv` line 4: expected 2 columns, got 3");
    check(b"a,b\n1,caf\xe9\n", "`t.csv` line 2: byte 6 of the line is not UTF-8");
    check(b"a,b\n1,\"x\n\ny\n", "`t.csv` line 2: a quoted cell begins here and never ends");
    check(b"a,b\n\"x\ny\",\"z\n", "`t.csv` line 3: a quoted cell begins here and never ends");
    check(
        b"a,b\n1,\"x\" y\n",
        "`t.csv` line 2: text after the closing quote at byte 6 of the line",
    );
    check(b"\xff\xfea\0,\0", "`t.csv` is UTF-16 (little endian), expected UTF-8");
}

#[test]
fn json_lines_errors_say_where() {
    let check = |content: &[u8], expected: &str| assert_eq!(message("t.jsonl", content), expected);
    check(b"", "`t.jsonl` is empty");
    check(b"\n \n", "`t.jsonl` has no rows below its header");
    check(b"{\"a\": 1}\n{\"a\": }\n", "`t.jsonl` line 2 column 7: expected value");
    check(b"{\"a\": 1}\n{\"a\": 1\n", "`t.jsonl` line 3 column 1: EOF while parsing an object");
    check(b"{\"a\": 1} x\n", "`t.jsonl` line 1 column 10: trailing characters");
    check(b"{\"a\": 1, \"a\": 2}\n", "`t.jsonl` line 1 column 16: key `a` appears twice");
    check(b"[1]\n", "`t.jsonl` line 1 column 1: invalid type: sequence, expected an object");
    check(b"{\"a\": \"\xff\"}\n", "`t.jsonl` line 1: byte 8 of the line is not UTF-8");
}

#[test]
fn json_errors_say_where() {
    let check = |content: &[u8], expected: &str| assert_eq!(message("t.json", content), expected);
    check(b" ", "`t.json` is empty");
    check(b"[]", "`t.json` has no rows below its header");
    check(b"[{\"a\": 1},\n  {\"a\": x}]", "`t.json` line 2 column 9: expected value");
    check(b"[{\"a\": 1}\n", "`t.json` line 2 column 1: the list is not closed");
    check(b"[{\"a\": 1}] x", "`t.json` line 1 column 12: text after the end of the list");
    check(
        b"7",
        "`t.json` is neither a list of records nor an object of columns: it begins with `7`",
    );
    check(
        b"{\"a\": [1, 2], \"b\": [1]}",
        "`t.json` is neither a list of records nor an object of columns: \
         column `b` has 1 cells, expected 2",
    );
    check(b"{\"a\": 1}\n{\"a\": 2}\n", "`t.json` line 2 column 1: trailing characters");
}

/// A fixture in which some bytes, which occur once, are replaced.
fn damaged(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut content = std::fs::read(fixture(name)).unwrap();
    let mut found = content.windows(from.len()).enumerate().filter(|(_, at)| *at == from);
    let (at, _) = found.next().unwrap();
    assert!(found.next().is_none(), "the bytes occur twice");
    content[at..at + to.len()].copy_from_slice(to);
    content
}

#[test]
fn a_cell_outside_of_its_sheet_is_refused_before_room_is_made() {
    // LABELSST, 10 bytes, row 5: the cell `last` in column 5.
    let far_cell =
        damaged("same.xls", &[0xFD, 0, 10, 0, 5, 0, 4, 0], &[0xFD, 0, 10, 0, 5, 0, 4, 0xFF]);
    assert_eq!(
        message("t.xls", &far_cell),
        "cannot read the workbook `t.xls`: a cell lies in column 65285, \
         a sheet of this format has 256"
    );
    // DIMENSIONS, 14 bytes: rows from 0 to before 6.
    let far_end = damaged(
        "same.xls",
        &[0, 2, 14, 0, 0, 0, 0, 0, 6, 0, 0, 0],
        &[0, 2, 14, 0, 0, 0, 0, 0, 6, 0, 0, 0xF0],
    );
    assert_eq!(
        message("t.xls", &far_end),
        "cannot read the workbook `t.xls`: a sheet goes from row 1 to row 4026531846 of 65536"
    );
}

#[test]
fn a_stray_cell_in_the_last_row_and_column_costs_nothing_and_is_named() {
    assert_eq!(
        message("t.xlsx", &std::fs::read(fixture("stray.xlsx")).unwrap()),
        "`t.xlsx` sheet `Rows` row 1048576, column `number 16384`: the header has no name for it"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Table::open(&["/nowhere/a.csv"], &ReadOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nowhere/a.csv`");
    let error = Table::open(&["/nowhere/a.xlsx"], &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::Read { .. }));
}

#[test]
fn a_file_that_shrinks_under_us_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let many = vec!["some,text\n"; 20_000].concat();
    std::fs::write(&path, format!("a,b\n{many}")).unwrap();
    let table = Table::open(&[&path], &ReadOptions::default()).unwrap();
    std::fs::write(&path, "a,b\n").unwrap();
    assert!(matches!(table.row(19_999), Err(DataError::Changed { .. })));
}

/// Opens a file and reads all of it; whether that works is not the question.
fn read_all(name: &str, content: &[u8]) {
    if let Ok(table) = table_of(name, content) {
        for row in fidelio_data::rows(&table) {
            assert_eq!(row.unwrap().fields.len(), table.columns().len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_do_not_panic(
        which in 0_usize..6,
        at in 0.0_f64..1.0,
        byte: u8,
        cut: bool,
    ) {
        const NAMES: [&str; 6] = ["same.snappy.parquet", "types.parquet", "same.xlsx", "same.xls",
            "same.json", "same.csv"];
        let name = NAMES[which];
        let mut content = std::fs::read(fixture(name)).unwrap();
        let at = (at * content.len() as f64) as usize;
        if cut {
            content.truncate(at);
        } else {
            content[at] = byte;
        }
        read_all(name, &content);
    }

    #[test]
    fn any_text_is_read_or_refused(content in "[a,\"\n\r \u{feff}é;{}\\[\\]:]{0,60}") {
        for name in ["t.csv", "t.tsv", "t.json", "t.jsonl"] {
            read_all(name, content.as_bytes());
        }
    }
}
