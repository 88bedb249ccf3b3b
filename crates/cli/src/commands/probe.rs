//! Heads on vectors: what `check`, `train`, `evaluate`, `predict` and `experiment` do with a run
//! file of `model_type: ecd`.

use std::path::Path;

use fidelio::{
    Across, DataArgs, FittedProbe, Fold, Machine, ProbeEvaluation, ProbeFile, ProbeRows,
    ProbeSummary, ProbeTraining, RegularizedBy, SplitChoice,
};
use serde_json::{Value, json};

use super::{
    evaluate::{self, Saved},
    experiment::{self, TEST},
    run_folder::RunFolder,
};
use crate::{
    args::{DataFlags, Global, ResultFlags},
    failure::Failure,
    interrupt,
    ui::{
        self, Table, Ui,
        progress::{Downloads, Watch},
    },
};

/// Reads all rows, and says what fitting would do.
pub(super) fn check(
    run: &ProbeFile,
    data: &DataArgs,
    global: &Global,
    ui: &Ui,
) -> Result<(), Failure> {
    let machine = super::machine(global)?;
    interrupt::listen();
    let mut training = ProbeTraining::prepare(&machine, run, data, &Downloads::new(ui))?;
    say_notes(ui, training.notes());
    let usage = training.survey()?;
    let (encoders, labels): (Vec<_>, _) =
        (training.encoders().cloned().collect(), training.labels());
    let value = json!({
        "encoders": encoders,
        "rows": training.rows(),
        "labels": labels,
        "vectors": usage,
    });
    ui.result(&value, || {
        let mut table = Table::bare();
        for encoder in &encoders {
            let how = format!(
                "{}, {}, at most {} tokens",
                encoder.model,
                encoder.pooling.name(),
                encoder.max_tokens
            );
            table.row(["encoder".to_owned(), how]);
        }
        let rows = training.rows();
        let split = format!("{} training, {} validation", rows.training, rows.validation);
        table.row(["rows".to_owned(), split]);
        if let Some(labels) = &labels {
            let each: Vec<String> =
                labels.iter().map(|(label, rows)| format!("{label} {rows}")).collect();
            table.row(["labels".to_owned(), each.join(", ")]);
        }
        let vectors = format!(
            "{} to compute of {} tokens, {} on disk; {} texts cut",
            usage.computed, usage.tokens, usage.from_cache, usage.cut_texts
        );
        table.row(["vectors".to_owned(), vectors]);
        table.render()
    })?;
    ui.note("no problems");
    Ok(())
}

/// Fits a head and writes the run's folder.
pub(super) fn train(
    run: &ProbeFile,
    data: &DataFlags,
    results: &ResultFlags,
    global: &Global,
    ui: &Ui,
) -> Result<(), Failure> {
    let data = data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let folder = RunFolder::create(results)?;
    let (_, summary) = learn(run, &machine, &data, &folder, ui)?;
    let place = folder.results().folder();
    ui.result(&json!({ "summary": summary, "folder": place }), || {
        let by = said_by(summary.regularized_by);
        format!("regularization {}, {by}\nlearnt: {}\n", summary.regularization, place.display())
    })
}

fn learn(
    run: &ProbeFile,
    machine: &Machine,
    data: &DataArgs,
    folder: &RunFolder,
    ui: &Ui,
) -> Result<(FittedProbe, ProbeSummary), Failure> {
    let training = ProbeTraining::prepare(machine, run, data, &Downloads::new(ui))?;
    say_notes(ui, training.notes());
    let rows = training.rows();
    ui.note(format!("{} training and {} validation rows", rows.training, rows.validation));
    let mut watch = Watch::new(ui);
    let (fitted, summary) = training.run(folder.results(), &mut watch)?;
    watch.finish();
    let vectors = &summary.vectors;
    ui.note(format!(
        "{} vectors computed in {}, {} from disk; head fitted in {}",
        vectors.computed,
        ui::seconds(vectors.seconds),
        vectors.from_cache,
        ui::seconds(summary.fitting_seconds)
    ));
    ui.note(format!("results in {}", folder.results().folder().display()));
    Ok((fitted, summary))
}

fn said_by(by: RegularizedBy) -> &'static str {
    match by {
        RegularizedBy::RunFile => "as the run file says",
        RegularizedBy::ValidationRows => "chosen by the validation rows",
        RegularizedBy::CrossValidation => "chosen by cross-validation over the training rows",
    }
}

/// A run's head, the rows that it shall answer, and where the answers go.
fn opened(
    run: &ProbeFile,
    data: &DataFlags,
    answers: bool,
    flags: &ResultFlags,
    global: &Global,
    ui: &Ui,
) -> Result<(FittedProbe, ProbeRows, RunFolder), Failure> {
    let data = data.to_args()?;
    let machine = super::machine(global)?;
    interrupt::listen();
    let fitted = FittedProbe::of_run(&machine, run, &Downloads::new(ui))?;
    let rows = ProbeRows::read(run, &data, answers)?;
    Ok((fitted, rows, RunFolder::create(flags)?))
}

/// Answers every row of a table.
pub(super) fn predict(
    run: &ProbeFile,
    data: &DataFlags,
    flags: &ResultFlags,
    global: &Global,
    ui: &Ui,
) -> Result<(), Failure> {
    let (mut fitted, rows, folder) = opened(run, data, false, flags, global, ui)?;
    say_notes(ui, &rows.notes().collect::<Vec<_>>());
    let mut watch = Watch::new(ui);
    let predictions = fitted.predict(&rows, &mut watch)?;
    watch.finish();
    let results = folder.results();
    let path = if flags.skip_save_predictions {
        None
    } else {
        let format = flags.predictions_format.into();
        Some(results.write_probe_predictions(run, &predictions, None, format)?)
    };
    results.finish_probe(&fitted, &rows, &predictions, None)?;
    let value = json!({
        "folder": results.folder(),
        "predictions": path,
        "usage": predictions.usage,
    });
    ui.result(&value, || {
        path.as_ref().map_or_else(String::new, |path| format!("{}\n", path.display()))
    })
}

/// Answers every row, measured against the expected answers.
pub(super) fn evaluate(
    run: &ProbeFile,
    data: &DataFlags,
    flags: &ResultFlags,
    saved: &Saved,
    global: &Global,
    ui: &Ui,
) -> Result<(), Failure> {
    let (mut fitted, rows, folder) = opened(run, data, true, flags, global, ui)?;
    let evaluation = measured(&mut fitted, &rows, &folder, saved, ui)?;
    said(&evaluation, folder.results().folder(), ui)
}

fn measured(
    fitted: &mut FittedProbe,
    rows: &ProbeRows,
    folder: &RunFolder,
    saved: &Saved,
    ui: &Ui,
) -> Result<ProbeEvaluation, Failure> {
    say_notes(ui, &rows.notes().collect::<Vec<_>>());
    let mut watch = Watch::new(ui);
    let evaluation = fitted.evaluate(rows, &mut watch)?;
    watch.finish();
    let (results, predictions) = (folder.results(), &evaluation.predictions);
    if saved.predictions {
        let expected = Some(&*evaluation.expected);
        let format = saved.format.into();
        results.write_probe_predictions(fitted.run_file(), predictions, expected, format)?;
    }
    if saved.statistics {
        results.write_probe_statistics(&evaluation)?;
    }
    results.finish_probe(fitted, rows, predictions, evaluation.headline.as_ref())?;
    ui.note(format!("results in {}", results.folder().display()));
    if let Some(headline) = &evaluation.headline {
        evaluate::say_figure(ui, headline);
    }
    Ok(evaluation)
}

fn said(evaluation: &ProbeEvaluation, folder: &Path, ui: &Ui) -> Result<(), Failure> {
    let mut answer = evaluate::figures(&evaluation.report);
    answer.insert("headline".to_owned(), json!(evaluation.headline));
    answer.insert("report".to_owned(), json!(evaluation.report));
    answer.insert("usage".to_owned(), json!(evaluation.predictions.usage));
    answer.insert("folder".to_owned(), json!(folder));
    ui.result(&Value::Object(answer), || evaluation.report.to_string())
}

/// Fits a head, then measures it on the test rows; once, or once for each fold.
pub(super) fn experiment(
    run: &ProbeFile,
    data: &DataArgs,
    folds: Option<usize>,
    flags: &ResultFlags,
    saved: &Saved,
    global: &Global,
    ui: &Ui,
) -> Result<(), Failure> {
    let machine = super::machine(global)?;
    interrupt::listen();
    let folder = RunFolder::create(flags)?;
    let place = folder.results().folder();
    let Some(folds) = folds else {
        let test = RunFolder::at(&place.join(TEST))?;
        let evaluation = tested(run, &machine, data, (&folder, &test), saved, ui)?;
        return said(&evaluation, test.results().folder(), ui);
    };
    let mut reports = Vec::with_capacity(folds);
    for number in 0..folds {
        ui.note(format!("fold {} of {folds}", number + 1));
        let data = DataArgs { fold: Some(Fold { number, of: folds }), ..data.clone() };
        let fold = RunFolder::at(&place.join(format!("fold_{}", number + 1)))?;
        let test = RunFolder::at(&fold.results().folder().join(TEST))?;
        reports.push(tested(run, &machine, &data, (&fold, &test), saved, ui)?.report);
    }
    let across = Across::of(&reports);
    folder.results().write_folds(&across)?;
    ui.result(&json!({ "folds": across, "folder": place }), || experiment::said(&across, place))
}

fn tested(
    run: &ProbeFile,
    machine: &Machine,
    data: &DataArgs,
    (folder, test): (&RunFolder, &RunFolder),
    saved: &Saved,
    ui: &Ui,
) -> Result<ProbeEvaluation, Failure> {
    // Without test rows there is nothing to measure: said before anything is learnt.
    let rows = ProbeRows::read(run, &DataArgs { split: SplitChoice::Test, ..data.clone() }, true)?;
    let (mut fitted, _) = learn(run, machine, data, folder, ui)?;
    measured(&mut fitted, &rows, test, saved, ui)
}

fn say_notes(ui: &Ui, notes: &[String]) {
    for note in notes {
        ui.note(format!("note: {note}"));
    }
}
