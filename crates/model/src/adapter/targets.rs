//! Which layers an adapter stands beside, and with which rank: PEFT's rules.

use fidelio_backend::{BackendError, LoraRanks, LoraSpec, TargetModules};
use regex::Regex;

use crate::loader::Module;

/// The word for every linear layer but the output projection.
const ALL_LINEAR: &str = "all-linear";

/// The rules of a [`LoraSpec`], ready to ask.
pub(super) struct Targets<'a> {
    spec: &'a LoraSpec,
    pattern: Option<Regex>,
    ranks: LoraRanks,
}

/// What a layer gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target {
    pub(super) r: usize,
    pub(super) scale: f64,
}

impl<'a> Targets<'a> {
    pub(super) fn new(spec: &'a LoraSpec) -> Result<Self, BackendError> {
        let pattern = match &spec.target_modules {
            TargetModules::Pattern(word) if word != ALL_LINEAR => {
                Some(compile("target_modules", word, &format!("^(?:{word})$"))?)
            }
            _ => None,
        };
        Ok(Self { spec, pattern, ranks: LoraRanks::new(spec)? })
    }

    /// Every rule must find a layer, and every rank be one.
    pub(super) fn check(&self, modules: &[Module]) -> Result<(), BackendError> {
        let names = || modules.iter().map(|module| module.name.as_str());
        let kinds = || {
            let mut kinds: Vec<&str> = names().filter_map(|name| name.rsplit('.').next()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            format!("the model's linear layers are {}", kinds.join(", "))
        };
        if let TargetModules::Named(words) = &self.spec.target_modules {
            for word in words.iter().filter(|word| *word != ALL_LINEAR) {
                if !names().any(|name| ends_in(name, word)) {
                    return refuse(
                        format!("`target_modules` has `{word}`, which is no layer"),
                        kinds(),
                    );
                }
            }
        }
        if names().all(|name| self.of(name).is_none()) {
            return refuse("`target_modules` finds no layer".into(), kinds());
        }
        for (key, pattern) in self.ranks.patterns() {
            let mut adapted = names().filter(|name| self.of(name).is_some());
            if !adapted.any(|name| pattern.is_match(name)) {
                let what = format!("`{key}` has `{pattern}`, which finds no adapted layer");
                return refuse(what, kinds());
            }
        }
        match names().filter_map(|name| self.of(name)).find(|target| target.r == 0) {
            Some(_) => refuse("the rank 0 adds nothing".into(), "use 1 or more".into()),
            None => Ok(()),
        }
    }

    /// Rank and scale for a layer; none where it is not a target.
    pub(super) fn of(&self, name: &str) -> Option<Target> {
        let is_target = match &self.spec.target_modules {
            TargetModules::Named(words) => {
                words.iter().any(|word| word == ALL_LINEAR || ends_in(name, word))
            }
            TargetModules::Pattern(_) => {
                self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(name))
            }
        };
        if !is_target {
            return None;
        }
        Some(Target { r: self.ranks.rank(name), scale: self.ranks.scale(name) })
    }
}

fn ends_in(name: &str, word: &str) -> bool {
    name == word || name.strip_suffix(word).is_some_and(|rest| rest.ends_with('.'))
}

fn compile(key: &str, word: &str, pattern: &str) -> Result<Regex, BackendError> {
    Regex::new(pattern).or_else(|error| {
        refuse(format!("`{key}` has `{word}`, which is no regular expression"), error.to_string())
    })
}

fn refuse<T>(what: String, help: String) -> Result<T, BackendError> {
    Err(BackendError::Adapter { what, help })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> LoraSpec {
        let mut whole =
            serde_json::json!({"r": 4, "lora_alpha": 8.0, "target_modules": ["q_proj"]});
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn modules() -> Vec<Module> {
        let module = |name: &str| Module { name: name.into(), input: 8, output: 8, bias: false };
        [
            "model.layers.0.self_attn.q_proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.1.mlp.up_proj",
        ]
        .map(module)
        .to_vec()
    }

    fn found(json: serde_json::Value) -> Vec<Option<(usize, f64)>> {
        let spec = spec(json);
        let targets = Targets::new(&spec).unwrap();
        targets.check(&modules()).unwrap();
        modules().iter().map(|m| targets.of(&m.name).map(|t| (t.r, t.scale))).collect()
    }

    #[test]
    fn layers_are_found_by_ending_pattern_and_word() {
        let (yes, no) = (Some((4, 2.0)), None);
        assert_eq!(found(serde_json::json!({})), [yes, yes, no]);
        let pattern = serde_json::json!({"target_modules": r".*layers\.1\..*"});
        assert_eq!(found(pattern), [no, yes, yes]);
        assert_eq!(found(serde_json::json!({"target_modules": "all-linear"})), [yes, yes, yes]);
        assert_eq!(found(serde_json::json!({"target_modules": ["all-linear"]})), [yes, yes, yes]);
    }

    #[test]
    fn ranks_and_alphas_follow_their_patterns() {
        let json = serde_json::json!({
            "target_modules": "all-linear",
            "rank_pattern": {"up_proj": 16},
            "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 2.0},
        });
        assert_eq!(found(json), [Some((4, 2.0)), Some((4, 0.5)), Some((16, 0.5))]);
        let rs = serde_json::json!({"use_rslora": true, "r": 16});
        assert_eq!(found(rs)[0], Some((16, 2.0)));
    }

    #[test]
    fn rules_that_find_nothing_are_refused() {
        for (json, word) in [
            (serde_json::json!({"target_modules": ["q_proj", "qproj"]}), "`qproj`"),
            (serde_json::json!({"target_modules": "self_attn"}), "finds no layer"),
            (serde_json::json!({"rank_pattern": {"up_proj": 4}}), "rank_pattern"),
            (serde_json::json!({"alpha_pattern": {"k_proj": 4.0}}), "alpha_pattern"),
            (serde_json::json!({"r": 0}), "rank 0"),
        ] {
            let spec = spec(json);
            let error = Targets::new(&spec).unwrap().check(&modules()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let spec = spec(serde_json::json!({"target_modules": "(", "r": 4}));
        assert!(Targets::new(&spec).is_err());
    }
}
