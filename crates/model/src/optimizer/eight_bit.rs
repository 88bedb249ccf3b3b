//! Optimizers whose moments are rounded to 8 bits between steps (arXiv 2110.02861).

use burn::tensor::{Tensor, TensorData};
use fidelio_kernels::Dynamic;

use super::rule::{Keeps, Kept, Rule, Step};

/// Parameters with fewer numbers keep their moments as they are, as with bitsandbytes.
const FEWEST: usize = 4096;

/// A rule whose moments are rounded. A step itself computes with floats.
pub(super) struct EightBit<R> {
    pub(super) rule: R,
    /// The moments that are never negative.
    pub(super) unsigned: &'static [&'static str],
}

/// A moment between steps: the codes of all numbers, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Rounded {
    pub(crate) shape: [usize; 2],
    pub(crate) codes: Dynamic,
}

impl<R: Rule> Rule for EightBit<R> {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (name, shape, device) = (step.name, step.value.dims(), step.value.device());
        for (moment, rounded) in std::mem::take(&mut kept.rounded) {
            let data = TensorData::new(rounded.codes.floats(), rounded.shape);
            kept.tensors.insert(moment, Tensor::from_data(data, &device));
        }
        let value = self.rule.step(step, kept);
        for (moment, shape) in self.keeps(name, shape).rounded {
            let tensor = kept.take(moment).expect("a rule leaves what it says it keeps");
            let floats = tensor.into_data().try_into_vec::<f32>().expect("moments are f32");
            let codes = Dynamic::round(&floats, self.is_signed(moment));
            kept.rounded.insert(moment, Rounded { shape, codes });
        }
        value
    }

    fn keeps(&self, name: &str, shape: [usize; 2]) -> Keeps {
        let mut keeps = self.rule.keeps(name, shape);
        if shape[0] * shape[1] >= FEWEST {
            keeps.rounded = std::mem::take(&mut keeps.tensors);
        }
        keeps
    }

    fn is_signed(&self, moment: &str) -> bool {
        !self.unsigned.contains(&moment)
    }
}
