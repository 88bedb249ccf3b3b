//! A linear layer over a weight as its file stores it, and what an adapter adds to it.

use burn::tensor::Tensor;
use fidelio_ops::{Arithmetic, Format, Weight};

use crate::{
    adapter::Adapted,
    footprint::{KeptByLinear, Learns},
    loader::{Loader, ModuleId},
    parameter::Slot,
    pass::Pass,
};

/// `x · wᵀ + b`.
pub(crate) struct Linear {
    module: ModuleId,
    name: String,
    weight: Weight,
    bias: Option<Tensor<1>>,
    /// Whether the checkpoint has the weight as `[input, output]`.
    turned: bool,
}

impl Linear {
    /// Loads `{at}.weight` `[output, input]` and, where the model has one, `{at}.bias`.
    pub(crate) fn load(
        at: &str,
        [input, output]: [usize; 2],
        bias: bool,
        loader: &mut Loader<'_>,
    ) -> Self {
        Self {
            module: loader.module(at, [input, output], bias),
            name: at.into(),
            weight: loader.matrix(&format!("{at}.weight"), output, input),
            bias: bias.then(|| loader.vector(&format!("{at}.bias"), output)),
            turned: false,
        }
    }

    /// The same of a checkpoint that has the weight as `[input, output]`: GPT-2's `Conv1D`.
    pub(crate) fn load_turned(
        at: &str,
        [input, output]: [usize; 2],
        bias: bool,
        loader: &mut Loader<'_>,
    ) -> Self {
        Self {
            module: loader.module(at, [input, output], bias),
            name: at.into(),
            weight: loader.turned_matrix(&format!("{at}.weight"), output, input),
            bias: bias.then(|| loader.vector(&format!("{at}.bias"), output)),
            turned: true,
        }
    }

    /// With the weight as a tensor of Burn's, where it is one of floats and they are not rounded for
    /// products: many rows at a time are multiplied twice as fast so, and a few more slowly. How a row
    /// is rounded may then depend on how many there are.
    pub(crate) fn for_many_rows(self) -> Self {
        match &self.weight {
            Weight::Stored { matrix, .. }
                if matches!(matrix.format, Format::F32 | Format::F16 | Format::BF16)
                    && matrix.arithmetic == Arithmetic::F32 =>
            {
                Self { weight: self.weight.with_floats(self.weight.floats()), ..self }
            }
            _ => self,
        }
    }

    /// `[t, input]` to `[t, output]`.
    pub(crate) fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        let adapted = pass.adapted(self.module);
        let y = match adapted {
            Some(adapted) => adapted.forward(&self.weight, x, pass),
            None => self.weight.linear(x),
        };
        match adapted.and_then(|it| it.bias()).or(self.bias.as_ref()) {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }

    /// The same without an adapter.
    pub(crate) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let y = self.weight.linear(x);
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }

    /// Outputs and inputs.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.weight.dims()
    }

    /// What it keeps beside its operand, and whether it keeps that.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> KeptByLinear {
        let own = learns.parameter(&format!("{}.weight", self.name));
        let bias = learns.parameter(&format!("{}.bias", self.name));
        let adapted = learns.adapted(self.module);
        let [output, input] = self.weight.dims();
        KeptByLinear {
            operand: own || adapted.is_some_and(Adapted::keeps_operand),
            floats: adapted.map_or(0, |it| it.keeps(input, output)),
            tracked: tracked || own || bias || adapted.is_some(),
        }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        let weight = &mut self.weight;
        let slot = if self.turned { Slot::Turned(weight) } else { Slot::Matrix(weight) };
        each(&format!("{}.weight", self.name), slot);
        if let Some(bias) = &mut self.bias {
            each(&format!("{}.bias", self.name), Slot::Vector(bias));
        }
    }
}
