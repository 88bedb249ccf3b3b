//! Rules of run files of `model_type: ecd`.

use serde_json::Value;

use super::Rules;
use crate::problem::Kind;
use crate::suggest::nearest;
use crate::view::join;

const OUTPUT: &str = "output_features.0";

impl Rules<'_> {
    pub(super) fn probe(&mut self) {
        self.one_output();
        self.names();
        self.sampling();
        self.split();
        self.weighed_labels();
        self.metric();
    }

    fn one_output(&mut self) {
        let outputs = self.view.written("output_features").and_then(Value::as_array);
        let count = outputs.map_or(0, Vec::len);
        if count > 1 {
            let problem = self
                .at(
                    Kind::NotAllowed,
                    "output_features.1",
                    format!("`output_features` has {count} items"),
                )
                .because("a probe answers one feature")
                .hint("keep one; the vectors of the others are computed already, so a run of its own is quick");
            self.found.push(problem);
        }
    }

    /// The vocabulary, and labels that weigh more or less.
    fn weighed_labels(&mut self) {
        let path = join(OUTPUT, "preprocessing.vocab");
        let vocab: Vec<String> = self
            .view
            .written(&path)
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let weights = join(OUTPUT, "loss.class_weights");
        let weighed = self.view.written(&weights).and_then(Value::as_object);
        for label in weighed.into_iter().flat_map(serde_json::Map::keys) {
            if vocab.is_empty() || vocab.contains(label) {
                continue;
            }
            let near = nearest(label, vocab.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "add it to the vocabulary, or remove its weight".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("the label `{label}` has a weight, and is not in the vocabulary");
            let problem =
                self.at_key(Kind::Contradiction, &join(&weights, label), message).hint(hint);
            let problem = self.also(problem, &path, "the labels");
            self.found.push(problem);
        }
        self.vocab(&vocab, &path);
    }
}
