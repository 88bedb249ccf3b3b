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
    /// Of one layer: the groups in each of which a part of every result stands, one after the other.
    groups: usize,
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
        Self { linears, outputs, groups: 1 }
    }

    /// One layer, `at`, whose outputs stand one after the other. An adapter stands beside it as one.
    pub(crate) fn fused(
        at: &str,
        input: usize,
        outputs: [usize; N],
        loader: &mut Loader<'_>,
    ) -> Self {
        let sizes = [input, outputs.iter().sum()];
        Self::of(Linear::load(at, sizes, false, loader), outputs, 1)
    }

    /// One layer whose outputs are `groups` times a part of each result.
    pub(crate) fn of(fused: Linear, outputs: [usize; N], groups: usize) -> Self {
        Self { linears: vec![fused], outputs, groups }
    }

    /// `[t, input]` to `[t, output]` each.
    pub(crate) fn forward(&self, x: Tensor<2>, pass: &Pass<'_>) -> [Tensor<2>; N] {
        let [fused] = &self.linears[..] else {
            return std::array::from_fn(|i| self.linears[i].forward(x.clone(), pass));
        };
        let all = fused.forward(x, pass); // [t, all outputs]
        let ([t, width], groups) = (all.dims(), self.groups);
        let mut first = 0;
        if groups == 1 {
            return self.outputs.map(|output| {
                first += output;
                all.clone().narrow(1, first - output, output)
            });
        }
        let all = all.reshape([t, groups, width / groups]);
        self.outputs.map(|output| {
            let part = output / groups;
            first += part;
            // [t, groups, part] -> [t, output]
            all.clone().narrow(2, first - part, part).reshape([t, output])
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
