//! The arms: ways of answering the same rows, each the user's run file with a few keys changed.

use fidelio_config::{OutputFeature, Override, Retrieval, RetrievalKind};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Error, RunFile};

/// Where a template shows examples.
const CONTEXT: &str = "{__context__}";
/// Examples that a prompt shows where the run file does not say how many.
const EXAMPLES: usize = 4;
/// Updates should be many where rows are few.
const BATCH_SIZE: usize = 8;
/// What adapters learn at where a run is short.
const LEARNING_RATE: f64 = 5e-4;

/// A way of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The prompt alone.
    ZeroShot,
    /// The same labelled rows for every row.
    FewShot,
    /// Labelled rows drawn anew for each row.
    Random,
    /// Labelled rows that share words with the row.
    Bm25,
    /// Labelled rows that mean nearly the same.
    Semantic,
    /// Labelled rows that are near by words and by meaning.
    Hybrid,
    /// Passages of the run file's corpus.
    Corpus,
    /// A head on the vectors of a small encoder.
    Probe,
    /// An adapter that learns the training rows.
    Lora,
}

impl Arm {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::ZeroShot,
        Self::FewShot,
        Self::Random,
        Self::Bm25,
        Self::Semantic,
        Self::Hybrid,
        Self::Corpus,
        Self::Probe,
        Self::Lora,
    ];

    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroShot => "zero-shot",
            Self::FewShot => "few-shot",
            Self::Random => "random",
            Self::Bm25 => "bm25",
            Self::Semantic => "semantic",
            Self::Hybrid => "hybrid",
            Self::Corpus => "corpus",
            Self::Probe => "probe",
            Self::Lora => "lora",
        }
    }

    /// The arm of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arm| arm.name() == name)
    }

    /// Whether it learns before it answers.
    pub fn learns(self) -> bool {
        matches!(self, Self::Probe | Self::Lora)
    }

    /// Whether it shows labelled rows in the prompt.
    pub fn shows_rows(self) -> bool {
        self.kind().is_some()
    }

    /// Whether it shows rows that are chosen for each row by what it says.
    pub fn retrieves(self) -> bool {
        matches!(self, Self::Bm25 | Self::Semantic | Self::Hybrid)
    }

    /// How it chooses the rows that it shows.
    fn kind(self) -> Option<&'static str> {
        match self {
            Self::FewShot => Some("fixed"),
            Self::Random | Self::Bm25 | Self::Semantic | Self::Hybrid => Some(self.name()),
            Self::ZeroShot | Self::Corpus | Self::Probe | Self::Lora => None,
        }
    }

    /// Whether a run file can have it without being asked for it.
    pub(super) fn is_usual(self, run: &RunFile) -> bool {
        let written = run.config().prompt.retrieval.as_ref();
        match self {
            Self::Random => written.is_some_and(|it| it.kind == RetrievalKind::Random),
            Self::Corpus => written.is_some_and(|it| it.corpus.is_some()),
            Self::Probe => matches!(run.config().output(), OutputFeature::Category(_)),
            _ => true,
        }
    }
}

/// What run files of arms are made from.
pub(super) struct Arms<'a> {
    pub(super) run: &'a RunFile,
    /// The labels of all rows, where the output is a category.
    pub(super) labels: Vec<String>,
    /// Whether the model's chat template is used.
    pub(super) chat: bool,
}

impl Arms<'_> {
    /// The run file of an arm that only prompts.
    pub(super) fn prompted(&self, arm: Arm) -> Result<RunFile, Error> {
        let mut changes = self.common();
        changes.push(set("trainer", &self.evaluation()));
        changes.extend(self.unadapted());
        changes.extend(self.prompt(arm));
        self.run.changed(changes)
    }

    /// The run file of the arm that learns: what the run file says of learning, or LoRA for `epochs`.
    pub(super) fn learnt(&self, epochs: Option<usize>) -> Result<RunFile, Error> {
        let mut changes = self.common();
        let config = self.run.config();
        if config.trainer.finetune().is_none() {
            let mut trainer = self.evaluation();
            trainer.insert("type".into(), "finetune".into());
            trainer.insert("epochs".into(), json!(epochs.unwrap_or(1)));
            trainer.insert("batch_size".into(), json!(BATCH_SIZE));
            trainer.insert("learning_rate".into(), json!(LEARNING_RATE));
            changes.push(set("trainer", &trainer));
        } else if let Some(epochs) = epochs {
            changes.push(set("trainer.epochs", &epochs));
            if self.run.document().place("trainer.train_steps").is_some() {
                changes.push(set("trainer.train_steps", &Value::Null));
            }
        }
        if config.adapter_in_use().is_none() && config.trainer.finetune().is_none() {
            changes.push(set("adapter", &"lora"));
        }
        changes.extend(self.prompt(Arm::ZeroShot));
        self.run.changed(changes)
    }

    /// What all arms have: the same labels, whichever rows they see.
    fn common(&self) -> Vec<Override> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        vec![set("output_features.0.preprocessing.vocab", &self.labels)]
    }

    /// A `trainer` that learns nothing, measured as the run file says.
    fn evaluation(&self) -> Map<String, Value> {
        let mut trainer = Map::from_iter([("type".to_owned(), json!("none"))]);
        for key in ["validation_metric", "eval_batch_size"] {
            let path = format!("/trainer/{key}");
            let written = self.run.document().place(&format!("trainer.{key}")).is_some();
            if let Some(value) = self.run.document().settled().pointer(&path)
                && written
            {
                trainer.insert(key.to_owned(), value.clone());
            }
        }
        trainer
    }

    /// Nothing that belongs to adapters and their learning.
    fn unadapted(&self) -> Vec<Override> {
        let sections = ["adapter", "adapters", "postprocessor"];
        let written = sections.into_iter().filter(|it| self.run.document().place(it).is_some());
        written.map(|section| set(section, &Value::Null)).collect()
    }

    /// The changes to `prompt`.
    fn prompt(&self, arm: Arm) -> Vec<Override> {
        let prompt = &self.run.config().prompt;
        if arm == Arm::Corpus {
            return Vec::new();
        }
        let written = prompt.retrieval.as_ref();
        let Some(kind) = arm.kind() else { return self.without_examples() };
        if written.is_some_and(|it| it.corpus.is_none() && named(it) == kind) {
            return Vec::new();
        }
        let k = written.and_then(|it| it.k).unwrap_or(EXAMPLES.max(self.labels.len().min(8)));
        let mut retrieval = json!({ "type": kind, "k": k });
        // With fewer rows than labels there is nothing to balance.
        if !self.labels.is_empty() && self.labels.len() <= k {
            retrieval["balance"] = true.into();
        }
        if matches!(arm, Arm::Semantic | Arm::Hybrid) {
            // A row is compared by its beginning rather than not at all; how many are is said.
            retrieval["long_texts"] = "truncate".into();
        }
        let mut changes = Vec::new();
        match &prompt.template {
            Some(template) if template.contains(CONTEXT) => {}
            None if prompt.task.is_some() => {}
            _ if self.chat => retrieval["show"] = "turns".into(),
            template => {
                let template = template.as_deref().unwrap_or("{__sample__}");
                changes.push(set("prompt.template", &format!("{CONTEXT}\n\n{template}")));
            }
        }
        changes.push(set("prompt.retrieval", &retrieval));
        changes
    }

    fn without_examples(&self) -> Vec<Override> {
        let prompt = &self.run.config().prompt;
        let mut changes = Vec::new();
        if prompt.retrieval.is_some() {
            changes.push(set("prompt.retrieval", &Value::Null));
        }
        if let Some(template) = prompt.template.as_ref().filter(|it| it.contains(CONTEXT)) {
            changes.push(set("prompt.template", &without_context(template)));
        }
        changes
    }
}

fn named(how: &Retrieval) -> &'static str {
    match how.kind {
        RetrievalKind::Random => "random",
        RetrievalKind::Bm25 => "bm25",
        RetrievalKind::Fixed => "fixed",
        RetrievalKind::Semantic => "semantic",
        RetrievalKind::Hybrid => "hybrid",
    }
}

/// A template without its place for examples, and without the empty line behind or before it.
fn without_context(template: &str) -> String {
    for place in ["{__context__}\n\n", "\n\n{__context__}", "{__context__}\n"] {
        if template.contains(place) {
            return template.replacen(place, "", 1).replace(CONTEXT, "");
        }
    }
    template.replace(CONTEXT, "")
}

/// A change to a run file. JSON is YAML, so the value is read as it was meant.
fn set(key: &str, value: &impl Serialize) -> Override {
    let value = serde_json::to_string(value).unwrap_or_default();
    Override::new(format!("{key}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "model_type: llm\nbase_model: smollm2-135m\n\
        input_features: [{name: text, type: text}]\n\
        output_features: [{name: label, type: category}]\n";

    fn run(more: &str) -> RunFile {
        RunFile::parse("run.yaml", &format!("{RUN}{more}"), &[]).unwrap()
    }

    fn arms(run: &RunFile, chat: bool) -> Arms<'_> {
        Arms { run, labels: vec!["yes: sure".into(), "no".into()], chat }
    }

    #[test]
    fn names_lead_back_to_arms() {
        for arm in Arm::ALL {
            assert_eq!(Arm::named(arm.name()), Some(arm));
            assert_eq!(serde_json::to_value(arm).unwrap(), arm.name());
        }
    }

    #[test]
    fn every_arm_of_every_kind_of_prompt_is_a_sound_run_file() {
        let prompts = [
            "prompt: {template: 'Is {text} good?'}\n",
            "prompt: {template: \"Look:\\n\\n{__context__}\\n\\nIs {text} good?\", \
                retrieval: {type: bm25, k: 3}}\n",
            "prompt: {task: Is it good?}\n",
            "prompt: {template: '{text}', retrieval: {type: random, k: 2, show: turns}}\n\
                trainer: {type: none, validation_metric: accuracy}\n",
            "prompt: {template: '{text}'}\nadapter: {type: lora, r: 4}\n\
                trainer: {type: finetune, train_steps: 9, early_stop: 2, eval_batch_size: 4}\n",
        ];
        for (prompt, chat) in prompts.iter().flat_map(|it| [(it, true), (it, false)]) {
            let run = run(prompt);
            let turns = prompt.contains("show: turns");
            for arm in Arm::ALL.into_iter().filter(|it| it.kind().is_some()) {
                let made = arms(&run, chat || turns).prompted(arm).unwrap();
                let shown = made.config().prompt.retrieval.as_ref().map(named);
                assert_eq!(shown, arm.kind(), "{prompt}");
                assert!(made.config().trainer.finetune().is_none());
                assert!(made.config().adapter_in_use().is_none());
            }
            let alone = arms(&run, chat).prompted(Arm::ZeroShot).unwrap();
            assert!(alone.config().prompt.retrieval.is_none());
            let learnt = arms(&run, chat).learnt(Some(2)).unwrap();
            assert!(learnt.config().trainer.finetune().is_some());
            assert!(learnt.config().adapter_in_use().is_some());
        }
    }

    #[test]
    fn all_arms_know_the_same_labels() {
        let run = run("prompt: {template: '{text}'}\n");
        let made = arms(&run, true).prompted(Arm::ZeroShot).unwrap();
        let OutputFeature::Category(output) = made.config().output() else {
            panic!("a category");
        };
        assert_eq!(output.preprocessing.vocab.as_deref().unwrap(), ["yes: sure", "no"]);
    }

    #[test]
    fn what_the_run_file_says_of_its_own_kind_stays() {
        let run = run("prompt: {template: '{text}', retrieval: {type: bm25, k: 7, \
            duplicates: skip, show: turns}}\n");
        let own = arms(&run, true).prompted(Arm::Bm25).unwrap();
        let other = arms(&run, true).prompted(Arm::FewShot).unwrap();
        assert_eq!(own.config(), run.changed(arms(&run, true).common()).unwrap().config());
        assert_eq!(other.config().prompt.retrieval.as_ref().unwrap().k, Some(7));
    }

    #[test]
    fn a_template_without_its_examples_has_no_hole() {
        assert_eq!(without_context("A\n\n{__context__}\n\nB"), "A\n\nB");
        assert_eq!(without_context("A\n\n{__context__}"), "A");
        assert_eq!(without_context("A {__context__} B"), "A  B");
    }
}
