//! `fidelio check`: every problem of the run file and of all rows; the exact text of any row.
//!
//! Exit 0: a run may start. 1: rows have problems. 2: run file, model or data cannot be used.

use std::fmt::Write as _;

use fidelio::{AnyRunFile, ExamplePlan, ExampleSurvey, Job, Survey, prompting::Explanation};
use serde_json::{Value, json};

use super::probe;
use crate::{
    args::{DataFlags, Global, RunFlags},
    failure::Failure,
    interrupt,
    ui::{self, Table, Ui, errors, progress::Watch},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlags,
    /// Show the exact text and the tokens of one row, the first being 1, and where each token
    /// came from.
    #[arg(long, value_name = "N")]
    row: Option<usize>,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let run = args.run.load_any()?;
    if !args.data.is_given() {
        if args.row.is_some() {
            return Err(Failure::usage_with(
                "`--row` needs the table that the row stands in",
                "add `--dataset FILE`",
            ));
        }
        ui.note("the run file has no problems; with `--dataset FILE` its rows are checked too");
        return ui.result(&json!({ "problems": [] }), String::new);
    }
    let data = args.data.to_args()?;
    let run = match run {
        AnyRunFile::Llm(run) => *run,
        AnyRunFile::Probe(run) if args.row.is_none() => {
            return probe::check(&run, &data, global, ui);
        }
        AnyRunFile::Probe(_) => {
            return Err(Failure::usage_with(
                "`--row` shows a prompt, and `model_type: ecd` has none",
                "leave it out; the encoder reads the cell as it is",
            ));
        }
    };
    let machine = super::machine(global)?;
    interrupt::listen();
    let model = super::model(&machine, &run, ui)?;
    let job = Job::prepare(&machine, &run, model, &data)?;
    match args.row {
        Some(number) => show_row(&job, number, ui),
        None => survey(&job, ui),
    }
}

fn survey(job: &Job, ui: &Ui) -> Result<(), Failure> {
    let mut watch = Watch::new(ui);
    let survey = job.survey(&mut watch)?;
    watch.finish();
    ui.result(&json!({ "plan": job.plan(), "rows": survey }), || summary(job, &survey))?;
    if survey.problems.is_empty() {
        ui.note("no problems");
        return Ok(());
    }
    let found = survey.problems.len();
    ui::complain(&format!("error: {found} of {} rows cannot be used", survey.rows));
    ui::complain(&errors::rows(&survey.problems));
    Err(Failure::Found)
}

fn summary(job: &Job, survey: &Survey) -> String {
    let plan = job.plan();
    let model = &plan.model.description;
    let mut table = Table::bare();
    let mut line = |name: &str, text: String| table.row([name.to_owned(), text]);
    let architecture = model.architecture.as_deref().unwrap_or("unknown");
    let parameters = model.parameters as f64 / 1e6;
    line(
        "model",
        format!("{}: {architecture}, {parameters:.1} M parameters", plan.model.base_model),
    );
    line("device", format!("{}, {}", plan.device, plan.precision));
    let files: Vec<String> =
        plan.data.files.iter().map(|file| file.display().to_string()).collect();
    let (rows, read) = (plan.data.rows, plan.data.rows_read);
    line(
        "rows",
        format!("{rows} of {read} in {}, split {}", files.join(", "), plan.data.split.name()),
    );
    let wrapped = if plan.prompt.chat_template { "the model's chat template" } else { "as it is" };
    line("prompt", wrapped.to_owned());
    if let Some(lengths) = survey.prompt_tokens {
        let (p50, p95, max) = (lengths.p50, lengths.p95, lengths.max);
        line("prompt tokens", format!("half up to {p50}, 95 % up to {p95}, longest {max}"));
    }
    let (context, reserved) = (plan.context, plan.reserved_for_answer);
    line("context", format!("{context} tokens, {reserved} of them kept for the answer"));
    let ledger = &survey.ledger;
    let again = match ledger.repeated {
        0 => String::new(),
        tokens => format!("; windows read {tokens} of them again"),
    };
    line(
        "ledger",
        format!(
            "{} tokens read = {} learnt + {} masked + {} dropped + {} cut{again}",
            ledger.read, ledger.learnt, ledger.masked, ledger.dropped, ledger.cut
        ),
    );
    if let (Some(plan), Some(examples)) = (&plan.prompt.examples, &survey.examples) {
        for (name, text) in example_lines(plan, examples) {
            line(name, text);
        }
    }
    if let Some(audit) = &survey.audit {
        let turns = match audit.turns {
            turns if turns == 0 || turns == survey.rows => String::new(),
            turns => format!(", in {turns} answers"),
        };
        line("learnt", format!("{:.1} % of all tokens{turns}", 100.0 * audit.share_learnt));
        for (name, what, found) in [
            ("no end", "end on no token that generation stops at", &audit.without_stop),
            ("repeated", "stand in the data before", &audit.repeated),
            (
                "contradicting",
                "have another answer than an earlier, equal row",
                &audit.contradicting,
            ),
        ] {
            if found.rows > 0 {
                let rows = ui::count(found.rows, "row");
                line(name, format!("{rows} {what}: {}", found.first.join(", ")));
            }
        }
    }
    if !survey.labels.is_empty() {
        let labels: Vec<String> =
            survey.labels.iter().map(|(label, rows)| format!("{label} {rows}")).collect();
        line("labels", labels.join(", "));
    }
    table.render()
}

fn example_lines(plan: &ExamplePlan, found: &ExampleSurvey) -> Vec<(&'static str, String)> {
    let kind = serde_json::to_value(plan.chosen_by).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default();
    let lengths = found.tokens;
    let lengths =
        format!("half up to {}, 95 % up to {}, longest {}", lengths.p50, lengths.p95, lengths.max);
    let (noun, mut lines) = if let Some(corpus) = &plan.corpus {
        let candidates = ui::count(plan.candidates, "passage");
        let (folder, files) = (corpus.folder.display(), ui::count(corpus.files, "file"));
        let from = format!("{} of {candidates} for each row, {kind}", plan.k);
        let lines = vec![
            ("passages", from),
            ("corpus", format!("{folder}: {files}")),
            ("passage tokens", lengths),
        ];
        ("passage", lines)
    } else {
        let by = plan.vectors.as_ref();
        let by = by.map_or_else(String::new, |it| format!(", by vectors of `{}`", it.model));
        let candidates = ui::count(plan.candidates, "row");
        let from = format!("{} of {candidates} for each row, {kind}{by}", plan.k);
        ("example", vec![("examples", from), ("example tokens", lengths)])
    };
    if found.rows_with_fewer > 0 {
        let rows = ui::count(found.rows_with_fewer, "row");
        let left_out = ui::count(found.left_out, noun);
        lines.push(("fewer", format!("{rows} without room for all: {left_out} left out")));
    }
    if plan.corpus.is_some() {
        for (name, rows, what) in [
            ("too few", found.rows_with_too_few, "share a word with fewer passages than are shown"),
            ("none", found.rows_with_none, "share no word with any passage"),
        ] {
            if rows > 0 {
                lines.push((name, format!("{} {what}", ui::count(rows, "row"))));
            }
        }
        return lines;
    }
    if found.rows_with_too_few > 0 {
        let rows = ui::count(found.rows_with_too_few, "row");
        lines.push(("too few", format!("{rows} without as many others to show")));
    }
    if found.rows_with_drawn > 0 {
        let rows = ui::count(found.rows_with_drawn, "row");
        lines.push(("drawn", format!("{rows} share a word with fewer rows than are shown")));
    }
    if found.duplicates.rows > 0 {
        let rows = ui::count(found.duplicates.rows, "row");
        let first = found.duplicates.first.join(", ");
        lines.push(("duplicates", format!("{rows} in (nearly) the words of an example: {first}")));
    }
    lines
}

fn show_row(job: &Job, number: usize, ui: &Ui) -> Result<(), Failure> {
    let rows = job.rows().len();
    let Some(index) = number.checked_sub(1).filter(|index| *index < rows) else {
        return Err(Failure::usage(format!(
            "there is no row {number}; the run has rows 1 to {rows}"
        )));
    };
    let place = job.rows().place(index);
    let explanations = job.explain(index)?;
    let mut value = json!({
        "row": number,
        "file": place.file.display().to_string(),
        "line": place.line,
        "prompt": explanations.first(),
    });
    let examples: Vec<String> =
        job.shown_examples(index)?.iter().map(ToString::to_string).collect();
    let passages = job.shown_passages(index)?;
    match &job.plan().prompt.examples {
        Some(plan) if plan.corpus.is_some() => value["passages"] = json!(passages),
        Some(_) => value["examples"] = json!(examples),
        None => {}
    }
    let line = |name: &str, places: &[String]| match places {
        [] => String::new(),
        places => format!("{name}: {}\n", places.join(", ")),
    };
    let passages: Vec<String> = passages.iter().map(ToString::to_string).collect();
    let examples = line("examples", &examples) + &line("passages", &passages);
    if explanations.len() > 1 {
        value["windows"] = json!(explanations);
    }
    ui.result(&value, || match explanations.as_slice() {
        [] => format!("row {number}: {place}\ndropped: it is too long\n"),
        [explanation] => format!("row {number}: {place}\n{examples}{}", tokens(explanation)),
        windows => windows.iter().enumerate().fold(String::new(), |text, (i, window)| {
            let of = format!("window {} of {}", i + 1, windows.len());
            text + &format!("row {number}: {place}, {of}\n{}", tokens(window))
        }),
    })
}

/// The text, then each token with its id, its spelling, and where it came from.
fn tokens(explanation: &Explanation) -> String {
    let learns = explanation.tokens.iter().any(|token| token.learnt);
    let mut table = if learns {
        Table::new(["id", "token", "from", "learnt"])
    } else {
        Table::new(["id", "token", "from"])
    };
    for token in &explanation.tokens {
        let from = match (&token.field, token.special) {
            (Some(field), _) => format!("{{{field}}}"),
            (None, true) => "special".to_owned(),
            (None, false) if explanation.fields_known => "template".to_owned(),
            (None, false) => "unknown".to_owned(),
        };
        let [id, piece] = [token.id.to_string(), token.piece.clone()];
        if learns {
            let learnt = if token.learnt { "yes" } else { "" };
            table.row([id, piece, from, learnt.to_owned()]);
        } else {
            table.row([id, piece, from]);
        }
    }
    let mut text = format!("--- text\n{}\n", explanation.text);
    let _ = writeln!(text, "--- {}", ui::count(explanation.tokens.len(), "token"));
    text.push_str(&table.render());
    for cut in &explanation.cuts {
        let side = serde_json::to_value(cut.side).unwrap_or(Value::Null);
        let side = side.as_str().unwrap_or("one").to_owned();
        let (field, before, after) = (&cut.field, cut.tokens_before, cut.tokens_after);
        let _ = writeln!(text, "cut: {field} from {before} to {after} tokens, on the {side} side");
    }
    text
}
