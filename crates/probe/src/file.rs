//! A head as bytes: safetensors, so that any tool reads it, with what it is in the metadata.

use serde::{Deserialize, Serialize};

use crate::{Head, Probe, ProbeError};

/// Whose file it is.
const FORMAT: &str = "fidelio-probe";
/// How it is laid out; another number is another layout.
const VERSION: &str = "1";
/// No head has a longer header.
const MOST_HEADER: usize = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Metadata,
    bias: Tensor,
    weight: Tensor,
}

/// Safetensors allows nothing but text here.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    format: String,
    version: String,
    /// A JSON list; absent where the head answers with a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl Tensor {
    fn new(shape: Vec<usize>, from: usize) -> Self {
        let bytes = 8 * shape.iter().product::<usize>();
        Self { dtype: "F64".into(), shape, data_offsets: [from, from + bytes] }
    }

    fn read(&self, data: &[u8]) -> Option<Vec<f64>> {
        let [from, to] = self.data_offsets;
        let numbers = self.shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n))?;
        let (eights, rest) = data.get(from..to)?.as_chunks::<8>();
        let whole = self.dtype == "F64" && rest.is_empty() && eights.len() == numbers;
        whole.then(|| eights.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    }
}

impl Probe {
    /// The head as a safetensors file: `weight` `[outputs, width]` and `bias` `[outputs]` in double
    /// precision, with the labels in the metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        let outputs = self.biases.len();
        let bias = Tensor::new(vec![outputs], 0);
        let weight = Tensor::new(vec![outputs, self.width], bias.data_offsets[1]);
        let labels = match &self.head {
            Head::Labels(labels) => Some(serde_json::json!(labels).to_string()),
            Head::Number => None,
        };
        let metadata = Metadata { format: FORMAT.into(), version: VERSION.into(), labels };
        let header = serde_json::json!(Header { metadata, bias, weight }).to_string();
        // The data begins at a multiple of 8.
        let padded = header.len().next_multiple_of(8);
        let mut bytes = (padded as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(8 + padded, b' ');
        bytes.extend(self.biases.iter().chain(&self.weights).flat_map(|it| it.to_le_bytes()));
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`ProbeError::Damaged`] where the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProbeError> {
        let damaged = |reason: &str| ProbeError::Damaged { reason: reason.to_owned() };
        let (length, rest) =
            bytes.split_first_chunk().ok_or_else(|| damaged("it has no header"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (header, data) = rest
            .split_at_checked(length)
            .filter(|_| length <= MOST_HEADER)
            .ok_or_else(|| damaged("its header is cut off"))?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| damaged(&format!("its header: {error}")))?;
        let Metadata { format, version, labels } = header.metadata;
        if format != FORMAT {
            return Err(damaged(&format!("its format is `{format}`")));
        }
        if version != VERSION {
            return Err(damaged(&format!("it is of version {version}, and {VERSION} is known")));
        }
        let head = match labels {
            None => Head::Number,
            Some(text) => Head::Labels(
                serde_json::from_str(&text)
                    .map_err(|error| damaged(&format!("its labels: {error}")))?,
            ),
        };
        let [outputs, width] = header.weight.shape[..] else {
            return Err(damaged("its weights are no matrix"));
        };
        let whole = header.bias.shape == [outputs] && data.len() == 8 * outputs * (width + 1);
        let parts = header.bias.read(data).zip(header.weight.read(data)).filter(|_| whole);
        let probe =
            parts.and_then(|(biases, weights)| Self::of_parts(head, width, weights, biases));
        probe.ok_or_else(|| damaged("its tensors do not fit"))
    }
}
