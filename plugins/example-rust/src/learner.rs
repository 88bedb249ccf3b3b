//! Learning: gradients add up in 64 bits, and become steps of stochastic gradient descent.

use fidelio_backend::{
    BackendError, Batch, Clip, Learn, LearnSpec, LossSum, OptimizerSpec, ParameterInfo, Part,
    TensorSink, Trains, UpdateReport, Weights,
};

use crate::{
    session::{NgramSession, asked},
    tables::{NAMES, Tables, logsumexp},
};

/// What learning remembers beside the tables.
#[derive(Debug)]
pub(crate) struct Learning {
    momentum: f64,
    /// The largest norm of all gradients together.
    most: f64,
    /// The running mean of gradients, a table each.
    velocity: Tables,
    /// The sum of gradients since the last update; none before the first batch.
    gradients: Option<[Vec<f64>; 2]>,
}

impl Learning {
    /// # Errors
    /// When the spec asks for what this engine does not have.
    pub(crate) fn new(spec: &LearnSpec, vocabulary: usize) -> Result<Self, BackendError> {
        let refuse = |what: &str, help: &str| {
            Err(BackendError::Adapter { what: what.to_owned(), help: help.to_owned() })
        };
        if let Trains::Adapter(adapter) = spec.trains {
            return Err(BackendError::NoAdapter(adapter));
        }
        if !spec.frozen.is_empty() || spec.lora_plus_ratio.is_some() || spec.neftune_alpha != 0.0 {
            return refuse(
                "n-grams learn whole tables, without noise",
                "leave out frozen parameters, LoRA+ and NEFTune",
            );
        }
        let OptimizerSpec::Sgd { momentum, dampening: 0.0, weight_decay: 0.0, nesterov: false } =
            spec.optimizer
        else {
            return refuse(
                "n-grams learn by plain gradient descent with momentum",
                "set `optimizer: {type: sgd}`",
            );
        };
        let most = match spec.clip {
            Clip::None => f64::INFINITY,
            Clip::GlobalNorm(most) => most,
            _ => return refuse("gradients are clipped by their common norm only", "clip by norm"),
        };
        Ok(Self { momentum, most, velocity: Tables::zeros(vocabulary), gradients: None })
    }
}

fn not_learning() -> BackendError {
    BackendError::Engine("nothing learns here".to_owned())
}

impl Learn for NgramSession {
    fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError> {
        self.check_batch(batch)?;
        let places = self.places(batch);
        let v = self.tables.vocabulary;
        let tables = &self.tables;
        let learning = self.learning.as_mut().ok_or_else(not_learning)?;
        let gradients =
            learning.gradients.get_or_insert_with(|| [vec![0.0; v * v], vec![0.0; v * v]]);
        let mut loss = LossSum::default();
        for target in &batch.targets {
            let place = places[target.at as usize];
            let token = asked(target.ask)? as usize;
            let logits = tables.logits(place);
            let total = logsumexp(&logits);
            let weight = f64::from(target.weight);
            loss += LossSum { sum: weight * f64::from(total - logits[token]), weight };
            // The gradient by the logits: probabilities, less 1 at the token that is asked for.
            let rows = [Some(place.last), place.before];
            for (gradients, row) in gradients.iter_mut().zip(rows) {
                let Some(row) = row else { continue };
                let row = &mut gradients[row as usize * v..][..v];
                for (gradient, &logit) in row.iter_mut().zip(&logits) {
                    *gradient += weight * f64::from(logit - total).exp();
                }
                row[token] -= weight;
            }
        }
        Ok(loss)
    }

    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        let learning = self.learning.as_mut().ok_or_else(not_learning)?;
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(BackendError::Engine(format!("an update by a weight of {weight}")));
        }
        let Some(gradients) = learning.gradients.take() else {
            return Err(BackendError::Engine("an update of nothing".to_owned()));
        };
        let squares = gradients.iter().flatten().map(|g| (g / weight).powi(2)).sum::<f64>();
        let norm = squares.sqrt();
        let clipped = norm > learning.most;
        let report = UpdateReport { gradient_norm: norm, clipped, applied: norm.is_finite() };
        if !report.applied {
            return Ok(report);
        }
        let scale = if clipped { learning.most / norm } else { 1.0 } / weight;
        let velocities = learning.velocity.floats.iter_mut();
        for ((table, velocity), gradients) in
            self.tables.floats.iter_mut().zip(velocities).zip(gradients)
        {
            for ((x, velocity), gradient) in table.iter_mut().zip(velocity).zip(gradients) {
                let step = learning.momentum * f64::from(*velocity) + gradient * scale;
                *velocity = step as f32;
                *x = (f64::from(*x) - lr * f64::from(*velocity)) as f32;
            }
        }
        Ok(report)
    }

    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let learning = self.learning.as_ref().ok_or_else(not_learning)?;
        let tables = match part {
            Part::Parameters => &self.tables,
            Part::Optimizer => &learning.velocity,
        };
        for (i, name) in NAMES.into_iter().enumerate() {
            into.put(name, tables.tensor(i))?;
        }
        Ok(())
    }

    fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError> {
        let read = Tables::read(from, self.tables.vocabulary)?;
        let learning = self.learning.as_mut().ok_or_else(not_learning)?;
        learning.gradients = None;
        match part {
            Part::Parameters => self.tables = read,
            Part::Optimizer => learning.velocity = read,
        }
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterInfo> {
        let v = self.tables.vocabulary;
        NAMES.map(|name| ParameterInfo { name: name.to_owned(), shape: vec![v, v] }).into()
    }
}
