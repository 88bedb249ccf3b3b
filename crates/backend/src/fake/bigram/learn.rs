//! Gradient descent on the table.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::BigramSession;
use crate::{
    Ask, BackendError, Batch, Clip, Encoding, Learn, LearnSpec, LossSum, OptimizerSpec,
    ParameterInfo, Part, TensorSink, TensorView, Trains, UpdateReport, Weights, fake::logsumexp,
};

/// What one is in the fixed point of gradients.
const ONE: f64 = (1_u64 << 40) as f64;

/// What [`Session::learn`] began.
#[derive(Debug, Clone)]
pub(super) struct Learning {
    pub(super) trains: Trains,
    clip: Clip,
    sgd: Sgd,
    gradient: Vec<i64>,
    added: bool,
    velocity: Vec<f32>,
    updates: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sgd {
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
}

/// The name of the model's table.
const MODEL: &str = "bigram.weight";
/// The name of an adapter's table.
pub(super) const ADAPTER: &str = "bigram.lora_B.weight";
/// What the names of the optimizer's tensors are.
const VELOCITY: &str = "momentum_buffer";
const UPDATES: &str = "updates";

fn nothing_learns() -> BackendError {
    BackendError::Engine("nothing learns".to_owned())
}

impl Learn for BigramSession {
    fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError> {
        self.check(batch)?;
        let v = self.limits.vocabulary;
        let mut loss = LossSum::default();
        let mut gradients = Vec::with_capacity(batch.targets.len());
        for target in &batch.targets {
            let Ask::Token(asked) = target.ask;
            let last = batch.forest.tokens[target.at as usize];
            let logits = self.logits(batch.forest.adapter, last);
            let (all, weight) = (f64::from(logsumexp(&logits)), f64::from(target.weight));
            loss += LossSum { sum: weight * (all - f64::from(logits[asked as usize])), weight };
            let row: Vec<i64> = (0..v)
                .map(|j| {
                    let probability = (f64::from(logits[j]) - all).exp();
                    let hit = if j == asked as usize { 1.0 } else { 0.0 };
                    (weight * (probability - hit) * ONE) as i64
                })
                .collect();
            gradients.push((last as usize * v, row));
        }
        let learning = self.learning.as_mut().ok_or_else(nothing_learns)?;
        for (start, row) in gradients {
            for (sum, more) in learning.gradient[start..].iter_mut().zip(row) {
                *sum += more;
            }
        }
        learning.added = true;
        self.probe.count(batch);
        Ok(loss)
    }

    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        let learning = self.learning.as_mut().ok_or_else(nothing_learns)?;
        if !learning.added || weight.is_nan() || weight <= 0.0 {
            return Err(BackendError::Engine("there is nothing to update with".to_owned()));
        }
        learning.added = false;
        let mut gradient: Vec<f64> =
            learning.gradient.iter_mut().map(|g| std::mem::take(g) as f64 / ONE / weight).collect();
        if self.probe.take_poison() {
            gradient[0] = f64::NAN;
        }
        let (gradient_norm, clipped) = clip(&mut gradient, learning.clip);
        let applied = gradient_norm.is_finite();
        if applied {
            let table = match learning.trains {
                Trains::All => &mut self.model,
                Trains::Adapter(id) => {
                    self.adapters.get_mut(&id).ok_or(BackendError::NoAdapter(id))?
                }
            };
            learning.step(table, &gradient, lr);
            self.probe.updates.fetch_add(1, Ordering::Relaxed);
        }
        Ok(UpdateReport { gradient_norm, clipped, applied })
    }

    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        let (learning, table) = self.learned().ok_or_else(nothing_learns)?;
        let shape = vec![self.limits.vocabulary; 2];
        match part {
            Part::Parameters => into.put(name(learning.trains), view(shape, table)),
            Part::Optimizer => {
                into.put(VELOCITY, view(shape, &learning.velocity))?;
                let updates = Bytes::copy_from_slice(&learning.updates.to_le_bytes());
                let shape = vec![1];
                into.put(UPDATES, TensorView { encoding: Encoding::I64, shape, bytes: updates })
            }
        }
    }

    fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError> {
        let learning = self.learning.as_mut().ok_or_else(nothing_learns)?;
        match part {
            Part::Parameters => {
                expect_names(from, &[name(learning.trains)])?;
                let values = floats(from, name(learning.trains), self.model.len())?;
                match learning.trains {
                    Trains::All => self.model = values,
                    Trains::Adapter(id) => {
                        self.adapters.insert(id, values);
                    }
                }
            }
            Part::Optimizer => {
                expect_names(from, &[VELOCITY, UPDATES])?;
                let velocity = floats(from, VELOCITY, self.model.len())?;
                let updates = from.get(UPDATES)?.bytes;
                let updates = updates.first_chunk::<8>().ok_or_else(|| misshapen(UPDATES))?;
                learning.updates = u64::from_le_bytes(*updates);
                learning.velocity = velocity;
            }
        }
        learning.gradient.fill(0);
        learning.added = false;
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterInfo> {
        let shape = vec![self.limits.vocabulary; 2];
        let learning = self.learning.iter();
        learning
            .map(|learning| ParameterInfo {
                name: name(learning.trains).to_owned(),
                shape: shape.clone(),
            })
            .collect()
    }
}

impl Learning {
    pub(super) fn begin(spec: &LearnSpec, elements: usize) -> Result<Self, BackendError> {
        let OptimizerSpec::Sgd { momentum, dampening, weight_decay, nesterov } = spec.optimizer
        else {
            return Err(BackendError::Adapter {
                what: "this engine has the optimizer `sgd` only".to_owned(),
                help: "use it".to_owned(),
            });
        };
        Ok(Self {
            trains: spec.trains,
            clip: spec.clip,
            sgd: Sgd { momentum, dampening, weight_decay, nesterov },
            gradient: vec![0; elements],
            added: false,
            velocity: vec![0.0; elements],
            updates: 0,
        })
    }

    /// One step as `torch.optim.SGD` takes it.
    fn step(&mut self, table: &mut [f32], gradient: &[f64], lr: f64) {
        let Sgd { momentum, dampening, weight_decay, nesterov } = self.sgd;
        for ((value, velocity), gradient) in table.iter_mut().zip(&mut self.velocity).zip(gradient)
        {
            let gradient = gradient + weight_decay * f64::from(*value);
            let first = self.updates == 0;
            let share = if first { 1.0 } else { 1.0 - dampening };
            let faster = momentum * f64::from(*velocity) + share * gradient;
            *velocity = faster as f32;
            let step = if nesterov { gradient + momentum * faster } else { faster };
            *value -= (lr * step) as f32;
        }
        self.updates += 1;
    }
}

/// Limits a gradient of one tensor; tells its norm before, and whether anything changed.
fn clip(gradient: &mut [f64], clip: Clip) -> (f64, bool) {
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    match clip {
        Clip::GlobalNorm(most) | Clip::Norm(most) if norm > most => {
            for g in gradient {
                *g *= most / norm;
            }
            (norm, true)
        }
        Clip::Value(most) => {
            let over = gradient.iter().any(|g| g.abs() > most);
            for g in gradient {
                *g = g.clamp(-most, most);
            }
            (norm, over)
        }
        _ => (norm, false),
    }
}

fn name(trains: Trains) -> &'static str {
    match trains {
        Trains::All => MODEL,
        Trains::Adapter(_) => ADAPTER,
    }
}

fn view(shape: Vec<usize>, values: &[f32]) -> TensorView {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorView { encoding: Encoding::F32, shape, bytes: bytes.into() }
}

pub(super) fn floats(from: &dyn Weights, name: &str, len: usize) -> Result<Vec<f32>, BackendError> {
    let tensor = from.get(name)?;
    let (values, rest) = tensor.bytes.as_chunks::<4>();
    if tensor.encoding != Encoding::F32 || !rest.is_empty() || values.len() != len {
        return Err(misshapen(name));
    }
    Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn expect_names(from: &dyn Weights, expected: &[&str]) -> Result<(), BackendError> {
    let names = from.names();
    let extra = names.iter().filter(|name| !expected.contains(&name.as_str()));
    let extra = extra.map(|name| format!("`{name}` is not expected"));
    let missing = expected.iter().filter(|name| !names.iter().any(|n| n == **name));
    let missing = missing.map(|name| format!("`{name}` is missing"));
    let problems: Vec<String> = extra.chain(missing).collect();
    if problems.is_empty() { Ok(()) } else { Err(BackendError::Weights { problems }) }
}

fn misshapen(name: &str) -> BackendError {
    BackendError::Weights { problems: vec![format!("`{name}` has another shape")] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::{
        AdapterId, AdapterSpec, FakeLimits, Forest, LoraSpec, Parent, Session, Target,
        TargetModules, Want,
    };

    const V: usize = 5;

    fn session(momentum: f64, trains: Trains) -> BigramSession {
        let limits = FakeLimits { vocabulary: V, ..FakeLimits::default() };
        let mut session = BigramSession::new(limits);
        let lora = serde_json::json!({ "r": 1, "lora_alpha": 1.0, "target_modules": "all-linear" });
        let lora: LoraSpec = serde_json::from_value(lora).unwrap();
        assert_eq!(lora.target_modules, TargetModules::Pattern("all-linear".into()));
        session.add_adapter(&AdapterSpec::Lora(lora), None).unwrap();
        session.learn(&spec(momentum, trains)).unwrap();
        session
    }

    fn spec(momentum: f64, trains: Trains) -> LearnSpec {
        LearnSpec {
            trains,
            frozen: Vec::new(),
            optimizer: OptimizerSpec::Sgd {
                momentum,
                dampening: 0.0,
                weight_decay: 0.0,
                nesterov: false,
            },
            lora_plus_ratio: None,
            clip: Clip::None,
            neftune_alpha: 0.0,
            seed: 0,
            checkpoint_blocks: false,
        }
    }

    fn batch(adapter: Option<AdapterId>) -> Batch {
        let mut forest = Forest { adapter, ..Forest::default() };
        forest.push(Parent::Root, &[1, 2, 3]);
        let target = |at, token, weight| Target { at, ask: Ask::Token(token), weight, group: 0 };
        Batch { forest, targets: vec![target(0, 2, 1.0), target(1, 3, 0.5)], rows: Vec::new() }
    }

    fn loss(session: &mut BigramSession, batch: &Batch) -> f64 {
        let scores = session.score(batch, Want::default()).unwrap().scores;
        let targets = batch.targets.iter();
        targets.zip(scores).map(|(t, s)| -f64::from(t.weight * s.logprob)).sum()
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let mut session = session(0.0, Trains::All);
        session.model.iter_mut().enumerate().for_each(|(i, x)| *x = ((i * 7) % 5) as f32 * 0.3);
        let batch = batch(None);
        session.accumulate(&batch).unwrap();
        let gradient = session.learning.clone().unwrap().gradient;
        for (at, gradient) in gradient.into_iter().enumerate() {
            let value = session.model[at];
            session.model[at] = value + 1e-2;
            let above = loss(&mut session, &batch);
            session.model[at] = value - 1e-2;
            let below = loss(&mut session, &batch);
            session.model[at] = value;
            let slope = (above - below) / 2e-2;
            assert!((gradient as f64 / ONE - slope).abs() < 1e-4, "{at}: {slope}");
        }
    }

    #[test]
    fn an_adapter_learns_and_the_model_stays() {
        let adapter = AdapterId(1);
        let mut session = session(0.9, Trains::Adapter(adapter));
        let before = loss(&mut session, &batch(Some(adapter)));
        for _ in 0..20 {
            let sum = session.accumulate(&batch(Some(adapter))).unwrap();
            assert!((sum.weight - 1.5).abs() < 1e-9);
            assert!(session.update(0.5, sum.weight).unwrap().applied);
        }
        assert!(loss(&mut session, &batch(Some(adapter))) < before / 4.0);
        let uniform = 1.5 * (V as f64).ln();
        assert!((loss(&mut session, &batch(None)) - uniform).abs() < 1e-6);
    }

    #[derive(Default)]
    struct Kept(BTreeMap<String, TensorView>);

    impl TensorSink for Kept {
        fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
            self.0.insert(name.to_owned(), tensor);
            Ok(())
        }
    }

    impl Weights for Kept {
        fn names(&self) -> Vec<String> {
            self.0.keys().cloned().collect()
        }

        fn get(&self, name: &str) -> Result<TensorView, BackendError> {
            self.0.get(name).cloned().ok_or_else(|| BackendError::Engine(name.to_owned()))
        }
    }

    #[test]
    fn what_is_saved_goes_on_as_if_nothing_had_happened() {
        let step = |session: &mut BigramSession| {
            session.accumulate(&batch(None)).unwrap();
            session.update(0.3, 1.5).unwrap();
        };
        let (mut a, mut b) = (session(0.9, Trains::All), session(0.9, Trains::All));
        step(&mut a);
        for part in [Part::Parameters, Part::Optimizer] {
            let mut kept = Kept::default();
            a.save(part, &mut kept).unwrap();
            b.restore(part, &kept).unwrap();
            kept.0.insert("stray".into(), view(vec![0], &[]));
            assert!(matches!(b.restore(part, &kept), Err(BackendError::Weights { .. })));
        }
        step(&mut a);
        step(&mut b);
        assert_eq!(a.model, b.model);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut session = session(0.9, Trains::All);
        session.probe().poison(1);
        session.accumulate(&batch(None)).unwrap();
        let report = session.update(1.0, 1.5).unwrap();
        assert!(!report.applied && report.gradient_norm.is_nan());
        assert!(session.model.iter().all(|value| *value == 0.0));
        assert!(session.update(1.0, 1.5).is_err(), "nothing was added");
    }

    #[test]
    fn a_failure_adds_nothing() {
        let mut session = session(0.0, Trains::All);
        session.probe().fail_after(1);
        session.accumulate(&batch(None)).unwrap();
        let gradient = session.learning.clone().unwrap().gradient;
        assert!(session.accumulate(&batch(None)).is_err());
        assert_eq!(session.learning.clone().unwrap().gradient, gradient);
    }

    #[test]
    fn clipping_scales_to_the_limit() {
        let mut gradient = [3.0, -4.0];
        assert_eq!(clip(&mut gradient, Clip::GlobalNorm(1.0)), (5.0, true));
        assert!((gradient[0] - 0.6).abs() < 1e-12 && (gradient[1] + 0.8).abs() < 1e-12);
        assert!(clip(&mut gradient, Clip::Value(0.7)).1);
        assert!((gradient[1] + 0.7).abs() < 1e-12);
    }
}
