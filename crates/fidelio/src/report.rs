//! One page about a run: what was run, on which rows, how it learnt, what it reached, where it errs.

mod worst;

use std::path::PathBuf;

use fidelio_config::catalogue::metrics_of;
use fidelio_eval::{FeatureStatistics, Figure};
use serde_json::Value;

use crate::{
    Error, Measured, RunRecord, TrainingRecord,
    folds::kind,
    page::{Page, number, thousands},
    pictures::{confusion_matrices, figures, learning_curves},
    results::write_whole,
};

/// The page's file.
const REPORT: &str = "report.html";
/// The most frequent confusions that are named.
const CONFUSIONS: usize = 8;

/// Writes `report.html` into the run's folder: one page that needs no network and no scripts, and
/// is dark where the reader's system is. Returns the file.
///
/// # Errors
/// When a picture cannot be drawn or the file cannot be written.
pub fn report(run: &RunRecord) -> Result<PathBuf, Error> {
    let path = run.folder.join(REPORT);
    write_whole(&path, render(run)?.as_bytes())?;
    Ok(path)
}

/// The page's text.
fn render(run: &RunRecord) -> Result<String, Error> {
    let mut page = Page::new(&run.name);
    write_head(&mut page, run);
    write_results(&mut page, run)?;
    for measured in &run.measured {
        write_measured(&mut page, run, measured)?;
    }
    write_learning(&mut page, run)?;
    write_data(&mut page, run);
    write_settings(&mut page, run);
    Ok(page.finish())
}

/// What it is in one line, what is unfinished about it, and the figures it is judged by.
fn write_head(page: &mut Page, run: &RunRecord) {
    let text = |place: &str| {
        let found = run.plan()?.pointer(place)?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    let model = text("/model/base_model").unwrap_or_else(|| run.run.config().base_model.clone());
    let version = text("/fidelio_version").map(|it| format!(" · Fidelio {it}")).unwrap_or_default();
    page.paragraph(&format!("{model} · {}{version}", what(run)));
    for warning in warnings(run) {
        page.warning(&warning);
    }
    for measured in &run.measured {
        if let Some(figure) = &measured.headline {
            let (note, extra) = (beside(figure, measured), format!("{} rows", measured.split()));
            page.card(&figure.metric, &said(figure), &extra, &note);
        }
    }
    if let Some(across) = &run.across {
        let metric = run.plan().and_then(|plan| plan["validation_metric"].as_str());
        if let Some((name, spread)) = metric.and_then(|it| across.metrics.get_key_value(it)) {
            let value = format!("{} ± {}", number(spread.mean), number(spread.std));
            page.card(name, &value, &format!("mean and deviation of {} folds", across.folds), "");
        }
    }
}

fn what(run: &RunRecord) -> String {
    let learnt = run.training.as_ref().map(|training| {
        let updates = training.curves.steps.last().map_or(0, |step| step.update);
        format!("learnt for {} updates", thousands(updates))
    });
    let measured: Vec<String> = run
        .measured
        .iter()
        .map(|it| format!("measured on {} {} rows", rows(it), it.split()))
        .collect();
    let folds = (!run.folds.is_empty()).then(|| format!("{} folds", run.folds.len()));
    let parts: Vec<String> = learnt.into_iter().chain(measured).chain(folds).collect();
    parts.join(", ")
}

fn rows(measured: &Measured) -> String {
    let rows = measured.manifest.pointer("/usage/rows").and_then(Value::as_u64);
    thousands(rows.unwrap_or_default())
}

fn warnings(run: &RunRecord) -> Vec<String> {
    let unfinished = run.training.as_ref().is_some_and(|it| it.description.is_none());
    let unfinished =
        unfinished.then(|| "this run is not finished: it learns, or was stopped".into());
    let partly = |measured: &Measured| {
        let complete = measured.manifest["complete"].as_bool() == Some(true);
        (!complete).then(|| format!("of the {} rows not all were answered", measured.split()))
    };
    unfinished.into_iter().chain(run.measured.iter().filter_map(partly)).collect()
}

/// What the headline is to be compared with.
fn beside(figure: &Figure, measured: &Measured) -> String {
    let first = measured.report.as_ref().and_then(|report| report.features.values().next());
    let Some(FeatureStatistics::Category(category)) = first else { return String::new() };
    let baseline = &category.baseline;
    let (reached, sure) = match figure.metric.as_str() {
        "accuracy" => (baseline.accuracy, category.beats_baseline()),
        "f1_macro" => (baseline.f1_macro, category.f1_macro.low > baseline.f1_macro),
        _ => return String::new(),
    };
    let verdict = if sure { "surely above" } else { "not surely above" };
    format!("{verdict} {}: always answering {}", number(reached), baseline.label)
}

/// A figure with its interval.
fn said(figure: &Figure) -> String {
    match figure.interval {
        Some((low, high)) => {
            format!("{} [{}, {}]", number(figure.value), number(low), number(high))
        }
        None => number(figure.value),
    }
}

fn write_results(page: &mut Page, run: &RunRecord) -> Result<(), Error> {
    let pictures = figures(std::slice::from_ref(run))?;
    if !pictures.is_empty() {
        page.heading("Figures");
        page.paragraph("Bars are figures, lines on them 95 % intervals.");
    }
    for picture in pictures {
        page.picture(&picture.svg);
    }
    Ok(())
}

/// Everything about the rows that were measured: figures, confusions, the worst answers.
fn write_measured(page: &mut Page, run: &RunRecord, measured: &Measured) -> Result<(), Error> {
    let features = measured.report.iter().flat_map(|report| &report.features);
    for (name, feature) in features {
        page.heading(&format!("{name} ({} rows)", measured.split()));
        write_figures(page, feature);
        if let FeatureStatistics::Text(text) = feature {
            for note in &text.notes {
                page.paragraph(&format!("Note: {note}."));
            }
        }
    }
    for picture in confusion_matrices(run, measured)? {
        page.heading("Confusions");
        page.picture(&picture.svg);
    }
    for feature in measured.report.iter().flat_map(|report| report.features.values()) {
        if let FeatureStatistics::Category(category) = feature {
            let confusions = category
                .confusions
                .iter()
                .take(CONFUSIONS)
                .map(|it| vec![it.truth.clone(), it.predicted.clone(), thousands(it.rows)]);
            let confusions: Vec<_> = confusions.collect();
            if !confusions.is_empty() {
                page.table(&["expected", "predicted", "rows"], &confusions);
            }
        }
    }
    if let Some(answers) = &measured.answers {
        worst::write(page, answers, &measured.files());
    }
    Ok(())
}

fn write_figures(page: &mut Page, feature: &FeatureStatistics) {
    let baseline = match feature {
        FeatureStatistics::Category(category) => Some(&category.baseline),
        _ => None,
    };
    let row = |metric: &str| {
        let figure = feature.figure(metric)?;
        let interval = figure
            .interval
            .map_or_else(String::new, |(low, high)| format!("[{}, {}]", number(low), number(high)));
        let reached = match (metric, baseline) {
            ("accuracy", Some(baseline)) => number(baseline.accuracy),
            ("f1_macro", Some(baseline)) => number(baseline.f1_macro),
            _ => String::new(),
        };
        let mut cells = vec![metric.to_owned(), number(figure.value), interval];
        cells.extend(baseline.map(|_| reached));
        Some(cells)
    };
    let rows: Vec<_> = metrics_of(kind(feature)).iter().filter_map(|it| row(it.name)).collect();
    let always = baseline.map(|it| format!("always {}", it.label));
    let mut heads = vec!["figure", "value", "95 % interval"];
    heads.extend(always.as_deref());
    page.table(&heads, &rows);
}

/// The curves of what decides: the loss, the metric that chooses the best model, the rate.
fn write_learning(page: &mut Page, run: &RunRecord) -> Result<(), Error> {
    let learnt = run.with_folds().find_map(|part| part.training.as_ref());
    let Some(training) = learnt else { return Ok(()) };
    page.heading("Learning");
    let chosen = training.description.as_ref();
    let chosen = chosen.and_then(|it| it.pointer("/summary/validation_metric")?.as_str());
    let wanted = ["loss", chosen.unwrap_or("loss"), "learning_rate"];
    for picture in learning_curves(std::slice::from_ref(run))? {
        let shown = wanted.iter().any(|it| picture.name == format!("learning_curves_{it}"));
        if shown {
            page.picture(&picture.svg);
        }
    }
    if let Some(description) = &training.description {
        write_summary(page, description);
    }
    Ok(())
}

fn write_summary(page: &mut Page, description: &Value) {
    let number_at = |place: &str| description.pointer(place).and_then(Value::as_f64);
    let count_at = |place: &str| description.pointer(place).and_then(Value::as_u64).map(thousands);
    let metric = description.pointer("/summary/validation_metric").and_then(Value::as_str);
    let best = number_at("/summary/best/metric").zip(count_at("/summary/best/update"));
    let best = best.map(|(value, update)| {
        format!("{} {} after update {update}", metric.unwrap_or("metric"), number(value))
    });
    let seconds = number_at("/summary/totals/seconds").map(|it| format!("{it:.0} s"));
    let rows = [
        ("updates", count_at("/summary/update")),
        ("ended", description.pointer("/summary/ended").and_then(Value::as_str).map(str::to_owned)),
        ("best evaluation", best),
        ("tokens learnt", count_at("/summary/totals/tokens_learnt")),
        ("time spent on updates", seconds),
    ];
    let rows = rows.into_iter().filter_map(|(name, it)| Some(vec![name.to_owned(), it?]));
    page.table(&["", ""], &rows.collect::<Vec<_>>());
}

/// Rows by split, the files they are from, what was done to them, and what became of their tokens.
fn write_data(page: &mut Page, run: &RunRecord) {
    page.heading("Data");
    let description = run.training.as_ref().and_then(|it: &TrainingRecord| it.description.as_ref());
    let mut rows = Vec::new();
    for split in ["training", "validation"] {
        let count = description.and_then(|it| it["rows"][split].as_u64());
        let use_of = if split == "training" { "learnt" } else { "measured while learning" };
        rows.extend(count.map(|it| vec![split.to_owned(), thousands(it), use_of.to_owned()]));
    }
    for measured in &run.measured {
        let count = measured.plan().pointer("/data/rows").and_then(Value::as_u64);
        let count = thousands(count.unwrap_or_default());
        rows.push(vec![measured.split().to_owned(), count, "measured".to_owned()]);
    }
    if !rows.is_empty() {
        page.table(&["split", "rows", "use"], &rows);
    }
    let Some(data) = run.plan().and_then(|plan| plan.get("data")) else { return };
    let texts = |key: &str| {
        let all = data[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let read = thousands(data["rows_read"].as_u64().unwrap_or_default());
    page.paragraph(&format!("{read} rows in {}", texts("files").join(", ")));
    for note in texts("notes") {
        page.paragraph(&format!("Note: {note}"));
    }
    if let Some(tokens) = description.and_then(|it| it["tokens"].as_object()) {
        page.paragraph("What became of the training rows (tokens, unless it says rows):");
        let cells = tokens.iter().map(|(name, count)| {
            vec![name.replace('_', " "), thousands(count.as_u64().unwrap_or_default())]
        });
        page.table(&["", "count"], &cells.collect::<Vec<_>>());
    }
}

/// The run file with every default, and the plan as it was settled.
fn write_settings(page: &mut Page, run: &RunRecord) {
    page.heading("What was run");
    page.folded("Run file, with every default", &run.run.document().render());
    if let Some(plan) = run.plan() {
        page.folded("Plan", &pretty(plan));
    }
    let description = run.training.as_ref().and_then(|it| it.description.as_ref());
    if let Some(training) = description.and_then(|it| it.get("training")) {
        page.folded("Training plan", &pretty(training));
    }
    for measured in &run.measured {
        page.folded(
            &format!("Usage ({} rows)", measured.split()),
            &pretty(&measured.manifest["usage"]),
        );
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
