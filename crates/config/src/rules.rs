//! What no single key can know: rules across keys.

mod adapter;
mod adapters;
mod output;
mod probe;
mod prompt;
mod quantization;
mod retrieval;
mod trainer;

use serde_json::Value;

use crate::check::Checked;
use crate::problem::{Found, Kind, Problem};
use crate::run::ModelType;
use crate::source::Source;
use crate::view::{View, join};

/// Checks every rule and returns what breaks one.
pub(crate) fn rules(
    checked: &Checked,
    settled: &Value,
    sources: &[Source],
    model: ModelType,
) -> Found {
    let view = View { written: &checked.written, settled, broken: &checked.broken };
    let mut rules = Rules { view, checked, sources, found: Found::default() };
    if model == ModelType::Ecd {
        rules.probe();
        return rules.found;
    }
    rules.features();
    rules.names();
    rules.prompt();
    rules.lengths();
    rules.sampling();
    rules.split();
    rules.labels();
    rules.parser();
    rules.metric();
    rules.adapter();
    rules.adapters();
    rules.quantization();
    rules.trainer();
    rules.found
}

struct Rules<'a> {
    view: View<'a>,
    checked: &'a Checked,
    sources: &'a [Source],
    found: Found,
}

impl Rules<'_> {
    fn features(&mut self) {
        for (list, what) in [("input_features", "reads"), ("output_features", "answers")] {
            let count = self.view.written(list).and_then(Value::as_array).map_or(0, Vec::len);
            if count > 1 {
                let problem = self
                    .at(Kind::NotAllowed, &join(list, "1"), format!("`{list}` has {count} items"))
                    .because(format!("a language model {what} one feature"));
                let problem = if list == "input_features" {
                    problem.hint(
                        "keep one, and name the other columns in `prompt.template`: `{column}`",
                    )
                } else {
                    problem.hint("keep one; run the others from files of their own")
                };
                self.found.push(problem);
            }
        }
    }

    pub(super) fn names(&mut self) {
        let names: Vec<(String, String)> = ["input_features", "output_features"]
            .iter()
            .flat_map(|list| {
                let items = self.view.written(list).and_then(Value::as_array).map_or(0, Vec::len);
                (0..items).map(move |index| format!("{list}.{index}.name"))
            })
            .filter_map(|path| self.view.text(&path).map(|name| (name.to_owned(), path.clone())))
            .collect();
        for (index, (name, path)) in names.iter().enumerate() {
            let Some((_, first)) = names.iter().take(index).find(|(other, _)| other == name) else {
                continue;
            };
            let problem = self
                .at(Kind::Contradiction, path, format!("two features have the name `{name}`"))
                .hint("give one another name, and say its column with `column`");
            let problem = self.also(problem, first, "first here");
            self.found.push(problem);
        }
    }

    fn lengths(&mut self) {
        let number = |path: &str| self.view.written(path).and_then(Value::as_i64);
        let pairs = [
            ("generation.min_new_tokens", "generation.max_new_tokens", "at most"),
            (
                "generation.max_new_tokens",
                "preprocessing.global_max_sequence_length",
                "prompt and answer together",
            ),
            (
                "input_features.0.preprocessing.max_sequence_length",
                "preprocessing.global_max_sequence_length",
                "prompt and answer together",
            ),
            (
                "output_features.0.preprocessing.max_sequence_length",
                "preprocessing.global_max_sequence_length",
                "prompt and answer together",
            ),
        ];
        let mut found = Found::default();
        for (small, large, text) in pairs {
            let (Some(least), Some(most)) = (number(small), number(large)) else { continue };
            // An answer that fills the whole row leaves no place for a prompt.
            let equal_is_fine = small != "generation.max_new_tokens";
            if least > most || (least == most && !equal_is_fine) {
                let message = format!("`{small}` is {least}, and `{large}` is {most}");
                let problem = self.at(Kind::Contradiction, small, message);
                found.push(self.also(problem, large, text));
            }
        }
        self.found.append(found);
    }

    fn sampling(&mut self) {
        let ratio = self.view.written("preprocessing.sample_ratio").and_then(Value::as_f64);
        if ratio.is_some_and(|ratio| ratio < 1.0)
            && self.view.written("preprocessing.sample_size").is_some()
        {
            let message = "`sample_size` and `sample_ratio` both say how many rows are drawn";
            let problem = self
                .at(Kind::Contradiction, "preprocessing.sample_size", message.to_owned())
                .hint("keep one of the two");
            let problem = self.also(problem, "preprocessing.sample_ratio", "given here");
            self.found.push(problem);
        }
    }

    fn split(&mut self) {
        let path = "preprocessing.split.probabilities";
        let Some(list) = self.view.written(path).and_then(Value::as_array) else { return };
        if list.len() != 3 {
            let message = format!("`{path}` has {} numbers", list.len());
            let problem = self
                .at(Kind::NotAllowed, path, message)
                .hint("write three: training, validation, test; 0 leaves one out");
            self.found.push(problem);
            return;
        }
        if list.iter().any(Value::is_null) {
            return;
        }
        let sum: f64 = list.iter().filter_map(Value::as_f64).sum();
        if (sum - 1.0).abs() > 1e-6 {
            let rounded = (sum * 1e6).round() / 1e6;
            let message = format!("`{path}` add up to {rounded}, not to 1");
            let problem = self.at(Kind::NotAllowed, path, message);
            self.found.push(problem);
        }
    }

    /// The text at a path must be a regular expression.
    fn regex(&mut self, path: &str) {
        if let Some(text) = self.view.text(path).map(str::to_owned) {
            self.regex_text(path, &text);
        }
    }

    fn regex_text(&mut self, path: &str, text: &str) {
        let Err(error) = regex::RegexBuilder::new(text).size_limit(1 << 20).build() else { return };
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or("").trim();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason).to_owned();
        let problem = self
            .at(Kind::NotAllowed, path, format!("`{path}` is not a regular expression"))
            .because(reason);
        self.found.push(problem);
    }

    /// A problem at the value of a path.
    fn at(&self, kind: Kind, path: &str, message: String) -> Problem {
        let problem = Problem::new(kind, path, message);
        match self.checked.places.get(path) {
            Some(place) => problem.at(self.sources, place.value, ""),
            None => problem,
        }
    }

    /// A problem at the key of a path.
    fn at_key(&self, kind: Kind, path: &str, message: String) -> Problem {
        let problem = Problem::new(kind, path, message);
        match self.checked.places.get(path) {
            Some(place) => problem.at(self.sources, place.key.unwrap_or(place.value), ""),
            None => problem,
        }
    }

    fn also_key(&self, problem: Problem, path: &str, text: &str) -> Problem {
        match self.checked.places.get(path) {
            Some(place) => problem.related(self.sources, place.key.unwrap_or(place.value), text),
            None => problem,
        }
    }

    fn also(&self, problem: Problem, path: &str, text: &str) -> Problem {
        match self.checked.places.get(path) {
            Some(place) => problem.related(self.sources, place.value, text),
            None => problem,
        }
    }
}
