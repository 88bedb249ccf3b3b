//! Pictures and comparisons of runs, from folders that a run left.

use std::{fmt::Write as _, path::Path};

use fidelio::eval::{Bootstrap, CategoryRows, CategoryStatistics, Report};
use serde_json::json;

use crate::place::Place;

const RUN: &str = "\
model_type: llm
base_model: smollm2-135m
input_features: [{name: text, type: text}]
output_features: [{name: label, type: category, preprocessing: {vocab: [ham, spam]}}]
prompt: {task: 'Is it spam? NEW'}
trainer: {type: none}
";

/// A measured run: some of its rows of spam are found.
fn measured(folder: &Path, found: usize, of: usize, hint: &str) {
    std::fs::create_dir(folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("run.yaml", &RUN.replace("NEW", hint));
    let mut predictions = "row,line,label_predictions,label_probability,label\n".to_owned();
    for row in 0..of {
        let answer = if row < found { "spam" } else { "ham" };
        writeln!(predictions, "{row},{},{answer},0.9,spam", row + 2).unwrap();
    }
    write("predictions.csv", &predictions);
    let labels = ["ham", "spam"].map(String::from);
    let answers: Vec<usize> = (0..of).map(|row| usize::from(row < found)).collect();
    let truth = vec![1; of];
    let rows = CategoryRows::new(&labels, &truth, &answers);
    let statistics = CategoryStatistics::measure(&rows, &Bootstrap::default()).unwrap();
    write("statistics.json", &json!(Report::of("label", statistics)).to_string());
    let data = json!({"files": ["mails.csv"], "split": "test", "rows_read": of, "rows": of});
    let plan = json!({"answer": {"by": "score"}, "data": data, "device": "flex"});
    let usage = json!({"rows": of});
    let manifest = json!({"plan": plan, "headline": null, "usage": usage, "complete": true});
    write("run.json", &manifest.to_string());
}

#[test]
fn a_run_gets_its_pictures_and_its_page() {
    let place = Place::new();
    measured(&place.path("run"), 6, 8, "Yes or no.");
    let said = place.run(&["visualize", "run"]).expect(0);
    let expected = "run/visualizations/confusion_matrix_run_test_label.svg\n\
                    run/visualizations/compare_performance_shares.svg\n\
                    run/report.html\n";
    assert_eq!(said.stdout, expected);
    let files = place.run(&["visualize", "run", "-od", "out", "-ff", "png", "--json"]).expect(0);
    let first = files.json()["pictures"][0].as_str().unwrap().to_owned();
    assert_eq!(first, "out/confusion_matrix_run_test_label.png");
    assert!(std::fs::read(place.path(&first)).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn only_the_kinds_that_are_asked_for_are_drawn() {
    let place = Place::new();
    measured(&place.path("run"), 6, 8, "Yes or no.");
    let said = place.run(&["visualize", "run", "-v", "confusion_matrix"]).expect(0);
    assert_eq!(said.stdout.lines().count(), 2, "{said}");
    let said = place.run(&["visualize", "run", "-v", "learning_curves"]).expect(2);
    assert!(said.stderr.contains("these runs give no picture of `learning_curves`"), "{said}");
}

#[test]
fn what_is_no_run_is_refused_and_damage_is_named() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    insta::assert_snapshot!(place.run(&["visualize", "empty"]).expect(2));
    measured(&place.path("run"), 6, 8, "Yes or no.");
    std::fs::write(place.path("run/statistics.json"), "{\n\"label\": {\n").unwrap();
    insta::assert_snapshot!(place.run(&["visualize", "run"]).expect(2));
}

#[test]
fn two_runs_are_compared_in_plain_words() {
    let place = Place::new();
    measured(&place.path("a"), 10, 40, "Yes or no.");
    measured(&place.path("b"), 30, 40, "Say ham or spam.");
    insta::assert_snapshot!(place.run(&["compare", "a", "b"]).expect(0));
    let said = place.run(&["compare", "a", "b", "-o", "out", "--json"]).expect(0);
    let answer = said.json();
    assert_eq!(answer["comparison"]["answers"]["better"], "second");
    assert_eq!(answer["files"][0], "out/comparison.json");
    assert!(place.path("out/compare_performance_shares.svg").exists());
}

#[test]
fn runs_over_other_rows_end_with_1_and_the_reason() {
    let place = Place::new();
    measured(&place.path("a"), 3, 4, "Yes or no.");
    measured(&place.path("b"), 3, 5, "Yes or no.");
    let said = place.run(&["compare", "a", "b"]).expect(1);
    assert!(said.stdout.contains("`a` answered 4 rows and `b` 5"), "{said}");
    assert!(said.stdout.contains("rows in the files"), "{said}");
}
