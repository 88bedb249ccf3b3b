//! Writing a checkpoint as a Hugging Face folder of plain floats.

use std::{fs, ops::ControlFlow, path::Path};

use fidelio_backend::{Encoding, Weights};
use serde_json::{Map, Value, json};

use crate::{
    Checkpoint, Specials, Staged, WeightsError, atomic, quantize,
    safetensors::{TensorPlan, save_safetensors},
};

/// How to write a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// What the tensors become.
    pub float_type: FloatType,
    /// Files are cut so that none is larger, if its tensors allow.
    pub shard_bytes: u64,
}

/// A plain float type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the type's own name")]
pub enum FloatType {
    F32,
    Bf16,
    F16,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { float_type: FloatType::Bf16, shard_bytes: 5_000_000_000 }
    }
}

impl ExportOptions {
    /// What a checkpoint's tensors become.
    pub fn tensors(&self, checkpoint: &Checkpoint) -> Vec<TensorPlan> {
        let plan = |(name, encoding, shape): (&str, Encoding, &[usize])| TensorPlan {
            name: name.to_owned(),
            encoding: self.float_type.instead_of(encoding),
            shape: shape.to_vec(),
        };
        checkpoint.weights().iter().map(plan).collect()
    }
}

/// Writes `checkpoint` into the new folder `to`, its tensors decoded: settings, tokenizer, chat
/// templates and safetensors. The folder appears whole or not at all.
///
/// # Errors
/// When the folder exists, a tensor cannot be decoded, or something cannot be written.
pub fn export_folder(
    checkpoint: &Checkpoint,
    to: &Path,
    options: &ExportOptions,
) -> Result<(), WeightsError> {
    export_folder_of(checkpoint, checkpoint.weights(), to, options, &mut unwatched)
}

/// Always goes on.
pub fn unwatched() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// As [`export_folder`], with the values of `weights` in the place of the checkpoint's own. `each` is
/// asked after every tensor whether to go on.
///
/// # Errors
/// As there, when a tensor is missing in `weights`, and [`WeightsError::Stopped`].
pub fn export_folder_of(
    checkpoint: &Checkpoint,
    weights: &dyn Weights,
    to: &Path,
    options: &ExportOptions,
    each: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), WeightsError> {
    let staged = Staged::beside(to)?;
    let folder = staged.path();
    fs::create_dir(folder).map_err(|source| WeightsError::Write { path: to.to_owned(), source })?;
    write_tensors(checkpoint, weights, folder, options, each)?;
    write_settings(checkpoint, folder, options.float_type)?;
    write_tokenizer(checkpoint, folder)?;
    staged.keep()
}

fn write_tensors(
    checkpoint: &Checkpoint,
    weights: &dyn Weights,
    folder: &Path,
    options: &ExportOptions,
    each: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), WeightsError> {
    let plans = options.tensors(checkpoint);
    save_safetensors(folder, &plans, options.shard_bytes, |plan| {
        let tensor = quantize::get(weights, &plan.name)?;
        let bytes = quantize::reencode(&plan.name, &tensor, plan.encoding)?;
        go_on(each)?;
        Ok(bytes)
    })?;
    Ok(())
}

/// An error where somebody wants to stop.
pub(crate) fn go_on(each: &mut dyn FnMut() -> ControlFlow<()>) -> Result<(), WeightsError> {
    match each() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(WeightsError::Stopped),
    }
}

impl FloatType {
    fn encoding(self) -> Encoding {
        match self {
            Self::F32 => Encoding::F32,
            Self::Bf16 => Encoding::BF16,
            Self::F16 => Encoding::F16,
        }
    }

    /// Whole numbers stay what they are.
    fn instead_of(self, encoding: Encoding) -> Encoding {
        match encoding {
            Encoding::I8 | Encoding::I32 | Encoding::I64 | Encoding::U8 => encoding,
            _ => self.encoding(),
        }
    }
}

fn write_settings(
    checkpoint: &Checkpoint,
    folder: &Path,
    float_type: FloatType,
) -> Result<(), WeightsError> {
    let mut config = checkpoint.config().clone();
    if let Some(config) = config.as_object_mut() {
        let name = match float_type {
            FloatType::F32 => "float32",
            FloatType::Bf16 => "bfloat16",
            FloatType::F16 => "float16",
        };
        config.insert("torch_dtype".into(), json!(name));
        config.remove("quantization_config"); // what it described is decoded now
    }
    write_json(&folder.join("config.json"), &config)?;
    match checkpoint.generation_config() {
        Some(generation) => write_json(&folder.join("generation_config.json"), generation),
        None => Ok(()),
    }
}

fn write_tokenizer(checkpoint: &Checkpoint, folder: &Path) -> Result<(), WeightsError> {
    let tokenizer = match checkpoint.tokenizer() {
        Ok(tokenizer) => tokenizer,
        Err(WeightsError::NoTokenizer { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let text = tokenizer.encoder().to_string(false).map_err(|e| WeightsError::Tokenizer {
        path: tokenizer.path().to_owned(),
        problem: e.to_string(),
    })?;
    atomic::write_bytes(&folder.join("tokenizer.json"), text.as_bytes())?;
    let specials = tokenizer.specials();
    let named = named_tokens(specials);
    let mut config = named.clone();
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    config.insert("add_bos_token".into(), json!(specials.add_bos));
    config.insert("add_eos_token".into(), json!(specials.add_eos));
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    if let Some(context) = checkpoint.describe().context {
        config.insert("model_max_length".into(), json!(context));
    }
    match checkpoint.chat_templates() {
        [] => {}
        [only] => {
            config.insert("chat_template".into(), json!(only.text));
        }
        several => {
            let list = several.iter().map(|t| json!({ "name": t.name, "template": t.text }));
            config.insert("chat_template".into(), list.collect());
        }
    }
    write_json(&folder.join("tokenizer_config.json"), &Value::Object(config))?;
    write_json(&folder.join("special_tokens_map.json"), &Value::Object(named))
}

fn named_tokens(specials: &Specials) -> Map<String, Value> {
    [
        ("bos_token", specials.bos.as_ref()),
        ("eos_token", specials.eos.first()),
        ("pad_token", specials.pad.as_ref()),
        ("unk_token", specials.unk.as_ref()),
        ("cls_token", specials.cls.as_ref()),
        ("sep_token", specials.sep.as_ref()),
        ("mask_token", specials.mask.as_ref()),
    ]
    .into_iter()
    .filter_map(|(role, special)| Some((role.to_owned(), json!(special?.text))))
    .collect()
}

fn write_json(path: &Path, value: &Value) -> Result<(), WeightsError> {
    atomic::write_bytes(path, format!("{value:#}\n").as_bytes())
}
