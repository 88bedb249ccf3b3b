//! One batch forward and back: all blocks in one graph, or one block at a time.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Gradients, IndexingUpdateOp, Int, Tensor, TensorData};
use fidelio_backend::{Batch, LossSum, Trains};
use fidelio_ops::Weighed;

use super::{BurnSession, Learning, token_of};
use crate::{
    layers::Head,
    noise::Noise,
    parameter::Value,
    pass::{Layout, Pass},
};

impl BurnSession {
    /// Adds the gradients of a batch that has passed every check.
    pub(super) fn backward(
        &mut self,
        batch: &Batch,
        layout: Layout,
        noise: Option<&Noise>,
        learning: &mut Learning,
    ) -> LossSum {
        let (table, output) = (self.model.table_name(), self.model.output_name());
        let table_learns =
            learning.values.contains_key(table) && learning.spec.trains == Trains::All;
        let output_learns =
            learning.values.contains_key(output) && learning.spec.trains == Trains::All;
        // The table and the output projection get their gradients by hand, below.
        let by_graph = |name: &str| name != table && name != output;
        let leaves: BTreeMap<String, Value> = learning
            .values
            .iter()
            .filter(|(name, _)| by_graph(name))
            .map(|(name, value)| (name.clone(), value.leaf()))
            .collect();
        let plain_adapter = match learning.spec.trains {
            Trains::Adapter(id) => Some(self.adapters[&id].with(&self.modules, &learning.values)),
            Trains::All => None,
        };
        let leaf_adapter = plain_adapter.as_ref().map(|it| it.with(&self.modules, &leaves));
        self.put(&learning.values, learning.spec.trains);

        let mut embedded = self.model.embed(&batch.forest.tokens); // [t, hidden]
        if let Some(noise) = noise.filter(|_| learning.spec.neftune_alpha > 0.0) {
            let (alpha, device) = (learning.spec.neftune_alpha, embedded.device());
            embedded = embedded.clone() + noise.embeddings(alpha, embedded.dims()[1], &device);
        }
        let layers = self.model.sizes().layers;
        let step = if learning.spec.checkpoint_blocks { 1 } else { layers.max(1) };

        // Forward outside of any graph, keeping what each segment begins with.
        let mut inputs = vec![embedded];
        if step < layers {
            let mut pass = Pass::new(layout.clone(), &mut self.pool, None)
                .with_adapter(plain_adapter.as_ref())
                .with_noise(noise);
            for layer in 0..layers - 1 {
                let x = inputs.last().expect("the first was just put there").clone();
                inputs.push(self.model.block(layer, x, &mut pass));
            }
        }

        self.put(&leaves, learning.spec.trains);
        let mut pass = Pass::new(layout, &mut self.pool, None)
            .with_adapter(leaf_adapter.as_ref())
            .with_noise(noise);
        let mut slope: Option<Tensor<2>> = None; // of the segment's result
        let mut loss = LossSum::default();
        let segments: Vec<usize> = (0..layers).step_by(step).collect();
        for (segment, &first) in segments.iter().enumerate().rev() {
            let input = inputs.pop().expect("one per segment");
            let wanted = segment > 0 || table_learns;
            let input = if wanted { input.autodiff().require_grad() } else { input };
            let last = (first + step).min(layers);
            let out =
                (first..last).fold(input.clone(), |x, layer| self.model.block(layer, x, &mut pass));
            let objective = if let Some(slope) = slope.take() {
                out * slope
            } else {
                let asked = ask(self.model.head(), out, batch, output_learns);
                loss = asked.loss;
                if let Some(gradient) = asked.output {
                    add(&mut learning.sums, output, gradient);
                }
                asked.objective
            };
            if !objective.is_tracked() {
                break;
            }
            let mut gradients: Gradients = objective.sum().backward();
            for (name, leaf) in &leaves {
                if let Some(gradient) = leaf.take_gradient(&mut gradients) {
                    add(&mut learning.sums, name, gradient);
                }
            }
            slope = wanted.then(|| input.grad_remove(&mut gradients)).flatten();
        }
        if let Some(slope) = slope.filter(|_| table_learns) {
            let slope = match self.model.embedding_scale() {
                Some(scale) => slope * scale,
                None => slope,
            };
            let rows = learning.values[table].clone().rows().zeros_like();
            let ids: Vec<i32> = batch.forest.tokens.iter().map(|&id| id as i32).collect();
            let ids = TensorData::new(ids, [batch.forest.tokens.len()]);
            let ids = Tensor::<1, Int>::from_data(ids, &slope.device());
            let gradient = rows.select_assign(0, ids, slope, IndexingUpdateOp::Add);
            add(&mut learning.sums, table, gradient);
        }
        self.put(&learning.values, learning.spec.trains);
        loss
    }

    /// Puts values into the model's places; adapters travel with the pass instead.
    fn put(&mut self, values: &BTreeMap<String, Value>, trains: Trains) {
        if trains == Trains::All {
            self.model.parameters(&mut |name, slot| {
                if let Some(value) = values.get(name) {
                    slot.set(value.clone());
                }
            });
        }
    }
}

/// What the targets say of the last hidden states.
struct Answered {
    /// The sum of these goes backward.
    objective: Tensor<2>,
    loss: LossSum,
    /// The gradient of the output projection, where it learns.
    output: Option<Tensor<2>>,
}

fn ask(head: Head<'_>, hidden: Tensor<2>, batch: &Batch, output_learns: bool) -> Answered {
    let places: BTreeSet<u32> = batch.targets.iter().map(|target| target.at).collect();
    let places: Vec<u32> = places.into_iter().collect();
    let mut weighed: Vec<Weighed> = batch
        .targets
        .iter()
        .map(|target| Weighed {
            row: places.binary_search(&target.at).expect("every target's place is listed") as u32,
            token: token_of(target.ask),
            weight: target.weight,
        })
        .collect();
    weighed.sort_by_key(|target| target.row);
    let picked = head.pick(hidden, &places);
    let loss = head.loss(picked.clone().inner(), &weighed, output_learns);
    let weight = batch.targets.iter().map(|target| f64::from(target.weight)).sum();
    Answered {
        objective: picked * loss.hidden,
        loss: LossSum { sum: loss.sum, weight },
        output: loss.weight,
    }
}

fn add(sums: &mut BTreeMap<String, Tensor<2>>, name: &str, gradient: Tensor<2>) {
    let sum = match sums.remove(name) {
        Some(sum) => sum + gradient,
        None => gradient,
    };
    sums.insert(name.to_owned(), sum);
}
