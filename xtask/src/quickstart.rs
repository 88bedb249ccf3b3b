//! `cargo xtask quickstart`: from a clean clone to measured answers of a real model.
//!
//! Builds the release binary, fetches the default model, evaluates it on 200 rows of each
//! demonstration table, and asks for advice on each: prompt, show examples, or fine-tune? The tables
//! it prints are data (stdout); all else is progress (stderr).

use crate::pins::What;
use crate::{fetch, places, programs, tables, watch};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this task, `spam` or `sentiment`.
    #[arg(long)]
    task: Option<String>,
    /// How long the advice on each task may take; `0` asks for none.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    budget: String,
}

/// A run file under `docs/examples/` and the table it is run on.
const TASKS: [(&str, &str); 2] = [("spam", "spam.csv.gz"), ("sentiment", "sentiment.csv.gz")];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(task) = &args.task
        && TASKS.iter().all(|(name, _)| name != task)
    {
        bail!("there is no task `{task}` (there are `spam` and `sentiment`)");
    }
    eprintln!("quickstart: building the release binary (the first time takes some minutes)");
    let build = ["build", "--release", "--package", "fidelio-cli", "--bin", "fidelio"];
    programs::run(&mut programs::cargo(&build))?;
    fetch::fetch(&[What::Models, What::Embedders])?;

    let binary = places::target()?.join("release").join("fidelio");
    let chosen = |name: &str| args.task.as_deref().is_none_or(|task| task == name);
    let mut rows = Vec::new();
    for (name, table) in TASKS.iter().filter(|(name, _)| chosen(name)) {
        eprintln!("quickstart: evaluating `{name}`");
        rows.push(evaluate(&binary, name, &tables::committed(table))?);
    }
    print!("{}", rendered(&rows));
    eprintln!("This small model was not tuned for either task; the baseline says what that means.");
    if args.budget == "0" {
        return Ok(());
    }
    for (name, table) in TASKS.iter().filter(|(name, _)| chosen(name)) {
        eprintln!("quickstart: which way is best for `{name}`? ({})", args.budget);
        let text = advice(&binary, name, &tables::committed(table), &args.budget)?;
        print!("\n{name}\n{text}");
    }
    Ok(())
}

/// What `fidelio advise` says about all rows of a table.
fn advice(binary: &Path, name: &str, table: &Path, budget: &str) -> Result<String> {
    let results = places::target()?.join("quickstart").join(format!("{name}-advice"));
    let mut command = Command::new(binary);
    command.current_dir(places::root()).args(["advise", "--overwrite", "--budget", budget]);
    command.args(["--config", &format!("docs/examples/{name}.yaml")]);
    command.args(["--set", "preprocessing.sample_size=null", "--dataset"]).arg(table);
    command.arg("--output-directory").arg(&results);
    let seen = watch::watch(&mut command, watch::Stderr::Shown)
        .with_context(|| format!("advice on `{name}` failed"))?;
    Ok(seen.stdout)
}

/// What one evaluation took and gave.
struct Measured {
    name: String,
    report: Report,
    time: Duration,
    peak_memory: Option<u64>,
}

fn evaluate(binary: &Path, name: &str, table: &Path) -> Result<Measured> {
    let results = places::target()?.join("quickstart").join(name);
    let mut command = Command::new(binary);
    command
        .current_dir(places::root())
        .arg("evaluate")
        .args([
            "--config",
            &format!("docs/examples/{name}.yaml"),
            "--split",
            "full",
            "--json",
            "--overwrite",
        ])
        .arg("--dataset")
        .arg(table)
        .arg("--output-directory")
        .arg(&results);
    let seen = watch::watch(&mut command, watch::Stderr::Shown)
        .with_context(|| format!("evaluating `{name}` failed"))?;
    Ok(Measured {
        name: name.to_owned(),
        report: Report::read(&seen.stdout)?,
        time: Duration::from_secs_f64(seen.wall),
        peak_memory: seen.peak,
    })
}

/// What `fidelio evaluate --json` says, as far as the table shows it. Nothing else reads it here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    rows: Option<u64>,
    accuracy: Option<Estimate>,
    majority_baseline: Option<f64>,
    macro_f1: Option<Estimate>,
    tokens_per_second: Option<f64>,
}

/// A figure with its 95 % interval.
#[derive(Debug, Deserialize, Clone, Copy)]
struct Estimate {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
}

impl Report {
    fn read(answer: &str) -> Result<Self> {
        serde_json::from_str(answer).with_context(|| format!("not the expected JSON: {answer}"))
    }
}

fn rendered(rows: &[Measured]) -> String {
    let mut text = format!(
        "{:<10} {:>5}  {:<22} {:>8}  {:>8}  {:>8}  {:>7}  {:>11}\n",
        "task",
        "rows",
        "accuracy [95 %]",
        "baseline",
        "macro-F1",
        "tokens/s",
        "time",
        "peak memory"
    );
    for row in rows {
        let report = &row.report;
        let _ = writeln!(
            text,
            "{:<10} {:>5}  {:<22} {:>8}  {:>8}  {:>8}  {:>5.1} s  {:>11}",
            row.name,
            shown(report.rows),
            report.accuracy.map_or("–".to_owned(), Estimate::rendered),
            shown(report.majority_baseline.map(|value| format!("{value:.3}"))),
            shown(report.macro_f1.map(|f1| format!("{:.3}", f1.value))),
            shown(report.tokens_per_second.map(|rate| format!("{rate:.0}"))),
            row.time.as_secs_f64(),
            shown(row.peak_memory.map(|bytes| format!("{} MB", bytes / 1_000_000))),
        );
    }
    text
}

impl Estimate {
    fn rendered(self) -> String {
        match (self.low, self.high) {
            (Some(low), Some(high)) => format!("{:.3} [{low:.3}, {high:.3}]", self.value),
            _ => format!("{:.3}", self.value),
        }
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or("–".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_the_table() {
        let report = Report::read(
            r#"{"rows": 200, "accuracy": {"value": 0.5, "low": 0.43, "high": 0.57}, "extra": 1}"#,
        );
        let row = Measured {
            name: "spam".to_owned(),
            report: report.unwrap(),
            time: Duration::from_millis(1500),
            peak_memory: None,
        };
        let text = rendered(&[row]);
        let line: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected =
            ["spam", "200", "0.500", "[0.430,", "0.570]", "–", "–", "–", "1.5", "s", "–"];
        assert_eq!(line, expected);
    }
}
