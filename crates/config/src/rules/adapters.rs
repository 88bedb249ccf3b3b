//! Rules of `adapters`: names that mean something, sources that can be merged.

use serde_json::Value;

use super::Rules;
use crate::problem::Kind;
use crate::suggest::nearest;
use crate::view::join;

const NAMED: &str = "adapters.adapters";
const ACTIVE: &str = "adapters.active";
const MERGE: &str = "adapters.merge";
const SOURCES: &str = "adapters.merge.sources";

impl Rules<'_> {
    pub(super) fn adapters(&mut self) {
        if self.view.written("adapters").is_none() {
            return;
        }
        self.one_way_to_name_adapters();
        self.adapters_are_folders();
        self.active_is_known();
        self.active_has_a_use();
        self.sources_can_be_merged();
        self.merge_has_a_use();
    }

    /// The names in `adapters`.
    pub(super) fn named_adapters(&self) -> Vec<String> {
        let named = self.view.written(NAMED).and_then(Value::as_object);
        named.into_iter().flat_map(|it| it.keys()).cloned().collect()
    }

    fn one_way_to_name_adapters(&mut self) {
        if self.view.written("adapter").is_none() {
            return;
        }
        let message = "`adapter` and `adapters` are both given".to_owned();
        let problem = self
            .at_key(Kind::Contradiction, "adapters", message)
            .because("only one adapter is in use at a time")
            .hint("move the one into `adapters.adapters`, under a name");
        let problem = self.also_key(problem, "adapter", "given here");
        self.found.push(problem);
    }

    /// Each adapter gets a folder of its name.
    fn adapters_are_folders(&mut self) {
        let plain = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        let named = self.named_adapters();
        let mut names: Vec<(String, String)> =
            named.iter().map(|name| (name.clone(), join(NAMED, name))).collect();
        let merged = self.view.text("adapters.merge.name").map(str::to_owned);
        names.extend(merged.clone().map(|name| (name, "adapters.merge.name".to_owned())));
        for (name, path) in names.iter().filter(|(name, _)| !plain(name)) {
            let message = format!("`{name}` cannot be an adapter's name");
            let problem = self
                .at_key(Kind::NotAllowed, path, message)
                .because("a run keeps each adapter in a folder of its name")
                .hint("write letters, digits, `-` and `_`");
            self.found.push(problem);
        }
        if let Some(name) = merged.filter(|name| named.contains(name)) {
            let message = format!("two adapters have the name `{name}`");
            let problem = self
                .at(Kind::Contradiction, "adapters.merge.name", message)
                .hint("give the merged one another name with `adapters.merge.name`");
            let problem = self.also_key(problem, &join(NAMED, &name), "the other one");
            let place = self.checked.places.contains_key("adapters.merge.name");
            let problem =
                if place { problem } else { self.also_key(problem, MERGE, "merged here") };
            self.found.push(problem);
        }
    }

    fn active_is_known(&mut self) {
        if self.view.broken(NAMED) || self.view.broken(MERGE) {
            return;
        }
        let Some(active) = self.view.text(ACTIVE).map(str::to_owned) else { return };
        let mut names = self.named_adapters();
        names.extend(self.view.text("adapters.merge.name").map(str::to_owned));
        self.known(ACTIVE, &active, &names);
    }

    /// Complains about a name that is none of these; returns whether it is one.
    fn known(&mut self, path: &str, name: &str, names: &[String]) -> bool {
        if names.iter().any(|known| known == name) {
            return true;
        }
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write one of `{}`", names.join("`, `")),
        };
        let problem =
            self.at(Kind::NotAllowed, path, format!("there is no adapter `{name}`")).hint(hint);
        self.found.push(problem);
        false
    }

    fn active_has_a_use(&mut self) {
        let Some(active) = self.view.text(ACTIVE).map(|name| join(NAMED, name)) else { return };
        let idle = self.view.text("trainer.type") == Some("none")
            && self.view.written(&active).is_some()
            && self.is_new(&active);
        if idle {
            let written = self.view.written(ACTIVE).is_some();
            self.new_without_training(if written { ACTIVE } else { &active }, &active);
        }
    }

    /// Whether an adapter was trained by nobody yet.
    fn is_new(&self, adapter: &str) -> bool {
        !self.view.broken(adapter)
            && self.view.may_lack(&join(adapter, "pretrained_adapter_weights"))
    }

    fn sources_can_be_merged(&mut self) {
        if self.view.broken(NAMED) || self.view.broken(SOURCES) {
            return;
        }
        let Some(sources) = self.view.written(SOURCES).and_then(Value::as_array) else { return };
        let names = self.named_adapters();
        for (index, source) in sources.iter().enumerate() {
            let path = join(SOURCES, &index.to_string());
            let Some(name) = source.as_str() else { continue };
            if !self.known(&path, name, &names) {
                continue;
            }
            if let Some(first) = sources[..index].iter().position(|other| other == source) {
                let message = format!("`{name}` is merged twice");
                let problem = self
                    .at(Kind::Contradiction, &path, message)
                    .hint("name it once; `weights` says how much of it there is");
                let first = join(SOURCES, &first.to_string());
                let problem = self.also(problem, &first, "first here");
                self.found.push(problem);
            }
            let adapter = join(NAMED, name);
            if self.is_new(&adapter) {
                let problem = self
                    .at(
                        Kind::Contradiction,
                        &path,
                        format!("there is nothing to merge of `{name}`"),
                    )
                    .because("it is new")
                    .hint("name a trained one with its `pretrained_adapter_weights`");
                let problem = self.also_key(problem, &adapter, "it stands here");
                self.found.push(problem);
            }
        }
        self.weights_are_of_sources(sources.len());
        self.several_sources(sources.len());
    }

    fn weights_are_of_sources(&mut self, sources: usize) {
        let path = "adapters.merge.weights";
        let weights = self.view.written(path).and_then(Value::as_array).map(Vec::len);
        let Some(weights) = weights.filter(|weights| *weights != sources) else { return };
        let problem = self
            .at(Kind::Contradiction, path, format!("{sources} sources have {weights} weights"))
            .hint("write one for each, in their order");
        let problem = self.also(problem, SOURCES, "the sources");
        self.found.push(problem);
    }

    fn several_sources(&mut self, sources: usize) {
        let path = "adapters.merge.combination_type";
        let Some(kind) = self.view.text(path).filter(|kind| *kind != "linear") else { return };
        if sources != 1 {
            return;
        }
        let problem = self
            .at(Kind::Contradiction, path, format!("`{kind}` needs two sources or more"))
            .hint("one alone is only multiplied by its weight: `linear`");
        let problem = self.also(problem, SOURCES, "the sources");
        self.found.push(problem);
    }

    /// Where nothing is trained nothing is kept either, so only the adapter in use counts.
    fn merge_has_a_use(&mut self) {
        let idle = self.view.text("trainer.type") == Some("none")
            && self.view.written(MERGE).is_some()
            && !self.view.broken("adapters")
            && self.view.text(ACTIVE) != self.view.text("adapters.merge.name");
        if !idle {
            return;
        }
        let name = self.view.text("adapters.merge.name").unwrap_or_default();
        let problem = self
            .at_key(Kind::Useless, MERGE, format!("`{MERGE}` has no effect here"))
            .because("the merged adapter is not in use, and `trainer.type: none` keeps nothing")
            .hint(format!("write `active: {name}`, or remove `merge`"));
        self.found.push(problem);
    }
}
