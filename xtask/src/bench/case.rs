//! Suites: files under `benchmarks/suites/` that say what is measured.

use crate::{pins, places};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A list of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    /// For people who read the file.
    #[expect(dead_code, reason = "part of the file's format")]
    about: String,
    #[serde(rename = "case")]
    pub(super) cases: Vec<Case>,
}

/// What is measured, and beside what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// An alias whose file `cargo xtask fetch` brings, a GGUF file, or a folder.
    pub(super) model: String,
    /// What its weights are stored as.
    #[serde(default)]
    pub(super) weights: Weights,
    /// Fidelio's arithmetic; `f32` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arithmetic: Option<Arithmetic>,
    /// 0 for one for each core.
    #[serde(default)]
    pub(super) threads: usize,
    #[serde(default = "five")]
    pub(super) repetitions: usize,
    pub(super) work: Work,
    #[serde(default)]
    pub(super) against: Vec<Against>,
    /// What Fidelio is meant to reach beside the best of `against`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) goal: Option<Goal>,
}

fn five() -> usize {
    5
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Work {
    /// Tokens after a prompt, one row; the first token belongs to the prompt.
    Decode { prompt_tokens: usize, new_tokens: usize },
    /// A prompt to its first token.
    Prefill { prompt_tokens: usize },
    /// The whole process, to the first token.
    Start { prompt_tokens: usize },
    /// Rows of 64 tokens, each continued, all at once; prompt and new tokens count.
    Batch { rows: usize, new_tokens: usize },
    /// Updates over rows of 256 tokens, loss on all of them.
    Train {
        rows: usize,
        steps: usize,
        warm_up_steps: usize,
        learning_rate: f64,
        /// Without it all weights learn.
        lora: Option<Lora>,
    },
    /// Labels of `datasets/`: learnt in one epoch, then chosen for rows held out.
    Quality {
        table: Table,
        rows: usize,
        held_out: usize,
        batch: usize,
        learning_rate: f64,
        lora: Lora,
    },
}

/// An adapter, its alpha twice its rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lora {
    pub(super) rank: usize,
    pub(super) targets: Vec<String>,
}

/// A demonstration table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Table {
    Sentiment,
    Spam,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Weights {
    /// As the model's file has them.
    #[default]
    #[serde(rename = "shipped")]
    Shipped,
    #[serde(rename = "Q4_0")]
    Q40,
    #[serde(rename = "Q4_1")]
    Q41,
    #[serde(rename = "Q8_0")]
    Q80,
    #[serde(rename = "Q4_K_M")]
    Q4KM,
    BF16,
    F16,
    F32,
}

/// What Fidelio's `--precision` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Arithmetic {
    /// Products of brain floats.
    Bf16,
    /// Activations of 8 bits over weights that are integers, as llama.cpp has them.
    Int8Activations,
}

impl Arithmetic {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Int8Activations => "int8-activations",
        }
    }
}

/// A peer, and how it is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Against {
    pub(super) peer: Peer,
    /// For llama.cpp; the case's when not given.
    pub(super) weights: Option<Weights>,
    /// For transformers and PEFT, which read the weights as f32.
    pub(super) precision: Option<Precision>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(super) enum Peer {
    #[serde(rename = "llama.cpp")]
    #[value(name = "llama.cpp")]
    LlamaCpp,
    #[serde(rename = "transformers")]
    Transformers,
    #[serde(rename = "peft")]
    Peft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Precision {
    F32,
    Bf16,
}

/// Times the best peer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Goal {
    /// At least.
    pub(super) speed: f64,
    /// At most.
    pub(super) memory: Option<f64>,
}

impl Suite {
    /// The suite of this name.
    pub(super) fn load(name: &str) -> Result<Self> {
        let path = places::root().join("benchmarks/suites").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the suite `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("in `benchmarks/suites/{name}.toml`"))
    }

    fn parse(text: &str) -> Result<Self> {
        let suite: Self = toml::from_str(text)?;
        for (index, case) in suite.cases.iter().enumerate() {
            case.check().with_context(|| format!("case `{}`", case.name))?;
            if suite.cases[..index].iter().any(|before| before.name == case.name) {
                bail!("two cases are named `{}`", case.name);
            }
        }
        Ok(suite)
    }
}

impl Case {
    fn check(&self) -> Result<()> {
        if self.repetitions == 0 {
            bail!("`repetitions` must be at least 1");
        }
        let learns = matches!(self.work, Work::Train { .. } | Work::Quality { .. });
        if learns && self.arithmetic == Some(Arithmetic::Int8Activations) {
            bail!("`int8-activations` is for answers; learning computes in f32 or bf16");
        }
        for against in &self.against {
            if learns != (against.peer == Peer::Peft) {
                bail!("`{}` cannot do this work", against.name());
            }
            let torch = against.peer != Peer::LlamaCpp;
            if torch != against.precision.is_some() || (torch && against.weights.is_some()) {
                bail!("llama.cpp takes `weights`, transformers and peft a `precision`");
            }
        }
        Ok(())
    }

    /// The same in a few seconds: enough to see that it works, too little to compare.
    pub(super) fn quick(mut self) -> Self {
        self.repetitions = self.repetitions.min(2);
        match &mut self.work {
            Work::Decode { new_tokens, .. } => *new_tokens = 16.min(*new_tokens),
            Work::Prefill { prompt_tokens } => *prompt_tokens = 64.min(*prompt_tokens),
            Work::Start { .. } => {}
            Work::Batch { rows, new_tokens } => {
                (*rows, *new_tokens) = ((*rows).min(4), 8.min(*new_tokens));
            }
            Work::Train { rows, steps, warm_up_steps, .. } => {
                (*rows, *steps, *warm_up_steps) = ((*rows).min(2), 2, 1);
            }
            Work::Quality { rows, held_out, .. } => {
                (*rows, *held_out) = ((*rows).min(16), (*held_out).min(8));
            }
        }
        self
    }

    /// The threads it is computed with.
    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// What tells two settings apart: a hash of everything that is asked for.
    pub(super) fn hash(&self, data: &[u8]) -> Result<String> {
        let measured = Self { against: Vec::new(), goal: None, ..self.clone() };
        let mut text = serde_json::to_vec(&measured)?;
        text.extend(data);
        Ok(pins::sha256(&text)[..16].to_owned())
    }
}

impl Work {
    /// What is compared, and whether more of it is better.
    pub(super) fn figure(&self) -> (&'static str, bool) {
        match self {
            Self::Start { .. } => ("seconds", false),
            Self::Quality { .. } => ("rows_per_second", true),
            _ => ("tokens_per_second", true),
        }
    }
}

impl Against {
    /// How people call it.
    pub(super) fn name(&self) -> String {
        let name = match self.peer {
            Peer::LlamaCpp => "llama.cpp",
            Peer::Transformers => "transformers",
            Peer::Peft => "PEFT",
        };
        let how = match (self.precision, self.weights) {
            (Some(Precision::F32), _) => "f32",
            (Some(Precision::Bf16), _) => "bf16",
            (None, Some(weights)) => weights.name(),
            (None, None) => return name.to_owned(),
        };
        format!("{name} {how}")
    }
}

impl Weights {
    /// As `fidelio export --quantization` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shipped => "as shipped",
            Self::Q40 => "Q4_0",
            Self::Q41 => "Q4_1",
            Self::Q80 => "Q8_0",
            Self::Q4KM => "Q4_K_M",
            Self::BF16 => "BF16",
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(case: &str) -> Result<Suite> {
        Suite::parse(&format!("about = \"\"\n[[case]]\nname = \"a\"\nmodel = \"m\"\n{case}"))
    }

    #[test]
    fn the_suites_of_the_project_are_whole() {
        for entry in std::fs::read_dir(places::root().join("benchmarks/suites")).unwrap() {
            let path = entry.unwrap().path();
            let suite = Suite::load(&path.file_stem().unwrap().to_string_lossy()).unwrap();
            assert!(!suite.cases.is_empty(), "{}", path.display());
            for case in suite.cases {
                case.quick().check().unwrap();
            }
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let decode = "work = {kind = \"decode\", prompt_tokens = 64, new_tokens = 8}\n";
        assert_eq!(suite(decode).unwrap().cases[0].repetitions, 5);
        let train = "work = {kind = \"train\", rows = 4, steps = 8, warm_up_steps = 2, learning_rate = 1e-4";
        assert!(suite(&format!("{train}}}\n")).is_ok());
        for (wrong, problem) in [
            (format!("{decode}speed = 3\n"), "unknown field"),
            (format!("{decode}repetitions = 0\n"), "at least 1"),
            (
                format!("{decode}against = [{{peer = \"peft\", precision = \"f32\"}}]\n"),
                "cannot do",
            ),
            (format!("{decode}against = [{{peer = \"transformers\"}}]\n"), "a `precision`"),
            (format!("{train}, rank = 8}}\n"), "unknown field"),
            (format!("{train}}}\narithmetic = \"int8-activations\"\n"), "is for answers"),
            (format!("{decode}[[case]]\nname = \"a\"\nmodel = \"m\"\n{decode}"), "two cases"),
        ] {
            let error = format!("{:#}", suite(&wrong).unwrap_err());
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_hash_changes_with_what_is_measured_and_with_nothing_else() {
        let decode = "work = {kind = \"decode\", prompt_tokens = 64, new_tokens = 8}\n";
        let case = |more: &str| suite(&format!("{decode}{more}")).unwrap().cases.remove(0);
        let hash = |more: &str| case(more).hash(b"data").unwrap();
        assert_eq!(hash(""), hash("against = [{peer = \"llama.cpp\"}]\n"));
        assert_ne!(hash(""), hash("threads = 1\n"));
        assert_ne!(hash(""), hash("arithmetic = \"int8-activations\"\n"));
        assert_ne!(hash(""), case("").hash(b"other").unwrap());
        assert_ne!(hash(""), case("").quick().hash(b"data").unwrap());
    }
}
