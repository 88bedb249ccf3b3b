//! Blocks of a model used more than once: PEFT's `layer_replication` (as in arXiv 2312.15166).

use serde_json::Value;

use crate::{Checkpoint, Fault, Tensors, WeightsError, tensors::Stored};

const BLOCKS: &str = "model.layers.";
const COUNT: &str = "num_hidden_layers";
/// Lists of `config.json` with one entry per block.
const PER_BLOCK: [&str; 2] = ["layer_types", "no_rope_layers"];

/// Architectures whose blocks differ, and the list that says how where there is one.
const DIFFER: [(&str, &str); 3] =
    [("gemma2", "layer_types"), ("gemma3_text", "layer_types"), ("smollm3", "no_rope_layers")];

impl Checkpoint {
    /// The model whose blocks are those of each range `[first, end)`, one range after the other; a
    /// block that is used again has a number, and so names, of its own. No weight is copied.
    ///
    /// # Errors
    /// [`WeightsError::Layers`] where a range is empty or goes past the model's last block, and
    /// [`WeightsError::LayersUnlisted`] where a block would become another one with its number, and
    /// [`WeightsError::LayersElsewhere`] where the model's blocks have other names.
    pub fn replicated(self, ranges: &[[usize; 2]]) -> Result<Self, WeightsError> {
        if !self.weights().iter().any(|(name, ..)| block_of(name).is_some()) {
            let model_type = self.config()["model_type"].as_str().unwrap_or("(none given)").into();
            return Err(WeightsError::LayersElsewhere { model_type });
        }
        let layers = self.config()[COUNT].as_u64().unwrap_or(0) as usize;
        if let Some(&range) = ranges.iter().find(|[first, end]| first >= end || *end > layers) {
            return Err(WeightsError::Layers { range, layers });
        }
        if let Some(key) = unlisted(self.config()) {
            return Err(WeightsError::LayersUnlisted { key });
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

/// The list that is needed and not there.
fn unlisted(config: &Value) -> Option<&'static str> {
    let differ = DIFFER.iter().find(|(kind, _)| config["model_type"] == *kind);
    // Qwen's windows are those of upper layers.
    let windows = (config["use_sliding_window"] == true).then_some("layer_types");
    let mut keys = differ.map(|(_, key)| *key).into_iter().chain(windows);
    keys.find(|key| !config[*key].is_array())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_follow_their_blocks() {
        let before = json!({ "num_hidden_layers": 2, "no_rope_layers": [1, 0] });
        let after = config(before, &[0, 1, 1]);
        assert_eq!(after, json!({ "num_hidden_layers": 3, "no_rope_layers": [1, 0, 0] }));
    }

    #[test]
    fn blocks_that_their_number_makes_are_not_moved() {
        for (config, expected) in [
            (json!({ "model_type": "llama" }), None),
            (json!({ "model_type": "gemma2" }), Some("layer_types")),
            (json!({ "model_type": "gemma2", "layer_types": [] }), None),
            (json!({ "model_type": "smollm3" }), Some("no_rope_layers")),
            (json!({ "model_type": "qwen2", "use_sliding_window": true }), Some("layer_types")),
        ] {
            assert_eq!(unlisted(&config), expected, "{config}");
        }
    }
}
