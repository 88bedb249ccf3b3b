//! A checkpoint's weights with other values in the place of some.

use fidelio_backend::{BackendError, TensorView, Weights};

use crate::{Tensors, WeightsError};

/// The tensors of `base`, and where `over` has one of the same name, that one.
#[derive(Debug, Clone)]
pub struct Overlay<W> {
    base: Tensors,
    over: W,
}

impl<W: Weights> Overlay<W> {
    /// Lays `over` on `base`.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`] for a tensor of `over` that `base` does not have.
    pub fn new(base: Tensors, over: W) -> Result<Self, WeightsError> {
        match over.names().into_iter().find(|name| base.find(name).is_none()) {
            Some(tensor) => Err(WeightsError::NoTensor { tensor }),
            None => Ok(Self { base, over }),
        }
    }
}

impl<W: Weights> Weights for Overlay<W> {
    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        if self.over.names().iter().any(|over| over == name) {
            self.over.get(name)
        } else {
            self.base.get(name)
        }
    }
}
