//! What a graph of gradients keeps of each layer, in floats per token.
//!
//! Each layer says it of itself, beside what it computes; `tests/memory.rs` compares the sum with
//! what an allocator counts.

use crate::{
    adapter::{Adapted, Adapter},
    loader::ModuleId,
};

/// What learns.
pub(crate) struct Learns<'a> {
    /// Whether a parameter of the model does.
    pub(crate) parameter: &'a dyn Fn(&str) -> bool,
    /// The adapter that does.
    pub(crate) adapter: Option<&'a Adapter>,
}

/// What is kept of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Floats per token.
    pub(crate) floats: usize,
    /// Whether the result has gradients.
    pub(crate) tracked: bool,
}

/// What is kept of a linear layer, whose operand others may keep too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptByLinear {
    /// Whether the operand is.
    pub(crate) operand: bool,
    /// Floats per token beside it.
    pub(crate) floats: usize,
    /// Whether the result has gradients.
    pub(crate) tracked: bool,
}

impl Learns<'_> {
    pub(crate) fn parameter(&self, name: &str) -> bool {
        (self.parameter)(name)
    }

    /// What an adapter that learns has for a linear layer.
    pub(crate) fn adapted(&self, module: ModuleId) -> Option<&Adapted> {
        self.adapter?.layer(module)
    }
}
