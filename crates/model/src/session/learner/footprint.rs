//! Where an update's memory goes, reckoned from what every layer keeps.

use std::collections::{BTreeMap, BTreeSet};

use fidelio_backend::{AdapterId, BackendError, Batch, Footprint, LearnSpec, Trains};

use super::{BurnSession, frozen};
use crate::{
    footprint::{Kept, Learns},
    optimizer::Optimizer,
    parameter::Slot,
};

const FLOAT: usize = size_of::<f32>();
/// Copies of the largest parameter that exist beside it while it steps: the shrunk value, the
/// gradient's share of a moment, and the step.
const STEP_COPIES: usize = 3;

/// What would learn.
struct Learners {
    shapes: BTreeMap<String, [usize; 2]>,
    adapter: Option<AdapterId>,
}

impl BurnSession {
    /// Reckons an update of so many micro-batches like `batch`. Nothing is computed.
    pub(in crate::session) fn reckon(
        &mut self,
        spec: &LearnSpec,
        batch: &Batch,
        micro_batches: usize,
    ) -> Result<Footprint, BackendError> {
        let learners = self.learners(spec)?;
        let optimizer = Optimizer::new(spec.optimizer.clone())?;
        let moments = learners.shapes.iter().map(|(name, shape)| optimizer.keeps(name, *shape));
        let optimizer = moments.sum();
        let weights = self.bytes_beside(&learners);
        let parameters = learners.floats() * FLOAT;
        let gradients = parameters;
        let (activations, logits) = self.activations(spec, batch, &learners);
        let step = STEP_COPIES * learners.largest() * FLOAT;
        let held = weights + parameters + optimizer;
        let peak = held
            + self
                .way_back(spec, &learners, micro_batches, activations + logits)
                .max(gradients + step);
        let bytes = |bytes: usize| bytes as u64;
        Ok(Footprint {
            weights: bytes(weights),
            parameters: bytes(parameters),
            optimizer: bytes(optimizer),
            gradients: bytes(gradients),
            activations: bytes(activations),
            logits: bytes(logits),
            step: bytes(step),
            peak: bytes(peak),
        })
    }

    /// The most that a batch has at a time beside what is always held: the gradients of the batches
    /// before it (or of the output projection, which comes first), and its activations, which go as
    /// its own gradients come.
    fn way_back(
        &self,
        spec: &LearnSpec,
        learners: &Learners,
        micro_batches: usize,
        activations: usize,
    ) -> usize {
        let all = learners.floats() * FLOAT;
        let of_batch =
            if spec.checkpoint_blocks { all / self.model.sizes().layers.max(1) } else { all };
        let first = learners.in_model(self.model.output_name());
        let first = if first { learners.largest() * FLOAT } else { 0 };
        let before = if micro_batches > 1 { all } else { first };
        before + activations.max(of_batch)
    }

    fn learners(&mut self, spec: &LearnSpec) -> Result<Learners, BackendError> {
        let frozen = frozen(&spec.frozen)?;
        let learns = |name: &str| !frozen.iter().any(|pattern| pattern.is_match(name));
        let mut shapes = BTreeMap::new();
        let adapter = match spec.trains {
            Trains::Adapter(id) => {
                let adapter = self.adapters.get(&id).ok_or(BackendError::NoAdapter(id))?;
                for (name, value) in adapter.parameters(&self.modules) {
                    shapes.insert(name, value.rows().dims());
                }
                Some(id)
            }
            Trains::All => {
                self.model.parameters(&mut |name, slot| {
                    let shape = match slot {
                        Slot::Matrix(weight) => weight.dims(),
                        Slot::Turned(weight) => {
                            let [rows, cols] = weight.dims();
                            [cols, rows]
                        }
                        Slot::Vector(x) => [1, x.dims()[0]],
                    };
                    shapes.insert(name.to_owned(), shape);
                });
                None
            }
        };
        shapes.retain(|name, _| learns(name));
        Ok(Learners { shapes, adapter })
    }

    /// Weights that do not learn.
    fn bytes_beside(&mut self, learners: &Learners) -> usize {
        let mut bytes = 0;
        self.model.parameters(&mut |name, slot| {
            if !learners.in_model(name) {
                bytes += match slot {
                    Slot::Matrix(weight) | Slot::Turned(weight) => weight.bytes(),
                    Slot::Vector(x) => x.dims()[0] * FLOAT,
                };
            }
        });
        bytes
    }

    /// Bytes that a batch keeps, and bytes of logits.
    fn activations(&self, spec: &LearnSpec, batch: &Batch, learners: &Learners) -> (usize, usize) {
        let tokens = batch.forest.tokens.len();
        let asked = batch.targets.iter().map(|target| target.at).collect::<BTreeSet<_>>().len();
        let sizes = self.model.sizes();
        let in_model = |name: &str| learners.in_model(name);
        let adapter = learners.adapter.and_then(|id| self.adapters.get(&id));
        let learns = Learns { parameter: &in_model, adapter };
        let per_token = if spec.checkpoint_blocks {
            // The input of every block, and all of the one that is in work, its input shared.
            let block = (0..sizes.layers).map(|layer| self.model.kept(layer, true, &learns).floats);
            sizes.layers.saturating_sub(1) * sizes.hidden + block.max().unwrap_or(0)
        } else {
            let tracked = in_model(self.model.table_name());
            let begun = Kept { floats: sizes.hidden, tracked };
            let add = |sum: Kept, layer| {
                let kept = self.model.kept(layer, sum.tracked, &learns);
                Kept { floats: sum.floats + kept.floats, tracked: kept.tracked }
            };
            (0..sizes.layers).fold(begun, add).floats
        };
        // What the last norm keeps, its result, the gradient of that, and their product.
        let of_asked = 4 * sizes.hidden * asked;
        let floats = (per_token + self.model.working(&learns)) * tokens + of_asked;
        // The output projection's own gradient takes the logits turned round.
        let copies = if in_model(self.model.output_name()) { 2 } else { 1 };
        (floats * FLOAT, copies * self.model.head().loss_bytes(asked))
    }
}

impl Learners {
    /// Whether a parameter of the model learns.
    fn in_model(&self, name: &str) -> bool {
        self.adapter.is_none() && self.shapes.contains_key(name)
    }

    fn floats(&self) -> usize {
        self.shapes.values().map(|[rows, cols]| rows * cols).sum()
    }

    fn largest(&self) -> usize {
        self.shapes.values().map(|[rows, cols]| rows * cols).max().unwrap_or(0)
    }
}
