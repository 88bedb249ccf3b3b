//! Low-rank adapters in PEFT's format: a folder with `adapter_config.json` and
//! `adapter_model.safetensors`.
//!
//! A tensor's name in memory is its layer's and one of four endings: `lora_A.weight`,
//! `lora_B.weight`, `lora_magnitude_vector` (DoRA) and `bias`. Files put a prefix before it, and
//! say `base_layer.bias` where the layer has an adapter.

mod combine;
mod config;
mod start;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use fidelio_backend::{AdapterSpec, LoraSpec, TensorView, Weights};

pub use start::without_start;

use crate::{Tensors, WeightsError, atomic, folder, json, quantize, safetensors, tensors::Stored};

pub use combine::{Combination, Combined, CombinedModule, Share, combine};

pub(crate) const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";
pub(crate) const PICKLE: &str = "adapter_model.bin";
/// The files of an adapter.
pub(crate) const FILES: [&str; 2] = [CONFIG, MODEL];

const PREFIX: &str = "base_model.model.";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";
const MATRICES: [&str; 3] = [A, B, ".lora_magnitude_vector"];
const BIAS: &str = ".bias";
const BASE_BIAS: &str = ".base_layer.bias";

/// An adapter as it lies on disk.
#[derive(Debug, Clone)]
pub struct PeftAdapter {
    /// What it is.
    pub spec: AdapterSpec,
    /// The model that it was trained on, as its makers called it.
    pub base_model: Option<String>,
    /// Its tensors by their names in memory.
    pub weights: Tensors,
}

impl PeftAdapter {
    /// Writes it as a folder that appears whole or not at all. With `replace` it takes the place of
    /// an adapter that is there; a folder of anything else is never replaced.
    ///
    /// # Errors
    /// [`WeightsError::Exists`] where something is there that may not go, and as [`save`].
    pub fn write(&self, to: &Path, replace: bool) -> Result<(), WeightsError> {
        let AdapterSpec::Lora(spec) = &self.spec else {
            let problem = "only LoRA adapters can be written".to_owned();
            return Err(WeightsError::Unmergeable { problem });
        };
        let staged = if replace && to.join(CONFIG).exists() {
            atomic::Staged::instead_of(to)?
        } else {
            atomic::Staged::beside(to)?
        };
        save(staged.path(), spec, self.base_model.as_deref(), &self.weights)?;
        staged.keep()
    }
}

/// The file of an adapter's folder that holds its tensors.
pub fn weights_file(folder: &Path) -> PathBuf {
    folder.join(MODEL)
}

/// Opens an adapter's folder.
///
/// # Errors
/// When a file is missing, broken or a pickle, when a key of the configuration asks for what is not
/// supported or is unknown, or when a tensor is none of a LoRA adapter.
pub fn open(folder: &Path) -> Result<PeftAdapter, WeightsError> {
    let path = folder.join(CONFIG);
    let Some(text) = json::read_optional(&path)? else { return Err(missing(folder, CONFIG)) };
    let spec = AdapterSpec::Lora(config::read(&path, &text)?);
    let model = folder.join(MODEL);
    if !model.exists() {
        let pickle = folder.join(PICKLE);
        let is_there = pickle.exists();
        return Err(if is_there {
            WeightsError::Pickle { path: pickle }
        } else {
            missing(folder, MODEL)
        });
    }
    let weights = open_tensors(&model)?;
    let base_model = config::base_model(&text);
    Ok(PeftAdapter { spec, base_model, weights })
}

fn missing(folder: &Path, missing: &'static str) -> WeightsError {
    if !folder.is_dir() {
        return WeightsError::NotFound { path: folder.to_owned() };
    }
    let found = folder::file_names(folder).unwrap_or_default();
    WeightsError::NoAdapter { path: folder.to_owned(), missing, found }
}

fn open_tensors(path: &Path) -> Result<Tensors, WeightsError> {
    let renamed = safetensors::open_stored(path)?
        .into_iter()
        .map(|tensor| match in_memory(&tensor.name) {
            Some(name) => Ok(Stored { name: name.into(), ..tensor }),
            None => Err(WeightsError::AdapterTensor {
                path: path.to_owned(),
                tensor: tensor.name.into(),
            }),
        })
        .collect::<Result<_, _>>()?;
    Tensors::new(renamed).map_err(|fault| WeightsError::Malformed {
        path: path.to_owned(),
        format: "a PEFT adapter",
        fault,
    })
}

/// A tensor's name in memory, if it is one of a LoRA adapter.
fn in_memory(on_disk: &str) -> Option<String> {
    let name = on_disk.strip_prefix(PREFIX)?;
    if let Some(module) = name.strip_suffix(BASE_BIAS) {
        return is_layer(module).then(|| format!("{module}{BIAS}"));
    }
    let endings = MATRICES.into_iter().chain([BIAS]);
    let module = endings.into_iter().find_map(|ending| name.strip_suffix(ending))?;
    is_layer(module).then(|| name.to_owned())
}

/// Whether a name is a layer's and not that of a part of an adapter.
fn is_layer(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    !last.is_empty() && !last.starts_with("lora_") && last != "base_layer"
}

/// Writes an adapter's folder as PEFT would; `tensors` have their names in memory. The file that
/// says what the adapter is comes last.
///
/// # Errors
/// When a tensor is none of a LoRA adapter, or a file cannot be written.
pub fn save(
    folder: &Path,
    spec: &LoraSpec,
    base_model: Option<&str>,
    tensors: &dyn Weights,
) -> Result<(), WeightsError> {
    let model = folder.join(MODEL);
    let names = tensors.names();
    let adapted: BTreeSet<&str> = names.iter().filter_map(|name| name.strip_suffix(A)).collect();
    let written: Vec<(String, TensorView)> = names
        .iter()
        .map(|name| Ok((on_disk(name, &adapted, &model)?, quantize::get(tensors, name)?)))
        .collect::<Result<_, WeightsError>>()?;
    safetensors::save_file(&model, &written)?;
    let text = format!("{:#}", config::written(spec, base_model));
    atomic::write_bytes(&folder.join(CONFIG), text.as_bytes())
}

fn on_disk(name: &str, adapted: &BTreeSet<&str>, path: &Path) -> Result<String, WeightsError> {
    let on_disk = match name.strip_suffix(BIAS) {
        Some(module) if adapted.contains(module) => format!("{PREFIX}{module}{BASE_BIAS}"),
        _ => format!("{PREFIX}{name}"),
    };
    if in_memory(&on_disk).as_deref() == Some(name) {
        return Ok(on_disk);
    }
    Err(WeightsError::AdapterTensor { path: PathBuf::from(path), tensor: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::in_memory;

    #[test]
    fn only_tensors_of_an_adapter_have_a_name() {
        let check = |on_disk: &str, name: Option<&str>| {
            let found = in_memory(&format!("base_model.model.{on_disk}"));
            assert_eq!(found.as_deref(), name, "{on_disk}");
        };
        check("a.q.lora_A.weight", Some("a.q.lora_A.weight"));
        check("a.q.base_layer.bias", Some("a.q.bias"));
        check("a.q.bias", Some("a.q.bias"));
        check("a.q.lora_magnitude_vector", Some("a.q.lora_magnitude_vector"));
        check("a.q.lora_B.bias", None);
        check("a.q.lora_embedding_A", None);
        check("a.q.base_layer.weight", None);
        check("lm_head.modules_to_save.weight", None);
        check(".lora_A.weight", None);
        assert_eq!(in_memory("model.a.q.lora_A.weight"), None);
    }
}
