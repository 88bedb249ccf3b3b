//! `fidelio evaluate`: answers for every row, measured against the expected ones.

use fidelio::{
    AnyRunFile, Evaluation, Job, RunFile,
    eval::{FeatureStatistics, Figure, Report},
};
use serde_json::{Map, Value, json};

use super::{predict, probe, run_folder::RunFolder};
use crate::{
    args::{DataFlags, Global, PredictionsFormat, ResultFlags, RunFlags},
    failure::Failure,
    interrupt,
    ui::{Ui, progress::Watch},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    results: ResultFlags,
    /// Write no statistics.
    #[arg(long)]
    skip_save_eval_stats: bool,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = match args.run.load_any()? {
        AnyRunFile::Llm(run) => *run,
        AnyRunFile::Probe(run) => {
            return probe::evaluate(&run, &args.data, &args.results, &args.saved(), global, ui);
        }
    };
    let data = args.data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let model = super::model(&machine, &run, ui)?;
    let mut job = Job::prepare_to_measure(&machine, &run, model, &data)?;
    let folder = RunFolder::create(&args.results)?;
    measure(&run, &mut job, &folder, &args.saved(), ui)
}

/// What is written of a measured run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saved {
    pub(super) predictions: bool,
    pub(super) format: PredictionsFormat,
    pub(super) statistics: bool,
}

impl Args {
    fn saved(&self) -> Saved {
        Saved {
            predictions: !self.results.skip_save_predictions,
            format: self.results.predictions_format,
            statistics: !self.skip_save_eval_stats,
        }
    }
}

/// Answers the rows of a job, measures the answers, writes and says what came of it.
pub(super) fn measure(
    run: &RunFile,
    job: &mut Job,
    folder: &RunFolder,
    saved: &Saved,
    ui: &Ui,
) -> Result<(), Failure> {
    let evaluation = measured(run, job, folder, saved, ui)?;
    let (results, predictions) = (folder.results(), &evaluation.predictions);
    ui.result(&answer(&evaluation, results.folder()), || evaluation.report.to_string())?;
    predict::stopped(
        predictions.stopped,
        predictions.usage.rows,
        job.plan().data.rows,
        results.folder(),
    )
}

/// Answers the rows of a job, measures the answers and writes what came of it.
pub(super) fn measured(
    run: &RunFile,
    job: &mut Job,
    folder: &RunFolder,
    saved: &Saved,
    ui: &Ui,
) -> Result<Evaluation, Failure> {
    super::say_notes(ui, job);

    let mut watch = Watch::new(ui);
    let evaluation = job.evaluate(&mut watch)?;
    watch.finish();

    let results = folder.results();
    let predictions = &evaluation.predictions;
    // Documents are read, not answered.
    if saved.predictions && !predictions.rows.is_empty() {
        let expected = Some(evaluation.expected.as_slice());
        results.write_predictions(job, predictions, expected, saved.format.into())?;
    }
    if saved.statistics {
        results.write_statistics(&evaluation)?;
    }
    results.finish(run, job, predictions, evaluation.headline.as_ref())?;

    predict::say_usage(ui, &evaluation.usage);
    ui.note(format!("results in {}", results.folder().display()));
    say_headline(ui, &evaluation, job);
    Ok(evaluation)
}

fn say_headline(ui: &Ui, evaluation: &Evaluation, job: &Job) {
    let metric = &job.plan().validation_metric;
    let Some(figure) = &evaluation.headline else {
        ui.note(format!("`validation_metric: {metric}` is not defined for these rows"));
        return;
    };
    say_figure(ui, figure);
}

/// A figure with its interval.
pub(super) fn say_figure(ui: &Ui, figure: &Figure) {
    let metric = &figure.metric;
    let interval =
        figure.interval.map_or_else(String::new, |(low, high)| format!(" [{low:.3}, {high:.3}]"));
    ui.note(format!("{metric} {:.3}{interval}", figure.value));
}

/// The headline figures by plain names.
pub(super) fn figures(report: &Report) -> Map<String, Value> {
    let mut figures = Map::new();
    let mut put = |key: &str, value: Value| drop(figures.insert(key.to_owned(), value));
    match report.features.values().next() {
        Some(FeatureStatistics::Category(category)) => {
            put("rows", json!(category.rows));
            put("accuracy", json!(category.accuracy));
            put("majority_baseline", json!(category.baseline.accuracy));
            put("macro_f1", json!(category.f1_macro));
        }
        Some(FeatureStatistics::Text(text)) => {
            put("rows", json!(text.rows));
            put("exact_match", json!(text.exact_match));
            put("rouge_l", json!(text.rouge_l));
            put("perplexity", json!(text.perplexity));
        }
        Some(FeatureStatistics::Number(number)) => {
            put("rows", json!(number.rows));
            put("root_mean_squared_error", json!(number.root_mean_squared_error));
            put("mean_absolute_error", json!(number.mean_absolute_error));
            put("r2", json!(number.r2));
            put("baseline", json!(number.baseline));
        }
        Some(FeatureStatistics::Document(read)) => {
            put("documents", json!(read.documents));
            put("tokens", json!(read.tokens));
            put("loss", json!(read.loss));
            put("perplexity", json!(read.perplexity));
            put("bits_per_byte", json!(read.bits_per_byte));
        }
        None => {}
    }
    figures
}

/// The same, then everything.
fn answer(evaluation: &Evaluation, folder: &std::path::Path) -> Value {
    let mut answer = figures(&evaluation.report);
    let mut put = |key: &str, value: Value| drop(answer.insert(key.to_owned(), value));
    put("headline", json!(evaluation.headline));
    put("tokens_per_second", json!(evaluation.usage.tokens_per_second));
    put("report", json!(evaluation.report));
    put("usage", json!(evaluation.usage));
    put("folder", json!(folder));
    put("stopped", json!(evaluation.predictions.stopped));
    Value::Object(answer)
}
