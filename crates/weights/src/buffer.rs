//! Tensors that are collected in memory and written as one file.

use std::path::Path;

use fidelio_backend::{BackendError, TensorSink, TensorView, Weights};

use crate::{WeightsError, safetensors};

/// Named tensors in memory: takes them from [`Learn::save`](fidelio_backend::Learn::save), and
/// gives them to a file or back to an engine. [`safetensors::open`] reads what it writes.
#[derive(Debug, Clone, Default)]
pub struct TensorBuffer {
    tensors: Vec<(String, TensorView)>,
}

impl TensorBuffer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes them as safetensors; the file appears whole or not at all.
    ///
    /// # Errors
    /// When a tensor is quantised or does not have its length, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), WeightsError> {
        safetensors::save_file(path, &self.tensors)
    }

    fn find(&self, name: &str) -> Option<&TensorView> {
        self.tensors.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor)
    }
}

impl TensorSink for TensorBuffer {
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
        if self.find(name).is_some() {
            return Err(BackendError::Engine(format!("tensor `{name}` was given twice")));
        }
        self.tensors.push((name.to_owned(), tensor));
        Ok(())
    }
}

impl Weights for TensorBuffer {
    fn names(&self) -> Vec<String> {
        self.tensors.iter().map(|(name, _)| name.clone()).collect()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        self.find(name).cloned().ok_or_else(|| BackendError::ReadTensor {
            name: name.to_owned(),
            source: Box::new(WeightsError::NoTensor { tensor: name.to_owned() }),
        })
    }
}
