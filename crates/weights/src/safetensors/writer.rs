//! Writing safetensors, in one file or in shards with an index.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fidelio_backend::TensorView;
use serde_json::{Map, Value, json};

use crate::{WeightsError, atomic, tensors::TensorPlan};

/// Writes `model.safetensors`, or shards of at most `shard_bytes` (but at least one tensor) with
/// `model.safetensors.index.json`. `fill` is called once per tensor, in order, so that only one
/// tensor need be in memory. Each file appears whole or not at all, the index last.
///
/// Returns the files.
///
/// # Errors
/// When a tensor has no plain encoding, `fill` fails or gives another length, or a file cannot be
/// written.
pub fn save_safetensors(
    folder: &Path,
    tensors: &[TensorPlan],
    shard_bytes: u64,
    mut fill: impl FnMut(&TensorPlan) -> Result<Bytes, WeightsError>,
) -> Result<Vec<PathBuf>, WeightsError> {
    let sizes = tensors.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let shards = cut(&sizes, shard_bytes);
    if let [_] = shards[..] {
        let path = folder.join("model.safetensors");
        write_file(&path, tensors, &sizes, &mut fill)?;
        return Ok(vec![path]);
    }
    let mut places = Map::new();
    let mut files = Vec::new();
    for (i, shard) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        let path = folder.join(&file);
        write_file(&path, &tensors[shard.clone()], &sizes[shard.clone()], &mut fill)?;
        for tensor in &tensors[shard.clone()] {
            places.insert(tensor.name.clone(), json!(file));
        }
        files.push(path);
    }
    let total: u64 = sizes.iter().sum();
    let index = json!({ "metadata": { "total_size": total }, "weight_map": places });
    let path = folder.join("model.safetensors.index.json");
    atomic::write_bytes(&path, format!("{index:#}\n").as_bytes())?;
    files.push(path);
    Ok(files)
}

/// Writes tensors that are in memory as one file, which appears whole or not at all.
///
/// # Errors
/// When a tensor has no plain encoding or not the length of its shape, two have one name, or the
/// file cannot be written.
pub fn save_file(path: &Path, tensors: &[(String, TensorView)]) -> Result<(), WeightsError> {
    let plans: Vec<TensorPlan> = tensors
        .iter()
        .map(|(name, tensor)| TensorPlan {
            name: name.clone(),
            encoding: tensor.encoding,
            shape: tensor.shape.clone(),
        })
        .collect();
    let sizes = plans.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = plans.iter().find(|plan| !seen.insert(plan.name.as_str())) {
        return Err(unwritable(twice, "its name is given twice"));
    }
    let mut bytes = tensors.iter().map(|(_, tensor)| tensor.bytes.clone());
    write_file(path, &plans, &sizes, &mut |plan| {
        bytes.next().ok_or_else(|| unwritable(plan, "it has no bytes"))
    })
}

/// A tensor's bytes, where the format has its encoding.
fn size(plan: &TensorPlan) -> Result<u64, WeightsError> {
    if plan.encoding.is_quantised() {
        return Err(unwritable(plan, "it is quantised"));
    }
    plan.bytes().ok_or_else(|| unwritable(plan, "its size overflows"))
}

fn unwritable(plan: &TensorPlan, problem: &str) -> WeightsError {
    plan.unwritable("safetensors", problem.to_owned())
}

/// Runs of tensors that fit a shard.
fn cut(sizes: &[u64], shard_bytes: u64) -> Vec<std::ops::Range<usize>> {
    let mut shards = Vec::new();
    let (mut start, mut filled) = (0, 0_u64);
    for (i, &size) in sizes.iter().enumerate() {
        if i > start && filled.saturating_add(size) > shard_bytes {
            shards.push(start..i);
            (start, filled) = (i, 0);
        }
        filled = filled.saturating_add(size);
    }
    shards.push(start..sizes.len());
    shards
}

fn write_file(
    path: &Path,
    tensors: &[TensorPlan],
    sizes: &[u64],
    fill: &mut dyn FnMut(&TensorPlan) -> Result<Bytes, WeightsError>,
) -> Result<(), WeightsError> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut start = 0_u64;
    for (tensor, size) in tensors.iter().zip(sizes) {
        let entry = json!({
            "dtype": format!("{:?}", tensor.encoding), // the names are the same
            "shape": tensor.shape,
            "data_offsets": [start, start + size],
        });
        header.insert(tensor.name.clone(), entry);
        start += size;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let fail = |source| WeightsError::Write { path: path.to_owned(), source };
    fs::create_dir_all(atomic::parent(path)).map_err(fail)?;
    atomic::write(path, |out: &mut dyn Write| {
        out.write_all(&(text.len() as u64).to_le_bytes()).map_err(fail)?;
        out.write_all(&text).map_err(fail)?;
        for (tensor, &size) in tensors.iter().zip(sizes) {
            let bytes = fill(tensor)?;
            if bytes.len() as u64 != size {
                let problem = format!("{} bytes were given for {size}", bytes.len());
                return Err(unwritable(tensor, &problem));
            }
            out.write_all(&bytes).map_err(fail)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn shards_hold_what_fits_and_at_least_one() {
        assert_eq!(cut(&[4, 4, 4], 8), [0..2, 2..3]);
        assert_eq!(cut(&[9, 9], 8), [0..1, 1..2]);
        assert_eq!(cut(&[], 8).len(), 1);
    }
}
