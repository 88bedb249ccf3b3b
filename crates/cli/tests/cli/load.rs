//! Tables far larger than the memory that reading them may take.
//!
//! A small one in every run of the tests; five gigabytes where `FIDELIO_FULL` is set.

use std::io::{BufWriter, Write as _};

use crate::place::{Place, cache_with_model};

const RUN: &str = "\
model_type: llm
base_model: smollm2-135m
prompt: {template: '{text}', chat_template: false}
preprocessing: {sample_size: 4, split: {type: hash, column: id}}
input_features: [{name: text, type: text}]
output_features: [{name: answer, type: text}]
generation: {max_new_tokens: 1}
trainer: {type: none}
";

/// Writes at least `bytes` bytes of rows; returns how many rows.
fn write_table(place: &Place, bytes: usize) -> usize {
    let file = std::fs::File::create(place.path("rows.csv")).unwrap();
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(b"id,text,answer\n").unwrap();
    let padding = "lorem ipsum ".repeat(170);
    let (mut written, mut rows) = (0, 0);
    while written < bytes {
        let row = format!("{rows},\"{rows}, {padding}\",yes\n");
        file.write_all(row.as_bytes()).unwrap();
        (written, rows) = (written + row.len(), rows + 1);
    }
    file.flush().unwrap();
    rows
}

#[test]
fn a_table_is_not_held_in_memory() {
    let Some(cache) = cache_with_model() else { return };
    let size = if std::env::var_os("FIDELIO_FULL").is_some() { 5_000_000_000 } else { 150_000_000 };
    let place = Place::new().with("run.yaml", RUN);
    let rows = write_table(&place, size);
    let arguments = ["predict", "-c", "run.yaml", "--dataset", "rows.csv", "--json", "--offline"];
    let said = place.run(&[&arguments[..], &["--cache-dir", &cache]].concat()).expect(0);
    let usage = &said.json()["usage"];
    assert_eq!(usage["rows"], 4, "{said}");
    // The model takes 200 MB with a long prompt; a row of the table at most 60 bytes.
    let peak = usage["peak_memory"].as_f64().unwrap();
    let allowed = 300e6 + 60.0 * rows as f64;
    eprintln!("{size} bytes, {rows} rows: peak {:.0} MB", peak / 1e6);
    assert!(peak < allowed, "{peak} bytes, {allowed} allowed");
}
