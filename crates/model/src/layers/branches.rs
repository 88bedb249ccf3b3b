//! Several products of one operand.

use burn::tensor::Tensor;

use super::Linear;
use crate::{
    footprint::{Kept, Learns},
    loader::Loader,
    parameter::Slot,
    pass::Pass,
};

/// `N` linear layers over one operand, or one whose result is cut into as many.
pub(crate) struct Branches<const N: usize> {
    /// `N` of them, or one.
    linears: Vec<Linear>,
    /// How wide each result is.
    outputs: [usize; N],
}

impl<const N: usize> Branches<N> {
    /// Layers of their own, `{at}.{name}` each.
    pub(crate) fn apart(
        at: &str,
        names: [&str; N],
        input: usize,
        outputs: [usize; N],
        bias: bool,
        loader: &mut Loader<'_>,
    ) -> Self {
        let linears = names
            .iter()
            .zip(outputs)
            .map(|(name, output)| {
                Linear::load(&format!("{at}.{name}"), [input, output], bias, loader)
            })
            .collect();
        Self { linears, outputs }
    }

    /// One layer, `at`, whose outputs stand one after the other. An adapter stands beside it as one.
    pub(crate) fn fused(
        at: &str,
        input: usize,
        outputs: [usize; N],
        loader: &mut Loader<'_>,
    ) -> Self {
        let sizes = [input, outputs.iter().sum()];
        Self { linears: vec![Linear::load(at, sizes, false, loader)], outputs }
    }

    /// `[t, input]` to `[t, output]` each.
    pub(crate) fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> [Tensor<2>; N] {
        let [fused] = &self.linears[..] else {
            return std::array::from_fn(|i| self.linears[i].forward(x.clone(), pass));
        };
        let all = fused.forward(x, pass); // [t, all outputs]
        let mut first = 0;
        self.outputs.map(|output| {
            first += output;
            all.clone().narrow(1, first - output, output)
        })
    }

    /// What its layers keep, their operand once.
    pub(crate) fn kept(&self, tracked: bool, learns: &Learns<'_>) -> Kept {
        let input = self.linears.first().map_or(0, |it| it.dims()[1]);
        let kept: Vec<_> = self.linears.iter().map(|it| it.kept(tracked, learns)).collect();
        let operand = if kept.iter().any(|it| it.operand) { input } else { 0 };
        Kept {
            floats: operand + kept.iter().map(|it| it.floats).sum::<usize>(),
            tracked: kept.iter().any(|it| it.tracked),
        }
    }

    pub(crate) fn parameters(&mut self, each: &mut dyn FnMut(&str, Slot<'_>)) {
        for linear in &mut self.linears {
            linear.parameters(each);
        }
    }
}
