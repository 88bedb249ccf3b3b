//! Fidelio's side of a measurement: its release binary, run as a user runs it.

use super::case::{Arithmetic, Case, Lora, Work};
use super::data::{Labelled, Piece, Texts};
use super::results::{Built, Sample};
use crate::watch::{Stderr, Watched, watch};
use crate::{places, programs};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured.
#[derive(Debug)]
pub(super) struct Binary {
    path: PathBuf,
    pub(super) built: Built,
}

impl Binary {
    /// The one that is given, or the release binary of the sources as they are.
    pub(super) fn find(given: Option<&Path>) -> Result<Self> {
        let (path, commit) = match given {
            Some(path) => (path.to_owned(), None),
            None => (release()?, commit()),
        };
        let said = programs::output(clean(&path).args(["doctor", "--json"]))?;
        let Doctor { version, build } =
            serde_json::from_str(&said).context("`fidelio doctor --json` does not parse")?;
        Ok(Self { path, built: Built { version, build, commit } })
    }

    /// One that is never run.
    #[cfg(test)]
    pub(super) fn stub() -> Self {
        let built = Built { version: String::new(), build: String::new(), commit: None };
        Self { path: PathBuf::new(), built }
    }

    /// A command of it; with 0 threads there is one for each core.
    pub(super) fn command(&self, threads: usize) -> Command {
        let mut command = clean(&self.path);
        command.args(["--offline", "--plain", "--threads", &threads.to_string()]);
        command
    }

    /// One repetition of a case over this model, in an empty folder.
    pub(super) fn measure(
        &self,
        case: &Case,
        texts: &Texts,
        model: &Path,
        folder: &Path,
    ) -> Result<Sample> {
        let (threads, arithmetic) = (case.threads(), case.arithmetic);
        let run = Run { binary: self, threads, arithmetic, model, folder };
        match &case.work {
            Work::Decode { prompt_tokens, new_tokens } => {
                run.decode(texts.prompt(*prompt_tokens)?, *new_tokens)
            }
            Work::Prefill { prompt_tokens } => run.prefill(texts.prompt(*prompt_tokens)?),
            Work::Start { prompt_tokens } => run.start(texts.prompt(*prompt_tokens)?),
            Work::Batch { rows, new_tokens } => run.batch(texts.rows(*rows)?, *new_tokens),
            Work::Train { rows, steps, warm_up_steps, learning_rate, lora } => {
                let documents = texts.documents(rows * (steps + warm_up_steps))?;
                let lessons =
                    Lessons { batch: *rows, learning_rate: *learning_rate, lora: lora.as_ref() };
                run.train(documents, &lessons, *warm_up_steps)
            }
            Work::Quality { table, rows, held_out, batch, learning_rate, lora } => {
                let lessons =
                    Lessons { batch: *batch, learning_rate: *learning_rate, lora: Some(lora) };
                let about = (table.template(), table.labels());
                run.quality(about, &table.read(*held_out, *rows)?, &lessons)
            }
        }
    }
}

/// A command of a binary, without the settings of this shell.
fn clean(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FIDELIO_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds it.
fn release() -> Result<PathBuf> {
    eprintln!("bench: building the release binary (the first time takes some minutes)");
    let build = ["build", "--release", "--package", "fidelio-cli", "--bin", "fidelio"];
    programs::run(&mut programs::cargo(&build))?;
    Ok(places::target()?.join("release").join("fidelio"))
}

/// The commit of the sources, with a mark where they have been changed since.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        programs::output(Command::new("git").current_dir(places::root()).args(arguments)).ok()
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain"])?.trim().is_empty();
    Some(format!("{}{}", hash.trim(), if changed { " with changes" } else { "" }))
}

/// One repetition.
struct Run<'a> {
    binary: &'a Binary,
    threads: usize,
    arithmetic: Option<Arithmetic>,
    model: &'a Path,
    folder: &'a Path,
}

/// How something is learnt.
struct Lessons<'a> {
    batch: usize,
    learning_rate: f64,
    lora: Option<&'a Lora>,
}

/// What PyTorch's AdamW does unless told otherwise, and both sides do.
pub(super) const WEIGHT_DECAY: f64 = 0.01;

/// What `fidelio generate --json` says, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Generated {
    usage: GeneratedUsage,
}

#[derive(Debug, Deserialize)]
struct GeneratedUsage {
    prompt_tokens: usize,
    completion_tokens: usize,
    decode_tokens_per_second: Option<f64>,
    first_token_seconds: Option<f64>,
    next_token_p95_seconds: Option<f64>,
}

/// What `fidelio doctor --json` says, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Doctor {
    version: String,
    build: String,
}

/// What `fidelio predict --json` says, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Predicted {
    usage: PredictedUsage,
}

#[derive(Debug, Deserialize)]
struct PredictedUsage {
    prompt_tokens: usize,
    completion_tokens: usize,
    tokens_per_second: f64,
}

/// What `fidelio evaluate --json` says, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Report {
    rows: usize,
    accuracy: Estimate,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    value: f64,
}

/// A line of a run's `metrics.jsonl`.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Step {
    loss: f64,
    seconds: f64,
    tokens_learnt: usize,
}

impl Run<'_> {
    fn decode(&self, prompt: &Piece, new_tokens: usize) -> Result<Sample> {
        // The first token belongs to the prompt.
        let (usage, seen) = self.generate(prompt, new_tokens + 1, true)?;
        let absent = "the binary measures no latencies: is it an old one?";
        let figures = [
            ("tokens_per_second", usage.decode_tokens_per_second.context(absent)?),
            ("first_token_seconds", usage.first_token_seconds.context(absent)?),
            ("next_token_p95_seconds", usage.next_token_p95_seconds.context(absent)?),
        ];
        Ok(Sample::of(&seen, figures))
    }

    fn prefill(&self, prompt: &Piece) -> Result<Sample> {
        let (usage, seen) = self.generate(prompt, 1, true)?;
        let seconds = usage.first_token_seconds.context("no first token came")?;
        let rate = usage.prompt_tokens as f64 / seconds;
        Ok(Sample::of(&seen, [("tokens_per_second", rate), ("first_token_seconds", seconds)]))
    }

    fn start(&self, prompt: &Piece) -> Result<Sample> {
        let (_, seen) = self.generate(prompt, 1, false)?;
        Ok(Sample::of(&seen, [("seconds", seen.wall)]))
    }

    fn generate(
        &self,
        prompt: &Piece,
        new_tokens: usize,
        warm_up: bool,
    ) -> Result<(GeneratedUsage, Watched)> {
        let count = new_tokens.to_string();
        let mut command = self.command("generate");
        command.args(["--raw", "--max-new-tokens", &count, "--min-new-tokens", &count]);
        command.arg("--model").arg(self.model).args(["--prompt", &prompt.text]);
        if warm_up {
            command.arg("--warm-up");
        }
        self.compute_in(&mut command);
        let (Generated { usage }, seen) = said(&mut command)?;
        let tokens = (usage.prompt_tokens, usage.completion_tokens);
        same("tokens of prompt and answer", tokens, (prompt.ids.len(), new_tokens))?;
        Ok((usage, seen))
    }

    fn batch(&self, rows: &[Piece], new_tokens: usize) -> Result<Sample> {
        let table = self.table("rows.jsonl", rows.iter().map(|row| json!({ "text": row.text })))?;
        let generation = json!({ "max_new_tokens": new_tokens, "min_new_tokens": new_tokens });
        let run = json!({
            "model_type": "llm",
            "base_model": self.model,
            "prompt": { "template": "{text}", "chat_template": false },
            "input_features": [{ "name": "text", "type": "text" }],
            "output_features": [{ "name": "answer", "type": "text" }],
            "generation": generation,
            "trainer": { "type": "none", "eval_batch_size": rows.len() },
        });
        let mut command = self.command("predict");
        command.arg("--config").arg(self.file("run.yaml", &run.to_string())?);
        command.arg("--dataset").arg(table).arg("--output-directory").arg(self.folder.join("out"));
        self.compute_in(&mut command);
        let (Predicted { usage }, seen) = said(&mut command)?;
        let wanted = (rows.iter().map(|row| row.ids.len()).sum(), rows.len() * new_tokens);
        same(
            "tokens of prompts and answers",
            (usage.prompt_tokens, usage.completion_tokens),
            wanted,
        )?;
        Ok(Sample::of(&seen, [("tokens_per_second", usage.tokens_per_second)]))
    }

    fn train(&self, documents: &[Piece], lessons: &Lessons<'_>, warm_up: usize) -> Result<Sample> {
        let table =
            self.table("documents.jsonl", documents.iter().map(|it| json!({ "text": it.text })))?;
        let run = json!({
            "prompt": { "document": "text" },
            "input_features": [{ "name": "document", "type": "text" }],
            "output_features": [{ "name": "text", "type": "text" }],
        });
        let (steps, _, seen) = self.learn(run, lessons, &table)?;
        // A document has its end behind it; its first token is given.
        let learnt: usize = documents.iter().take(lessons.batch).map(|it| it.ids.len()).sum();
        for step in &steps {
            same("learnt tokens of an update", step.tokens_learnt, learnt)?;
        }
        same("updates", steps.len(), documents.len() / lessons.batch)?;
        let seconds: Vec<f64> = steps[warm_up..].iter().map(|step| step.seconds).collect();
        let median = super::statistics::median(&seconds).context("no update was measured")?;
        let figures = [
            ("tokens_per_second", (learnt + lessons.batch) as f64 / median),
            ("first_loss", steps[0].loss),
            ("last_loss", steps[steps.len() - 1].loss),
        ];
        Ok(Sample::of(&seen, figures))
    }

    fn quality(
        &self,
        (template, labels): (&str, [&str; 2]),
        [held_out, learnt]: &[Vec<Labelled>; 2],
        lessons: &Lessons<'_>,
    ) -> Result<Sample> {
        let table = self.table("training.jsonl", learnt.iter())?;
        let run = json!({
            "prompt": { "template": template },
            "input_features": [{ "name": "text", "type": "text" }],
            "output_features":
                [{ "name": "label", "type": "category", "preprocessing": { "vocab": labels } }],
        });
        let (steps, results, seen) = self.learn(run, lessons, &table)?;
        let seconds: f64 = steps.iter().map(|step| step.seconds).sum();

        let table = self.table("test.jsonl", held_out.iter())?;
        let mut command = self.command("evaluate");
        command.arg("--model-path").arg(results).args(["--split", "full", "--dataset"]).arg(table);
        let answers = self.folder.join("answers");
        command.arg("--output-directory").arg(&answers).args(["--predictions-format", "jsonl"]);
        let (report, _): (Report, _) = said(&mut command)?;
        same("rows held out", report.rows, held_out.len())?;
        let predictions = std::fs::read_to_string(answers.join("predictions.jsonl"))
            .context("cannot read `predictions.jsonl`")?;
        let right = right(&predictions, held_out)?;
        let figures = [
            ("rows_per_second", learnt.len() as f64 / seconds),
            ("accuracy", report.accuracy.value),
        ];
        Ok(Sample { right, ..Sample::of(&seen, figures) })
    }

    /// Learns a table and returns the updates, the folder of results, and what it took.
    fn learn(
        &self,
        mut run: Value,
        lessons: &Lessons<'_>,
        table: &Path,
    ) -> Result<(Vec<Step>, PathBuf, Watched)> {
        let about = json!({
            "model_type": "llm",
            "base_model": self.model,
            "trainer": {
                "type": "finetune",
                "epochs": 1,
                "batch_size": lessons.batch,
                "learning_rate": lessons.learning_rate,
                "learning_rate_scheduler": { "decay": "constant", "warmup_fraction": 0.0 },
                "optimizer": { "type": "adamw", "weight_decay": WEIGHT_DECAY },
                "gradient_clipping": { "clipglobalnorm": 0 },
                "should_shuffle": false,
            },
        });
        let keys = run.as_object_mut().expect("a run file is a map");
        keys.extend(about.as_object().expect("as this is").clone());
        if let Some(Lora { rank, targets }) = lessons.lora {
            let all = targets.len() == 1 && targets[0] == "all-linear";
            let targets = if all { json!("all-linear") } else { json!(targets) };
            let lora = json!({
                "type": "lora", "r": rank, "alpha": 2 * rank, "dropout": 0.0, "target_modules": targets,
            });
            keys.insert("adapter".to_owned(), lora);
        }
        let results = self.folder.join("learnt");
        let mut command = self.command("train");
        command.arg("--config").arg(self.file("run.yaml", &run.to_string())?);
        command.arg("--training-set").arg(table).arg("--output-directory").arg(&results);
        self.compute_in(&mut command);
        let seen = watch(&mut command, Stderr::Kept)?;
        let metrics = std::fs::read_to_string(results.join("metrics.jsonl"))
            .context("cannot read the run's `metrics.jsonl`")?;
        Ok((steps(&metrics)?, results, seen))
    }

    fn compute_in(&self, command: &mut Command) {
        if let Some(arithmetic) = self.arithmetic {
            command.args(["--precision", arithmetic.name()]);
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = self.binary.command(self.threads);
        command.args([name, "--json", "--quiet"]);
        command
    }

    /// A table of rows in the run's folder.
    fn table(
        &self,
        name: &str,
        rows: impl Iterator<Item = impl serde::Serialize>,
    ) -> Result<PathBuf> {
        let lines: Vec<String> =
            rows.map(|row| serde_json::to_string(&row)).collect::<Result<_, _>>()?;
        self.file(name, &lines.join("\n"))
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }
}

/// Runs a command that answers with JSON.
fn said<T: serde::de::DeserializeOwned>(command: &mut Command) -> Result<(T, Watched)> {
    let seen = watch(command, Stderr::Kept)?;
    let said = serde_json::from_str(&seen.stdout)
        .with_context(|| format!("not the expected JSON: {}", seen.stdout))?;
    Ok((said, seen))
}

/// The updates in a run's metrics.
fn steps(metrics: &str) -> Result<Vec<Step>> {
    let lines = metrics.lines().map(|line| {
        let line: BTreeMap<String, Value> = serde_json::from_str(line)?;
        let is_step = line.get("event").is_some_and(|event| event == "step");
        is_step.then(|| serde_json::from_value(json!(line))).transpose()
    });
    let steps: Vec<Step> = lines.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if steps.is_empty() {
        bail!("the run took no update");
    }
    Ok(steps)
}

/// Which of the rows, in their order, were answered with their label.
fn right(predictions: &str, rows: &[Labelled]) -> Result<String> {
    #[derive(Deserialize)]
    struct Predicted {
        row: usize,
        label_predictions: String,
    }
    let mut predicted: Vec<Predicted> =
        predictions.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    predicted.sort_by_key(|it| it.row);
    let numbers: Vec<usize> = predicted.iter().map(|it| it.row).collect();
    same("rows predicted", numbers, (0..rows.len()).collect())?;
    let is_right = |(it, row): (&Predicted, &Labelled)| it.label_predictions == row.label;
    Ok(predicted.iter().zip(rows).map(|pair| if is_right(pair) { '1' } else { '0' }).collect())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Result<()> {
    if got != wanted {
        bail!("Fidelio counts {got:?} {what}, not the {wanted:?} that were asked for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_read_and_evaluations_passed_over() {
        let metrics = r#"{"event":"step","update":1,"loss":2.5,"seconds":0.5,"tokens_learnt":510,"x":1}
{"event":"evaluated","update":1,"metric":1.0}
{"event":"step","update":2,"loss":2.0,"seconds":0.25,"tokens_learnt":510}"#;
        let steps = steps(metrics).unwrap();
        assert_eq!(steps.iter().map(|step| step.loss).collect::<Vec<_>>(), [2.5, 2.0]);
        assert!(super::steps("").is_err());
    }

    #[test]
    fn right_answers_stand_in_the_order_of_rows() {
        let row = |label: &str| Labelled { text: String::new(), label: label.to_owned() };
        let rows = [row("spam"), row("ham"), row("spam")];
        let answer =
            |row: usize, label: &str| json!({"row": row, "label_predictions": label}).to_string();
        let answers = [answer(2, "ham"), answer(0, "spam"), answer(1, "ham")];
        assert_eq!(right(&answers.join("\n"), &rows).unwrap(), "110");
        assert!(right(&answers[..2].join("\n"), &rows).is_err());
    }

    #[test]
    fn what_was_not_asked_for_is_no_measurement() {
        assert!(same("tokens", 64, 64).is_ok());
        let error = same("tokens", 65, 64).unwrap_err().to_string();
        assert!(error.contains("65 tokens"), "{error}");
    }
}
