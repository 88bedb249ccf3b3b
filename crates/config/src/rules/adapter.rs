//! Rules of an adapter, wherever it stands.

use serde_json::Value;

use super::Rules;
use crate::problem::Kind;
use crate::view::join;

impl Rules<'_> {
    pub(super) fn adapter(&mut self) {
        self.adapter_has_a_use();
        for path in self.adapter_paths() {
            self.adapter_patterns(&path);
            self.orthogonal_ranks(&path);
            self.start_beside_dora(&path);
            self.ranges_of_layers(&path);
            self.biases_of_one_layer(&path);
        }
    }

    /// Where the run file has adapters.
    fn adapter_paths(&self) -> Vec<String> {
        let named = self.named_adapters().into_iter().map(|name| join("adapters.adapters", &name));
        std::iter::once("adapter".to_owned()).chain(named).collect()
    }

    fn adapter_patterns(&mut self, adapter: &str) {
        let targets = join(adapter, "target_modules");
        if self.view.written(&targets).is_some_and(Value::is_string)
            && self.view.text(&targets) != Some("all-linear")
        {
            self.regex(&targets);
        }
        for patterns in ["rank_pattern", "alpha_pattern"].map(|key| join(adapter, key)) {
            let names = self.view.written(&patterns).and_then(Value::as_object);
            for name in names.into_iter().flat_map(|it| it.keys()).cloned().collect::<Vec<_>>() {
                self.regex_text(&join(&patterns, &name), &name);
            }
        }
    }

    fn adapter_has_a_use(&mut self) {
        let idle = self.view.text("trainer.type") == Some("none")
            && self.view.written("adapter").is_some()
            && self.view.may_lack("adapter.pretrained_adapter_weights")
            && !self.view.broken("adapter");
        if idle {
            self.new_without_training("adapter", "adapter");
        }
    }

    /// Complains, at a key, that what stands at a path is new and nothing trains it.
    pub(super) fn new_without_training(&mut self, key: &str, new: &str) {
        let problem = self
            .at_key(Kind::Contradiction, key, "the adapter changes nothing".to_owned())
            .because("it is new, and `trainer.type: none` trains nothing")
            .hint("write `trainer: finetune` to train it, or name a trained one with `pretrained_adapter_weights`");
        let problem =
            if key == new { problem } else { self.also_key(problem, new, "it stands here") };
        let problem = self.also(problem, "trainer.type", "decided here");
        self.found.push(problem);
    }

    fn start_beside_dora(&mut self, adapter: &str) {
        let (start, dora) = (join(adapter, "init_lora_weights"), join(adapter, "use_dora"));
        let taken = ["pissa", "olora"].map(Value::from);
        let takes = self.view.written(&start).is_some_and(|word| taken.contains(word));
        if !takes || self.view.written(&dora) != Some(&Value::Bool(true)) {
            return;
        }
        let message = "DoRA cannot begin with factors of the weight".to_owned();
        let problem = self
            .at(Kind::Contradiction, &start, message)
            .because(
                "it learns the length of the weight's rows, and the factors are taken from them",
            )
            .hint("remove one of the two keys");
        let problem = self.also(problem, &dora, "asked for here");
        self.found.push(problem);
    }

    fn ranges_of_layers(&mut self, adapter: &str) {
        let path = join(adapter, "layer_replication");
        let Some(ranges) = self.view.written(&path).and_then(Value::as_array) else { return };
        for (index, range) in ranges.iter().enumerate() {
            let ends: Vec<u64> =
                range.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            let fault = match ends[..] {
                [first, end] if first < end => continue,
                [_, _] => "holds no layer".to_owned(),
                _ => format!("has {} numbers", ends.len()),
            };
            let message = format!("a range of `{path}` {fault}");
            let problem = self
                .at(Kind::NotAllowed, &join(&path, &index.to_string()), message)
                .hint("write the first layer and one past the last: `[0, 4]` are 0, 1, 2 and 3");
            self.found.push(problem);
        }
    }

    /// Layers that are used again share their biases, which then cannot learn apart.
    fn biases_of_one_layer(&mut self, adapter: &str) {
        let (bias, layers) = (join(adapter, "bias_type"), join(adapter, "layer_replication"));
        let learn = self.view.written(&bias).is_some_and(|kind| kind != "none");
        if !learn || self.view.written(&layers).is_none() {
            return;
        }
        let problem = self
            .at(Kind::Contradiction, &bias, "biases that several layers share cannot learn".into())
            .hint("write `bias_type: none`");
        let problem = self.also(problem, &layers, "layers are used again here");
        self.found.push(problem);
    }

    fn orthogonal_ranks(&mut self, adapter: &str) {
        let start = join(adapter, "init_lora_weights");
        if self.view.written(&start) != Some(&Value::from("orthogonal")) {
            return;
        }
        let one = join(adapter, "r");
        let patterns = join(adapter, "rank_pattern");
        let mut ranks = vec![(one.clone(), self.view.get(&one).and_then(Value::as_u64))];
        let pattern = self.view.written(&patterns).and_then(Value::as_object);
        let others = pattern.into_iter().flatten();
        ranks.extend(others.map(|(name, rank)| (join(&patterns, name), rank.as_u64())));
        for (path, rank) in ranks {
            let Some(rank) = rank.filter(|rank| rank % 2 == 1) else { continue };
            let message = format!("`{path}` is {rank}, which is odd");
            let problem = self
                .at(Kind::Contradiction, &path, message)
                .because("orthogonal factors come in pairs")
                .hint("write an even rank");
            let problem = self.also(problem, &start, "asked for here");
            self.found.push(problem);
        }
    }
}
