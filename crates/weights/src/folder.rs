//! Hugging Face folders: which files hold the weights, and what they hold.

use std::{
    collections::HashMap,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{
    Fault, WeightsError, json,
    safetensors::open_stored,
    tensors::{Stored, Tensors},
};

/// Where a folder's weights are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WeightFiles {
    Safetensors(PathBuf),
    Sharded(PathBuf),
    Gguf(PathBuf),
}

/// Finds a folder's weights.
pub(crate) fn find_weights(folder: &Path) -> Result<WeightFiles, WeightsError> {
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(WeightFiles::Safetensors(single));
    }
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        return Ok(WeightFiles::Sharded(index));
    }
    let files = file_names(folder)?;
    let with = |ending: &str| -> Vec<&String> {
        files.iter().filter(|name| name.ends_with(ending)).collect()
    };
    match with(".gguf")[..] {
        [only] => return Ok(WeightFiles::Gguf(folder.join(only))),
        [] => {}
        ref many => {
            return Err(WeightsError::Ambiguous {
                path: folder.display().to_string(),
                choices: many.iter().map(|name| (*name).clone()).collect(),
            });
        }
    }
    if let Some(pickle) = files.iter().find(|name| is_pickle(Path::new(name))) {
        return Err(WeightsError::Pickle { path: folder.join(pickle) });
    }
    Err(WeightsError::NoCheckpoint {
        path: folder.to_owned(),
        missing: "`model.safetensors`",
        found: files,
    })
}

/// Whether a file's name says that it is a pickle.
pub(crate) fn is_pickle(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match path.extension().and_then(|e| e.to_str()) {
        Some("pt" | "pth" | "pkl" | "pickle" | "ckpt") => true,
        Some("bin" | "json") => name.starts_with("pytorch_model"),
        _ => false,
    }
}

/// The names of a folder's files, sorted.
pub(crate) fn file_names(folder: &Path) -> Result<Vec<String>, WeightsError> {
    let fail = |source| WeightsError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Opens every shard that an index names, and checks the index against what they hold. Gives the
/// shards' files too, by name.
pub(crate) fn open_shards(index: &Path) -> Result<(Tensors, Vec<PathBuf>), WeightsError> {
    let folder = index.parent().unwrap_or(Path::new("."));
    let places = weight_map(index)?;
    let mut files: Vec<&String> = places.values().collect();
    files.sort_unstable();
    files.dedup();

    let mut all: Vec<Stored> = Vec::new();
    let mut holder: HashMap<String, &str> = HashMap::new();
    for &file in &files {
        if !is_plain_file_name(file) {
            return Err(WeightsError::ShardName { shard: file.clone() });
        }
        for tensor in open_stored(&folder.join(file))? {
            if holder.insert(tensor.name.to_string(), file).is_some() {
                return Err(WeightsError::InTwoShards { tensor: tensor.name.to_string() });
            }
            all.push(tensor);
        }
    }
    for (tensor, shard) in &places {
        if holder.get(tensor.as_str()) != Some(&shard.as_str()) {
            return Err(WeightsError::MissingFromShard {
                tensor: tensor.clone(),
                shard: shard.clone(),
            });
        }
    }
    let tensors = Tensors::new(all).map_err(|fault| malformed(index, fault))?;
    Ok((tensors, files.into_iter().map(|file| folder.join(file)).collect()))
}

fn weight_map(index: &Path) -> Result<HashMap<String, String>, WeightsError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let bytes = json::read_bytes_optional(index)?
        .ok_or_else(|| WeightsError::NotFound { path: index.to_owned() })?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|source| malformed(index, Fault::Json { what: "the index".into(), source }))?;
    Ok(index.weight_map)
}

fn malformed(path: &Path, fault: Fault) -> WeightsError {
    WeightsError::Malformed { path: path.to_owned(), format: "a safetensors index", fault }
}

fn is_plain_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_stay_in_their_folder() {
        assert!(is_plain_file_name("model-00001-of-00002.safetensors"));
        for name in ["../model.safetensors", "/etc/passwd", "a/b", "..", ""] {
            assert!(!is_plain_file_name(name), "{name}");
        }
    }

    #[test]
    fn pickles_are_known_by_name() {
        for name in ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "x.pt", "m.pth"] {
            assert!(is_pickle(Path::new(name)), "{name}");
        }
        assert!(!is_pickle(Path::new("model.safetensors")));
        assert!(!is_pickle(Path::new("training_args.bin")));
    }
}
