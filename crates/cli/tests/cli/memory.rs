//! How much memory the default model takes: weights stay as their file stores them.

use crate::place::{Place, cache_with_model};

const MB: f64 = 1e6;

const RUN: &str = "\
model_type: llm
base_model: smollm2-135m
prompt: {template: '{text}', chat_template: false}
input_features: [{name: text, type: text}]
output_features: [{name: answer, type: text}]
generation: {max_new_tokens: 16, min_new_tokens: 16}
trainer: {type: none, eval_batch_size: 32}
";

/// Runs `predict` over `rows` rows that begin differently and have about 112 tokens each, and
/// returns the peak of resident memory in megabytes with the tokens of the prompts.
fn peak(rows: usize) -> Option<(f64, u64)> {
    let cache = cache_with_model()?;
    let row = |i: usize| format!("{i}{}\n", " one two three four five six seven".repeat(16));
    let table: String = (0..rows).map(row).collect();
    let place = Place::new().with("run.yaml", RUN).with("rows.csv", &format!("text\n{table}"));
    let said = place
        .run(&[
            "predict",
            "-c",
            "run.yaml",
            "--dataset",
            "rows.csv",
            "--json",
            "--offline",
            "--cache-dir",
            &cache,
        ])
        .expect(0);
    let usage = &said.json()["usage"];
    assert_eq!(usage["rows"], rows, "{said}");
    let peak = usage["peak_memory"].as_f64()? / MB;
    eprintln!("{rows} rows: {peak:.0} MB, {usage}");
    Some((peak, usage["prompt_tokens"].as_u64()?))
}

#[test]
fn one_row_takes_less_than_250_megabytes() {
    let Some((peak, _)) = peak(1) else { return };
    assert!(peak < 250.0, "{peak} MB");
}

#[test]
fn thirty_two_rows_of_128_tokens_take_less_than_450_megabytes() {
    let Some((peak, tokens)) = peak(32) else { return };
    assert!(tokens >= 32 * 112, "{tokens} prompt tokens are too few to show anything");
    assert!(peak < 450.0, "{peak} MB");
}
