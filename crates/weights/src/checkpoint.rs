//! A model as it lies on disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fidelio_backend::Encoding;
use serde_json::Value;

use crate::{
    ChatTemplateSource, Fault, SentenceSettings, Tensors, Tokenizer, WeightsError, chat_template,
    folder::{self, WeightFiles},
    gguf::{Gguf, Metadata},
    json, safetensors, sentence, tokenizer,
};

/// A model as it lies on disk: settings, tensors, tokenizer, chat templates.
///
/// Whatever the format, settings have the keys of Hugging Face's `config.json`, and tensors its
/// names and row order. No weight is copied or decoded.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    format: FileFormat,
    config: Value,
    generation_config: Option<Value>,
    tensors: Tensors,
    /// The files that hold them.
    files: Vec<PathBuf>,
    templates: Vec<ChatTemplateSource>,
    /// A GGUF file's own description of its tokenizer.
    metadata: Option<Metadata>,
}

/// How a checkpoint is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FileFormat {
    /// A Hugging Face folder.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

/// A checkpoint in numbers.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Description {
    /// How it is stored.
    pub format: FileFormat,
    /// `model_type` of its settings.
    pub architecture: Option<String>,
    /// Elements in all tensors.
    pub parameters: u64,
    /// Bytes in all tensors.
    pub bytes: u64,
    /// How many tensors have which encoding.
    pub encodings: BTreeMap<String, usize>,
    /// The longest context the model was made for.
    pub context: Option<u64>,
    /// Tokens it knows.
    pub vocabulary: Option<u64>,
}

impl Checkpoint {
    /// Opens a Hugging Face folder or a GGUF file.
    ///
    /// # Errors
    /// When it is neither, is incomplete, breaks its format's rules, or is a pickle.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        if path.is_dir() {
            return Self::open_folder(path);
        }
        if folder::is_pickle(path) {
            return Err(WeightsError::Pickle { path: path.to_owned() });
        }
        // The file stands for its folder, which has its settings.
        if path.file_name().is_some_and(|name| name == "model.safetensors") && path.exists() {
            return Self::open_folder(path.parent().unwrap_or(Path::new(".")));
        }
        Self::open_gguf(path)
    }

    fn open_folder(path: &Path) -> Result<Self, WeightsError> {
        let files = folder::find_weights(path)?;
        let (tensors, files) = match files {
            WeightFiles::Gguf(file) => return Self::open_gguf(&file),
            WeightFiles::Safetensors(file) => (safetensors::open(&file)?, vec![file]),
            WeightFiles::Sharded(index) => folder::open_shards(&index)?,
        };
        let Some(config) = json::read_optional(&path.join("config.json"))? else {
            return Err(WeightsError::NoCheckpoint {
                path: path.to_owned(),
                missing: "`config.json`",
                found: folder::file_names(path)?,
            });
        };
        let tensors = under_their_model(&config, tensors).map_err(|fault| {
            WeightsError::Malformed { path: path.to_owned(), format: "safetensors", fault }
        })?;
        Ok(Self {
            path: path.to_owned(),
            format: FileFormat::Safetensors,
            config,
            generation_config: json::read_optional(&path.join("generation_config.json"))?,
            tensors,
            files,
            templates: chat_template::from_folder(path)?,
            metadata: None,
        })
    }

    fn open_gguf(path: &Path) -> Result<Self, WeightsError> {
        let (config, tensors, metadata) = Gguf::open(path)?.into_model()?;
        let templates = chat_template::from_gguf(&metadata).map_err(|fault| {
            WeightsError::Malformed { path: path.to_owned(), format: "GGUF", fault }
        })?;
        Ok(Self {
            path: path.to_owned(),
            format: FileFormat::Gguf,
            config,
            generation_config: None,
            tensors,
            files: vec![path.to_owned()],
            templates,
            metadata: Some(metadata),
        })
    }

    /// The same checkpoint with other settings and tensors.
    pub(crate) fn with(self, config: Value, tensors: Tensors) -> Self {
        Self { config, tensors, ..self }
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is stored.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// The model's settings, with the keys of Hugging Face's `config.json`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The contents of `generation_config.json`, if there is one.
    pub fn generation_config(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// A GGUF file's key-value pairs.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// The tensors, under Hugging Face's names and in its row order.
    pub fn weights(&self) -> &Tensors {
        &self.tensors
    }

    /// The files that hold the tensors, by name.
    pub fn weight_files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Builds the tokenizer.
    ///
    /// # Errors
    /// When there is none, or it cannot be built exactly.
    pub fn tokenizer(&self) -> Result<Tokenizer, WeightsError> {
        if let Some(metadata) = &self.metadata {
            return tokenizer::from_gguf(metadata, &self.path);
        }
        tokenizer::from_folder(&self.path, &self.config, self.generation_config.as_ref())
    }

    /// How the checkpoint is meant to make vectors of texts; none where it does not say.
    ///
    /// # Errors
    /// When it asks for something that would change vectors and is not built.
    pub fn sentence_settings(&self) -> Result<Option<SentenceSettings>, WeightsError> {
        match self.format {
            FileFormat::Safetensors => sentence::of_folder(&self.path),
            FileFormat::Gguf => Ok(None),
        }
    }

    /// The chat template to use when none is named. `None` also when there are several and none
    /// is called `default`.
    pub fn chat_template(&self) -> Option<&ChatTemplateSource> {
        chat_template::default_of(&self.templates)
    }

    /// All chat templates, the default one first.
    pub fn chat_templates(&self) -> &[ChatTemplateSource] {
        &self.templates
    }

    /// The checkpoint in numbers.
    pub fn describe(&self) -> Description {
        let mut encodings = BTreeMap::new();
        for (_, encoding, _) in self.tensors.iter() {
            *encodings.entry(name_of(encoding)).or_insert(0) += 1;
        }
        Description {
            format: self.format,
            architecture: self.config["model_type"].as_str().map(str::to_owned),
            parameters: self.tensors.parameters(),
            bytes: self.tensors.bytes(),
            encodings,
            context: context(&self.config),
            vocabulary: self.config["vocab_size"].as_u64(),
        }
    }
}

/// `max_position_embeddings`, or the original context where the rotary scaling is `longrope`, whose
/// angles for longer texts are not built.
fn context(config: &Value) -> Option<u64> {
    const ORIGINAL: &str = "original_max_position_embeddings";
    let longest = config["max_position_embeddings"].as_u64()?;
    let scalings = [&config["rope_parameters"], &config["rope_scaling"]];
    let Some(scaling) = scalings.into_iter().find(|it| it.is_object()) else {
        return Some(longest);
    };
    let kind = scaling["rope_type"].as_str().or_else(|| scaling["type"].as_str());
    if !matches!(kind, Some("longrope" | "su")) {
        return Some(longest);
    }
    let original = config[ORIGINAL].as_u64().or_else(|| scaling[ORIGINAL].as_u64());
    Some(original.map_or(longest, |original| original.min(longest)))
}

fn name_of(encoding: Encoding) -> String {
    format!("{encoding:?}")
}

/// GPT-2's own checkpoints are those of its inner model, whose names lack where it stands in the
/// whole one.
fn under_their_model(config: &Value, tensors: Tensors) -> Result<Tensors, Fault> {
    const AT: &str = "transformer.";
    let inner = config["model_type"] == "gpt2" && tensors.find("wte.weight").is_some();
    if !inner {
        return Ok(tensors);
    }
    let stored = tensors.stored().iter().cloned().map(|mut tensor| {
        if &*tensor.name != "lm_head.weight" {
            tensor.name = format!("{AT}{}", tensor.name).into();
        }
        tensor
    });
    Tensors::new(stored.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn longrope_ends_at_its_original_context() {
        for (config, expected) in [
            (json!({ "max_position_embeddings": 64 }), Some(64)),
            (json!({ "max_position_embeddings": 64, "rope_scaling": null }), Some(64)),
            (
                json!({ "max_position_embeddings": 64, "original_max_position_embeddings": 16,
                    "rope_scaling": { "type": "longrope" } }),
                Some(16),
            ),
            (
                json!({ "max_position_embeddings": 64, "rope_parameters": { "rope_type": "longrope",
                    "original_max_position_embeddings": 16 } }),
                Some(16),
            ),
            (json!({}), None),
        ] {
            assert_eq!(context(&config), expected, "{config}");
        }
    }
}
