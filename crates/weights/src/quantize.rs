//! From floats to the encodings of files: plain ones, and GGUF's blocks.
//!
//! What decodes them is in `fidelio-kernels`. Blocks of 32 are the bytes that llama.cpp's own
//! tools write; blocks of 256 leave their writer a choice, and [`fit`] makes it.

mod blocks256;
mod blocks32;
mod fit;

use bytes::Bytes;
use fidelio_backend::{Encoding, TensorView, Weights};
use fidelio_kernels::{Format, dequantize};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::WeightsError;

/// Elements of plain encodings that are converted at once.
const STRETCH: usize = 4096;

/// A tensor's elements in another encoding; stretches of rows in parallel, so that beside the
/// result only a row for each thread is in memory. Bytes in that encoding already are kept.
///
/// # Errors
/// When an element has no counterpart there, or one of the encodings cannot be read or written.
pub(crate) fn reencode(
    name: &str,
    tensor: &TensorView,
    to: Encoding,
) -> Result<Bytes, WeightsError> {
    if tensor.encoding == to {
        return Ok(tensor.bytes.clone());
    }
    let fail = |problem| unwritable(name, to, problem);
    let from = decodable(name, tensor)?;
    if !is_writable(to) {
        return Err(fail("there is no encoder".to_owned()));
    }
    let elements: usize = tensor.shape.iter().product();
    let row = tensor.shape.last().copied().unwrap_or(1);
    let blocks = from.block_len().max(to.block_len());
    if !row.is_multiple_of(to.block_len()) {
        return Err(fail(format!("rows of {row} do not fill its blocks of {}", to.block_len())));
    }
    let stretch = STRETCH.next_multiple_of(blocks);
    let size = to.bytes_of(elements).ok_or_else(|| fail("its size overflows".to_owned()))?;
    let mut out = vec![0_u8; size];
    let stored = tensor.bytes.par_chunks(stretch / from.block_len() * from.block_bytes());
    out.par_chunks_mut(stretch / to.block_len() * to.block_bytes()).zip(stored).try_for_each_init(
        || vec![0.0_f32; stretch],
        |values, (out, stored)| {
            let values = &mut values[..out.len() / to.block_bytes() * to.block_len()];
            dequantize(from, stored, values);
            check_range(values, to).map_err(fail)?;
            encode(to, values, out);
            Ok(())
        },
    )?;
    Ok(out.into())
}

/// A tensor's elements.
pub(crate) fn floats(name: &str, tensor: &TensorView) -> Result<Vec<f32>, WeightsError> {
    let format = decodable(name, tensor)?;
    let mut values = vec![0.0_f32; tensor.shape.iter().product()];
    dequantize(format, &tensor.bytes, &mut values);
    Ok(values)
}

/// A tensor of the model that is being written.
pub(crate) fn get(weights: &dyn Weights, name: &str) -> Result<TensorView, WeightsError> {
    weights.get(name).map_err(|source| WeightsError::ReadTensor { tensor: name.to_owned(), source })
}

fn unwritable(name: &str, to: Encoding, problem: String) -> WeightsError {
    WeightsError::Unwritable { tensor: name.to_owned(), format: format!("{to:?}"), problem }
}

/// The decoder's name of a tensor's encoding, its bytes being those of its shape.
fn decodable(name: &str, tensor: &TensorView) -> Result<Format, WeightsError> {
    let format = format(tensor.encoding).ok_or_else(|| {
        unwritable(name, Encoding::F32, format!("{:?} has no decoder", tensor.encoding))
    })?;
    let expected = format.bytes_of(tensor.shape.iter().product());
    if expected == Some(tensor.bytes.len()) {
        return Ok(format);
    }
    let problem =
        format!("its shape {:?} does not have {} bytes", tensor.shape, tensor.bytes.len());
    Err(unwritable(name, tensor.encoding, problem))
}

/// All but 32-bit floats and their upper halves hold a 16-bit float, at least as a scale.
fn check_range(values: &[f32], to: Encoding) -> Result<(), String> {
    if matches!(to, Encoding::F32 | Encoding::BF16) {
        return Ok(());
    }
    let most = f32::from(f16::MAX);
    match values.iter().find(|value| value.is_nan() || value.abs() > most) {
        None => Ok(()),
        Some(value) if value.is_finite() => Err(format!("{value} is too large for it")),
        Some(value) => Err(format!("it holds {value}")),
    }
}

fn is_writable(to: Encoding) -> bool {
    use Encoding::*;
    matches!(to, F32 | F16 | BF16 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q4_K | Q5_K | Q6_K)
}

/// Encodes whole blocks.
fn encode(to: Encoding, values: &[f32], out: &mut [u8]) {
    macro_rules! each {
        ($block:path) => {
            for (values, out) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                $block(values, out);
            }
        };
    }
    match to {
        Encoding::F32 => each!(plain_f32),
        Encoding::F16 => each!(plain_f16),
        Encoding::BF16 => each!(plain_bf16),
        Encoding::Q4_0 => each!(blocks32::q4_0),
        Encoding::Q4_1 => each!(blocks32::q4_1),
        Encoding::Q5_0 => each!(blocks32::q5_0),
        Encoding::Q5_1 => each!(blocks32::q5_1),
        Encoding::Q8_0 => each!(blocks32::q8_0),
        Encoding::Q4_K => each!(blocks256::q4_k),
        Encoding::Q5_K => each!(blocks256::q5_k),
        Encoding::Q6_K => each!(blocks256::q6_k),
        other => unreachable!("{other:?} was refused before"),
    }
}

fn plain_f32(value: &[f32; 1], out: &mut [u8; 4]) {
    *out = value[0].to_le_bytes();
}

fn plain_f16(value: &[f32; 1], out: &mut [u8; 2]) {
    *out = f16::from_f32(value[0]).to_le_bytes();
}

fn plain_bf16(value: &[f32; 1], out: &mut [u8; 2]) {
    *out = bf16::from_f32(value[0]).to_le_bytes();
}

fn format(encoding: Encoding) -> Option<Format> {
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

#[cfg(test)]
mod tests;
