//! GGUF files, versions 2 and 3: metadata and tensors in one file.
//!
//! The layout is a magic, counts, typed key-value pairs, tensor descriptions with the innermost
//! dimension first, and aligned data. Nothing is allocated by what a header claims, only by what
//! the file has room for.

mod config;
mod export;
mod families;
mod metadata;
mod names;
mod quantization;
mod reader;
mod rope_factors;
mod settings;
mod writer;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fidelio_backend::Encoding;

pub use export::{GgufPlan, PlannedTensor};
pub use metadata::{Array, ArrayIter, Metadata, Scalar, Value};
pub use quantization::{Quantization, Reason};
pub use writer::{GgufWriter, MetadataValue};

pub use crate::tensors::TensorPlan;
use crate::{
    Fault, WeightsError,
    mmap::map,
    tensors::{Form, Stored, Tensors},
};
use reader::Reader;

/// An opened GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    metadata: Metadata,
    stored: Vec<Stored>,
}

/// Bytes of the shortest tensor description: a name's length, no dimensions, a type, an offset.
const SHORTEST_TENSOR: usize = 8 + 4 + 4 + 8;
/// More dimensions than any tensor has.
const MOST_DIMENSIONS: u32 = 4;

impl Gguf {
    /// Maps and reads a file.
    ///
    /// # Errors
    /// When it cannot be read or breaks a rule of the format.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        Self::parse(&map(path)?, path)
    }

    /// Reads a file's bytes; `path` is what errors call it.
    ///
    /// # Errors
    /// When they break a rule of the format.
    pub fn parse(bytes: &Bytes, path: &Path) -> Result<Self, WeightsError> {
        let (metadata, stored) = parse(bytes).map_err(|fault| malformed(path, fault))?;
        Ok(Self { path: path.to_owned(), metadata, stored })
    }

    /// The file's key-value pairs.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's architecture in llama.cpp's spelling.
    ///
    /// # Errors
    /// When the metadata does not say.
    pub fn architecture(&self) -> Result<&str, WeightsError> {
        self.metadata.require_text("general.architecture").map_err(|f| malformed(&self.path, f))
    }

    /// The model's settings under the keys of Hugging Face's `config.json`, and its tensors under
    /// Hugging Face's names and in its row order.
    ///
    /// # Errors
    /// When settings are missing or do not fit the tensors.
    pub fn into_model(self) -> Result<(serde_json::Value, Tensors, Metadata), WeightsError> {
        let Self { path, metadata, mut stored } = self;
        let config = names::rename(&metadata, &mut stored)
            .and_then(|()| config::config(&metadata, &mut stored))
            .map_err(|fault| malformed(&path, fault))?;
        let tensors = Tensors::new(stored).map_err(|fault| malformed(&path, fault))?;
        Ok((config, tensors, metadata))
    }
}

/// Whether checkpoints of Hugging Face's have a matrix of this name as `[inputs, outputs]`.
pub(crate) fn is_turned(model_type: &str, name: &str) -> bool {
    let form = families::of_model_type(model_type).and_then(|family| family.form_of(name));
    form == Some(families::Otherwise::Turned)
}

fn malformed(path: &Path, fault: Fault) -> WeightsError {
    WeightsError::Malformed { path: path.to_owned(), format: "GGUF", fault }
}

fn parse(file: &Bytes) -> Result<(Metadata, Vec<Stored>), Fault> {
    let mut reader = Reader::new(file);
    if reader.take(4, || "the magic".into())? != b"GGUF" {
        return Err(Fault::Magic);
    }
    match reader.u32("the version")? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => return Err(Fault::BigEndian),
        version => return Err(Fault::Version { version }),
    }
    let tensor_count = reader.u64("the tensor count")?;
    let key_count = reader.u64("the metadata count")?;
    let metadata = Metadata::parse(file, &mut reader, key_count)?;
    if let Some(parts) = metadata.unsigned("split.count")?.filter(|&parts| parts > 1) {
        return Err(Fault::Split { parts });
    }
    let alignment = metadata.unsigned("general.alignment")?.unwrap_or(32);
    if !alignment.is_power_of_two() {
        return Err(Fault::Alignment { alignment });
    }
    let descriptions = describe_tensors(&mut reader, tensor_count)?;
    let data = data_start(reader.position(), alignment, file.len());
    let stored = place_tensors(file, data, alignment, descriptions)?;
    Ok((metadata, stored))
}

/// Where the tensor data begins: after the header, aligned, at most at the file's end.
fn data_start(header: usize, alignment: u64, file: usize) -> usize {
    let aligned = (header as u64).checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    usize::try_from(aligned).unwrap_or(usize::MAX).min(file)
}

/// Reads the tensor descriptions; the bytes are attached when it is known where the data begins.
fn describe_tensors(reader: &mut Reader<'_>, count: u64) -> Result<Vec<Stored>, Fault> {
    let possible = (reader.remaining() / SHORTEST_TENSOR) as u64;
    if count > possible {
        return Err(Fault::TooMany { what: "tensors", claimed: count, possible });
    }
    let mut stored = Vec::with_capacity(count as usize);
    for i in 0..count {
        let name = reader.text(|| format!("the name of tensor {i}"))?;
        stored.push(describe_tensor(reader, name)?);
    }
    Ok(stored)
}

fn describe_tensor(reader: &mut Reader<'_>, name: &str) -> Result<Stored, Fault> {
    let bad = |dims: &[u64], problem| Fault::Dimensions {
        tensor: name.to_owned(),
        dims: dims.to_vec(),
        problem,
    };
    let rank = reader.u32("a number of dimensions")?;
    if rank > MOST_DIMENSIONS {
        return Err(bad(&[u64::from(rank)], "this many are too many"));
    }
    let mut dims = [1_u64; MOST_DIMENSIONS as usize];
    let dims = &mut dims[..rank as usize];
    for dim in dims.iter_mut() {
        *dim = reader.u64("a dimension")?;
    }
    let encoding = encoding(reader.u32("a tensor type")?)
        .map_err(|encoding| Fault::Encoding { tensor: name.to_owned(), encoding })?;
    let start = reader.u64("a tensor offset")?;

    let row = dims.first().copied().unwrap_or(1);
    if dims.contains(&0) {
        return Err(bad(dims, "none may be 0"));
    }
    if row % encoding.block_len() as u64 != 0 {
        return Err(bad(dims, "the innermost does not fill whole blocks of its type"));
    }
    let fits = dims
        .iter()
        .try_fold(1_usize, |n, &dim| n.checked_mul(usize::try_from(dim).ok()?))
        .and_then(|elements| encoding.bytes_of(elements));
    if fits.is_none() {
        return Err(bad(dims, "the product overflows"));
    }
    dims.reverse(); // ours is outermost first
    Ok(Stored {
        name: name.into(),
        encoding,
        shape: dims.iter().map(|&dim| dim as usize).collect(),
        bytes: Bytes::new(),
        start: usize::try_from(start).unwrap_or(usize::MAX),
        form: Form::AsNamed,
    })
}

/// Checks where each tensor lies in the data, and gives it its bytes.
fn place_tensors(
    file: &Bytes,
    data: usize,
    alignment: u64,
    mut stored: Vec<Stored>,
) -> Result<Vec<Stored>, Fault> {
    let available = file.len() - data;
    for tensor in &mut stored {
        if !(tensor.start as u64).is_multiple_of(alignment) {
            return Err(Fault::Misaligned {
                tensor: tensor.name.to_string(),
                offset: tensor.start as u64,
                alignment,
            });
        }
        let elements = tensor.shape.iter().product();
        let len = tensor.encoding.bytes_of(elements).unwrap_or(usize::MAX);
        let end =
            tensor.start.checked_add(len).filter(|&end| end <= available).ok_or_else(|| {
                Fault::Outside {
                    tensor: tensor.name.to_string(),
                    end: (tensor.start as u64).saturating_add(len as u64),
                    available: available as u64,
                }
            })?;
        tensor.bytes = file.slice(data + tensor.start..data + end);
    }
    stored.sort_unstable_by_key(|tensor| tensor.start);
    if let Some(pair) = stored.windows(2).find(|p| p[0].start + p[0].bytes.len() > p[1].start) {
        return Err(Fault::Overlap {
            first: pair[0].name.to_string(),
            second: pair[1].name.to_string(),
        });
    }
    stored.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = stored.windows(2).find(|p| p[0].name == p[1].name) {
        return Err(Fault::Duplicate { what: "tensor", name: pair[0].name.to_string() });
    }
    Ok(stored)
}

/// A tensor type by its number; the error is its name.
fn encoding(number: u32) -> Result<Encoding, String> {
    use Encoding::*;
    Ok(match number {
        0 => F32,
        1 => F16,
        2 => Q4_0,
        3 => Q4_1,
        6 => Q5_0,
        7 => Q5_1,
        8 => Q8_0,
        10 => Q2_K,
        11 => Q3_K,
        12 => Q4_K,
        13 => Q5_K,
        14 => Q6_K,
        24 => I8,
        26 => I32,
        27 => I64,
        30 => BF16,
        9 => return Err("Q8_1".into()),
        15 => return Err("Q8_K".into()),
        16 => return Err("IQ2_XXS".into()),
        17 => return Err("IQ2_XS".into()),
        18 => return Err("IQ3_XXS".into()),
        19 => return Err("IQ1_S".into()),
        20 => return Err("IQ4_NL".into()),
        21 => return Err("IQ3_S".into()),
        22 => return Err("IQ2_S".into()),
        23 => return Err("IQ4_XS".into()),
        25 => return Err("I16".into()),
        28 => return Err("F64".into()),
        29 => return Err("IQ1_M".into()),
        34 => return Err("TQ1_0".into()),
        35 => return Err("TQ2_0".into()),
        39 => return Err("MXFP4".into()),
        other => return Err(format!("type {other}")),
    })
}

/// The number of a tensor type.
fn encoding_number(encoding: Encoding) -> Option<u32> {
    (0..=30).find(|&number| self::encoding(number) == Ok(encoding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_number_goes_both_ways() {
        for number in 0..64 {
            if let Ok(found) = encoding(number) {
                assert_eq!(encoding_number(found), Some(number));
            }
        }
        assert_eq!(encoding_number(Encoding::U8), None);
    }

    #[test]
    fn data_begins_inside_the_file() {
        assert_eq!(data_start(33, 32, 100), 64);
        assert_eq!(data_start(33, 1 << 63, 100), 100);
    }
}
