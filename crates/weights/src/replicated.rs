//! Blocks of a model used more than once: PEFT's `layer_replication` (as in arXiv 2312.15166).

use serde_json::Value;

use crate::{Checkpoint, Fault, Tensors, WeightsError, tensors::Stored};

const BLOCKS: &str = "model.layers.";
const COUNT: &str = "num_hidden_layers";
/// Lists of `config.json` with one entry per block.
const PER_BLOCK: [&str; 1] = ["layer_types"];

impl Checkpoint {
    /// The model whose blocks are those of each range `[first, end)`, one range after the other; a
    /// block that is used again has a number, and so names, of its own. No weight is copied.
    ///
    /// # Errors
    /// [`WeightsError::Layers`] where a range is empty or goes past the model's last block.
    pub fn replicated(self, ranges: &[[usize; 2]]) -> Result<Self, WeightsError> {
        let layers = self.config()[COUNT].as_u64().unwrap_or(0) as usize;
        if let Some(&range) = ranges.iter().find(|[first, end]| first >= end || *end > layers) {
            return Err(WeightsError::Layers { range, layers });
        }
        let order: Vec<usize> = ranges.iter().flat_map(|&[first, end]| first..end).collect();
        let tensors = tensors(self.weights(), &order).map_err(|fault| WeightsError::Malformed {
            path: self.path().to_owned(),
            format: "checkpoint",
            fault,
        })?;
        let config = config(self.config().clone(), &order);
        Ok(self.with(config, tensors))
    }
}

fn tensors(of: &Tensors, order: &[usize]) -> Result<Tensors, Fault> {
    let mut stored: Vec<Stored> = Vec::new();
    for tensor in of.stored() {
        let Some((block, part)) = block_of(&tensor.name) else {
            stored.push(tensor.clone());
            continue;
        };
        let places = order.iter().enumerate().filter(|(_, from)| **from == block);
        stored.extend(places.map(|(to, _)| Stored {
            name: format!("{BLOCKS}{to}.{part}").into(),
            ..tensor.clone()
        }));
    }
    Tensors::new(stored)
}

/// The block that a tensor belongs to, and the rest of its name.
fn block_of(name: &str) -> Option<(usize, &str)> {
    let (block, part) = name.strip_prefix(BLOCKS)?.split_once('.')?;
    Some((block.parse().ok()?, part))
}

fn config(mut config: Value, order: &[usize]) -> Value {
    config[COUNT] = order.len().into();
    for key in PER_BLOCK {
        if let Some(Value::Array(list)) = config.get_mut(key) {
            *list = order.iter().filter_map(|&block| list.get(block).cloned()).collect();
        }
    }
    config
}
