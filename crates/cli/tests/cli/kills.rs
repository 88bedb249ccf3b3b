//! A training run that is killed at any moment goes on to the same bits.
//!
//! Two kills in every run of the tests; fifty where `FIDELIO_FULL` is set.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::place::{Place, cache_with_model};

const RUN: &str = "\
model_type: llm
base_model: smollm2-135m
prompt: {template: 'Review: {text} Is it red or blue?'}
input_features: [{name: text, type: text}]
output_features: [{name: label, type: category, preprocessing: {vocab: [red, blue]}}]
adapter: {type: lora, r: 2, dropout: 0.1}
trainer:
  {type: finetune, batch_size: 2, train_steps: 5, steps_per_checkpoint: 1, learning_rate: 1e-2}
";

const ROWS: &str = "\
text,label
I love this phone.,blue
The worst film.,red
Great food!,blue
It broke.,red
";

const ADAPTER: &str = "model/model_weights/adapter_model.safetensors";

fn train<'a>(cache: &'a str, flag: &'a str, folder: &'a str) -> [&'a str; 14] {
    let [c, data, held_out] = ["-c", "--training-set", "--validation-set"];
    let [run, rows, offline, dir] = ["run.yaml", "rows.csv", "--offline", "--cache-dir"];
    [
        "train",
        c,
        run,
        data,
        rows,
        held_out,
        rows,
        flag,
        folder,
        offline,
        dir,
        cache,
        "--threads",
        "1",
    ]
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let Some(cache) = cache_with_model() else { return };
    let kills: u32 = if std::env::var_os("FIDELIO_FULL").is_some() { 50 } else { 2 };
    let place = Place::new().with("run.yaml", RUN).with("rows.csv", ROWS);
    let begun = Instant::now();
    place.run(&train(&cache, "-o", "whole")).expect(0);
    let whole = begun.elapsed();
    let expected = std::fs::read(place.path("whole").join(ADAPTER)).unwrap();
    for kill in 0..kills {
        let folder = format!("killed-{kill}");
        let mut child = place.spawn(&train(&cache, "-o", &folder), Stdio::null());
        // Spread over the whole run, in an order that looks random.
        let share = f64::from((kill * 31 + 17) % kills.max(50)) / f64::from(kills.max(50));
        let until = Instant::now() + whole.mul_f64(share) + Duration::from_millis(20);
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        place.run(&train(&cache, "--model-resume-path", &folder)).expect(0);
        let found = std::fs::read(place.path(&folder).join(ADAPTER)).unwrap();
        assert!(found == expected, "killed after {share:.2} of the run, it ended otherwise");
    }
}
