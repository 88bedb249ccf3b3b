//! What a checkpoint of sentence-transformers says about making vectors of texts.

use std::path::Path;

use fidelio_backend::Pooling;
use serde_json::{Map, Value};

use crate::{WeightsError, json};

const MODULES: &str = "modules.json";
const TRANSFORMER: &str = "sentence_bert_config.json";
const PROMPTS: &str = "config_sentence_transformers.json";

/// How a checkpoint is meant to make vectors of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct SentenceSettings {
    /// How the states of a text's tokens become one vector.
    pub pooling: Pooling,
    /// Whether vectors are brought to length 1.
    pub normalize: bool,
    /// The longest text in tokens, special ones included, where the checkpoint says it.
    pub max_tokens: Option<usize>,
}

/// Reads the settings of a folder; none where there is no `modules.json`.
pub(crate) fn of_folder(folder: &Path) -> Result<Option<SentenceSettings>, WeightsError> {
    let path = folder.join(MODULES);
    let Some(modules) = json::read_optional(&path)? else { return Ok(None) };
    let refuse = |key: String, problem: String| {
        Err(WeightsError::SentenceConfig { path: path.clone(), key, problem })
    };
    let Some(modules) = modules.as_array() else {
        return refuse("[]".into(), "is not a list of modules".into());
    };
    let (mut max_tokens, mut pooling, mut normalize) = (None, None, false);
    for (i, module) in modules.iter().enumerate() {
        let kind = module["type"].as_str().unwrap_or_default();
        let place = module["path"].as_str().unwrap_or_default();
        // Versions name the same class by other paths.
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if i == 0 && place.is_empty() => max_tokens = transformer(folder)?,
            "Pooling" if i == 1 => pooling = Some(pooling_of(&folder.join(place))?),
            "Normalize" if pooling.is_some() => normalize = true,
            _ => {
                let problem = format!(
                    "is `{kind}`; built are Transformer, Pooling and Normalize, in this order"
                );
                return refuse(format!("{i}.type"), problem);
            }
        }
    }
    let Some(pooling) = pooling else {
        return refuse("1".into(), "is missing: nothing says how a text becomes a vector".into());
    };
    prompts(folder)?;
    Ok(Some(SentenceSettings { pooling, normalize, max_tokens }))
}

/// The longest text, where it is set.
fn transformer(folder: &Path) -> Result<Option<usize>, WeightsError> {
    let path = folder.join(TRANSFORMER);
    let Some(config) = object(&path)? else { return Ok(None) };
    let refuse = |key: &str, problem: String| {
        Err(WeightsError::SentenceConfig { path: path.clone(), key: key.into(), problem })
    };
    let mut max_tokens = None;
    for (key, value) in &config {
        match (key.as_str(), value) {
            (_, Value::Null) | ("do_lower_case", Value::Bool(false)) => {}
            ("max_seq_length", value) => match value.as_u64().filter(|&tokens| tokens > 0) {
                Some(tokens) => max_tokens = usize::try_from(tokens).ok(),
                None => return refuse(key, format!("is {value}, not a number of tokens")),
            },
            ("do_lower_case", _) => return refuse(key, "is set, which is not built".into()),
            _ => return refuse(key, "is not known, and may change vectors".into()),
        }
    }
    Ok(max_tokens)
}

/// Which tokens count.
fn pooling_of(folder: &Path) -> Result<Pooling, WeightsError> {
    let path = folder.join("config.json");
    let refuse = |key: &str, problem: String| {
        Err(WeightsError::SentenceConfig { path: path.clone(), key: key.into(), problem })
    };
    let Some(config) = object(&path)? else {
        return Err(WeightsError::NotFound { path });
    };
    let mut found = Vec::new();
    for (key, value) in &config {
        let mode = match (key.strip_prefix("pooling_mode"), value) {
            // Since version 5 the mode may be one word.
            (Some(""), Value::String(mode)) => mode.as_str(),
            (Some(mode), Value::Bool(true)) => mode,
            (Some(_), Value::Bool(false)) => continue,
            _ if key == "include_prompt" || key.ends_with("embedding_dimension") => continue,
            _ => return refuse(key, "is not known, and may change vectors".into()),
        };
        found.push(match mode {
            "_mean_tokens" | "mean" => Pooling::Mean,
            "_cls_token" | "cls" => Pooling::Cls,
            "_lasttoken" | "lasttoken" => Pooling::Last,
            _ => return refuse(key, "asks for a pooling that is not built".into()),
        });
    }
    match found[..] {
        [pooling] => Ok(pooling),
        [] => refuse("pooling_mode", "is missing: no pooling is chosen".into()),
        _ => refuse("pooling_mode", "asks for several poolings, which is not built".into()),
    }
}

/// A prompt before every text would change every vector.
fn prompts(folder: &Path) -> Result<(), WeightsError> {
    let path = folder.join(PROMPTS);
    match object(&path)?.and_then(|config| config.get("default_prompt_name").cloned()) {
        None | Some(Value::Null) => Ok(()),
        Some(name) => Err(WeightsError::SentenceConfig {
            path,
            key: "default_prompt_name".into(),
            problem: format!("is {name}: a prompt before every text is not built"),
        }),
    }
}

fn object(path: &Path) -> Result<Option<Map<String, Value>>, WeightsError> {
    match json::read_optional(path)? {
        None => Ok(None),
        Some(Value::Object(config)) => Ok(Some(config)),
        Some(_) => Err(WeightsError::SentenceConfig {
            path: path.to_owned(),
            key: "{}".into(),
            problem: "is not an object".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with the files of the default embedder, some of them replaced.
    fn read(files: &[(&str, &str)]) -> Result<Option<SentenceSettings>, WeightsError> {
        let folder = tempfile::tempdir().unwrap();
        let kind = |name: &str| format!("sentence_transformers.models.{name}");
        let modules = serde_json::json!([
            { "idx": 0, "name": "0", "path": "", "type": kind("Transformer") },
            { "idx": 1, "name": "1", "path": "1_Pooling", "type": kind("Pooling") },
            { "idx": 2, "name": "2", "path": "2_Normalize", "type": kind("Normalize") },
        ]);
        let pooling = r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
            "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false}"#;
        let usual = [
            (MODULES, modules.to_string()),
            (TRANSFORMER, r#"{"max_seq_length": 256, "do_lower_case": false}"#.into()),
            ("1_Pooling/config.json", pooling.into()),
        ];
        let replaced = files.iter().map(|(name, text)| (*name, (*text).to_owned()));
        for (name, text) in usual.into_iter().chain(replaced) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        of_folder(folder.path())
    }

    #[test]
    fn the_default_embedder_is_understood() {
        let settings =
            SentenceSettings { pooling: Pooling::Mean, normalize: true, max_tokens: Some(256) };
        assert_eq!(read(&[]).unwrap(), Some(settings));
    }

    #[test]
    fn a_folder_without_modules_says_nothing() {
        assert_eq!(of_folder(tempfile::tempdir().unwrap().path()).unwrap(), None);
    }

    #[test]
    fn poolings_have_old_and_new_names() {
        for (text, expected) in [
            (r#"{"pooling_mode_cls_token": true}"#, Pooling::Cls),
            (r#"{"pooling_mode_lasttoken": true, "include_prompt": true}"#, Pooling::Last),
            (r#"{"pooling_mode": "mean", "embedding_dimension": 8}"#, Pooling::Mean),
        ] {
            let settings = read(&[("1_Pooling/config.json", text)]).unwrap().unwrap();
            assert_eq!(settings.pooling, expected, "{text}");
        }
    }

    #[test]
    fn what_would_change_vectors_is_refused_with_its_key() {
        let dense = r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling",
            "type": "a.Pooling"}, {"path": "2_Dense", "type": "sentence_transformers.Dense"}]"#;
        for (file, text, key) in [
            (MODULES, dense, "2.type"),
            (MODULES, r#"[{"path": "", "type": "a.Transformer"}]"#, "`1`"),
            (TRANSFORMER, r#"{"do_lower_case": true}"#, "do_lower_case"),
            (TRANSFORMER, r#"{"max_seq_length": 0}"#, "max_seq_length"),
            (TRANSFORMER, r#"{"stride": 7}"#, "stride"),
            ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens": true}"#, "max_tokens"),
            ("1_Pooling/config.json", "{}", "pooling_mode"),
            (
                "1_Pooling/config.json",
                r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#,
                "several",
            ),
            (PROMPTS, r#"{"default_prompt_name": "query"}"#, "default_prompt_name"),
        ] {
            let error = read(&[(file, text)]).unwrap_err().to_string();
            assert!(error.contains(key), "{file} {text}: {error}");
        }
    }
}
