//! The problems of single keys, with what was probably meant.

use serde_json::Value;

use super::Walk;
use super::shape::first;
use super::words::list;
use crate::catalogue::{Key, Status, entries_of};
use crate::problem::{Kind, Problem};
use crate::run::ModelType;
use crate::suggest::nearest;
use crate::view::join;
use crate::yaml::{Entry, Node};

impl Walk<'_> {
    pub(super) fn missing(&mut self, key: &Key, node: &Node, path: &str) {
        let at = join(path, key.name);
        let span = self.places.get(path).and_then(|place| place.key).unwrap_or(first(node));
        let doc = key.doc.trim_end_matches('.');
        let hint = match example(self.model, &at) {
            Some(example) => format!("add `{example}`"),
            None => format!("add `{}`: {doc}", key.name),
        };
        let problem = Problem::new(Kind::Missing, &at, format!("`{at}` is missing"))
            .at(self.sources, span, "")
            .hint(hint);
        self.fail(problem, &at);
    }

    pub(super) fn unknown(&self, keys: &[&'static Key], entry: &Entry, path: &str) -> Problem {
        let word = &*entry.key;
        let at = join(path, word);
        let place = if path.is_empty() { "at the top level" } else { path };
        let message = if path.is_empty() {
            format!("unknown key `{word}` {place}")
        } else {
            format!("unknown key `{word}` in `{place}`")
        };
        let known = || keys.iter().map(|key| key.name);
        let alias = keys.iter().find(|key| key.also.contains(&word)).map(|key| key.name);
        // A key that other sections know, or one that was misspelt here?
        let hint = alias
            .map(|name| format!("did you mean `{name}`?"))
            .or_else(|| {
                let here = nearest(word, known());
                let exact = elsewhere(self.model, word);
                match (here, exact) {
                    (None, Some(path)) => Some(format!("did you mean `{path}`?")),
                    (Some(name), _) => Some(format!("did you mean `{name}`?")),
                    (None, None) => None,
                }
            })
            .unwrap_or_else(|| format!("known here: {}", list(known())));
        Problem::new(Kind::UnknownKey, at, message).at(self.sources, entry.key_span, "").hint(hint)
    }

    pub(super) fn wrong(
        &mut self,
        path: &str,
        node: &Node,
        want: &str,
        hint: Option<String>,
    ) -> Option<Value> {
        let name = if path.is_empty() { "the file" } else { path };
        let mut problem = Problem::new(
            Kind::WrongType,
            path,
            format!("`{name}` must be {want}, not {}", node.describe()),
        )
        .at(self.sources, node.span, "");
        problem.hint = hint;
        self.fail(problem, path);
        None
    }

    pub(super) fn range(
        &mut self,
        path: &str,
        node: &Node,
        bounds: &str,
        got: String,
    ) -> Option<Value> {
        let problem = Problem::new(Kind::NotAllowed, path, format!("`{path}` {bounds}")).at(
            self.sources,
            node.span,
            got,
        );
        let problem = match range_hint(path) {
            Some(hint) => problem.hint(hint),
            None => problem,
        };
        self.fail(problem, path);
        None
    }

    pub(super) fn not_allowed(&self, path: &str, node: &Node, what: String) -> Problem {
        Problem::new(Kind::NotAllowed, path, format!("`{path}` {what}")).at(
            self.sources,
            node.span,
            "",
        )
    }

    pub(super) fn fail(&mut self, problem: Problem, path: &str) {
        self.problems.push(problem);
        self.break_at(path.to_owned());
    }

    pub(super) fn break_at(&mut self, path: String) {
        self.broken.insert(path);
    }
}

pub(super) fn not_built(path: &str, feature: &str) -> Problem {
    Problem::new(Kind::NotBuilt, path, format!("`{path}` needs {feature}, which is not built yet"))
}

pub(super) fn not_built_hint(key: &Key) -> String {
    match key.name {
        "index_name" => "remove it; the training rows are looked through anew".to_owned(),
        "regularization_type" | "regularization_lambda" => {
            "remove it; `weight_decay` of the optimizer shrinks weights".to_owned()
        }
        "use_mixed_precision" => "remove it; the top level's `precision` decides".to_owned(),
        _ => "remove it".to_owned(),
    }
}

/// Advice where a number that looks harmless is refused.
pub(super) fn range_hint(path: &str) -> Option<&'static str> {
    match path {
        "generation.temperature" => Some("for greedy decoding write `do_sample: false` instead"),
        "generation.top_p" | "generation.typical_p" => Some("1.0 switches it off"),
        "preprocessing.sample_ratio" => {
            Some("it is the share of rows that is kept: 1.0 keeps all of them")
        }
        "trainer.learning_rate" => Some("0.0002 is usual with an adapter, 0.00002 without"),
        "model_parameters.rope_scaling.factor" => {
            Some("remove `rope_scaling` to keep the context as it is")
        }
        _ => None,
    }
}

/// What `null` means in Ludwig, where it cannot be written here.
pub(super) fn null_hint(path: &str) -> Option<&'static str> {
    (path == "trainer.learning_rate_scheduler.decay")
        .then_some("for a rate that stays as it is, write `constant`; left out, it is `cosine`")
}

/// What a minimal file would say.
pub(super) fn example(model: ModelType, path: &str) -> Option<&'static str> {
    if model == ModelType::Ecd {
        return match path {
            "input_features" => Some(
                "input_features: [{name: text, type: text, encoder: {type: auto_transformer, pretrained_model_name_or_path: minilm}}]",
            ),
            "output_features" => Some("output_features: [{name: label, type: category}]"),
            _ => None,
        };
    }
    Some(match path {
        "model_type" => "model_type: llm",
        "base_model" => "base_model: HuggingFaceTB/SmolLM2-135M-Instruct",
        "input_features" => "input_features: [{name: text, type: text}]",
        "output_features" => "output_features: [{name: answer, type: text}]",
        "prompt.overflow.side" => "side: left",
        _ => return None,
    })
}

/// The one other path that ends in this key and works, or else one that will.
pub(super) fn elsewhere(model: ModelType, word: &str) -> Option<String> {
    let all = entries_of(model);
    let ends = |path: &str| path.rsplit('.').next() == Some(word);
    let mut found = all.iter().filter(|entry| {
        ends(&entry.path) || (entry.key.also.contains(&word) && entry.status == Status::Built)
    });
    let best = found
        .clone()
        .find(|entry| entry.status == Status::Built)
        .or_else(|| found.find(|entry| matches!(entry.status, Status::NotBuilt(_))))?;
    Some(best.path.clone())
}
