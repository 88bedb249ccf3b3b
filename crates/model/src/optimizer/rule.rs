//! What every optimizer is to the rest: a rule for one parameter's step, and what it keeps.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::eight_bit::Rounded;

/// How one parameter steps.
pub(super) trait Rule: Send {
    /// The parameter after the step. What the next step needs goes to `kept`, empty at first.
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2>;

    /// What [`Self::step`] leaves in `kept` of a parameter of this name and shape.
    fn keeps(&self, name: &str, shape: [usize; 2]) -> Keeps;

    /// Whether a moment that is kept rounded may be negative.
    fn is_signed(&self, moment: &str) -> bool {
        let _ = moment;
        true
    }

    /// The parameter as the model shall have it, where that is not where gradients are asked for.
    fn averaged(&self, value: Tensor<2>, kept: &Kept) -> Tensor<2> {
        let _ = kept;
        value
    }
}

/// One step of one parameter.
pub(super) struct Step<'a> {
    /// The learning rate of this update.
    pub(super) lr: f64,
    /// Which update this is, counted from 1.
    pub(super) update: u64,
    /// The parameter's name.
    pub(super) name: &'a str,
    pub(super) value: Tensor<2>,
    pub(super) gradient: Tensor<2>,
}

/// The names and shapes of what is kept of a parameter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Keeps {
    pub(super) tensors: Vec<(&'static str, [usize; 2])>,
    /// Tensors of which codes are kept.
    pub(super) rounded: Vec<(&'static str, [usize; 2])>,
    pub(super) numbers: Vec<&'static str>,
}

impl Keeps {
    /// Tensors of the parameter's shape.
    pub(super) fn alike(names: &[&'static str], shape: [usize; 2]) -> Self {
        Self { tensors: names.iter().map(|&name| (name, shape)).collect(), ..Self::default() }
    }
}

/// What is kept of a parameter from one step to the next.
///
/// Tensors are taken out and put back, so that an engine may work in their memory.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) tensors: BTreeMap<&'static str, Tensor<2>>,
    pub(super) rounded: BTreeMap<&'static str, Rounded>,
    pub(super) numbers: BTreeMap<&'static str, f64>,
}

impl Kept {
    /// Takes a tensor out; none at the first step.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Tensor<2>> {
        self.tensors.remove(name)
    }

    /// Puts a tensor back, and hands it on.
    pub(super) fn put(&mut self, name: &'static str, tensor: Tensor<2>) -> Tensor<2> {
        self.tensors.insert(name, tensor.clone());
        tensor
    }

    /// `decay` times what was kept (zeros at first) plus `rate` times `new`.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        decay: f64,
        new: Tensor<2>,
        rate: f64,
    ) -> Tensor<2> {
        let new = new * rate;
        let sum = match self.take(name) {
            None => new,
            Some(old) => old * decay + new,
        };
        self.put(name, sum)
    }

    /// The exponential average of what comes, begun at zero.
    pub(super) fn average(&mut self, name: &'static str, decay: f64, new: Tensor<2>) -> Tensor<2> {
        self.add(name, decay, new, 1.0 - decay)
    }

    /// The greatest of what came, element by element.
    pub(super) fn greatest(&mut self, name: &'static str, new: Tensor<2>) -> Tensor<2> {
        let greatest = match self.take(name) {
            None => new,
            Some(old) => old.max_pair(new),
        };
        self.put(name, greatest)
    }

    /// Replaces a number, which is `start` at first, and hands it on.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        start: f64,
        next: impl FnOnce(f64) -> f64,
    ) -> f64 {
        let number = self.numbers.entry(name).or_insert(start);
        *number = next(*number);
        *number
    }
}

/// How weights shrink.
#[derive(Debug, Clone, Copy)]
pub(super) enum WeightDecay {
    /// As a penalty on the loss: a part of the gradient, and so of every moment.
    Coupled(f64),
    /// By the learning rate, beside the step (arXiv 1711.05101).
    Decoupled(f64),
}

impl WeightDecay {
    /// The value and the gradient that the method goes on with.
    pub(super) fn apply(
        self,
        lr: f64,
        value: Tensor<2>,
        gradient: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        match self {
            Self::Coupled(0.0) | Self::Decoupled(0.0) => (value, gradient),
            Self::Coupled(rate) => {
                let gradient = gradient + value.clone() * rate;
                (value, gradient)
            }
            Self::Decoupled(rate) => (value * (1.0 - lr * rate), gradient),
        }
    }
}

/// What is left of a moment's bias towards its start at zero: `1 - decay^update`.
pub(super) fn bias_correction(decay: f64, update: u64) -> f64 {
    1.0 - decay.powf(update as f64)
}

/// The Euclidean norm, as a matrix of one element.
pub(super) fn norm(x: Tensor<2>) -> Tensor<2> {
    x.square().sum_dims(&[0, 1]).sqrt()
}
