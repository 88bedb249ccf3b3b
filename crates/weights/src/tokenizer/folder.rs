//! Tokenizers of Hugging Face folders.

use std::path::Path;

use serde_json::Value;

use super::{Special, Specials, Tokenizer, build};
use crate::{WeightsError, json};

/// Reads `tokenizer.json` and the files that name its special tokens. `generation` (or, without
/// it, `config`) may name further tokens that end a text.
pub(crate) fn from_folder(
    folder: &Path,
    config: &Value,
    generation: Option<&Value>,
) -> Result<Tokenizer, WeightsError> {
    let path = folder.join("tokenizer.json");
    let Some(bytes) = json::read_bytes_optional(&path)? else {
        return Err(WeightsError::NoTokenizer { path: folder.to_owned() });
    };
    let encoder = build(&path, || tokenizers::Tokenizer::from_bytes(&bytes))?;
    let files =
        [named(folder, "tokenizer_config.json")?, named(folder, "special_tokens_map.json")?];
    let lookup = Lookup { encoder: &encoder, files: &files };

    let mut specials = Specials {
        bos: lookup.special("bos_token")?,
        eos: lookup.special("eos_token")?.into_iter().collect(),
        pad: lookup.special("pad_token")?,
        unk: lookup.special("unk_token")?,
        cls: lookup.special("cls_token")?,
        sep: lookup.special("sep_token")?,
        mask: lookup.special("mask_token")?,
        ..Specials::default()
    };
    let (file, ends) = match generation {
        Some(generation) => ("generation_config.json", generation),
        None => ("config.json", config),
    };
    for id in ids(&ends["eos_token_id"]) {
        let text = encoder.id_to_token(id).ok_or_else(|| WeightsError::SpecialToken {
            file: folder.join(file),
            role: "eos_token_id".to_owned(),
            token: id.to_string(),
        })?;
        if specials.eos.iter().all(|eos| eos.id != id) {
            specials.eos.push(Special { id, text });
        }
    }
    let frame = build(&path, || encoder.encode("", true))?;
    let (first, last) = (frame.get_ids().first(), frame.get_ids().last());
    let has = |id: Option<&u32>, special: Option<&Special>| {
        id.is_some() && id.copied() == special.map(|s| s.id)
    };
    let one_token = frame.len() == 1;
    specials.add_bos =
        lookup.truth("add_bos_token").unwrap_or_else(|| has(first, specials.bos.as_ref()));
    specials.add_eos = lookup
        .truth("add_eos_token")
        .unwrap_or_else(|| has(last, specials.eos.first()) && !(one_token && specials.add_bos));
    Tokenizer::new(encoder, specials, &path)
}

struct Lookup<'a> {
    encoder: &'a tokenizers::Tokenizer,
    files: &'a [(std::path::PathBuf, Value)],
}

impl Lookup<'_> {
    /// The first file that names a token for `role` decides, as a string or as an object.
    fn special(&self, role: &str) -> Result<Option<Special>, WeightsError> {
        for (file, value) in self.files {
            let value = &value[role];
            let Some(text) = value.as_str().or_else(|| value["content"].as_str()) else { continue };
            let id = self.encoder.token_to_id(text).ok_or_else(|| WeightsError::SpecialToken {
                file: file.clone(),
                role: role.to_owned(),
                token: text.to_owned(),
            })?;
            return Ok(Some(Special { id, text: text.to_owned() }));
        }
        Ok(None)
    }

    fn truth(&self, key: &str) -> Option<bool> {
        self.files.iter().find_map(|(_, value)| value[key].as_bool())
    }
}

fn named(folder: &Path, file: &str) -> Result<(std::path::PathBuf, Value), WeightsError> {
    let path = folder.join(file);
    let value = json::read_optional(&path)?.unwrap_or(Value::Null);
    Ok((path, value))
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(values) => values.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}
