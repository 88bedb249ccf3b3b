//! Gradient descent on a session's model: gradients that add up, and the steps they become.

mod backward;
mod footprint;
mod state;
mod step;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use fidelio_backend::{
    AdapterId, BackendError, Batch, Learn, LearnSpec, LossSum, ParameterInfo, Parent, Part,
    Precision, TensorSink, Trains, UpdateReport, Weights,
};
use fidelio_kernels::on_pool;
use fidelio_ops::Weight;
use regex::Regex;

use super::{BurnSession, token_of};
use crate::{
    adapter::Adapter,
    noise::Noise,
    optimizer::Optimizer,
    parameter::{Slot, Value},
    pass::Layout,
};

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
        if !self.learns {
            return Err(BackendError::Adapter {
                what: "models do not learn on GPUs yet".into(),
                help: "learn on the CPU: `device: flex`".into(),
            });
        }
        if self.precision == Precision::Int8Activations {
            return Err(BackendError::Adapter {
                what: format!("a session that computes in {} cannot learn", self.precision.name()),
                help: "open it in f32".into(),
            });
        }
        if self.rounded && spec.trains == Trains::All {
            return Err(BackendError::Adapter {
                what: "rounded weights cannot learn".into(),
                help: "learn an adapter beside them, or open the model without quantization".into(),
            });
        }
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
            let (Slot::Matrix(weight) | Slot::Turned(weight)) = slot else { return };
            if let Some(module) = name.strip_suffix(".weight") {
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
        let loss = on_pool(|| self.add(batch, &mut learning));
        self.learning = Some(learning);
        loss
    }

    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        let learning = self.learning.as_mut().ok_or_else(not_learning)?;
        let report = on_pool(|| learning.step(lr, weight))?;
        if report.applied {
            self.install();
        }
        Ok(report)
    }

    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let learning = self.learning.as_ref().ok_or_else(not_learning)?;
        match part {
            Part::Parameters => learning.save_parameters(into),
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
