//! Rules of `adapter`.

use serde_json::Value;

use super::Rules;
use crate::problem::Kind;
use crate::view::join;

impl Rules<'_> {
    pub(super) fn adapter(&mut self) {
        self.adapter_has_a_use();
        let targets = "adapter.target_modules";
        if self.view.written(targets).is_some_and(Value::is_string)
            && self.view.text(targets) != Some("all-linear")
        {
            self.regex(targets);
        }
        for patterns in ["adapter.rank_pattern", "adapter.alpha_pattern"] {
            let names = self.view.written(patterns).and_then(Value::as_object);
            for name in names.into_iter().flat_map(|it| it.keys()).cloned().collect::<Vec<_>>() {
                self.regex_text(&join(patterns, &name), &name);
            }
        }
        self.orthogonal_ranks();
        self.start_beside_dora();
    }

    fn adapter_has_a_use(&mut self) {
        let idle = self.view.text("trainer.type") == Some("none")
            && self.view.written("adapter").is_some()
            && self.view.may_lack("adapter.pretrained_adapter_weights")
            && !self.view.broken("adapter");
        if !idle {
            return;
        }
        let problem = self
            .at_key(Kind::Contradiction, "adapter", "the adapter changes nothing".to_owned())
            .because("it is new, and `trainer.type: none` trains nothing")
            .hint("write `trainer: finetune` to train it, or name a trained one with `pretrained_adapter_weights`");
        let problem = self.also(problem, "trainer.type", "decided here");
        self.found.push(problem);
    }

    fn start_beside_dora(&mut self) {
        let (start, dora) = ("adapter.init_lora_weights", "adapter.use_dora");
        let taken = ["pissa", "olora"].map(Value::from);
        let takes = self.view.written(start).is_some_and(|word| taken.contains(word));
        if !takes || self.view.written(dora) != Some(&Value::Bool(true)) {
            return;
        }
        let message = "DoRA cannot begin with factors of the weight".to_owned();
        let problem = self
            .at(Kind::Contradiction, start, message)
            .because(
                "it learns the length of the weight's rows, and the factors are taken from them",
            )
            .hint("remove one of the two keys");
        let problem = self.also(problem, dora, "asked for here");
        self.found.push(problem);
    }

    fn orthogonal_ranks(&mut self) {
        let start = "adapter.init_lora_weights";
        if self.view.written(start) != Some(&Value::from("orthogonal")) {
            return;
        }
        let mut ranks = vec!["adapter.r".to_owned()];
        let pattern = self.view.written("adapter.rank_pattern").and_then(Value::as_object);
        ranks.extend(
            pattern.into_iter().flat_map(|it| it.keys()).map(|it| join("adapter.rank_pattern", it)),
        );
        for path in ranks {
            let Some(rank) = self.rank(&path).filter(|rank| rank % 2 == 1) else { continue };
            let message = format!("`{path}` is {rank}, which is odd");
            let problem = self
                .at(Kind::Contradiction, &path, message)
                .because("orthogonal factors come in pairs")
                .hint("write an even rank");
            let problem = self.also(problem, start, "asked for here");
            self.found.push(problem);
        }
    }

    /// The rank at a path, whose last part may hold dots.
    fn rank(&self, path: &str) -> Option<u64> {
        match path.strip_prefix("adapter.rank_pattern.") {
            Some(name) => self.view.written("adapter.rank_pattern")?.get(name)?.as_u64(),
            None => self.view.get(path)?.as_u64(),
        }
    }
}
