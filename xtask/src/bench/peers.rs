//! The other sides of a measurement: scripts under `benchmarks/peers/` in an environment of their own.

use super::case::{Against, Case, Peer, Work};
use super::data::{Piece, Texts};
use super::fidelio::WEIGHT_DECAY;
use super::results::Sample;
use crate::watch::{Stderr, watch};
use crate::{places, python};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has every peer.
#[derive(Debug)]
pub(super) struct Peers {
    python: PathBuf,
    pins: BTreeMap<String, String>,
}

/// What a script says.
#[derive(Debug, Deserialize)]
struct Answer {
    used: Used,
    /// What the peer says of its build.
    note: Option<String>,
    /// As [`Sample::right`].
    #[serde(default)]
    right: String,
    #[serde(flatten)]
    figures: BTreeMap<String, f64>,
}

/// What a script has really used.
#[derive(Debug, Deserialize)]
struct Used {
    packages: BTreeMap<String, String>,
    threads: usize,
    model: String,
}

/// A repetition, and with what it was made.
pub(super) struct Repetition {
    pub(super) sample: Sample,
    pub(super) packages: BTreeMap<String, String>,
    pub(super) note: Option<String>,
}

/// Variables that would change how a peer computes.
const VARIABLES: [&str; 8] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "ONEDNN_MAX_CPU_ISA",
    "KMP_AFFINITY",
    "PYTHONPATH",
];

/// How far above its threads a peer's processor time may be: a second thread waits for the first.
const SLACK: f64 = 0.3;

impl Peers {
    /// The one that is given, or one with exactly the pinned packages, installed if it is not there.
    pub(super) fn find(given: Option<&Path>) -> Result<Self> {
        let text = std::fs::read_to_string(scripts().join("requirements.txt"))
            .context("cannot read `benchmarks/peers/requirements.txt`")?;
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let python = if let Some(python) = given {
            python.to_owned()
        } else {
            eprintln!("bench: the peers' environment (the first time some 6 GB are installed)");
            python::environment(&lines)?
        };
        Ok(Self { python, pins: pins(&lines)? })
    }

    /// One repetition of a case over this model, in an empty folder.
    pub(super) fn measure(
        &self,
        case: &Case,
        against: &Against,
        texts: &Texts,
        model: &Path,
        folder: &Path,
    ) -> Result<Repetition> {
        let asked = folder.join("task.json");
        let task = task(case, against, texts, model, folder)?;
        std::fs::write(&asked, task.to_string())
            .with_context(|| format!("cannot write `{}`", asked.display()))?;
        let mut command = Command::new(&self.python);
        command.arg(scripts().join(script(against.peer, &case.work))).arg(&asked);
        command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        let seen = watch(&mut command, Stderr::Kept)
            .with_context(|| format!("{} failed on `{}`", against.name(), case.name))?;
        let answer: Answer = serde_json::from_str(seen.stdout.lines().last().unwrap_or_default())
            .with_context(|| format!("not the expected JSON: {}", seen.stdout))?;
        self.check(&answer, case.threads(), model)
            .with_context(|| format!("{} on `{}`", against.name(), case.name))?;
        let mut sample = Sample::of(&seen, []);
        sample.figures.extend(answer.figures);
        sample.right = answer.right;
        Ok(Repetition { sample, packages: answer.used.packages, note: answer.note })
    }

    /// A measurement of something else is worse than none.
    fn check(&self, answer: &Answer, threads: usize, model: &Path) -> Result<()> {
        let used = &answer.used;
        if used.threads != threads {
            bail!("used {} threads instead of {threads}", used.threads);
        }
        if Path::new(&used.model) != model {
            bail!("used `{}` instead of `{}`", used.model, model.display());
        }
        if let Some(cores) = answer.figures.get("cores")
            && *cores > threads as f64 + SLACK
        {
            bail!("kept {cores:.1} cores busy with {threads} threads");
        }
        for (name, version) in &used.packages {
            let pin = self.pins.get(name);
            if pin.is_none_or(|pin| version.split('+').next() != Some(pin)) {
                bail!("used {name} {version}, and `requirements.txt` says {pin:?}");
            }
        }
        Ok(())
    }
}

fn scripts() -> PathBuf {
    places::root().join("benchmarks/peers")
}

/// Names and versions of lines such as `torch==2.15.0`.
fn pins(lines: &[&str]) -> Result<BTreeMap<String, String>> {
    let pin = |line: &&str| {
        let (name, version) = line
            .split_once("==")
            .with_context(|| format!("`requirements.txt`: `{line}` names no version"))?;
        Ok((name.to_owned(), version.to_owned()))
    };
    lines.iter().map(pin).collect()
}

fn script(peer: Peer, work: &Work) -> &'static str {
    match (peer, work) {
        (Peer::LlamaCpp, _) => "llama_cpp.py",
        (Peer::Transformers, _) => "transformers_generate.py",
        (Peer::Peft, Work::Quality { .. }) => "peft_quality.py",
        (Peer::Peft, _) => "peft_train.py",
    }
}

/// What a script is asked.
fn task(
    case: &Case,
    against: &Against,
    texts: &Texts,
    model: &Path,
    folder: &Path,
) -> Result<Value> {
    let ids = |pieces: &[Piece]| pieces.iter().map(|piece| piece.ids.clone()).collect::<Vec<_>>();
    let prompt = |tokens: usize| Ok::<_, anyhow::Error>([texts.prompt(tokens)?.ids.clone()]);
    let mut task = match &case.work {
        Work::Decode { prompt_tokens, new_tokens } => {
            json!({ "kind": "decode", "prompts": prompt(*prompt_tokens)?, "new_tokens": new_tokens })
        }
        Work::Prefill { prompt_tokens } => {
            json!({ "kind": "prefill", "prompts": prompt(*prompt_tokens)? })
        }
        Work::Start { prompt_tokens } => {
            json!({ "kind": "start", "prompts": prompt(*prompt_tokens)? })
        }
        Work::Batch { rows, new_tokens } => {
            json!({ "kind": "batch", "prompts": ids(texts.rows(*rows)?), "new_tokens": new_tokens })
        }
        Work::Train { rows, steps, warm_up_steps, learning_rate, lora } => {
            let mut documents = ids(texts.documents(rows * (steps + warm_up_steps))?);
            for document in &mut documents {
                document.push(END);
            }
            json!({
                "rows": rows,
                "steps": steps,
                "warm_up_steps": warm_up_steps,
                "documents": documents,
                "learning_rate": learning_rate,
                "weight_decay": WEIGHT_DECAY,
                "rank": lora.as_ref().map(|lora| lora.rank),
                "targets": lora.as_ref().map(|lora| &lora.targets),
            })
        }
        Work::Quality { table, rows, held_out, batch, learning_rate, lora } => {
            let [test, training] = table.read(*held_out, *rows)?;
            let write = |name: &str, rows: &[super::data::Labelled]| {
                let lines: Vec<String> =
                    rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
                let path = folder.join(name);
                std::fs::write(&path, lines.join("\n"))?;
                Ok::<_, anyhow::Error>(path)
            };
            json!({
                "training": write("training.jsonl", &training)?,
                "test": write("test.jsonl", &test)?,
                "labels": table.labels(),
                "template": table.template(),
                "rows": batch,
                "learning_rate": learning_rate,
                "weight_decay": WEIGHT_DECAY,
                "rank": lora.rank,
                "targets": lora.targets,
            })
        }
    };
    task["model"] = json!(model);
    task["threads"] = json!(case.threads());
    task["precision"] = json!(against.precision);
    Ok(task)
}

/// The default model's end of a text, `<|im_end|>`, which Fidelio puts behind a document.
const END: u32 = 2;

#[cfg(test)]
mod tests {
    use super::super::results::tests::measured;
    use super::*;

    #[test]
    fn what_used_something_else_is_refused() {
        let peers = Peers { python: PathBuf::new(), pins: pins(&["torch==2.15.0"]).unwrap() };
        let check = |version: &str, threads: usize, model: &str, cores: f64| {
            let answer = json!({
                "used": {"packages": {"torch": version}, "threads": threads, "model": model},
                "cores": cores,
            });
            let answer: Answer = serde_json::from_value(answer).unwrap();
            peers.check(&answer, 2, Path::new("m.gguf")).map_err(|error| error.to_string())
        };
        assert_eq!(check("2.15.0+cpu", 2, "m.gguf", 2.1), Ok(()));
        for (refused, problem) in [
            (check("2.14.0", 2, "m.gguf", 2.0), "2.14.0"),
            (check("2.15.0", 4, "m.gguf", 2.0), "4 threads"),
            (check("2.15.0", 2, "other.gguf", 2.0), "other.gguf"),
            (check("2.15.0", 2, "m.gguf", 3.5), "3.5 cores"),
        ] {
            assert!(refused.unwrap_err().contains(problem));
        }
        assert!(pins(&["torch"]).is_err());
    }

    #[test]
    fn a_script_gets_the_ids_that_fidelio_makes_of_the_text() {
        let texts = Texts::load().unwrap();
        let mut case = measured().case;
        let against = case.against[0].clone();
        let asked = |case: &Case| {
            task(case, &against, &texts, Path::new("m"), &std::env::temp_dir()).unwrap()
        };
        assert_eq!(asked(&case)["prompts"][0].as_array().unwrap().len(), 64);
        assert_eq!(asked(&case)["threads"], 2);
        case.work =
            Work::Train { rows: 2, steps: 3, warm_up_steps: 1, learning_rate: 1e-4, lora: None };
        let documents = asked(&case)["documents"].as_array().unwrap().clone();
        assert_eq!(documents.len(), 8);
        for document in documents {
            let document = document.as_array().unwrap();
            assert_eq!((document.len(), &document[255]), (256, &json!(END)));
        }
    }
}
