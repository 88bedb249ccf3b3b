//! `fidelio compare`: what two runs have set otherwise, and which one answers better.

use std::path::PathBuf;

use fidelio::{AnswersCompared, Difference, RunComparison, RunRecord, eval::Bootstrap};
use serde_json::{Value, json};

use super::visualize::FileFormat;
use crate::{
    failure::Failure,
    ui::{Table, Ui},
};

/// Letters of a value that are shown.
const SHOWN: usize = 48;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the first run.
    #[arg(value_name = "RUN_A")]
    first: PathBuf,
    /// The folder of the second run.
    #[arg(value_name = "RUN_B")]
    second: PathBuf,
    /// A folder for the comparison as JSON, and for pictures of both runs.
    #[arg(short, long, value_name = "DIR")]
    output_directory: Option<PathBuf>,
    /// The format of the pictures.
    #[arg(long, value_name = "FORMAT", default_value = "svg", requires = "output_directory")]
    file_format: FileFormat,
    /// Seed of the resampling that intervals are made by.
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().seed)]
    random_seed: u64,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    let runs = RunRecord::open_all(&[args.first.clone(), args.second.clone()])?;
    let runs: [RunRecord; 2] = runs.try_into().expect("two folders were opened");
    let bootstrap = Bootstrap { seed: args.random_seed, ..Bootstrap::default() };
    let comparison = RunComparison::of(&runs[0], &runs[1], &bootstrap)?;
    let mut files = Vec::new();
    if let Some(folder) = &args.output_directory {
        files = comparison.write(&runs, folder, args.file_format.into())?;
    }
    let answer = json!({ "comparison": comparison, "files": files });
    ui.result(&answer, || said(&comparison))?;
    for file in &files {
        ui.note(file.display());
    }
    // Both were measured, so the user asked for what could not be done; it has been said why.
    if comparison.measured && comparison.answers.is_none() {
        return Err(Failure::Found);
    }
    Ok(())
}

fn said(comparison: &RunComparison) -> String {
    let mut parts = Vec::new();
    let names = [comparison.first.as_str(), comparison.second.as_str()];
    for (what, differences) in [("run file", &comparison.settings), ("besides", &comparison.plan)] {
        if !differences.is_empty() {
            parts.push(table_of(what, names, differences));
        }
    }
    if parts.is_empty() {
        parts.push("The run files, models, prompts and data are the same.\n".to_owned());
    }
    parts.extend(comparison.answers.as_ref().map(|answers| figures(names, answers)));
    parts.push(format!("{}\n", comparison.verdict));
    parts.join("\n")
}

fn table_of(what: &str, [first, second]: [&str; 2], differences: &[Difference]) -> String {
    let mut table = Table::new([what, first, second]);
    for Difference { key, first, second } in differences {
        table.row([key.clone(), shown(first.as_ref()), shown(second.as_ref())]);
    }
    table.render()
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => return "(no such key)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn chance(p: f64) -> String {
    if p < 1e-4 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

fn figures([first, second]: [&str; 2], answers: &AnswersCompared) -> String {
    let mut table = Table::new(["figure", first, second, "difference", "interval", "p"]);
    for figure in &answers.figures {
        let difference = figure.difference;
        table.row([
            figure.metric.clone(),
            format!("{:.3}", figure.first),
            format!("{:.3}", figure.second),
            format!("{:+.3}", difference.value),
            format!("[{:+.3}, {:+.3}]", difference.low, difference.high),
            figure.p_value.map_or_else(String::new, chance),
        ]);
    }
    table.render()
}
