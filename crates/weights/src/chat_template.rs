//! The chat templates that a checkpoint ships, as text. `fidelio-prompting` renders them.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Fault, WeightsError, gguf::Metadata, json, tokenizer::hex};

/// A chat template and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplateSource {
    /// `default`, or the name that the checkpoint gives it, such as `tool_use`.
    pub name: String,
    /// The Jinja text, unchanged.
    pub text: String,
    /// The file and key it was read from.
    pub from: String,
}

impl ChatTemplateSource {
    /// The sha256 of the text, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }
}

const DEFAULT: &str = "default";

/// The templates of a Hugging Face folder, the default one first. A file of its own
/// (`chat_template.jinja`) stands above a key of `tokenizer_config.json`, as in transformers.
pub(crate) fn from_folder(folder: &Path) -> Result<Vec<ChatTemplateSource>, WeightsError> {
    let mut found = Vec::new();
    let file = "chat_template.jinja";
    if let Some(text) = json::read_text_optional(&folder.join(file))? {
        found.push(ChatTemplateSource { name: DEFAULT.into(), text, from: file.into() });
    }
    found.extend(additional(folder)?);
    for file in ["tokenizer_config.json", "chat_template.json"] {
        if let Some(value) = json::read_optional(&folder.join(file))? {
            found.extend(from_json(&value["chat_template"], file));
        }
    }
    Ok(first_of_each(found))
}

/// `additional_chat_templates/NAME.jinja`, sorted.
fn additional(folder: &Path) -> Result<Vec<ChatTemplateSource>, WeightsError> {
    let folder = folder.join("additional_chat_templates");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut found = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "jinja")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(text) = json::read_text_optional(path)? {
            let from = format!("additional_chat_templates/{name}.jinja");
            found.push(ChatTemplateSource { name, text, from });
        }
    }
    Ok(found)
}

/// One template as a string, or several as a list of `{name, template}`.
fn from_json(value: &Value, file: &str) -> Vec<ChatTemplateSource> {
    let from = format!("{file}: chat_template");
    if let Some(text) = value.as_str() {
        return vec![ChatTemplateSource { name: DEFAULT.into(), text: text.into(), from }];
    }
    let named = value.as_array().into_iter().flatten();
    named
        .filter_map(|entry| {
            let (name, text) = (entry["name"].as_str()?, entry["template"].as_str()?);
            let from = format!("{from} `{name}`");
            Some(ChatTemplateSource { name: name.into(), text: text.into(), from })
        })
        .collect()
}

/// The templates of a GGUF file, the default one first.
pub(crate) fn from_gguf(metadata: &Metadata) -> Result<Vec<ChatTemplateSource>, Fault> {
    let mut found = Vec::new();
    for key in metadata.keys().filter(|key| key.starts_with("tokenizer.chat_template")) {
        let name = match key.strip_prefix("tokenizer.chat_template") {
            Some("") => DEFAULT,
            Some(rest) => match rest.strip_prefix('.') {
                Some(name) => name,
                None => continue, // `tokenizer.chat_templates` only lists the names
            },
            None => continue,
        };
        let text = metadata.require_text(key)?.to_owned();
        found.push(ChatTemplateSource { name: name.into(), text, from: key.into() });
    }
    Ok(first_of_each(found))
}

fn first_of_each(found: Vec<ChatTemplateSource>) -> Vec<ChatTemplateSource> {
    let mut kept: Vec<ChatTemplateSource> = Vec::with_capacity(found.len());
    for template in found {
        if kept.iter().all(|k| k.name != template.name) {
            kept.push(template);
        }
    }
    kept.sort_by_key(|template| template.name != DEFAULT); // stable: the rest keep their order
    kept
}

/// The template to use when none is named.
pub(crate) fn default_of(templates: &[ChatTemplateSource]) -> Option<&ChatTemplateSource> {
    match templates {
        [only] => Some(only),
        all => all.iter().find(|template| template.name == DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_of_named_templates_keeps_its_names() {
        let list = json!([
            {"name": "rag", "template": "R"},
            {"name": "default", "template": "D"},
        ]);
        let found = first_of_each(from_json(&list, "tokenizer_config.json"));
        assert_eq!(found.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["default", "rag"]);
        assert_eq!(default_of(&found).unwrap().text, "D");
    }

    #[test]
    fn several_without_a_default_are_not_guessed_among() {
        let list = json!([{"name": "a", "template": "A"}, {"name": "b", "template": "B"}]);
        assert_eq!(default_of(&from_json(&list, "f")), None);
    }
}
