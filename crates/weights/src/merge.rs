//! A checkpoint's weights with what an adapter adds worked into them.
//! LoRA: arxiv.org/abs/2106.09685; DoRA: arxiv.org/abs/2402.09353.

use std::collections::BTreeSet;

use bytes::Bytes;
use fidelio_backend::{
    AdapterSpec, BackendError, Encoding, LoraRanks, LoraSpec, TensorView, Weights,
};
use rayon::prelude::*;

use crate::{Checkpoint, Tensors, WeightsError, gguf, peft::PeftAdapter, quantize};

const WEIGHT: &str = ".weight";
const BIAS: &str = ".bias";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";
const MAGNITUDE: &str = ".lora_magnitude_vector";

/// The weights of a checkpoint, those beside which an adapter stands merged with it in 32 bits, one
/// at a time as they are asked for. A model opened on them needs the adapter no more.
#[derive(Debug, Clone)]
pub struct Merged {
    base: Tensors,
    adapter: Tensors,
    spec: LoraSpec,
    ranks: LoraRanks,
    model_type: String,
}

impl Merged {
    /// Lays an adapter over a checkpoint.
    ///
    /// # Errors
    /// [`WeightsError::Unmergeable`] where a tensor of the adapter stands beside no weight, where a
    /// layer has only some of its tensors, or the adapter is none that can be merged.
    pub fn new(checkpoint: &Checkpoint, adapter: PeftAdapter) -> Result<Self, WeightsError> {
        let unmergeable = |problem: String| WeightsError::Unmergeable { problem };
        let AdapterSpec::Lora(spec) = adapter.spec else {
            return Err(unmergeable("only LoRA adapters can be merged".into()));
        };
        let ranks = LoraRanks::new(&spec).map_err(|error| unmergeable(error.to_string()))?;
        let base = checkpoint.weights().clone();
        let names: BTreeSet<&str> = base.iter().map(|(name, ..)| name).collect();
        let parts: &[&str] = if spec.use_dora { &[A, B, MAGNITUDE] } else { &[A, B] };
        for (name, ..) in adapter.weights.iter() {
            let module = [A, B, MAGNITUDE].iter().find_map(|ending| name.strip_suffix(ending));
            let stands_beside = match module {
                Some(module) => {
                    let lacks =
                        |part: &&&str| adapter.weights.find(&format!("{module}{part}")).is_none();
                    if let Some(part) = parts.iter().find(lacks) {
                        return Err(unmergeable(format!(
                            "the adapter has `{name}` and no `{module}{part}`"
                        )));
                    }
                    names.contains(format!("{module}{WEIGHT}").as_str())
                }
                None => name.ends_with(BIAS) && names.contains(name),
            };
            if !stands_beside {
                return Err(unmergeable(format!("`{name}` stands beside no weight of the model")));
            }
        }
        let model_type = checkpoint.config()["model_type"].as_str().unwrap_or_default().to_owned();
        Ok(Self { base, adapter: adapter.weights, spec, ranks, model_type })
    }

    /// `W + scale · B · A`, each row brought to its learnt length where the adapter has lengths.
    fn merge(&self, module: &str, base: &TensorView) -> Result<TensorView, BackendError> {
        let [rows, cols] = base.shape[..] else {
            return Err(misfit(module, "is no matrix"));
        };
        let mut w = read(module, base)?;
        let turned = gguf::is_turned(&self.model_type, &format!("{module}{WEIGHT}"));
        let [output, input] = if turned {
            w = transposed(&w, cols);
            [cols, rows]
        } else {
            [rows, cols]
        };
        let (a, b) = (self.part(module, A)?, self.part(module, B)?);
        let r = a.len() / input.max(1);
        if a.len() != r * input || b.len() != output * r {
            return Err(misfit(module, "has factors of another size"));
        }
        let scale = self.ranks.scale(module);
        let magnitude = if self.spec.use_dora { Some(self.part(module, MAGNITUDE)?) } else { None };
        w.par_chunks_mut(input).enumerate().for_each(|(i, row)| {
            add(row, &b[i * r..][..r], &a, scale);
            if let Some(magnitude) = &magnitude {
                let squares: f64 = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
                let factor = f64::from(magnitude[i]) / squares.sqrt();
                for x in row {
                    *x = (f64::from(*x) * factor) as f32;
                }
            }
        });
        let w = if turned { transposed(&w, input) } else { w };
        Ok(plain(w, base.shape.clone()))
    }

    fn part(&self, module: &str, ending: &str) -> Result<Vec<f32>, BackendError> {
        let name = format!("{module}{ending}");
        read(&name, &self.adapter.get(&name)?)
    }
}

/// A matrix with rows of `cols` numbers, column by column.
fn transposed(x: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| x.iter().skip(col).step_by(cols.max(1)).copied()).collect()
}

/// Adds `scale · bᵀ · a` to a row of `W`, each element summed in 64 bits.
fn add(row: &mut [f32], b: &[f32], a: &[f32], scale: f64) {
    let input = row.len();
    let mut sums = vec![0.0_f64; input];
    for (b, a) in b.iter().zip(a.chunks_exact(input)) {
        for (sum, a) in sums.iter_mut().zip(a) {
            *sum += f64::from(*b) * f64::from(*a);
        }
    }
    for (x, sum) in row.iter_mut().zip(sums) {
        *x = (f64::from(*x) + scale * sum) as f32;
    }
}

fn plain(values: Vec<f32>, shape: Vec<usize>) -> TensorView {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorView { encoding: Encoding::F32, shape, bytes: Bytes::from(bytes) }
}

fn read(name: &str, tensor: &TensorView) -> Result<Vec<f32>, BackendError> {
    quantize::floats(name, tensor).map_err(|source| BackendError::ReadTensor {
        name: name.to_owned(),
        source: Box::new(source),
    })
}

fn misfit(module: &str, how: &str) -> BackendError {
    BackendError::Weights { problems: vec![format!("the adapter beside `{module}` {how}")] }
}

impl Weights for Merged {
    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        let module = name.strip_suffix(WEIGHT);
        let adapted = module.filter(|module| self.adapter.find(&format!("{module}{A}")).is_some());
        match adapted {
            Some(module) => self.merge(module, &self.base.get(name)?),
            None if self.adapter.find(name).is_some() => self.adapter.get(name),
            None => self.base.get(name),
        }
    }
}
