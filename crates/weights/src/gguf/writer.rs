//! Writing GGUF files.

use std::{io::Write, path::Path};

use bytes::Bytes;
use fidelio_backend::TensorView;

use super::{
    encoding_number,
    metadata::{Scalar, Value},
};
use crate::{WeightsError, atomic, tensors::TensorPlan};

const ALIGNMENT: usize = 32;

/// Collects metadata and tensors, then writes them as one GGUF v3 file.
#[derive(Debug, Clone, Default)]
pub struct GgufWriter {
    metadata: Vec<u8>,
    keys: u64,
    tensors: Vec<(TensorPlan, Bytes)>,
}

/// A value of metadata.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the format's own type")]
pub enum MetadataValue<'a> {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'a str),
    U32s(&'a [u32]),
    I32s(&'a [i32]),
    F32s(&'a [f32]),
    Texts(&'a [&'a str]),
}

impl GgufWriter {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. Keys are not checked for repetition here, only when the file is read.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: &MetadataValue<'_>) -> Self {
        put_text(&mut self.metadata, key);
        value.put(&mut self.metadata);
        self.keys += 1;
        self
    }

    /// Adds a key with a value that was read from another file.
    #[must_use]
    pub fn copied(mut self, key: &str, value: &Value) -> Self {
        put_text(&mut self.metadata, key);
        put_value(&mut self.metadata, value);
        self.keys += 1;
        self
    }

    /// Adds a tensor under llama.cpp's name, its rows in llama.cpp's order.
    #[must_use]
    pub fn tensor(mut self, name: &str, tensor: TensorView) -> Self {
        let TensorView { encoding, shape, bytes } = tensor;
        self.tensors.push((TensorPlan { name: name.to_owned(), encoding, shape }, bytes));
        self
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// When a tensor has an encoding that GGUF does not know, or not the bytes of its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        let mut bytes = Vec::new();
        let unlimited = Path::new(""); // memory does not fail to be written
        self.put(&[], &mut no_more, unlimited, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the file; it appears whole or not at all.
    ///
    /// # Errors
    /// As [`Self::to_bytes`], and when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WeightsError> {
        self.write_with(path, &[], no_more)
    }

    /// As [`Self::write`], followed by tensors whose bytes `fill` gives: it is called once for each,
    /// in order, so that only one need be in memory.
    ///
    /// # Errors
    /// As there, and when `fill` fails or gives another length.
    pub fn write_with(
        &self,
        path: &Path,
        more: &[TensorPlan],
        mut fill: impl FnMut(&TensorPlan) -> Result<Bytes, WeightsError>,
    ) -> Result<(), WeightsError> {
        atomic::write(path, |out| self.put(more, &mut fill, path, out))
    }

    fn put(
        &self,
        more: &[TensorPlan],
        fill: &mut dyn FnMut(&TensorPlan) -> Result<Bytes, WeightsError>,
        path: &Path,
        out: &mut dyn Write,
    ) -> Result<(), WeightsError> {
        let fail = |source| WeightsError::Write { path: path.to_owned(), source };
        out.write_all(&self.header(more)?).map_err(fail)?;
        for (plan, bytes) in &self.tensors {
            put_tensor(plan, bytes, out)?.map_err(fail)?;
        }
        for plan in more {
            put_tensor(plan, &fill(plan)?, out)?.map_err(fail)?;
        }
        Ok(())
    }

    /// The file's bytes before the tensor data, padded.
    fn header(&self, more: &[TensorPlan]) -> Result<Vec<u8>, WeightsError> {
        let count = self.tensors.len() + more.len();
        let mut header = Vec::with_capacity(self.metadata.len() + 64 * count + 64);
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3_u32.to_le_bytes());
        header.extend_from_slice(&(count as u64).to_le_bytes());
        header.extend_from_slice(&self.keys.to_le_bytes());
        header.extend_from_slice(&self.metadata);
        let mut offset = 0_u64;
        for plan in self.tensors.iter().map(|(plan, _)| plan).chain(more) {
            put_text(&mut header, &plan.name);
            header.extend_from_slice(&(plan.shape.len() as u32).to_le_bytes());
            for &dim in plan.shape.iter().rev() {
                header.extend_from_slice(&(dim as u64).to_le_bytes());
            }
            header.extend_from_slice(&number(plan)?.to_le_bytes());
            header.extend_from_slice(&offset.to_le_bytes());
            offset += size(plan)?.next_multiple_of(ALIGNMENT as u64);
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
        Ok(header)
    }
}

/// For a file whose tensors are all in memory.
fn no_more(plan: &TensorPlan) -> Result<Bytes, WeightsError> {
    Err(unwritable(plan, "it has no bytes".to_owned()))
}

/// A tensor's bytes, padded; the inner result is that of writing.
fn put_tensor(
    plan: &TensorPlan,
    bytes: &Bytes,
    out: &mut dyn Write,
) -> Result<std::io::Result<()>, WeightsError> {
    let expected = size(plan)?;
    if bytes.len() as u64 != expected {
        let problem = format!("{} bytes were given for {expected}", bytes.len());
        return Err(unwritable(plan, problem));
    }
    let padding = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
    Ok(out.write_all(bytes).and_then(|()| out.write_all(&[0; ALIGNMENT][..padding])))
}

fn size(plan: &TensorPlan) -> Result<u64, WeightsError> {
    let problem = || format!("{:?} does not fill whole blocks, or is too large", plan.shape);
    plan.bytes().ok_or_else(|| unwritable(plan, problem()))
}

fn number(plan: &TensorPlan) -> Result<u32, WeightsError> {
    encoding_number(plan.encoding)
        .ok_or_else(|| unwritable(plan, format!("it has no type for {:?}", plan.encoding)))
}

fn unwritable(plan: &TensorPlan, problem: String) -> WeightsError {
    plan.unwritable("GGUF", problem)
}

impl MetadataValue<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(value) => put_scalar(out, 4, value.to_le_bytes()),
            Self::F32(value) => put_scalar(out, 6, value.to_le_bytes()),
            Self::Bool(value) => put_scalar(out, 7, [u8::from(*value)]),
            Self::Text(text) => {
                out.extend_from_slice(&8_u32.to_le_bytes());
                put_text(out, text);
            }
            Self::U32s(values) => put_list(out, 4, values, |out, v| out.extend(v.to_le_bytes())),
            Self::I32s(values) => put_list(out, 5, values, |out, v| out.extend(v.to_le_bytes())),
            Self::F32s(values) => put_list(out, 6, values, |out, v| out.extend(v.to_le_bytes())),
            Self::Texts(values) => put_list(out, 8, values, |out, v| put_text(out, v)),
        }
    }
}

fn put_scalar<const N: usize>(out: &mut Vec<u8>, kind: u32, value: [u8; N]) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&value);
}

fn put_list<T>(out: &mut Vec<u8>, kind: u32, values: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.extend_from_slice(&9_u32.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&(values.len() as u64).to_le_bytes());
    for value in values {
        put(out, value);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Scalar(Scalar::Unsigned(value)) => match u32::try_from(*value) {
            Ok(value) => put_scalar(out, 4, value.to_le_bytes()),
            Err(_) => put_scalar(out, 10, value.to_le_bytes()),
        },
        Value::Scalar(Scalar::Signed(value)) => match i32::try_from(*value) {
            Ok(value) => put_scalar(out, 5, value.to_le_bytes()),
            Err(_) => put_scalar(out, 11, value.to_le_bytes()),
        },
        Value::Scalar(Scalar::F32(value)) => put_scalar(out, 6, value.to_le_bytes()),
        Value::Scalar(Scalar::F64(value)) => put_scalar(out, 12, value.to_le_bytes()),
        Value::Scalar(Scalar::Bool(value)) => put_scalar(out, 7, [u8::from(*value)]),
        Value::Text(text) => {
            out.extend_from_slice(&8_u32.to_le_bytes());
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text);
        }
        Value::Array(array) => {
            let (kind, count, encoded) = array.encoded();
            out.extend_from_slice(&9_u32.to_le_bytes());
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&(count as u64).to_le_bytes());
            out.extend_from_slice(encoded);
        }
    }
}
