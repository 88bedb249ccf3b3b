//! Adapters that began with factors of the model's weights, as ones over the weights themselves.

use fidelio_backend::{Encoding, LoraInit, LoraSpec, TensorSink as _, TensorView, Weights};

use super::{A, B};
use crate::{TensorBuffer, WeightsError, quantize};

/// The adapter that adds `scale · (b · a - b₀ · a₀)`: factors of twice the rank, `[a; a₀]` and
/// `[b, -b₀]`, with the same scale. PEFT makes the same of an adapter that began with PiSSA or
/// OLoRA, so that it fits a model whose weights were not changed.
///
/// # Errors
/// When `start` lacks a factor of `learnt`, or one has another shape there.
pub fn without_start(
    spec: &LoraSpec,
    learnt: &dyn Weights,
    start: &dyn Weights,
) -> Result<(LoraSpec, TensorBuffer), WeightsError> {
    let mut doubled = TensorBuffer::new();
    for name in learnt.names() {
        let tensor = quantize::get(learnt, &name)?;
        let tensor = if name.ends_with(A) {
            below(tensor, &alike(&name, start, learnt)?)
        } else if name.ends_with(B) {
            beside_negated(tensor, &alike(&name, start, learnt)?)
        } else {
            tensor
        };
        doubled
            .put(&name, tensor)
            .map_err(|source| WeightsError::ReadTensor { tensor: name, source })?;
    }
    Ok((twice_the_rank(spec), doubled))
}

/// The same scales from twice the ranks.
fn twice_the_rank(spec: &LoraSpec) -> LoraSpec {
    let more = if spec.use_rslora { 2.0_f64.sqrt() } else { 2.0 };
    LoraSpec {
        r: spec.r * 2,
        lora_alpha: spec.lora_alpha * more,
        init_lora_weights: LoraInit::Default,
        rank_pattern: spec.rank_pattern.iter().map(|(name, r)| (name.clone(), r * 2)).collect(),
        alpha_pattern: spec
            .alpha_pattern
            .iter()
            .map(|(name, alpha)| (name.clone(), alpha * more))
            .collect(),
        ..spec.clone()
    }
}

/// The factor's start, which must be floats of its shape.
fn alike(
    name: &str,
    start: &dyn Weights,
    learnt: &dyn Weights,
) -> Result<TensorView, WeightsError> {
    let (found, expected) = (quantize::get(start, name)?, quantize::get(learnt, name)?);
    let floats = |tensor: &TensorView| tensor.encoding == Encoding::F32 && tensor.shape.len() == 2;
    if found.shape == expected.shape && floats(&found) && floats(&expected) {
        return Ok(found);
    }
    let problem = format!(
        "it began as {:?} {:?} and is {:?} {:?}",
        found.encoding, found.shape, expected.encoding, expected.shape
    );
    Err(WeightsError::Unwritable { tensor: name.to_owned(), format: "PEFT".to_owned(), problem })
}

fn below(upper: TensorView, lower: &TensorView) -> TensorView {
    let bytes = [upper.bytes.as_ref(), lower.bytes.as_ref()].concat();
    let shape = vec![upper.shape[0] * 2, upper.shape[1]];
    TensorView { shape, bytes: bytes.into(), ..upper }
}

fn beside_negated(left: TensorView, right: &TensorView) -> TensorView {
    let width = left.shape[1] * size_of::<f32>();
    let mut bytes = Vec::with_capacity(2 * left.bytes.len());
    for (left, right) in left.bytes.chunks(width).zip(right.bytes.chunks(width)) {
        bytes.extend_from_slice(left);
        let (numbers, _) = right.as_chunks();
        bytes.extend(numbers.iter().flat_map(|x| (-f32::from_le_bytes(*x)).to_le_bytes()));
    }
    let shape = vec![left.shape[0], left.shape[1] * 2];
    TensorView { shape, bytes: bytes.into(), ..left }
}
