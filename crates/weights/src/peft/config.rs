//! `adapter_config.json`: which of PEFT's keys say what, and which may not say anything.

use std::path::Path;

use fidelio_backend::{LoraBias, LoraInit, LoraSpec, TargetModules};
use indexmap::IndexMap;
use regex::Regex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::WeightsError;

/// The version of PEFT whose keys these are.
const VERSION: &str = "0.21.2";

/// Keys that are only notes, or settings of what is switched off by another key.
const NOTES: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "eva_config",     // how the matrices started; they are in the file
    "fan_in_fan_out", // how the base has its weights; PEFT corrects it by the layer
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
];

/// Keys that become part of a [`LoraSpec`], or are looked at by name.
const READ: &[&str] = &[
    "alpha_pattern",
    "bias",
    "init_lora_weights",
    "layer_replication",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
];

/// Keys that would change what the adapter computes, in a way that is not supported.
const REFUSED: &[&str] = &[
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "ensure_weight_tying",
    "exclude_modules",
    "kasa_config",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];

/// Reads a configuration; `path` is what errors call it.
pub(super) fn read(path: &Path, text: &Value) -> Result<LoraSpec, WeightsError> {
    let Value::Object(map) = text else {
        return Err(wrong(path, "", "is no JSON object"));
    };
    let keys = Keys { path, map };
    keys.refuse()?;
    let spec = LoraSpec {
        r: keys.get("r", 8)?,
        lora_alpha: keys.get("lora_alpha", 8.0)?,
        lora_dropout: keys.get("lora_dropout", 0.0)?,
        target_modules: keys.target_modules()?,
        bias: keys.get("bias", LoraBias::None)?,
        use_rslora: keys.get("use_rslora", false)?,
        use_dora: keys.get("use_dora", false)?,
        init_lora_weights: keys.start()?,
        rank_pattern: keys.pattern("rank_pattern")?,
        alpha_pattern: keys.pattern("alpha_pattern")?,
        layer_replication: keys.get("layer_replication", Vec::new())?,
        seed: 0,
    };
    if spec.r == 0 {
        return Err(wrong(path, "r", "is 0"));
    }
    Ok(spec)
}

/// The model that an adapter says it was trained on.
pub(super) fn base_model(text: &Value) -> Option<String> {
    let name = text.get("base_model_name_or_path")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

struct Keys<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

impl Keys<'_> {
    /// What is not supported must say nothing; so must what is not known.
    fn refuse(&self) -> Result<(), WeightsError> {
        let kind = self.map.get("peft_type").and_then(Value::as_str).unwrap_or("nothing");
        if kind != "LORA" {
            return self.bad("peft_type", format!("says {kind}; only LORA can be used"));
        }
        match self.map.get("task_type") {
            None | Some(Value::Null) => {}
            Some(task) if task == "CAUSAL_LM" => {}
            Some(task) => {
                return self.bad("task_type", format!("says {task}; only CAUSAL_LM can be used"));
            }
        }
        for (key, value) in self.map {
            let known = NOTES.contains(&key.as_str()) || READ.contains(&key.as_str());
            if known || says_nothing(value) {
                continue;
            }
            let short: String = value.to_string().chars().take(60).collect();
            let problem = if REFUSED.contains(&key.as_str()) {
                format!("says {short}, which is not supported")
            } else {
                format!("says {short}, and what that means is not known")
            };
            return self.bad(key, problem);
        }
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, key: &str, absent: T) -> Result<T, WeightsError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(absent),
            Some(value) => match T::deserialize(value) {
                Ok(value) => Ok(value),
                Err(error) => self.bad(key, format!("cannot be used: {error}")),
            },
        }
    }

    fn target_modules(&self) -> Result<TargetModules, WeightsError> {
        match self.map.get("target_modules") {
            None | Some(Value::Null) => {
                self.bad("target_modules", "does not say which layers have the adapter".to_owned())
            }
            Some(value) => TargetModules::deserialize(value)
                .or_else(|_| self.bad("target_modules", "is neither a list nor a text".to_owned())),
        }
    }

    /// What the matrices started from. Starts that took something from the model's own weights
    /// leave an adapter that only fits the weights that were left.
    fn start(&self) -> Result<LoraInit, WeightsError> {
        match self.map.get("init_lora_weights") {
            None | Some(Value::Null | Value::Bool(_)) => Ok(LoraInit::Default),
            Some(Value::String(word)) => match word.as_str() {
                "gaussian" => Ok(LoraInit::Gaussian),
                "orthogonal" => Ok(LoraInit::Orthogonal),
                "eva" => Ok(LoraInit::Default),
                word => self.bad(
                    "init_lora_weights",
                    format!(
                        "says `{word}`, whose adapters only fit a model that was changed with them"
                    ),
                ),
            },
            Some(_) => self.bad("init_lora_weights", "is neither a bool nor a text".to_owned()),
        }
    }

    /// A map by name or regular expression, in the order of the file.
    fn pattern<T: DeserializeOwned>(&self, key: &str) -> Result<IndexMap<String, T>, WeightsError> {
        let map: Map<String, Value> = self.get(key, Map::new())?;
        let entry = |(name, value): (String, Value)| {
            if Regex::new(&name).is_err() {
                return self.bad(key, format!("has `{name}`, which is no regular expression"));
            }
            match T::deserialize(&value) {
                Ok(value) => Ok((name, value)),
                Err(error) => self.bad(key, format!("cannot be used at `{name}`: {error}")),
            }
        };
        map.into_iter().map(entry).collect()
    }

    fn bad<T>(&self, key: &str, problem: String) -> Result<T, WeightsError> {
        Err(wrong(self.path, key, problem))
    }
}

fn wrong(path: &Path, key: &str, problem: impl Into<String>) -> WeightsError {
    WeightsError::AdapterConfig {
        path: path.to_owned(),
        key: key.to_owned(),
        problem: problem.into(),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// The configuration with every key that PEFT writes.
pub(super) fn written(spec: &LoraSpec, base_model: Option<&str>) -> Value {
    let mut map = Map::new();
    for key in REFUSED {
        let neutral = match *key {
            "ensure_weight_tying" | "lora_bias" | "use_qalora" => json!(false),
            "loftq_config" => json!({}),
            _ => Value::Null,
        };
        map.insert((*key).to_owned(), neutral);
    }
    let Value::Object(said) = json!({
        "fan_in_fan_out": false,
        "auto_mapping": null,
        "base_model_name_or_path": base_model,
        "eva_config": null,
        "inference_mode": true,
        "megatron_core": "megatron.core",
        "peft_version": VERSION,
        "qalora_group_size": 16,
        "revision": null,
        "alpha_pattern": spec.alpha_pattern.iter().map(|(k, v)| (k.clone(), number(*v))).collect::<Map<_, _>>(),
        "bias": spec.bias,
        "init_lora_weights": start(spec.init_lora_weights),
        "layer_replication": ranges(&spec.layer_replication),
        "lora_alpha": number(spec.lora_alpha),
        "lora_dropout": spec.lora_dropout,
        "peft_type": "LORA",
        "r": spec.r,
        "rank_pattern": spec.rank_pattern,
        "target_modules": targets(&spec.target_modules),
        "task_type": "CAUSAL_LM",
        "use_dora": spec.use_dora,
        "use_rslora": spec.use_rslora,
    }) else {
        return Value::Object(map);
    };
    map.extend(said);
    map.sort_keys();
    Value::Object(map)
}

/// PEFT wants whole numbers without a point.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT { json!(value as i64) } else { json!(value) }
}

fn ranges(ranges: &[[usize; 2]]) -> Value {
    if ranges.is_empty() { Value::Null } else { json!(ranges) }
}

fn start(init: LoraInit) -> Value {
    match init {
        LoraInit::Default => json!(true),
        other => json!(other),
    }
}

/// The word for every linear layer is one only where it stands alone.
fn targets(modules: &TargetModules) -> Value {
    const ALL: &str = "all-linear";
    match modules {
        TargetModules::Named(names) if names.iter().any(|name| name == ALL) => json!(ALL),
        modules => json!(modules),
    }
}
