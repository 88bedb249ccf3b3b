//! What learning leaves on disk, and finds there again.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use fidelio_backend::{BackendError, Encoding, OptimizerSpec, TensorSink, TensorView, Weights};
use fidelio_kernels::Dynamic;

use super::Learning;
use crate::{
    loader::read_floats,
    optimizer::{Rounded, State},
    parameter::Value,
};

/// The count of updates among the optimizer's tensors.
const UPDATES: &str = "updates";
/// Behind a moment's name: the scales of its codes.
const SCALES: &str = "absmax";
/// Behind a parameter's name: where its gradients are asked for, if that is not its value.
const ASKED: &str = "asked";

impl Learning {
    /// Whether the model's values are not where gradients are asked for.
    fn averages(&self) -> bool {
        matches!(self.spec.optimizer, OptimizerSpec::ScheduleFreeAdamw { .. })
    }

    /// The parameters as the model has them.
    pub(super) fn save_parameters(&self, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        self.values.iter().try_for_each(|(name, value)| {
            let rows = self.optimizer.averaged(name, value.clone().rows());
            into.put(name, floats_of(rows, value.shape()))
        })
    }

    /// Moments as floats, or as codes with their scales; counters and numbers as 64 bits.
    pub(super) fn save_optimizer(&self, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let State { updates, tensors, rounded, numbers } = self.optimizer.state();
        into.put(UPDATES, bits(updates))?;
        for (name, number) in numbers {
            into.put(&name, bits(number.to_bits()))?;
        }
        for (name, tensor) in tensors {
            let shape = tensor.dims().to_vec();
            into.put(&name, floats_of(tensor, shape))?;
        }
        for (name, Rounded { shape, codes }) in rounded {
            let (bytes, shape) = (codes.codes.into(), shape.to_vec());
            into.put(&name, TensorView { encoding: Encoding::U8, shape, bytes })?;
            let shape = vec![1, codes.scales.len()];
            into.put(&format!("{name}.{SCALES}"), view_of(&codes.scales, shape))?;
        }
        if self.averages() {
            for (name, value) in &self.values {
                let tensor = floats_of(value.clone().rows(), value.shape());
                into.put(&format!("{name}.{ASKED}"), tensor)?;
            }
        }
        Ok(())
    }

    pub(super) fn restore_parameters(&mut self, from: &dyn Weights) -> Result<(), BackendError> {
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        for (name, value) in &self.values {
            match read(from, name, &value.shape()) {
                Ok(floats) => {
                    values.insert(name.clone(), value.of(floats));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let left = from.names().into_iter().filter(|name| !self.values.contains_key(name));
        problems.extend(left.map(|name| format!("`{name}` is not a parameter that learns")));
        if !problems.is_empty() {
            return Err(BackendError::Weights { problems });
        }
        self.values = values;
        Ok(())
    }

    pub(super) fn restore_optimizer(&mut self, from: &dyn Weights) -> Result<(), BackendError> {
        let mut state = State::default();
        let mut asked = BTreeMap::new();
        let mut problems = Vec::new();
        let device = self.values.values().next().map(Value::device).unwrap_or_default();
        for name in from.names() {
            let view = from.get(&name)?;
            let parameter = name.strip_suffix(ASKED).and_then(|name| name.strip_suffix('.'));
            if let Some(value) = parameter.and_then(|name| self.values.get(name)) {
                match read(from, &name, &value.shape()) {
                    Ok(floats) => {
                        asked.insert(
                            name[..name.len() - ASKED.len() - 1].to_owned(),
                            value.of(floats),
                        );
                    }
                    Err(problem) => problems.push(problem),
                }
            } else if view.encoding == Encoding::I64 {
                match <[u8; 8]>::try_from(view.bytes.as_ref()) {
                    Ok(bytes) if name == UPDATES => state.updates = u64::from_le_bytes(bytes),
                    Ok(bytes) => {
                        state.numbers.insert(name, f64::from_bits(u64::from_le_bytes(bytes)));
                    }
                    Err(_) => problems.push(format!("`{name}` is not one number")),
                }
            } else if is_scales(from, &name) {
                // Comes with its codes.
            } else if let ([rows, cols], Encoding::U8) = (&view.shape[..], view.encoding) {
                let shape = [*rows, *cols];
                let scales = Dynamic::scales_of(rows * cols);
                match read(from, &format!("{name}.{SCALES}"), &[1, scales]) {
                    Ok(scales) if view.bytes.len() == rows * cols => {
                        let codes = view.bytes.to_vec();
                        // Whether they have signs is the rule's to know.
                        let codes = Dynamic { signed: true, codes, scales };
                        state.rounded.insert(name, Rounded { shape, codes });
                    }
                    Ok(_) => problems.push(format!("`{name}` has {} bytes", view.bytes.len())),
                    Err(problem) => problems.push(problem),
                }
            } else if let [rows, cols] = view.shape[..] {
                match read_floats(&name, &view, &view.shape) {
                    Ok(floats) => {
                        let data = TensorData::new(floats, [rows, cols]);
                        state.tensors.insert(name, Tensor::from_data(data, &device));
                    }
                    Err(problem) => problems.push(problem),
                }
            } else {
                problems.push(format!("`{name}` is {:?}, expected rows and columns", view.shape));
            }
        }
        if self.averages() && asked.len() != self.values.len() {
            problems.push(format!("{} of {} values are there", asked.len(), self.values.len()));
        }
        if !problems.is_empty() {
            return Err(BackendError::Weights { problems });
        }
        let updates = state.updates;
        let shapes: Vec<(String, [usize; 2])> = self
            .values
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().rows().dims()))
            .collect();
        let shapes = shapes.iter().map(|(name, shape)| (name.as_str(), *shape));
        self.optimizer
            .restore(shapes, state)
            .map_err(|problems| BackendError::Weights { problems })?;
        self.updates = updates;
        self.values.extend(asked);
        Ok(())
    }
}

fn floats_of(rows: Tensor<2>, shape: Vec<usize>) -> TensorView {
    let floats = rows.into_data().try_into_vec::<f32>().expect("parameters are f32");
    view_of(&floats, shape)
}

fn view_of(floats: &[f32], shape: Vec<usize>) -> TensorView {
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorView { encoding: Encoding::F32, shape, bytes: bytes.into() }
}

/// Whether it holds the scales of a moment that is there as codes.
fn is_scales(from: &dyn Weights, name: &str) -> bool {
    let moment = name.strip_suffix(SCALES).and_then(|name| name.strip_suffix('.'));
    moment
        .is_some_and(|moment| from.get(moment).is_ok_and(|moment| moment.encoding == Encoding::U8))
}

fn bits(number: u64) -> TensorView {
    let bytes = number.to_le_bytes().to_vec();
    TensorView { encoding: Encoding::I64, shape: vec![1], bytes: bytes.into() }
}

fn read(from: &dyn Weights, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    if !from.names().iter().any(|have| have == name) {
        return Err(format!("`{name}` {shape:?} is missing"));
    }
    let view = from.get(name).map_err(|error| error.to_string())?;
    read_floats(name, &view, shape)
}
