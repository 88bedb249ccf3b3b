//! What no single key can know: rules across keys.

use serde_json::Value;

use crate::catalogue::metrics_of;
use crate::check::Checked;
use crate::problem::{Kind, Problem};
use crate::source::{Source, Span};
use crate::suggest::nearest;
use crate::view::{View, join};

/// Checks every rule and returns what breaks one.
pub(crate) fn rules(checked: &Checked, settled: &Value, sources: &[Source]) -> Vec<Problem> {
    let view = View { written: &checked.written, settled, broken: &checked.broken };
    let mut rules = Rules { view, checked, sources, found: Vec::new() };
    rules.features();
    rules.prompt();
    rules.lengths();
    rules.sampling();
    rules.split();
    rules.labels();
    rules.metric();
    rules.found
}

struct Rules<'a> {
    view: View<'a>,
    checked: &'a Checked,
    sources: &'a [Source],
    found: Vec<Problem>,
}

/// The parts of a template that name something.
struct Reference<'a> {
    name: &'a str,
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

    fn prompt(&mut self) {
        if self.view.broken("prompt") && self.view.written("prompt.template").is_none() {
            return;
        }
        let template = self.view.text("prompt.template").map(str::to_owned);
        let task = self.view.written("prompt.task").is_some() || self.view.broken("prompt.task");
        if self.view.written("prompt.messages").is_some() {
            self.messages(template.is_some());
        }
        let Some(template) = template else {
            self.budget(None);
            return;
        };
        let references = references(&template);
        let at = "prompt.template";
        for it in &references {
            match it.name {
                "__sample__" | "__task__" | "__context__" => {}
                name if name.starts_with("__") && name.ends_with("__") && name.len() > 4 => {
                    let known = ["__sample__", "__task__", "__context__"];
                    let hint = nearest(name, known).map_or_else(
                        || "the special names are `{__sample__}` and `{__task__}`".to_owned(),
                        |near| format!("did you mean `{{{near}}}`?"),
                    );
                    let message =
                        format!("the template refers to `{{{name}}}`, which is no special name");
                    let problem = self.in_template(name, message).hint(hint);
                    self.found.push(problem);
                }
                _ => {}
            }
        }
        let refers = |name: &str| references.iter().any(|it| it.name == name);
        if refers("__task__") && !task {
            let message = "the template refers to `{__task__}`, and there is no `prompt.task`";
            let problem = self
                .in_template("__task__", message.to_owned())
                .hint("add `task: …` beside the template, or write the task into the template");
            self.found.push(problem);
        }
        if !refers("__task__") && self.view.written("prompt.task").is_some() {
            let problem = self
                .at(
                    Kind::Contradiction,
                    "prompt.task",
                    "`prompt.task` never reaches the model".to_owned(),
                )
                .because("the template does not refer to it")
                .hint("add `{__task__}` to the template, or remove the task");
            let problem = self.also(problem, at, "this template");
            self.found.push(problem);
        }
        if refers("__context__") && !self.view.broken("prompt.retrieval") {
            let problem = self
                .in_template(
                    "__context__",
                    "`{__context__}` needs retrieval, which is not built yet".to_owned(),
                )
                .kind(Kind::NotBuilt)
                .hint("write fixed examples into the template");
            self.found.push(problem);
        }
        let columns = references.iter().any(|it| !matches!(it.name, "__task__" | "__context__"));
        if !columns {
            let problem = self
                .at(Kind::Contradiction, at, "the template shows nothing of the row".to_owned())
                .because("every row would be asked the same question")
                .hint("refer to a column, `{column}`, or to the input feature, `{__sample__}`");
            self.found.push(problem);
        }
        let output = self.view.text("output_features.0.column").map(str::to_owned);
        if let Some(output) = output.filter(|output| refers(output)) {
            let message = format!("the template shows the expected answer, `{{{output}}}`");
            let problem = self
                .in_template(&output, message)
                .because("the model would read what it is asked for")
                .hint("remove the reference: the answer follows the prompt by itself");
            let problem = self.also(problem, "output_features.0.name", "the output feature");
            self.found.push(problem);
        }
        self.budget(Some(&references));
    }

    fn messages(&mut self, template: bool) {
        for (key, there) in [
            ("prompt.template", template),
            ("prompt.task", self.view.written("prompt.task").is_some()),
        ] {
            if there {
                let message = format!("`{key}` and `prompt.messages` exclude each other");
                let problem = self
                    .at(Kind::Contradiction, key, message)
                    .because("the column `messages` holds the whole conversation")
                    .hint("remove one of the two");
                let problem = self.also(problem, "prompt.messages", "given here");
                self.found.push(problem);
            }
        }
        self.needs_chat("prompt.messages");
    }

    fn needs_chat(&mut self, path: &str) {
        if self.view.written("prompt.chat_template") == Some(&Value::Bool(false)) {
            let message = format!("`{path}` needs the chat template, and it is switched off");
            let problem = self
                .at(Kind::Contradiction, path, message)
                .hint("remove `chat_template: false`, or write the text into the template");
            let problem = self.also(problem, "prompt.chat_template", "switched off here");
            self.found.push(problem);
        }
    }

    fn budget(&mut self, references: Option<&[Reference<'_>]>) {
        if self.view.written("prompt.system").is_some() {
            self.needs_chat("prompt.system");
        }
        let Some(budget) = self.view.written("prompt.budget").and_then(Value::as_object) else {
            return;
        };
        let column = self.view.text("input_features.0.column").unwrap_or("").to_owned();
        let named: Vec<String> = match references {
            Some(references) => references.iter().map(|it| it.name.to_owned()).collect(),
            None => vec!["__sample__".to_owned(), column],
        };
        let mut sum = 0_i64;
        for (field, tokens) in budget {
            sum = sum.saturating_add(tokens.as_i64().unwrap_or(0));
            if named.contains(field) {
                continue;
            }
            let path = join("prompt.budget", field);
            let near = nearest(field, named.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "name a column that the template refers to".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let problem = self
                .at(
                    Kind::Useless,
                    &path,
                    format!("`{path}` limits a column that the prompt does not show"),
                )
                .hint(hint);
            self.found.push(problem);
        }
        let global = "preprocessing.global_max_sequence_length";
        if let Some(most) = self.view.written(global).and_then(Value::as_i64)
            && sum > most
        {
            let message = format!("the budgets add up to {sum} tokens, and a row may have {most}");
            let problem = self.at(Kind::Contradiction, "prompt.budget", message);
            let problem = self.also(problem, global, "for prompt and answer");
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
        let mut found = Vec::new();
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
        self.found.extend(found);
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

    fn labels(&mut self) {
        let feature = "output_features.0";
        if self.view.text("output_features.0.type") != Some("category") {
            return;
        }
        let decoder = join(feature, "decoder");
        let (matches, choose) = (join(&decoder, "match"), join(&decoder, "choose"));
        if self.view.written(&choose) == Some(&Value::from("generate"))
            && self.view.written(&matches).is_none()
            && !self.view.broken(&matches)
        {
            let problem = self
                .at(Kind::Missing, &choose, format!("`{matches}` is missing"))
                .because("without rules no label is ever found in a generated text")
                .hint("add `match: {label: {type: contains, value: label}}`, or `choose: score`");
            self.found.push(problem);
        }
        let vocab_path = join(feature, "preprocessing.vocab");
        let vocab: Vec<String> = self
            .view
            .written(&vocab_path)
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        self.vocab(&vocab, &vocab_path);
        self.rules_of(&matches, &vocab, &vocab_path);
        let own = join(&decoder, "fallback_label");
        let shared = join(feature, "preprocessing.fallback_label");
        if let (Some(a), Some(b)) = (self.view.written(&own), self.view.written(&shared))
            && a != b
        {
            let message = "two different fallback labels".to_owned();
            let problem = self.at(Kind::Contradiction, &own, message).hint("remove one of the two");
            let problem = self.also(problem, &shared, "the other");
            self.found.push(problem);
        }
        let top_k = join(feature, "top_k");
        if let Some(k) = self.view.written(&top_k).and_then(Value::as_u64)
            && !vocab.is_empty()
            && k > 1
            && k as usize >= vocab.len()
        {
            let message = format!("`{top_k}` is {k}, and there are {} labels", vocab.len());
            let problem =
                self.at(Kind::Contradiction, &top_k, message).because("every row would be a hit");
            let problem = self.also(problem, &vocab_path, "the labels");
            self.found.push(problem);
        }
    }

    fn vocab(&mut self, vocab: &[String], path: &str) {
        for (index, label) in vocab.iter().enumerate() {
            let same = |other: &String| other.to_lowercase() == label.to_lowercase();
            let at = join(path, &index.to_string());
            if label.trim().is_empty() {
                let problem = self.at(Kind::NotAllowed, &at, "an empty label".to_owned());
                self.found.push(problem);
            } else if let Some(first) = vocab.iter().take(index).position(same) {
                let message = format!("the label `{label}` stands twice in the vocabulary");
                let problem = self
                    .at(Kind::Contradiction, &at, message)
                    .because("labels are compared without regard to case");
                let problem = self.also(problem, &join(path, &first.to_string()), "first here");
                self.found.push(problem);
            }
        }
    }

    fn rules_of(&mut self, matches: &str, vocab: &[String], vocab_path: &str) {
        let Some(rules) = self.view.written(matches).and_then(Value::as_object) else { return };
        for (label, rule) in rules {
            let path = join(matches, label);
            if !vocab.is_empty() && !vocab.contains(label) {
                let near = nearest(label, vocab.iter().map(String::as_str));
                let hint = near.map_or_else(
                    || "add it to the vocabulary, or remove the rule".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("the rule finds `{label}`, which is not in the vocabulary");
                let problem = self.at_key(Kind::Contradiction, &path, message).hint(hint);
                let problem = self.also(problem, vocab_path, "the labels");
                self.found.push(problem);
            }
            let value = rule.get("value").and_then(Value::as_str).unwrap_or("");
            let at = join(&path, "value");
            if rule.get("value").is_some() && value.is_empty() {
                let problem = self
                    .at(Kind::NotAllowed, &at, format!("`{at}` must not be empty"))
                    .because("an empty text is found everywhere");
                self.found.push(problem);
            } else if rule.get("type") == Some(&Value::from("regex"))
                && let Err(error) = regex::RegexBuilder::new(value).size_limit(1 << 20).build()
            {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or("").trim();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason).to_owned();
                let problem = self
                    .at(Kind::NotAllowed, &at, format!("`{at}` is not a regular expression"))
                    .because(reason);
                self.found.push(problem);
            }
        }
    }

    fn metric(&mut self) {
        let field_path = "trainer.validation_field";
        let Some(output) = self.view.text("output_features.0.name").map(str::to_owned) else {
            return;
        };
        let field = self.view.text(field_path).unwrap_or(&output).to_owned();
        if field != output && field != "combined" {
            let near = nearest(&field, [output.as_str(), "combined"]);
            let near = near.unwrap_or(&output).to_owned();
            let problem = self
                .at(Kind::NotAllowed, field_path, format!("no output feature is called `{field}`"))
                .hint(format!("did you mean `{near}`?"));
            self.found.push(problem);
            return;
        }
        let path = "trainer.validation_metric";
        let Some(metric) = self.view.written(path).and_then(Value::as_str) else { return };
        let kind = self.view.text("output_features.0.type").unwrap_or("text");
        let known: Vec<&str> = if field == "combined" {
            vec!["loss"]
        } else {
            metrics_of(kind).iter().map(|choice| choice.name).collect()
        };
        if !known.contains(&metric) {
            let what = if field == "combined" {
                "`combined`".to_owned()
            } else {
                format!("a {kind} output")
            };
            let hint = nearest(metric, known.iter().copied()).map_or_else(
                || format!("one of `{}`", known.join("`, `")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("{what} has no metric `{metric}`");
            let problem = self.at(Kind::NotAllowed, path, message).hint(hint);
            self.found.push(problem);
            return;
        }
        let list_path = "output_features.0.metrics";
        if let Some(list) = self.view.written(list_path).and_then(Value::as_array)
            && field != "combined"
            && !list.contains(&Value::from(metric))
        {
            let message = format!("the headline metric `{metric}` is not among those computed");
            let problem = self
                .at(Kind::Contradiction, path, message)
                .hint("add it to `metrics`, or choose one of them");
            let problem = self.also(problem, list_path, "those computed");
            self.found.push(problem);
        }
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

    fn also(&self, problem: Problem, path: &str, text: &str) -> Problem {
        match self.checked.places.get(path) {
            Some(place) => problem.related(self.sources, place.value, text),
            None => problem,
        }
    }

    /// A contradiction at a reference inside the template, as it stands in the file.
    fn in_template(&self, name: &str, message: String) -> Problem {
        let problem = Problem::new(Kind::Contradiction, "prompt.template", message);
        let Some(place) = self.checked.places.get("prompt.template") else { return problem };
        let span = place.value;
        let text =
            self.sources.get(span.source as usize).map_or("", |source| source.slice(span.range()));
        // Quoting can change the text, but hardly ever a reference in it.
        let found = text.find(&format!("{{{name}")).map(|offset| Span {
            start: span.start + offset as u32,
            end: span.start + (offset + name.len() + 2) as u32,
            ..span
        });
        problem.at(self.sources, found.unwrap_or(span), "")
    }
}

impl Problem {
    fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self.code = kind.code();
        self
    }
}

/// The names in braces of a template; `{{` and `}}` are literal braces. What is not well formed is
/// left to the renderer, which says it better.
fn references(template: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let after = rest.get(open + 1..).unwrap_or("");
        if let Some(literal) = after.strip_prefix('{') {
            rest = literal;
            continue;
        }
        let Some(close) = after.find('}') else { break };
        let inside = after.get(..close).unwrap_or("");
        let name = inside.split([':', '!']).next().unwrap_or("");
        if !name.is_empty() {
            found.push(Reference { name });
        }
        rest = after.get(close + 1..).unwrap_or("");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_as_python_finds_them() {
        let names = |text| references(text).iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names("{a} {{b}} {c:.2f} {{{d}}}"), ["a", "c", "d"]);
        assert_eq!(names("no {"), [""; 0]);
        assert_eq!(names("{}"), [""; 0]);
    }
}
