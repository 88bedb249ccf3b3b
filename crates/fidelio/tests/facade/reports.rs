//! Pictures, pages and comparisons of runs.

use std::path::Path;

use fidelio::{
    Error, PictureFormat, PictureKind, RunComparison, RunRecord, Which, eval::Bootstrap, pictures,
    report,
};

use crate::left::{MAILS, Row, answered, measured, trained};

fn open(folder: &Path) -> RunRecord {
    RunRecord::open(folder).unwrap()
}

fn names(runs: &[RunRecord]) -> Vec<String> {
    pictures(runs).unwrap().into_iter().map(|picture| picture.name).collect()
}

#[test]
fn an_experiment_gives_curves_confusions_and_figures() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("mails");
    trained(&run, &[2.0, 1.5, 1.2, 1.0], &[]);
    measured(&run.join("test"), &MAILS, &[]);
    let expected = [
        "learning_curves_loss",
        "learning_curves_accuracy",
        "learning_curves_learning_rate",
        "confusion_matrix_mails_test_label",
        "compare_performance_shares",
    ];
    assert_eq!(names(&[open(&run)]), expected);
}

#[test]
fn several_runs_share_their_curves_and_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let places = ["a/run", "b/run"].map(|name| folder.path().join(name));
    trained(&places[0], &[2.0, 1.0], &[]);
    trained(&places[1], &[2.5, 1.5], &[]);
    let runs = RunRecord::open_all(&places).unwrap();
    assert_eq!(runs[1].name, places[1].display().to_string());
    let loss = &pictures(&runs).unwrap()[0];
    assert_eq!(loss.kind, PictureKind::LearningCurves);
    assert_eq!(loss.svg.as_str().matches(", validation</text>").count(), 2);
}

#[test]
fn folds_of_a_cross_validation_are_drawn_together() {
    let folder = tempfile::tempdir().unwrap();
    for (number, loss) in [(1, 1.0), (2, 1.3)] {
        let fold = folder.path().join(format!("fold_{number}"));
        trained(&fold, &[2.0, loss], &[]);
        measured(&fold.join("test"), &MAILS, &[]);
    }
    let across = serde_json::json!({"folds": 2, "metrics": {
        "accuracy": {"mean": 0.7, "std": 0.1, "values": [0.6, 0.8]}}});
    crate::left::write_json(&folder.path().join("kfold.json"), &across);
    let run = open(folder.path());
    let drawn = pictures(std::slice::from_ref(&run)).unwrap();
    let loss = drawn[0].svg.as_str();
    assert!(loss.contains(">fold_1, training<") && loss.contains(">fold_2, validation<"), "{loss}");
    let confusions = drawn.iter().filter(|it| it.kind == PictureKind::ConfusionMatrix).count();
    assert_eq!(confusions, 2);
    let page = std::fs::read_to_string(report(&run).unwrap()).unwrap();
    assert!(page.contains("0.700 ± 0.100") && page.contains("mean and deviation of 2 folds"));
}

#[test]
fn a_picture_is_written_in_either_format() {
    let folder = tempfile::tempdir().unwrap();
    trained(folder.path(), &[2.0, 1.0], &[]);
    let picture = &pictures(&[open(folder.path())]).unwrap()[0];
    let into = folder.path().join("pictures");
    let svg = picture.write(&into, PictureFormat::Svg).unwrap();
    let png = picture.write(&into, PictureFormat::Png).unwrap();
    assert!(std::fs::read_to_string(svg).unwrap().ends_with("</svg>\n"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG\r\n"));
}

#[test]
fn a_page_tells_the_whole_run_and_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("mails");
    trained(&run, &[2.0, 1.5, 1.2, 1.0], &[]);
    measured(&run.join("test"), &MAILS, &[]);
    let path = report(&open(&run)).unwrap();
    assert_eq!(path, run.join("report.html"));
    let page = std::fs::read_to_string(path).unwrap();
    for expected in [
        "smollm2-135m · learnt for 4 updates, measured on 6 test rows · Fidelio 0.1.0",
        "0.667 [0.300, 0.900]",
        "always answering ham",
        "@media (prefers-color-scheme: dark)",
        // The data: rows by split, the note, the tokens.
        "<td>training</td><td>30</td><td>learnt</td>",
        "<td>validation</td><td>4</td><td>measured while learning</td>",
        "1 row without an answer was dropped",
        "<td>read</td><td>12,345</td>",
        "loss 1.100 after update 4",
        // The wrong rows with their own text, which stays text.
        "2 of 6 answers are not as expected",
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; win",
        "<dt>answered</dt><dd>ham (probability 0.950)</dd>",
        // The run file with its defaults.
        "base_model: smollm2-135m",
        "Is this &lt;spam&gt;? {text}",
    ] {
        assert!(page.contains(expected), "{expected:?} is not in the page");
    }
    for banned in ["<script", " src=", " href=", "url(", "@import", "NaN"] {
        assert!(!page.contains(banned), "{banned:?} is in the page");
    }
    assert_eq!(page.matches("<svg ").count(), 4);
    let lottery = page.find("re: re: lottery").unwrap();
    assert!(lottery < page.find("alert(1)").unwrap(), "the surest mistake comes first");
}

#[test]
fn a_row_stands_beside_an_answer_only_if_it_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    measured(folder.path(), &MAILS, &[]);
    let data = folder.path().join("mails.csv");
    let text = std::fs::read_to_string(&data).unwrap();
    std::fs::write(&data, text.replace("re: re: lottery,spam", "re: re: lottery,ham")).unwrap();
    let page = std::fs::read_to_string(report(&open(folder.path())).unwrap()).unwrap();
    assert!(!page.contains("lottery") && page.contains("alert(1)"));
    std::fs::remove_file(&data).unwrap();
    let page = std::fs::read_to_string(report(&open(folder.path())).unwrap()).unwrap();
    assert!(page.contains("the data is not where it was") && page.contains("answered</dt>"));
}

#[test]
fn an_unfinished_run_says_so() {
    let folder = tempfile::tempdir().unwrap();
    trained(folder.path(), &[2.0, 1.5], &[]);
    std::fs::remove_file(folder.path().join("description.json")).unwrap();
    let page = std::fs::read_to_string(report(&open(folder.path())).unwrap()).unwrap();
    assert!(page.contains("this run is not finished"), "{page}");
    let texts = tempfile::tempdir().unwrap();
    answered(texts.path(), &[("a b", "a b c")]);
    let page = std::fs::read_to_string(report(&open(texts.path())).unwrap()).unwrap();
    assert!(page.contains("of the test rows not all were answered"), "{page}");
    assert!(page.contains("those that share least"), "{page}");
}

#[test]
fn damage_is_named_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    let damage = |name: &str, from: &str, to: &str, line: Option<usize>| {
        trained(run, &[2.0, 1.5], &[]);
        measured(run, &MAILS, &[]);
        let path = run.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        match RunRecord::open(run).unwrap_err() {
            Error::Damaged { path: found, line: at, .. } => {
                assert_eq!((found, at), (path, line));
            }
            other => panic!("{name}: {other}"),
        }
    };
    damage("metrics.jsonl", "\"evaluated\"", "\"evaluted\"", Some(3));
    damage("run.json", "\"by\": \"score\"", "\"by\": \"luck\"", None);
    damage("statistics.json", "\"rows\": 6", "\"rows\": six", Some(4));
    damage("description.json", "{", "[", Some(2));
    damage("predictions.csv", "\n1,3,", "\n1,three,", Some(3));
}

#[test]
fn what_an_earlier_run_left_is_not_taken_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    measured(folder.path(), &MAILS, &[]);
    let manifest = folder.path().join("run.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let fewer = text.replace("\"usage\": {\n    \"rows\": 6", "\"usage\": {\n    \"rows\": 5");
    assert_ne!(text, fewer);
    std::fs::write(&manifest, fewer).unwrap();
    let error = RunRecord::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("predictions.csv") && error.contains("of 6 rows, and `run.json` of 5"));
}

#[test]
fn a_folder_that_is_no_run_is_told_what_a_run_holds() {
    let folder = tempfile::tempdir().unwrap();
    let error = RunRecord::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotARun { .. }), "{error}");
    assert!(error.hint().unwrap().contains("`run.json` and `statistics.json`"));
}

/// Rows of which some are answered as expected.
fn rows(right: usize, of: usize) -> Vec<Row> {
    (0..of).map(|i| ("mail", if i < right { "spam" } else { "ham" }, 0.9, "spam")).collect()
}

fn compared(first: &Path, second: &Path) -> RunComparison {
    RunComparison::of(&open(first), &open(second), &Bootstrap::default()).unwrap()
}

#[test]
fn only_what_differs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    trained(&a, &[2.0, 1.0], &[]);
    trained(&b, &[2.0, 1.0], &["trainer.learning_rate=0.001"]);
    let found = compared(&a, &b);
    assert_eq!(found.settings.len(), 1, "{found:?}");
    let difference = &found.settings[0];
    assert_eq!(difference.key, "trainer.learning_rate");
    let values = [&difference.first, &difference.second].map(|it| it.as_ref().unwrap().as_f64());
    assert_eq!(values, [Some(2e-4), Some(1e-3)]);
    assert!(found.plan.is_empty() && !found.measured);
    assert!(found.verdict.contains("`a` was not measured"), "{}", found.verdict);
}

#[test]
fn a_better_run_is_called_so_beyond_chance_only() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for (name, right) in [("weak", 30), ("alike", 32), ("strong", 48)] {
        measured(&place(name), &rows(right, 60), &[]);
    }
    let found = compared(&place("weak"), &place("strong"));
    assert_eq!(found.answers.as_ref().unwrap().better, Some(Which::Second));
    assert_eq!(
        found.verdict.split(':').next(),
        Some("`strong` is better than `weak` beyond chance")
    );
    assert!(found.verdict.contains("accuracy 0.500 and 0.800, difference +0.300 [+0."));
    assert!(found.verdict.contains("McNemar's p below 0.001, on the same 60 rows"));
    let back = compared(&place("strong"), &place("weak"));
    assert_eq!(back.answers.unwrap().better, Some(Which::First));
    let found = compared(&place("weak"), &place("alike"));
    assert_eq!(found.answers.unwrap().better, None);
    assert!(found.verdict.contains("by no more than chance"), "{}", found.verdict);
}

#[test]
fn runs_over_other_rows_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    measured(&a, &rows(5, 10), &[]);
    measured(&b, &rows(5, 9), &[]);
    let found = compared(&a, &b);
    assert!(found.answers.is_none() && found.measured);
    assert!(found.verdict.contains("10 rows and `b` 9, of which 9 are the same"), "{found:?}");
    let texts = folder.path().join("texts");
    answered(&texts, &[("x", "y")]);
    assert!(compared(&a, &texts).verdict.contains("one run answers with labels"));
}

#[test]
fn texts_are_compared_and_the_comparison_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let expected = "the answer to this question is quite long";
    let good: Vec<_> = (0..40).map(|_| (expected, expected)).collect();
    let bad: Vec<_> = (0..40).map(|_| ("no answer", expected)).collect();
    answered(&a, &bad);
    answered(&b, &good);
    let found = compared(&a, &b);
    let answers = found.answers.as_ref().unwrap();
    assert_eq!((answers.better, answers.rows), (Some(Which::Second), 40));
    assert_eq!(answers.figures[0].metric, "chrf");
    let into = folder.path().join("out");
    let files = found.write(&[open(&a), open(&b)], &into, PictureFormat::Svg).unwrap();
    assert_eq!(files[0], into.join("comparison.json"));
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    assert_eq!(written["answers"]["better"], "second");
    assert!(files.iter().any(|it| it.ends_with("compare_performance_points.svg")), "{files:?}");
}
