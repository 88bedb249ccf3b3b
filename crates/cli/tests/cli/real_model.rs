//! With the default model, where the cache has it. Expected answers are those of `transformers`
//! with the same weights in single precision.

use std::{
    io::Read as _,
    process::{Command, Stdio},
};

use crate::place::{Place, RUN, Said, cache_with_model};

const FRANCE: &str = "What is the capital of France?";
const PARIS: &str = "The capital of France is Paris.";
const TABLE: &str = "\
question,answer
What is the capital of France?,The capital of France is Paris.
What is 12 plus 7? Answer with a number.,19
";

const LABELS: &str = "\
model_type: llm
base_model: smollm2-135m
prompt: {task: Is the review positive or negative?}
input_features: [{name: text, type: text}]
output_features:
  - {name: label, type: category, preprocessing: {vocab: [negative, positive]}}
trainer: {type: none}
";

const REVIEWS: &str = "\
text,label
Waitress was good though!,positive
I will never come back to this awful place.,negative
An exquisite film and a joy to behold.,positive
";

/// A place whose commands find the model, or none where there is no model.
struct Real {
    place: Place,
    cache: String,
}

impl Real {
    fn new() -> Option<Self> {
        let place = Place::new()
            .with("run.yaml", RUN)
            .with("qa.csv", TABLE)
            .with("labels.yaml", LABELS)
            .with("reviews.csv", REVIEWS);
        Some(Self { place, cache: cache_with_model()? })
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--offline", "--cache-dir", &self.cache]].concat()
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.place.run(&self.arguments(arguments))
    }
}

#[test]
fn generate_answers_as_the_reference_does() {
    let Some(real) = Real::new() else { return };
    let said = real.run(&["generate", "--prompt", FRANCE]).expect(0);
    assert_eq!(said.stdout, format!("{PARIS}\n"), "{said}");
    assert!(said.stderr.contains("37 prompt tokens"), "{said}");

    let said = real.run(&["generate", "--prompt", FRANCE, "--json"]).expect(0);
    let generated = said.json();
    assert_eq!(generated["text"], PARIS);
    assert_eq!(generated["finish_reason"], "stop");
    assert_eq!(generated["usage"]["prompt_tokens"], 37);
    assert_eq!(generated["usage"]["completion_tokens"], 8);
    assert!(generated["usage"]["prefill_tokens_per_second"].is_number());
    assert!(generated["usage"]["decode_tokens_per_second"].is_number());
    assert!(generated["usage"]["next_token_p95_seconds"].is_number());
}

#[test]
fn generate_goes_past_the_end_where_it_must_and_a_warm_up_changes_nothing() {
    let Some(real) = Real::new() else { return };
    let generate = ["generate", "--prompt", FRANCE, "--max-new-tokens", "12", "--json"];
    let longer = ["--min-new-tokens", "12", "--warm-up"];
    let said = real.run(&[&generate[..], &longer].concat()).expect(0).json();
    assert_eq!(
        (said["finish_reason"].as_str(), said["ids"].as_array().unwrap().len()),
        (Some("length"), 12)
    );
    assert!(said["text"].as_str().unwrap().starts_with(PARIS), "{said}");
    let again = real.run(&[&generate[..], &["--min-new-tokens", "12"]].concat()).expect(0).json();
    assert_eq!(again["ids"], said["ids"]);
}

#[test]
fn generate_reads_stdin_and_ends_where_it_is_told() {
    let Some(real) = Real::new() else { return };
    let cut = real.arguments(&["generate", "--max-new-tokens", "3", "--json"]);
    let cut = real.place.run_with_stdin(&cut, &format!("{FRANCE}\n")).expect(0).json();
    assert_eq!(
        (cut["text"].as_str(), cut["finish_reason"].as_str()),
        (Some("The capital of"), Some("length"))
    );
    let stop =
        real.run(&["generate", "--prompt", FRANCE, "--stop", " is", "--json"]).expect(0).json();
    assert_eq!(stop["text"], "The capital of France");
    assert_eq!(stop["finish_reason"], "stop");
}

#[test]
fn check_counts_the_rows_and_shows_one_token_by_token() {
    let Some(real) = Real::new() else { return };
    let said = real.run(&["check", "-c", "run.yaml", "--dataset", "qa.csv"]).expect(0);
    assert!(said.stdout.contains("2 of 2 in qa.csv"), "{said}");
    assert!(said.stdout.contains("longest 44"), "{said}");
    let row = real.run(&["check", "-c", "run.yaml", "--dataset", "qa.csv", "--row", "1"]).expect(0);
    insta::assert_snapshot!(row);
    real.run(&["check", "-c", "run.yaml", "--dataset", "qa.csv", "--row", "3"]).expect(2);
}

#[test]
fn check_lists_every_row_that_cannot_be_used() {
    let Some(real) = Real::new() else { return };
    let short = ["--set", "preprocessing.global_max_sequence_length=56"];
    let check = ["check", "-c", "run.yaml", "--dataset", "qa.csv"];
    let said = real.run(&[&check[..], &short].concat()).expect(1);
    assert!(said.stderr.contains("1 of 2 rows cannot be used"), "{said}");
    assert!(said.stderr.contains("`qa.csv` line 3"), "{said}");
    let predict = ["predict", "-c", "run.yaml", "--dataset", "qa.csv", "--json"];
    let said = real.run(&[&predict[..], &short].concat()).expect(2);
    assert_eq!(said.json()["error"]["rows"][0]["line"], 3, "{said}");
    assert!(!real.place.path("results/run_1").exists());
}

#[test]
fn plan_leaves_nothing_open() {
    let Some(real) = Real::new() else { return };
    let plan = ["plan", "-c", "run.yaml", "--dataset", "qa.csv"];
    let said = real.run(&plan).expect(0);
    assert!(said.stdout.contains("rows_at_once: 32"), "{said}");
    let json = real.run(&[&plan[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(json["context"], 8192);
    assert_eq!(json["answer"]["decoding"]["max_new_tokens"], 16);
}

#[test]
fn predict_writes_a_table_and_does_not_overwrite_it() {
    let Some(real) = Real::new() else { return };
    let predict =
        ["predict", "-c", "run.yaml", "--dataset", "qa.csv", "--predictions-format", "jsonl"];
    let said = real.run(&predict).expect(0);
    assert_eq!(said.stdout, "results/run_1/predictions.jsonl\n");
    let lines = real.place.read("results/run_1/predictions.jsonl");
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["answer_response"], PARIS);
    assert_eq!(lines.lines().count(), 2);

    let named = [&predict[..], &["-od", "results/run_1"]].concat();
    let said = real.run(&named).expect(2);
    assert!(said.stderr.contains("--overwrite"), "{said}");
    real.run(&[&named[..], &["--overwrite", "--json"]].concat()).expect(0);
    real.run(&predict).expect(0);
    assert!(real.place.path("results/run_2/run.json").exists());
}

#[test]
fn evaluate_measures_text() {
    let Some(real) = Real::new() else { return };
    let said = real.run(&["evaluate", "-c", "run.yaml", "--dataset", "qa.csv", "--json"]).expect(0);
    let answer = said.json();
    assert_eq!(answer["rows"], 2);
    assert_eq!(answer["exact_match"]["value"], 0.5);
    assert!(answer["tokens_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn documents_are_checked_and_measured() {
    let Some(real) = Real::new() else { return };
    let run = "model_type: llm\nbase_model: smollm2-135m\ninput_features: [{name: document}]\n\
               output_features: [{name: text, type: text}]\n\
               prompt: {document: answer, overflow: window}\n\
               preprocessing: {global_max_sequence_length: 5}\n";
    std::fs::write(real.place.path("read.yaml"), run).unwrap();
    let arguments = ["-c", "read.yaml", "--dataset", "qa.csv"];
    let said = real.run(&[&["check"][..], &arguments].concat()).expect(0);
    assert!(
        said.stdout.contains(
            "11 tokens read = 9 learnt + 2 masked + 0 dropped + 0 cut; windows read 1 of"
        ),
        "{said}"
    );
    let row = real.run(&[&["check", "--row", "1"][..], &arguments].concat()).expect(0);
    assert!(row.stdout.contains("window 2 of 2"), "{row}");
    let answer = real.run(&[&["evaluate", "--json"][..], &arguments].concat()).expect(0).json();
    assert_eq!((&answer["documents"], &answer["tokens"]), (&2.into(), &9.into()));
    assert!(answer["perplexity"]["value"].as_f64().unwrap() > 1.0);
    let said = real.run(&[&["predict"][..], &arguments].concat()).expect(2);
    assert!(said.stderr.contains("ask for no answer"), "{said}");
}

#[test]
fn folds_are_learnt_and_measured_in_turn() {
    let Some(real) = Real::new() else { return };
    let experiment =
        ["experiment", "-c", "labels.yaml", "--dataset", "reviews.csv", "-kf", "3", "-o", "folds"];
    let answer = real.run(&[&experiment[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(answer["folds"]["folds"], 3);
    let accuracy = &answer["folds"]["metrics"]["accuracy"];
    let values: Vec<f64> = serde_json::from_value(accuracy["values"].clone()).unwrap();
    let mean = values.iter().sum::<f64>() / 3.0;
    assert!((accuracy["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(real.place.path("folds/kfold.json").is_file());
    let rows = real.place.read("folds/fold_2/test/predictions.csv");
    assert_eq!(rows.lines().count(), 2, "each row is tested once: {rows}");
    let sets = ["experiment", "-c", "labels.yaml", "--test-set", "reviews.csv", "--k-fold", "3"];
    real.run(&sets).expect(2);
}

#[test]
fn evaluate_measures_labels() {
    let Some(real) = Real::new() else { return };
    let evaluate = [
        "evaluate",
        "-c",
        "labels.yaml",
        "--dataset",
        "reviews.csv",
        "-o",
        "out",
        "--set",
        "preprocessing.sample_size=5",
    ];
    let said = real.run(&evaluate).expect(0);
    assert!(said.stderr.contains("note: a sample of 5 rows was asked for"), "{said}");
    assert!(said.stdout.contains("| accuracy"), "{said}");
    let answer = real.run(&[&evaluate[..], &["--overwrite", "--json"]].concat()).expect(0).json();
    assert_eq!(answer["rows"], 3);
    let accuracy = answer["accuracy"]["value"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&accuracy));
    assert!((answer["majority_baseline"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    for file in ["predictions.csv", "statistics.json", "run.yaml", "run.json"] {
        assert!(real.place.path("out").join(file).is_file(), "{file}");
    }
}

#[test]
fn chat_remembers_and_obeys_its_commands() {
    let Some(real) = Real::new() else { return };
    let chat = real.arguments(&["chat", "--max-new-tokens", "20"]);
    let typed = format!("/what\n{FRANCE}\n/reset\n{FRANCE}\n/quit\n{FRANCE}\n");
    let said = real.place.run_with_stdin(&chat, &typed).expect(0);
    assert_eq!(said.stdout.matches(PARIS).count(), 2, "{said}");
    assert!(said.stderr.contains("`/what` is none of these"), "{said}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_text_where_it_is() {
    let Some(real) = Real::new() else { return };
    let long = real.arguments(&[
        "generate",
        "--prompt",
        "Write a long story.",
        "--max-new-tokens",
        "4000",
        "--temperature",
        "1",
    ]);
    let mut child = real.place.spawn(&long, Stdio::null());
    // The first byte says that the work is watched.
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let said = real.place.said(child.wait_with_output().unwrap()).expect(1);
    assert!(said.stderr.contains("stopped: the text ends here"), "{said}");
}
