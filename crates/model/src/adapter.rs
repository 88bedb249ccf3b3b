//! Low-rank adapters beside linear layers, as PEFT computes them.
//! Papers: arxiv.org/abs/2106.09685 (LoRA), arxiv.org/abs/2312.03732 (rsLoRA),
//! arxiv.org/abs/2402.09353 (DoRA).

mod init;
mod principal;
mod targets;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_backend::{BackendError, LoraBias, LoraSpec, TensorView, Weights};
use fidelio_ops::{Weight, low_rank};

use crate::{
    loader::{Module, ModuleId, read_floats},
    parameter::Value,
    pass::Pass,
};
use targets::Targets;

/// What is added to a model's linear layers.
pub(crate) struct Adapter {
    /// One per linear layer of the model.
    layers: Vec<Option<Adapted>>,
}

/// What an adapter has for one linear layer.
pub(crate) struct Adapted {
    module: ModuleId,
    low_rank: Option<LowRank>,
    /// Instead of the layer's own.
    bias: Option<Tensor<1>>,
}

/// `scale · b · a` beside a layer's weight.
struct LowRank {
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f32,
    dropout: f64,
    /// The factors that it began with, where they were taken from the weight: their product is no
    /// part of what it adds.
    start: Option<[Tensor<2>; 2]>,
    dora: Option<Dora>,
}

/// DoRA: the length of each output's row of weights, learnt apart from its direction.
struct Dora {
    magnitude: Tensor<1>,
    /// The squared length of each row of the layer's own weight.
    squares: Tensor<1>,
    /// The length of each row of the adapted weight.
    length: Tensor<1>,
}

/// What a layer's adapter tensors are called, after the layer's name.
const A: &str = "lora_A.weight";
const B: &str = "lora_B.weight";
const MAGNITUDE: &str = "lora_magnitude_vector";
const BIAS: &str = "bias";

impl Adapter {
    /// A new adapter, or one out of `weights`. `weight` gives a layer's weight, `own_bias` its bias.
    pub(crate) fn new(
        spec: &LoraSpec,
        modules: &[Module],
        weight: impl Fn(&str) -> Weight,
        own_bias: impl Fn(&str) -> Tensor<1>,
        weights: Option<&dyn Weights>,
        device: &Device,
    ) -> Result<Self, BackendError> {
        let targets = Targets::new(spec)?;
        targets.check(modules)?;
        init::check(spec, &targets, modules)?;
        let mut tensors = weights.map(|weights| Given::new(weights, device));
        let mut layers = Vec::with_capacity(modules.len());
        for (i, module) in modules.iter().enumerate() {
            let target = targets.of(&module.name);
            let learns_bias = module.bias
                && match spec.bias {
                    LoraBias::None => false,
                    LoraBias::LoraOnly => target.is_some(),
                    LoraBias::All => true,
                };
            let low_rank = target.map(|target| {
                let (a, b) = match &mut tensors {
                    Some(given) => (
                        given.matrix(&module.name, A, [target.r, module.input]),
                        given.matrix(&module.name, B, [module.output, target.r]),
                    ),
                    None => init::factors(spec, target, module, || weight(&module.name), device),
                };
                let taken = tensors.is_none() && init::is_from_weight(spec.init_lora_weights);
                let start = taken.then(|| [a.clone(), b.clone()]);
                let scale = target.scale as f32;
                let dora = spec.use_dora.then(|| {
                    let own = weight(&module.name);
                    let squares = row_squares(&own);
                    let length = lengths(&own, &squares, &a, &b, scale);
                    let magnitude = match &mut tensors {
                        Some(given) => given.vector(&module.name, MAGNITUDE, module.output),
                        None => length.clone(),
                    };
                    Dora { magnitude, squares, length }
                });
                LowRank { a, b, scale, dropout: spec.lora_dropout, start, dora }
            });
            let bias = learns_bias.then(|| match &mut tensors {
                Some(given) => given.vector(&module.name, BIAS, module.output),
                None => own_bias(&module.name),
            });
            let any = low_rank.is_some() || bias.is_some();
            layers.push(any.then_some(Adapted { module: ModuleId(i), low_rank, bias }));
        }
        if let Some(given) = tensors {
            given.finish()?;
        }
        Ok(Self { layers })
    }

    pub(crate) fn layer(&self, module: ModuleId) -> Option<&Adapted> {
        self.layers.get(module.0)?.as_ref()
    }

    /// Whether a learning pass would draw random masks.
    pub(crate) fn drops(&self) -> bool {
        self.layers
            .iter()
            .flatten()
            .filter_map(|it| it.low_rank.as_ref())
            .any(|it| it.dropout > 0.0)
    }

    /// Every parameter with its name: the layer's and the tensor's.
    pub(crate) fn parameters(&self, modules: &[Module]) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for layer in self.layers.iter().flatten() {
            let at = &modules[layer.module.0].name;
            let mut put = |tensor: &str, value| all.insert(format!("{at}.{tensor}"), value);
            if let Some(low_rank) = &layer.low_rank {
                put(A, Value::Matrix(low_rank.a.clone()));
                put(B, Value::Matrix(low_rank.b.clone()));
                if let Some(dora) = &low_rank.dora {
                    put(MAGNITUDE, Value::Vector(dora.magnitude.clone()));
                }
            }
            if let Some(bias) = &layer.bias {
                put(BIAS, Value::Vector(bias.clone()));
            }
        }
        all
    }

    /// Measures the adapted weights anew, after their values have changed.
    pub(crate) fn measure(&mut self, modules: &[Module], weight: impl Fn(&str) -> Weight) {
        for layer in self.layers.iter_mut().flatten() {
            let Some(LowRank { a, b, scale, dora: Some(dora), .. }) = &mut layer.low_rank else {
                continue;
            };
            let own = weight(&modules[layer.module.0].name);
            dora.length = lengths(&own, &dora.squares, a, b, *scale);
        }
    }

    /// The same adapter with other values; those that `values` lacks stay.
    pub(crate) fn with(&self, modules: &[Module], values: &BTreeMap<String, Value>) -> Self {
        let layer = |layer: &Adapted| {
            let at = &modules[layer.module.0].name;
            let matrix = |tensor: &str, old: &Tensor<2>| match values.get(&format!("{at}.{tensor}"))
            {
                Some(Value::Matrix(new)) => new.clone(),
                _ => old.clone(),
            };
            let vector = |tensor: &str, old: &Tensor<1>| match values.get(&format!("{at}.{tensor}"))
            {
                Some(Value::Vector(new)) => new.clone(),
                _ => old.clone(),
            };
            let low_rank = layer.low_rank.as_ref().map(|old| LowRank {
                a: matrix(A, &old.a),
                b: matrix(B, &old.b),
                scale: old.scale,
                dropout: old.dropout,
                start: old.start.clone(),
                dora: old.dora.as_ref().map(|dora| Dora {
                    magnitude: vector(MAGNITUDE, &dora.magnitude),
                    squares: dora.squares.clone(),
                    length: dora.length.clone(),
                }),
            });
            let bias = layer.bias.as_ref().map(|old| vector(BIAS, old));
            Adapted { module: layer.module, low_rank, bias }
        };
        Self { layers: self.layers.iter().map(|it| it.as_ref().map(layer)).collect() }
    }
}

impl Adapted {
    /// Whether a graph keeps the layer's operand as it is.
    pub(crate) fn keeps_operand(&self) -> bool {
        self.low_rank.as_ref().is_some_and(|it| it.dropout <= 0.0)
    }

    /// Floats per token that a graph keeps beside the operand: what was dropped and its mask, and
    /// both products whose share DoRA learns.
    pub(crate) fn keeps(&self, input: usize, output: usize) -> usize {
        let Some(low_rank) = &self.low_rank else { return 0 };
        let dropped = if low_rank.dropout > 0.0 { 2 * input } else { 0 };
        dropped + if low_rank.dora.is_some() { 2 * output } else { 0 }
    }

    pub(crate) fn bias(&self) -> Option<&Tensor<1>> {
        self.bias.as_ref()
    }

    /// The layer's product with what the adapter adds, without the bias.
    pub(crate) fn forward(&self, weight: &Weight, x: Tensor<2>, pass: &Pass<'_>) -> Tensor<2> {
        let Some(low_rank) = &self.low_rank else { return weight.linear(x) };
        low_rank.forward(weight, x, self.module, pass)
    }
}

impl LowRank {
    fn forward(
        &self,
        weight: &Weight,
        x: Tensor<2>,
        module: ModuleId,
        pass: &Pass<'_>,
    ) -> Tensor<2> {
        let mask = pass
            .noise()
            .filter(|_| self.dropout > 0.0)
            .map(|noise| noise.dropout(module, self.dropout, x.dims()[1], &x.device()));
        let dropped = match mask {
            Some(mask) => x.clone() * mask,
            None => x.clone(),
        };
        let added = |x| low_rank(x, self.a.clone(), self.b.clone(), self.scale);
        let Some(dora) = &self.dora else {
            // What was taken from the weight is not dropped: in PEFT it is the weight that lacks it.
            let own = match &self.start {
                Some([a, b]) => {
                    weight.linear(x.clone()) - low_rank(x, a.clone(), b.clone(), self.scale)
                }
                None => weight.linear(x),
            };
            return own + added(dropped);
        };
        // As in PEFT, the length of the adapted weight is a constant of the gradient, and the part
        // of the layer's own product beyond 1 sees what was dropped too.
        let share: Tensor<2> = (dora.magnitude.clone() / dora.length.clone()).unsqueeze(); // [1, out]
        let own = weight.linear(x);
        let seen = match pass.noise() {
            Some(_) if self.dropout > 0.0 => weight.linear(dropped.clone()),
            _ => own.clone(),
        };
        own + seen * (share.clone() - 1.0) + added(dropped) * share
    }
}

/// The length of each row of `w + scale · b · a`, without making it:
/// `|w|² + 2 · scale · b·(a·w) + scale² · b·(a·aᵀ)·bᵀ`, row by row.
fn lengths(
    weight: &Weight,
    squares: &Tensor<1>,
    a: &Tensor<2>,
    b: &Tensor<2>,
    scale: f32,
) -> Tensor<1> {
    let across = weight.linear(a.clone()).transpose(); // [out, r]
    let gram = a.clone().matmul(a.clone().transpose()); // [r, r]
    let crossed = (across * b.clone()).sum_dim(1).squeeze_dim::<1>(1) * (2.0 * scale);
    let own = (b.clone().matmul(gram) * b.clone()).sum_dim(1).squeeze_dim::<1>(1);
    (squares.clone() + crossed + own * (scale * scale)).sqrt()
}

/// The squared length of each row of a weight.
fn row_squares(weight: &Weight) -> Tensor<1> {
    const ROWS: u32 = 1024;
    let rows = weight.rows() as u32;
    let parts = (0..rows)
        .step_by(ROWS as usize)
        .map(|first| {
            let ids: Vec<u32> = (first..rows.min(first + ROWS)).collect();
            let some = weight.embed(&ids);
            (some.clone() * some).sum_dim(1).squeeze_dim::<1>(1)
        })
        .collect();
    Tensor::cat(parts, 0)
}

/// An adapter's tensors as a file has them; what does not fit is collected.
struct Given<'a> {
    weights: &'a dyn Weights,
    device: &'a Device,
    left: std::collections::BTreeSet<String>,
    problems: Vec<String>,
}

impl<'a> Given<'a> {
    fn new(weights: &'a dyn Weights, device: &'a Device) -> Self {
        let left = weights.names().into_iter().collect();
        Self { weights, device, left, problems: Vec::new() }
    }

    fn matrix(&mut self, at: &str, tensor: &str, shape: [usize; 2]) -> Tensor<2> {
        let floats = self.floats(&format!("{at}.{tensor}"), &shape);
        Tensor::from_data(TensorData::new(floats, shape), self.device)
    }

    fn vector(&mut self, at: &str, tensor: &str, len: usize) -> Tensor<1> {
        let floats = self.floats(&format!("{at}.{tensor}"), &[len]);
        Tensor::from_data(TensorData::new(floats, [len]), self.device)
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let zeros = vec![0.0; shape.iter().product()];
        if !self.left.remove(name) {
            self.problems.push(format!("`{name}` {shape:?} is missing"));
            return zeros;
        }
        let read = self.weights.get(name).map_err(|error| error.to_string());
        match read.and_then(|view: TensorView| read_floats(name, &view, shape)) {
            Ok(floats) => floats,
            Err(problem) => {
                self.problems.push(problem);
                zeros
            }
        }
    }

    fn finish(mut self) -> Result<(), BackendError> {
        for name in &self.left {
            self.problems.push(format!("`{name}` is not a tensor of this adapter"));
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(BackendError::Weights { problems: self.problems })
    }
}
