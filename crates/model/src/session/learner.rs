//! Gradient descent on a session's model: gradients that add up, and the steps they become.

mod backward;

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use fidelio_backend::{
    AdapterId, BackendError, Batch, Clip, Encoding, Learn, LearnSpec, LossSum, OptimizerSpec,
    ParameterInfo, Parent, Part, TensorSink, TensorView, Trains, UpdateReport, Weights,
};
use fidelio_ops::Weight;
use regex::Regex;

use super::{BurnSession, token_of};
use crate::{
    adapter::Adapter,
    loader::read_floats,
    noise::Noise,
    optimizer::{Optimizer, State},
    parameter::{Slot, Value},
    pass::Layout,
};

/// The count of updates among the optimizer's tensors.
const UPDATES: &str = "updates";
/// Behind a parameter's name: where its gradients are asked for, if that is not its value.
const ASKED: &str = "asked";
/// Behind the name of an adapter's factor whose rate LoRA+ raises.
const LORA_B: &str = ".lora_B.weight";

/// What learns, and the state that it has reached.
pub(super) struct Learning {
    spec: LearnSpec,
    /// Where gradients are asked for. The model has the optimizer's averages of these.
    values: BTreeMap<String, Value>,
    /// Gradients since the last update, vectors as one row.
    sums: BTreeMap<String, Tensor<2>>,
    optimizer: Optimizer,
    /// Whether anything was added since the last update.
    added: bool,
    updates: u64,
}

impl BurnSession {
    /// Begins to learn.
    pub(super) fn begin(&mut self, spec: &LearnSpec) -> Result<(), BackendError> {
        let frozen = frozen(&spec.frozen)?;
        let values = self.values(spec.trains, &frozen)?;
        if values.is_empty() {
            return Err(BackendError::Adapter {
                what: "nothing would learn".into(),
                help: "every parameter is frozen; freeze fewer".into(),
            });
        }
        let optimizer = Optimizer::new(spec.optimizer.clone())?;
        let learning = Learning {
            spec: spec.clone(),
            values,
            sums: BTreeMap::new(),
            optimizer,
            added: false,
            updates: 0,
        };
        self.learning = Some(learning);
        if spec.trains == Trains::All {
            self.install();
        }
        Ok(())
    }

    /// The parameters that learn, as floats.
    fn values(
        &mut self,
        trains: Trains,
        frozen: &[Regex],
    ) -> Result<BTreeMap<String, Value>, BackendError> {
        let learns = |name: &str| !frozen.iter().any(|pattern| pattern.is_match(name));
        let mut values = match trains {
            Trains::Adapter(id) => {
                let adapter = self.adapters.get(&id).ok_or(BackendError::NoAdapter(id))?;
                adapter.parameters(&self.modules)
            }
            Trains::All => {
                let mut values = BTreeMap::new();
                self.model.parameters(&mut |name, slot| {
                    if learns(name) {
                        values.insert(name.to_owned(), slot.floats());
                    }
                });
                values
            }
        };
        values.retain(|name, _| learns(name));
        Ok(values)
    }

    /// Gives the model, or its adapter, what has been learnt; rows computed before are gone.
    fn install(&mut self) {
        let Some(learning) = &self.learning else { return };
        let learnt: BTreeMap<String, Value> = learning
            .values
            .iter()
            .map(|(name, value)| {
                let rows = learning.optimizer.averaged(name, value.clone().rows());
                (name.clone(), value.like(rows))
            })
            .collect();
        match learning.spec.trains {
            Trains::Adapter(id) => {
                let own = self.own_weights();
                if let Some(adapter) = self.adapters.get_mut(&id) {
                    *adapter = adapter.with(&self.modules, &learnt);
                    adapter.measure(&self.modules, |module| own[module].clone());
                }
                self.rows.close_all_of(id);
            }
            Trains::All => {
                self.model.parameters(&mut |name, slot| {
                    if let Some(value) = learnt.get(name) {
                        slot.set(value.clone());
                    }
                });
                self.rows.close_all();
            }
        }
    }

    /// The weights of linear layers, by the layers' names.
    pub(super) fn own_weights(&mut self) -> BTreeMap<String, Weight> {
        let mut weights = BTreeMap::new();
        self.model.parameters(&mut |name, slot| {
            if let (Some(module), Slot::Matrix(weight)) = (name.strip_suffix(".weight"), slot) {
                weights.insert(module.to_owned(), weight.clone());
            }
        });
        weights
    }

    /// Everything that could be wrong with a batch to learn from.
    fn check_learnable(&self, batch: &Batch, learning: &Learning) -> Result<(), BackendError> {
        batch.check()?;
        self.check_tokens(&batch.forest.tokens)?;
        let asked: Vec<u32> = batch.targets.iter().map(|target| token_of(target.ask)).collect();
        self.check_tokens(&asked)?;
        let expected = match learning.spec.trains {
            Trains::Adapter(id) => Some(id),
            Trains::All => None,
        };
        if batch.forest.adapter != expected {
            return Err(BackendError::Forest(format!(
                "it is computed with {:?}, but {expected:?} learns",
                batch.forest.adapter
            )));
        }
        if batch.forest.nodes.iter().any(|node| matches!(node.parent, Parent::Cached(_))) {
            return Err(BackendError::Forest("cached rows have no gradients".into()));
        }
        if self.needs_noise(learning) && batch.rows.len() != batch.forest.nodes.len() {
            return Err(BackendError::Forest(
                "dropout and noise need the row of every node".into(),
            ));
        }
        Ok(())
    }

    fn needs_noise(&self, learning: &Learning) -> bool {
        let drops = match learning.spec.trains {
            Trains::Adapter(id) => self.adapters.get(&id).is_some_and(Adapter::drops),
            Trains::All => false,
        };
        drops || learning.spec.neftune_alpha > 0.0
    }

    fn noise(&self, batch: &Batch, positions: &[u32], learning: &Learning) -> Option<Noise> {
        let rows = batch.forest.nodes.iter().zip(&batch.rows);
        let rows = rows.flat_map(|(node, &row)| std::iter::repeat_n(row, node.len as usize));
        let tokens = rows.zip(positions.iter().copied()).collect();
        self.needs_noise(learning).then(|| Noise::new(learning.spec.seed, learning.updates, tokens))
    }
}

impl Learn for BurnSession {
    fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError> {
        let mut learning = self.learning.take().ok_or_else(not_learning)?;
        let loss = self.add(batch, &mut learning);
        self.learning = Some(learning);
        loss
    }

    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        let learning = self.learning.as_mut().ok_or_else(not_learning)?;
        let report = learning.step(lr, weight)?;
        if report.applied {
            self.install();
        }
        Ok(report)
    }

    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let learning = self.learning.as_ref().ok_or_else(not_learning)?;
        match part {
            Part::Parameters => learning.values.iter().try_for_each(|(name, value)| {
                let rows = learning.optimizer.averaged(name, value.clone().rows());
                into.put(name, floats_of(rows, value.shape()))
            }),
            Part::Optimizer => learning.save_optimizer(into),
        }
    }

    fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError> {
        let learning = self.learning.as_mut().ok_or_else(not_learning)?;
        match part {
            Part::Parameters => learning.restore_parameters(from)?,
            Part::Optimizer => learning.restore_optimizer(from)?,
        }
        learning.sums.clear();
        learning.added = false;
        self.install();
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterInfo> {
        let values = self.learning.iter().flat_map(|learning| &learning.values);
        values
            .map(|(name, value)| ParameterInfo { name: name.clone(), shape: value.shape() })
            .collect()
    }
}

impl BurnSession {
    fn add(&mut self, batch: &Batch, learning: &mut Learning) -> Result<LossSum, BackendError> {
        self.check_learnable(batch, learning)?;
        let layout = Layout::of(&batch.forest, |row| self.rows.spans(row))?;
        self.check_context(layout.longest())?;
        if batch.targets.is_empty() {
            return Ok(LossSum::default());
        }
        let noise = self.noise(batch, layout.positions(), learning);
        let loss = self.backward(batch, layout, noise.as_ref(), learning);
        learning.added = true;
        Ok(loss)
    }
}

impl Learning {
    /// Whether this adapter is what learns.
    pub(super) fn is_of(&self, adapter: AdapterId) -> bool {
        self.spec.trains == Trains::Adapter(adapter)
    }

    /// Divides, clips, steps, begins anew.
    fn step(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        if !self.added || weight.is_nan() || weight <= 0.0 {
            return Err(BackendError::Engine(format!(
                "an update needs gradients and a weight above 0, found the weight {weight}"
            )));
        }
        self.added = false;
        let mut gradients = std::mem::take(&mut self.sums);
        for gradient in gradients.values_mut() {
            *gradient = gradient.clone() / weight;
        }
        let gradient_norm = gradients.values().map(square).sum::<f64>().sqrt();
        if !gradient_norm.is_finite() {
            return Ok(UpdateReport { gradient_norm, clipped: false, applied: false });
        }
        let clipped = clip(&mut gradients, self.spec.clip, gradient_norm);
        self.optimizer.begin();
        self.updates += 1;
        for (name, value) in &mut self.values {
            let rows = value.clone().rows();
            let gradient = gradients.remove(name).unwrap_or_else(|| rows.zeros_like());
            let ratio = self.spec.lora_plus_ratio.filter(|_| name.ends_with(LORA_B));
            let stepped = self.optimizer.step(lr * ratio.unwrap_or(1.0), name, rows, gradient);
            *value = value.like(stepped);
        }
        Ok(UpdateReport { gradient_norm, clipped, applied: true })
    }

    /// Whether the model's values are not where gradients are asked for.
    fn averages(&self) -> bool {
        matches!(self.spec.optimizer, OptimizerSpec::ScheduleFreeAdamw { .. })
    }

    /// Moments as floats; counters and numbers as 64 bits.
    fn save_optimizer(&self, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let State { updates, tensors, numbers } = self.optimizer.state();
        into.put(UPDATES, bits(updates))?;
        for (name, number) in numbers {
            into.put(&name, bits(number.to_bits()))?;
        }
        for (name, tensor) in tensors {
            let shape = tensor.dims().to_vec();
            into.put(&name, floats_of(tensor, shape))?;
        }
        if self.averages() {
            for (name, value) in &self.values {
                let tensor = floats_of(value.clone().rows(), value.shape());
                into.put(&format!("{name}.{ASKED}"), tensor)?;
            }
        }
        Ok(())
    }

    fn restore_parameters(&mut self, from: &dyn Weights) -> Result<(), BackendError> {
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

    fn restore_optimizer(&mut self, from: &dyn Weights) -> Result<(), BackendError> {
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

fn not_learning() -> BackendError {
    BackendError::Engine("`learn` has not been called".into())
}

fn frozen(patterns: &[String]) -> Result<Vec<Regex>, BackendError> {
    let compile = |pattern: &String| {
        Regex::new(pattern).map_err(|error| BackendError::Adapter {
            what: format!("`{pattern}` is not a regular expression"),
            help: error.to_string(),
        })
    };
    patterns.iter().map(compile).collect()
}

/// Limits gradients in place; says whether it had to.
fn clip(gradients: &mut BTreeMap<String, Tensor<2>>, clip: Clip, norm: f64) -> bool {
    // As in PyTorch's `clip_grad_norm_`.
    let factor = |limit: f64, norm: f64| limit / (norm + 1e-6);
    let mut clipped = false;
    for gradient in gradients.values_mut() {
        let factor = match clip {
            Clip::None => continue,
            Clip::GlobalNorm(limit) => factor(limit, norm),
            Clip::Norm(limit) => factor(limit, square(gradient).sqrt()),
            Clip::Value(limit) => {
                let largest = f64::from(gradient.clone().abs().max().into_scalar::<f32>());
                if largest > limit {
                    *gradient = gradient.clone().clamp(-limit, limit);
                    clipped = true;
                }
                continue;
            }
        };
        if factor < 1.0 {
            *gradient = gradient.clone() * factor;
            clipped = true;
        }
    }
    clipped
}

fn square(x: &Tensor<2>) -> f64 {
    f64::from((x.clone() * x.clone()).sum().into_scalar::<f32>())
}

fn floats_of(rows: Tensor<2>, shape: Vec<usize>) -> TensorView {
    let floats = rows.into_data().try_into_vec::<f32>().expect("parameters are f32");
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorView { encoding: Encoding::F32, shape, bytes: bytes.into() }
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
