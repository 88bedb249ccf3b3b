//! Tensors by name, each expected with its shape; everything that does not fit is collected.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_backend::{BackendError, Encoding, TensorView, Weights};
use fidelio_ops::{Format, StoredMatrix, Weight, dequantize};

/// Tensors that old exporters wrote and that hold nothing a model needs.
const DERIVED: &str = "rotary_emb.inv_freq";

/// Hands out a checkpoint's tensors and notes what is missing, misshapen or left over.
pub(crate) struct Loader<'a> {
    weights: &'a dyn Weights,
    device: &'a Device,
    left: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(weights: &'a dyn Weights, device: &'a Device) -> Self {
        let left = weights.names().into_iter().filter(|name| !name.ends_with(DERIVED)).collect();
        Self { weights, device, left, problems: Vec::new() }
    }

    /// A matrix `[rows, cols]` in the encoding of its file. An empty stand-in where it does not
    /// fit: [`Self::finish`] then fails.
    pub(crate) fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Weight {
        match self.view(name, &[rows, cols]) {
            Some((view, format)) => {
                Weight::new(view.bytes, StoredMatrix { format, rows, cols }, self.device)
            }
            None => Weight::Dense(Tensor::zeros([1, 1], self.device)),
        }
    }

    /// A vector, as floats.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Tensor<1> {
        let mut floats = vec![0.0_f32; len];
        if let Some((view, format)) = self.view(name, &[len]) {
            dequantize(format, &view.bytes, &mut floats);
        }
        Tensor::from_data(TensorData::new(floats, [len]), self.device)
    }

    /// Allows `name` to be there if it holds the same bytes as `original` (a tied head that was
    /// written out).
    pub(crate) fn accept_copy(&mut self, name: &str, original: &str) {
        if !self.left.remove(name) {
            return;
        }
        let same = match (self.weights.get(name), self.weights.get(original)) {
            (Ok(copy), Ok(original)) => {
                copy.encoding == original.encoding && copy.bytes == original.bytes
            }
            _ => false,
        };
        if !same {
            self.problems.push(format!(
                "`{name}` differs from `{original}`, but config.json says that they are tied"
            ));
        }
    }

    /// All problems at once, or nothing.
    pub(crate) fn finish(mut self) -> Result<(), BackendError> {
        for name in &self.left {
            self.problems.push(format!("`{name}` is not a tensor of this architecture"));
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(BackendError::Weights { problems: self.problems })
        }
    }

    fn view(&mut self, name: &str, shape: &[usize]) -> Option<(TensorView, Format)> {
        if !self.left.remove(name) {
            self.problems.push(format!("`{name}` {shape:?} is missing"));
            return None;
        }
        let view = match self.weights.get(name) {
            Ok(view) => view,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                self.problems.push(format!("{error}{}", cause.unwrap_or_default()));
                return None;
            }
        };
        if view.shape != shape {
            self.problems.push(format!("`{name}` is {:?}, expected {shape:?}", view.shape));
            return None;
        }
        let Some(format) = format_of(view.encoding) else {
            self.problems.push(format!("`{name}` is {:?}, expected floats", view.encoding));
            return None;
        };
        let row = shape.last().copied().unwrap_or(0);
        if !row.is_multiple_of(format.block_len()) {
            self.problems.push(format!(
                "`{name}` has rows of {row}, which are not whole blocks of {:?}",
                view.encoding
            ));
            return None;
        }
        let expected = format.bytes_of(shape.iter().product());
        if expected != Some(view.bytes.len()) {
            self.problems.push(format!(
                "`{name}` has {} bytes, expected {}",
                view.bytes.len(),
                expected.unwrap_or(0)
            ));
            return None;
        }
        Some((view, format))
    }
}

/// The kernels' name of an encoding; `None` for integers.
fn format_of(encoding: Encoding) -> Option<Format> {
    Some(match encoding {
        Encoding::F32 => Format::F32,
        Encoding::F16 => Format::F16,
        Encoding::BF16 => Format::BF16,
        Encoding::Q4_0 => Format::Q4_0,
        Encoding::Q4_1 => Format::Q4_1,
        Encoding::Q5_0 => Format::Q5_0,
        Encoding::Q5_1 => Format::Q5_1,
        Encoding::Q8_0 => Format::Q8_0,
        Encoding::Q2_K => Format::Q2_K,
        Encoding::Q3_K => Format::Q3_K,
        Encoding::Q4_K => Format::Q4_K,
        Encoding::Q5_K => Format::Q5_K,
        Encoding::Q6_K => Format::Q6_K,
        _ => return None,
    })
}
