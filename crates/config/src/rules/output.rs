//! Rules of the output: labels, the rules that find them, and the headline metric.

use serde_json::Value;

use super::Rules;
use crate::catalogue::metrics_of;
use crate::problem::Kind;
use crate::suggest::nearest;
use crate::view::join;

impl Rules<'_> {
    pub(super) fn labels(&mut self) {
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

    /// The form of a text answer is said in one way.
    pub(super) fn parser(&mut self) {
        let decoder = "output_features.0.decoder";
        if self.view.text(&join(decoder, "type")) != Some("text_parser") {
            return;
        }
        let all = ["json_schema", "regex", "grammar"].map(|name| join(decoder, name));
        let written: Vec<&String> = all
            .iter()
            .filter(|path| {
                self.view.broken(path) || self.view.written(path).is_some_and(|it| !it.is_null())
            })
            .collect();
        match written.as_slice() {
            [] => {
                let message = format!("`{decoder}` does not say which form answers have");
                let problem = self
                    .at(Kind::Missing, decoder, message)
                    .hint("add `json_schema: {...}`, `regex: \"...\"` or `grammar: |`");
                self.found.push(problem);
            }
            [_] => {}
            [first, rest @ ..] => {
                for path in rest {
                    let message = format!("`{path}` is a second form of the same answer");
                    let problem = self.at_key(Kind::Contradiction, path, message);
                    let problem = self.also(problem, first, "the first").hint("keep one of them");
                    self.found.push(problem);
                }
            }
        }
        let regex = join(decoder, "regex");
        if let Some(text) = self.view.text(&regex).map(str::to_owned) {
            self.regex_text(&regex, &text);
        }
    }

    pub(super) fn vocab(&mut self, vocab: &[String], path: &str) {
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

    pub(super) fn rules_of(&mut self, matches: &str, vocab: &[String], vocab_path: &str) {
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
            } else if rule.get("type") == Some(&Value::from("regex")) {
                self.regex_text(&at, value);
            }
        }
    }

    pub(super) fn metric(&mut self) {
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
        let kind = self.view.measured_as();
        let known: Vec<&str> = if field == "combined" {
            vec!["loss"]
        } else {
            metrics_of(kind).iter().map(|choice| choice.name).collect()
        };
        if !known.contains(&metric) {
            let what = if field == "combined" {
                "`combined`".to_owned()
            } else if kind == "document" {
                "`prompt.document`".to_owned()
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
        let needs = metrics_of(kind).iter().any(|it| it.name == metric && it.probabilities);
        let choose = "output_features.0.decoder.choose";
        if needs && self.view.text(choose) == Some("generate") {
            let message = format!("`{metric}` is made from probabilities, and none are computed");
            let problem = self
                .at(Kind::Contradiction, path, message)
                .hint("set `choose: score`, or choose `accuracy` or `f1_macro`");
            let problem = self.also(problem, choose, "labels are found in generated text");
            self.found.push(problem);
        }
    }
}
