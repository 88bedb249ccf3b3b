//! Folders as runs leave them, made without a model: through the types that write them where there
//! are such, so that reading follows writing.

use std::path::{Path, PathBuf};

use fidelio::{
    RunFile,
    config::Override,
    data::{Format, TableWriter},
    eval::{Bootstrap, CategoryRows, CategoryStatistics, Report, TextRows, TextStatistics},
    trainer::{self, MetricsFile, Observer as _},
};
use serde_json::{Value, json};

const RUN: &str = "\
model_type: llm
base_model: smollm2-135m
prompt: {template: 'Is this <spam>? {text}'}
input_features: [{name: text, type: text}]
output_features: [{name: label, type: category, preprocessing: {vocab: [ham, spam]}}]
adapter: lora
trainer: {type: finetune, learning_rate: 0.0002}
";

/// A row that was measured: its text, the answer with its probability, what was expected.
pub(crate) type Row = (&'static str, &'static str, f64, &'static str);

/// The labels of the rows below.
const LABELS: [&str; 2] = ["ham", "spam"];

/// Six mails, of which the second and the last are answered wrongly.
pub(crate) const MAILS: [Row; 6] = [
    ("see you at noon", "ham", 0.9, "ham"),
    ("<script>alert(1)</script> & win", "ham", 0.6, "spam"),
    ("minutes of the meeting", "ham", 0.8, "ham"),
    ("cheap watches", "spam", 0.99, "spam"),
    ("your invoice", "ham", 0.7, "ham"),
    ("re: re: lottery", "ham", 0.95, "spam"),
];

/// Writes `run.yaml` as a run writes it.
fn run_file(folder: &Path, overrides: &[&str]) {
    std::fs::create_dir_all(folder).unwrap();
    let overrides: Vec<Override> = overrides.iter().map(|key| Override::new(*key)).collect();
    let run = RunFile::parse("run.yaml", RUN, &overrides).unwrap();
    std::fs::write(folder.join("run.yaml"), run.document().render()).unwrap();
}

fn plan(answer: &Value, files: &[PathBuf], rows: usize, split: &str) -> Value {
    json!({
        "fidelio_version": "0.1.0",
        "model": {
            "base_model": "smollm2-135m",
            "path": "/models/smollm2.gguf",
            "description": {"format": "gguf", "architecture": "llama", "parameters": 134_515_008},
            "tokenizer_sha256": "ab12",
        },
        "device": "flex",
        "context": 2048,
        "prompt": {"chat_template": true, "fingerprint": {"source": "c0ffee", "stops": [2]}},
        "answer": answer,
        "data": {"files": files, "split": split, "rows_read": 40, "rows": rows,
                 "notes": ["1 row without an answer was dropped"]},
        "validation_metric": "accuracy",
        "random_seed": 42,
    })
}

/// A training run's folder: its losses at each of its updates, evaluated after every second.
pub(crate) fn trained(folder: &Path, losses: &[f64], overrides: &[&str]) {
    run_file(folder, overrides);
    let mut file = MetricsFile::new(folder.join("metrics.jsonl"));
    let of = losses.len() as u64;
    let began = trainer::Event::Began { update: 0, evaluated: 0, of, rows: 30, parameters: 9 };
    file.on(&began).unwrap();
    for (update, loss) in (1..).zip(losses) {
        file.on(&step(update, of, *loss)).unwrap();
        if update % 2 == 0 {
            file.on(&evaluated(update, loss + 0.1)).unwrap();
        }
    }
    let answer = json!({"by": "score", "labels": LABELS, "label_score": "mean"});
    let description = json!({
        "plan": plan(&answer, &[PathBuf::from("mails.csv")], 30, "training"),
        "training": {"updates": of, "batch_size": 8, "learning_rate": 0.0002},
        "rows": {"training": 30, "validation": 4},
        "tokens": {"rows": 30, "read": 12_345, "learnt": 60, "masked": 12_285, "dropped": 0},
        "summary": {
            "update": of, "of": of, "ended": "complete", "validation_metric": "loss",
            "best": {"update": of, "metric": losses.last().unwrap() + 0.1},
            "totals": {"tokens_learnt": 60, "seconds": 12.5},
        },
    });
    write_json(&folder.join("description.json"), &description);
}

fn step(update: u64, of: u64, loss: f64) -> trainer::Event {
    trainer::Event::Step(trainer::Step {
        update,
        of,
        epoch: 0.1,
        loss,
        learning_rate: 2e-4 / update as f64,
        gradient_norm: 1.0,
        clipped: false,
        applied: true,
        tokens_learnt: 10,
        tokens_computed: 100,
        seconds: 0.5,
    })
}

fn evaluated(update: u64, loss: f64) -> trainer::Event {
    trainer::Event::Evaluated(trainer::Evaluated {
        update,
        validation_metric: "loss".into(),
        metric: loss,
        improved: true,
        training_loss: loss,
        values: [("loss".into(), loss), ("accuracy".into(), 1.0 / loss)].into(),
    })
}

/// A measured run's folder, its data beside it.
pub(crate) fn measured(folder: &Path, rows: &[Row], overrides: &[&str]) {
    run_file(folder, overrides);
    let data = folder.join("mails.csv");
    let mut table = TableWriter::create(&data, Format::Csv, &["text", "label"]).unwrap();
    for (text, _, _, expected) in rows {
        table.write(&[json!(text), json!(expected)]).unwrap();
    }
    table.finish().unwrap();
    predictions(folder, rows);
    statistics(folder, rows);
    let answer = json!({"by": "score", "labels": LABELS, "label_score": "mean"});
    let right = rows.iter().filter(|(_, answer, _, expected)| answer == expected).count();
    let accuracy = right as f64 / rows.len() as f64;
    let manifest = json!({
        "plan": plan(&answer, &[data], rows.len(), "test"),
        "headline": {"metric": "accuracy", "value": accuracy, "interval": [0.3, 0.9],
                     "better": "higher"},
        "usage": {"rows": rows.len(), "seconds": 1.5},
        "complete": true,
    });
    write_json(&folder.join("run.json"), &manifest);
}

fn predictions(folder: &Path, rows: &[Row]) {
    let columns = [
        "row",
        "line",
        "label_predictions",
        "label_probabilities",
        "label_probability",
        "label_probabilities_ham",
        "label_probabilities_spam",
        "label",
    ];
    let path = folder.join("predictions.csv");
    let mut table = TableWriter::create(&path, Format::Csv, &columns).unwrap();
    for (row, (_, answer, p, expected)) in rows.iter().enumerate() {
        let each = if *answer == "ham" { [*p, 1.0 - p] } else { [1.0 - p, *p] };
        let cells = [
            json!(row),
            json!(row + 2),
            json!(answer),
            json!(each),
            json!(p),
            json!(each[0]),
            json!(each[1]),
            json!(expected),
        ];
        table.write(&cells).unwrap();
    }
    table.finish().unwrap();
}

fn statistics(folder: &Path, rows: &[Row]) {
    let number = |label: &str| LABELS.iter().position(|it| *it == label).unwrap();
    let truth: Vec<usize> = rows.iter().map(|row| number(row.3)).collect();
    let predicted: Vec<usize> = rows.iter().map(|row| number(row.1)).collect();
    let labels = LABELS.map(String::from);
    let rows = CategoryRows::new(&labels, &truth, &predicted);
    let statistics = CategoryStatistics::measure(&rows, &Bootstrap::default()).unwrap();
    write_json(&folder.join("statistics.json"), &json!(Report::of("label", statistics)));
}

/// A measured run whose answers are texts: answer and expected text.
pub(crate) fn answered(folder: &Path, rows: &[(&str, &str)]) {
    let output = "output_features=[{name: reply, type: text}]";
    run_file(folder, &[output]);
    let path = folder.join("predictions.jsonl");
    let columns = ["row", "line", "reply_predictions", "reply_response", "reply"];
    let mut table = TableWriter::create(&path, Format::Jsonl, &columns).unwrap();
    for (row, (answer, expected)) in rows.iter().enumerate() {
        let cells = [json!(row), json!(row + 2), json!(["x"]), json!(answer), json!(expected)];
        table.write(&cells).unwrap();
    }
    table.finish().unwrap();
    let [answers, expected]: [Vec<String>; 2] = [
        rows.iter().map(|row| row.0.to_owned()).collect(),
        rows.iter().map(|row| row.1.to_owned()).collect(),
    ];
    let measured =
        TextStatistics::measure(&TextRows::new(&answers, &expected), &Bootstrap::default());
    write_json(&folder.join("statistics.json"), &json!(Report::of("reply", measured.unwrap())));
    let manifest = json!({
        "plan": plan(&json!({"by": "text"}), &[PathBuf::from("gone.csv")], rows.len(), "test"),
        "headline": null,
        "usage": {"rows": rows.len()},
        "complete": false,
    });
    write_json(&folder.join("run.json"), &manifest);
}

pub(crate) fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
}
