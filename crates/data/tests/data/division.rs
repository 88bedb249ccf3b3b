//! Splits and samples against values computed elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use fidelio_data::{DataError, Division, Memory, Note, Sampling, Set, Source, Split, divide};
use proptest::prelude::*;
use serde_json::{Value, json};

fn memory(cells: impl IntoIterator<Item = Value>) -> Memory {
    let row = |cell: Value| json!({"a": cell}).as_object().unwrap().clone();
    Memory::new("m", cells.into_iter().map(row).collect())
}

fn divided(source: &Memory, split: &str) -> Result<Division, DataError> {
    let split: Split = serde_json::from_str(split).unwrap();
    divide(source, &Sampling::default(), &split, 42)
}

#[test]
fn a_random_split_is_the_same_everywhere() {
    // Expected rows: reference.py, which shares no code with the crate.
    let source = memory((0..30).map(Value::from));
    let division = divided(&source, r#"{"type": "random"}"#).unwrap();
    assert_eq!(division.validation, [8, 13, 26]);
    assert_eq!(division.test, [2, 19, 23, 24, 27, 28]);
    assert_eq!(division.train.len(), 21);
    assert!(division.notes.is_empty());

    let other = divide(&source, &Sampling::default(), &Split::default(), 43).unwrap();
    assert_eq!(other.validation, [9, 11, 24]);
    assert_eq!(other.test, [5, 7, 13, 14, 17, 21]);
}

#[test]
fn a_sample_is_taken_before_the_split() {
    let source = memory((0..20).map(Value::from));
    let sampling = Sampling { sample_size: Some(6), ..Sampling::default() };
    let all_train = Split::Random { probabilities: [1.0, 0.0, 0.0] };
    let division = divide(&source, &sampling, &all_train, 42).unwrap();
    assert_eq!(division.train, [4, 6, 13, 17, 18, 19]);
    assert_eq!(division.notes, [Set::Validation, Set::Test].map(|set| Note::NoRows { set }));
}

#[test]
fn a_fixed_split_follows_its_column() {
    let values = json!([0, 0, "0", 1, "2", 2, "train", "Validation", "dev", "test", 1.0, "2.0"]);
    let source = memory(values.as_array().unwrap().clone());
    let division = divided(&source, r#"{"type": "fixed", "column": "a"}"#).unwrap();
    assert_eq!(division.train, [0, 1, 2, 6]);
    assert_eq!(division.validation, [3, 7, 8, 10]);
    assert_eq!(division.test, [4, 5, 9, 11]);

    let error = divided(&memory([json!(0), json!(3)]), r#"{"type": "fixed", "column": "a"}"#);
    assert_eq!(error.unwrap_err().to_string(), "`m` row 2, column `a`: `3` names no split");
    let error = divided(&source, r#"{"type": "fixed"}"#).unwrap_err();
    assert!(matches!(error, DataError::MissingColumn { column, .. } if column == "split"));
}

#[test]
fn a_small_fixed_set_is_noted_and_left_alone() {
    let source = memory([0, 0, 0, 2].map(Value::from));
    let division = divided(&source, r#"{"type": "fixed", "column": "a"}"#).unwrap();
    assert_eq!(division.test, [3]);
    assert_eq!(
        division.notes,
        [Note::NoRows { set: Set::Validation }, Note::SmallSet { set: Set::Test, rows: 1 }]
    );
}

#[test]
fn a_hash_split_is_that_of_zlib() {
    // Expected sets: reference.py, by Python's zlib.crc32.
    let expected =
        [2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0];
    let keys = (0..24).map(|i| format!("user{i}"));
    let keys = keys.chain(["", "Größe", "你好"].map(str::to_owned));
    let source = memory(keys.map(Value::from));
    let division = divided(&source, r#"{"type": "hash", "column": "a"}"#).unwrap();
    let of = |set| (0..expected.len()).filter(|i| expected[*i] == set).collect::<Vec<_>>();
    assert_eq!(division.train, of(0));
    assert_eq!(division.validation, of(1));
    assert_eq!(division.test, of(2));
}

#[test]
fn a_time_split_tests_on_the_latest() {
    let day = |i: usize| json!(format!("2024-01-{:02}T00:00:00Z", i + 1));
    let order = [7, 2, 9, 0, 5, 1, 8, 3, 6, 4];
    let source = memory(order.map(day));
    let split = r#"{"type": "datetime", "column": "a", "probabilities": [0.4, 0.3, 0.3]}"#;
    let division = divided(&source, split).unwrap();
    let days = |rows: &[usize]| {
        let mut days: Vec<usize> = rows.iter().map(|row| order[*row]).collect();
        days.sort_unstable();
        days
    };
    assert_eq!(days(&division.train), [0, 1, 2, 3]);
    assert_eq!(days(&division.validation), [4, 5, 6]);
    assert_eq!(days(&division.test), [7, 8, 9]);
}

#[test]
fn times_need_a_form() {
    let check = |cells: Value, more: &str| {
        let source = memory(cells.as_array().unwrap().clone());
        let split =
            format!(r#"{{"type": "datetime", "column": "a", "probabilities": [1, 0, 0] {more}}}"#);
        divided(&source, &split)
    };
    let us = json!(["02/03/2024", "05/06/2024", "01/02/2024"]);
    assert!(matches!(check(us.clone(), ""), Err(DataError::AmbiguousDate { .. })));
    check(us, r#", "datetime_format": "%m/%d/%Y""#).unwrap();
    let gap = json!(["2024-01-01", null, "2024-01-02"]);
    assert!(matches!(check(gap.clone(), ""), Err(DataError::Date { .. })));
    check(gap, r#", "fill_value": "1970-01-01""#).unwrap();
    let error = check(json!(["2024-01-01", "soon"]), "").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`m` row 2, column `a`: `soon` is not a date of the form `%Y-%m-%d`"
    );
}

#[test]
fn too_few_rows_are_refused_and_small_sets_topped_up() {
    let error = divided(&memory([json!(1), json!(2)]), r#"{"type": "random"}"#).unwrap_err();
    assert!(matches!(error, DataError::TooFewRows { .. }));
    let division = divided(&memory((0..10).map(Value::from)), r#"{"type": "random"}"#).unwrap();
    let sizes = [division.train.len(), division.validation.len(), division.test.len()];
    assert_eq!(sizes, [4, 3, 3]);
    assert_eq!(division.notes.len(), 2);
}

proptest! {
    #[test]
    fn stratified_sets_have_the_same_mix(
        labels in prop::collection::vec(0_u8..4, 60..200),
        seed: u64,
    ) {
        let probabilities = [0.5, 0.25, 0.25];
        let source = Arc::new(memory(labels.iter().map(|label| json!(label))));
        let split = Split::Stratify { column: "a".to_owned(), probabilities };
        let division = divide(source.as_ref(), &Sampling::default(), &split, seed).unwrap();
        let sets = [&division.train, &division.validation, &division.test];

        let mut all: Vec<usize> = sets.into_iter().flatten().copied().collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..source.len()).collect::<Vec<_>>());

        let mut totals: HashMap<u8, usize> = HashMap::new();
        for label in &labels {
            *totals.entry(*label).or_default() += 1;
        }
        for (set, share) in sets.into_iter().zip(probabilities) {
            for (label, total) in &totals {
                let got = set.iter().filter(|row| labels[**row] == *label).count();
                let due = share * *total as f64;
                prop_assert!((got as f64 - due).abs() < 1.0, "{got} of {total}, due {due}");
            }
            let due = share * labels.len() as f64;
            prop_assert!((set.len() as f64 - due).abs() <= 2.0);
        }
    }
}
