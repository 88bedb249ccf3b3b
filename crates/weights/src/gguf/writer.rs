//! Writing GGUF files.

use std::path::Path;

use fidelio_backend::{Encoding, TensorView};

use super::encoding_number;
use crate::{WeightsError, atomic};

const ALIGNMENT: usize = 32;

/// Collects metadata and tensors, then writes them as one GGUF v3 file.
#[derive(Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<u8>,
    keys: u64,
    tensors: Vec<(String, TensorView)>,
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

    /// Adds a tensor under llama.cpp's name, its rows in llama.cpp's order.
    #[must_use]
    pub fn tensor(mut self, name: &str, tensor: TensorView) -> Self {
        self.tensors.push((name.to_owned(), tensor));
        self
    }

    /// The file's bytes before the tensor data, padded.
    fn header(&self) -> Result<Vec<u8>, WeightsError> {
        let mut header = Vec::with_capacity(self.metadata.len() + 64 * self.tensors.len() + 64);
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3_u32.to_le_bytes());
        header.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&self.keys.to_le_bytes());
        header.extend_from_slice(&self.metadata);
        let mut offset = 0_usize;
        for (name, tensor) in &self.tensors {
            put_text(&mut header, name);
            header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            for &dim in tensor.shape.iter().rev() {
                header.extend_from_slice(&(dim as u64).to_le_bytes());
            }
            header.extend_from_slice(&number(name, tensor.encoding)?.to_le_bytes());
            header.extend_from_slice(&(offset as u64).to_le_bytes());
            offset += tensor.bytes.len().next_multiple_of(ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
        Ok(header)
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// When a tensor has an encoding that GGUF does not know.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        let mut bytes = self.header()?;
        for (_, tensor) in &self.tensors {
            bytes.extend_from_slice(&tensor.bytes);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        Ok(bytes)
    }

    /// Writes the file; it appears whole or not at all.
    ///
    /// # Errors
    /// When a tensor has an encoding that GGUF does not know, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WeightsError> {
        let header = self.header()?;
        atomic::write(path, |out| {
            let fail = |source| WeightsError::Write { path: path.to_owned(), source };
            out.write_all(&header).map_err(fail)?;
            for (_, tensor) in &self.tensors {
                out.write_all(&tensor.bytes).map_err(fail)?;
                let padding = tensor.bytes.len().next_multiple_of(ALIGNMENT) - tensor.bytes.len();
                out.write_all(&[0; ALIGNMENT][..padding]).map_err(fail)?;
            }
            Ok(())
        })
    }
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

fn number(tensor: &str, encoding: Encoding) -> Result<u32, WeightsError> {
    encoding_number(encoding).ok_or_else(|| WeightsError::Unwritable {
        tensor: tensor.to_owned(),
        format: "GGUF",
        problem: format!("it has no type for {encoding:?}"),
    })
}
