//! How gradients become steps: the optimizers of [`OptimizerSpec`].
//!
//! A [`Rule`] computes one parameter's step from what is [`Kept`] of it; an [`Optimizer`] counts
//! updates and holds what is kept, by parameter. Parameters and gradients are matrices of 32-bit
//! floats, a vector being one row; numbers that do not depend on an element stay on the host, in
//! 64 bits. Trajectories of other implementations: `tests/golden/optimizers.json`.

mod accumulated;
mod adafactor;
mod adam;
mod eight_bit;
mod lamb;
mod lion;
mod muon;
mod rule;
mod schedule_free;
mod sgd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use fidelio_backend::{BackendError, OptimizerSpec};
use fidelio_kernels::Dynamic;

pub(crate) use eight_bit::Rounded;
use rule::{Kept, Rule, Step, WeightDecay};

const FLOAT: usize = size_of::<f32>();

/// An optimizer at work on any number of parameters.
pub(crate) struct Optimizer {
    rule: Box<dyn Rule>,
    updates: u64,
    kept: BTreeMap<String, Kept>,
}

/// What an optimizer must find again to go on as if it had never stopped.
///
/// Names are `{parameter}.{moment}`, the moments' names those of the original implementations.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Updates begun.
    pub(crate) updates: u64,
    /// The moments.
    pub(crate) tensors: BTreeMap<String, Tensor<2>>,
    /// The moments of which codes are kept.
    pub(crate) rounded: BTreeMap<String, Rounded>,
    /// What depends on the learning rates so far; bits count, so they want 64.
    pub(crate) numbers: BTreeMap<String, f64>,
}

impl Optimizer {
    /// An optimizer that has taken no step.
    ///
    /// # Errors
    /// When the specification is of a kind that this version does not know, or asks for what the
    /// method cannot do.
    pub(crate) fn new(spec: OptimizerSpec) -> Result<Self, BackendError> {
        Ok(Self { rule: rule_of(spec)?, updates: 0, kept: BTreeMap::new() })
    }

    /// Begins an update: counts it. Each parameter then takes one [`Self::step`], with a gradient
    /// of zeros if it has none, because all share the count.
    pub(crate) fn begin(&mut self) {
        self.updates += 1;
    }

    /// The parameter after this update's step at the learning rate `lr`.
    pub(crate) fn step(
        &mut self,
        lr: f64,
        name: &str,
        value: Tensor<2>,
        gradient: Tensor<2>,
    ) -> Tensor<2> {
        debug_assert!(self.updates > 0, "an update begins before its steps");
        let kept = self.kept.entry(name.to_owned()).or_default();
        self.rule.step(Step { lr, update: self.updates, name, value, gradient }, kept)
    }

    /// The parameter as the model shall have it where it is evaluated or saved; `value` is where
    /// its gradients are asked for. They differ for schedule-free optimizers only.
    pub(crate) fn averaged(&self, name: &str, value: Tensor<2>) -> Tensor<2> {
        match self.kept.get(name) {
            Some(kept) => self.rule.averaged(value, kept),
            None => value,
        }
    }

    /// Bytes that it keeps of a parameter of this name and shape.
    pub(crate) fn keeps(&self, name: &str, shape: [usize; 2]) -> usize {
        let keeps = self.rule.keeps(name, shape);
        let floats = keeps.tensors.iter().map(|(_, [rows, cols])| rows * cols * FLOAT);
        let codes = keeps.rounded.iter().map(|(_, [rows, cols])| {
            let numbers = rows * cols;
            numbers + Dynamic::scales_of(numbers) * FLOAT
        });
        floats.chain(codes).sum()
    }

    /// All that [`Self::restore`] needs.
    pub(crate) fn state(&self) -> State {
        let mut state = State { updates: self.updates, ..State::default() };
        for (parameter, kept) in &self.kept {
            for (moment, tensor) in &kept.tensors {
                state.tensors.insert(format!("{parameter}.{moment}"), tensor.clone());
            }
            for (moment, rounded) in &kept.rounded {
                state.rounded.insert(format!("{parameter}.{moment}"), rounded.clone());
            }
            for (moment, number) in &kept.numbers {
                state.numbers.insert(format!("{parameter}.{moment}"), *number);
            }
        }
        state
    }

    /// Goes back to a state. `parameters` are all that learn, with their rows and columns.
    ///
    /// # Errors
    /// Everything that is missing, left over or misshapen; then nothing has changed.
    pub(crate) fn restore<'a>(
        &mut self,
        parameters: impl IntoIterator<Item = (&'a str, [usize; 2])>,
        mut state: State,
    ) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut kept = BTreeMap::new();
        if state.updates > 0 {
            for (name, shape) in parameters {
                let found = take(&mut state, &*self.rule, name, shape, &mut problems);
                kept.insert(name.to_owned(), found);
            }
        }
        let left = state.tensors.keys().chain(state.rounded.keys()).chain(state.numbers.keys());
        problems
            .extend(left.map(|name| format!("`{name}` is not a part of this optimizer's state")));
        if !problems.is_empty() {
            return Err(problems);
        }
        self.updates = state.updates;
        self.kept = kept;
        Ok(())
    }
}

/// Takes what is kept of one parameter out of a state, noting what does not fit.
fn take(
    state: &mut State,
    rule: &dyn Rule,
    parameter: &str,
    shape: [usize; 2],
    problems: &mut Vec<String>,
) -> Kept {
    let mut kept = Kept::default();
    let keeps = rule.keeps(parameter, shape);
    for (moment, expected) in keeps.tensors {
        let name = format!("{parameter}.{moment}");
        match state.tensors.remove(&name) {
            None => problems.push(format!("`{name}` {expected:?} is missing")),
            Some(tensor) if tensor.dims() != expected => {
                problems.push(format!("`{name}` is {:?}, expected {expected:?}", tensor.dims()));
            }
            Some(tensor) => {
                kept.tensors.insert(moment, tensor);
            }
        }
    }
    for (moment, expected) in keeps.rounded {
        let name = format!("{parameter}.{moment}");
        match state.rounded.remove(&name) {
            None => problems.push(format!("the codes of `{name}` {expected:?} are missing")),
            Some(found) if found.shape != expected => {
                problems.push(format!("`{name}` is {:?}, expected {expected:?}", found.shape));
            }
            Some(mut found) => {
                found.codes.signed = rule.is_signed(moment);
                kept.rounded.insert(moment, found);
            }
        }
    }
    for moment in keeps.numbers {
        let name = format!("{parameter}.{moment}");
        match state.numbers.remove(&name) {
            None => problems.push(format!("the number `{name}` is missing")),
            Some(number) => {
                kept.numbers.insert(moment, number);
            }
        }
    }
    kept
}

/// The rule that a specification asks for.
fn rule_of(spec: OptimizerSpec) -> Result<Box<dyn Rule>, BackendError> {
    use OptimizerSpec as Spec;
    use WeightDecay::{Coupled, Decoupled};
    Ok(match spec {
        Spec::Sgd { momentum, dampening, weight_decay, nesterov } => {
            Box::new(sgd::Sgd { momentum, dampening, decay: Coupled(weight_decay), nesterov })
        }
        Spec::Adam { betas, eps, weight_decay, amsgrad } => {
            Box::new(adam::Adam { betas, eps, decay: Coupled(weight_decay), amsgrad })
        }
        Spec::Adamw { betas, eps, weight_decay, amsgrad } => {
            Box::new(adam::Adam { betas, eps, decay: Decoupled(weight_decay), amsgrad })
        }
        Spec::Adam8bit { betas, eps, weight_decay }
        | Spec::Adamw8bit { betas, eps, weight_decay } => {
            let decay = Decoupled(weight_decay);
            let rule = adam::Adam { betas, eps, decay, amsgrad: false };
            Box::new(eight_bit::EightBit { rule, unsigned: &[adam::SQUARE] })
        }
        Spec::Lion8bit { betas, weight_decay } => {
            let rule = lion::Lion { betas, decay: Decoupled(weight_decay) };
            Box::new(eight_bit::EightBit { rule, unsigned: &[] })
        }
        Spec::Adamax { betas, eps, weight_decay } => {
            Box::new(adam::Adamax { betas, eps, decay: Coupled(weight_decay) })
        }
        Spec::Nadam { betas, eps, weight_decay, momentum_decay } => {
            Box::new(adam::Nadam { betas, eps, decay: Coupled(weight_decay), momentum_decay })
        }
        Spec::Radam { betas, eps, weight_decay } => {
            Box::new(adam::Radam { betas, eps, decay: Coupled(weight_decay) })
        }
        Spec::Adagrad { initial_accumulator_value: initial, lr_decay, weight_decay, eps } => {
            Box::new(accumulated::Adagrad { initial, lr_decay, decay: Coupled(weight_decay), eps })
        }
        Spec::Adadelta { rho, eps, weight_decay } => {
            Box::new(accumulated::Adadelta { rho, eps, decay: Coupled(weight_decay) })
        }
        Spec::Rmsprop { momentum, alpha, eps, centered, weight_decay } => {
            let decay = Coupled(weight_decay);
            Box::new(accumulated::Rmsprop { momentum, alpha, eps, centered, decay })
        }
        Spec::Adafactor {
            eps,
            clip_threshold,
            decay_rate,
            weight_decay,
            scale_parameter,
            relative_step,
            warmup_init,
        } => Box::new(adafactor::Adafactor {
            eps,
            clip_threshold,
            decay_rate,
            weight_decay,
            scale_parameter,
            relative_step,
            warmup_init,
        }),
        Spec::Lion { betas, weight_decay } => {
            Box::new(lion::Lion { betas, decay: Decoupled(weight_decay) })
        }
        Spec::Lamb { betas, eps, weight_decay, bias_correction } => {
            Box::new(lamb::Lamb { betas, eps, weight_decay, bias_correction })
        }
        Spec::Muon { momentum, nesterov, weight_decay } => {
            Box::new(muon::Muon { momentum, nesterov, weight_decay })
        }
        Spec::ScheduleFreeAdamw { betas, eps, weight_decay, warmup_steps } => {
            Box::new(schedule_free::Adamw::new(betas, eps, weight_decay, warmup_steps)?)
        }
        other => return Err(BackendError::Engine(format!("the optimizer {other:?} is not known"))),
    })
}
