//! Tiny models that are made of nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use fidelio_backend::{BackendError, Encoding, TensorView, Weights};
use serde_json::{Value, json};

use super::Model;

/// A model in memory.
#[derive(Debug, Clone)]
pub struct SampleModel {
    name: &'static str,
    config: Value,
    tensors: BTreeMap<String, TensorView>,
}

impl SampleModel {
    /// Its architecture.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The model, to be tested with.
    pub fn model(&self) -> Model<'_> {
        Model { name: self.name, config: &self.config, weights: self }
    }

    fn add(&mut self, name: &str, shape: &[usize], number: impl FnMut(usize) -> f32) {
        let floats = (0..shape.iter().product()).map(number);
        let bytes: Vec<u8> = floats.flat_map(f32::to_le_bytes).collect();
        let (encoding, shape) = (Encoding::F32, shape.to_vec());
        let bytes = Bytes::from(bytes);
        self.tensors.insert(name.to_owned(), TensorView { encoding, shape, bytes });
    }
}

impl Weights for SampleModel {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        let missing = || BackendError::Weights { problems: vec![format!("`{name}` is missing")] };
        self.tensors.get(name).cloned().ok_or_else(missing)
    }
}

/// The models that the suite brings: `llama`, as real engines have it, and `ngram`, which an
/// afternoon's engine can have (see `plugins/example-rust`).
pub fn sample_models() -> Vec<SampleModel> {
    vec![llama(), ngram()]
}

const VOCABULARY: usize = 40;
const CONTEXT: usize = 64;

fn ngram() -> SampleModel {
    let config = json!({ "model_type": "ngram", "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT });
    let mut model = SampleModel { name: "ngram", config, tensors: BTreeMap::new() };
    let mut random = random(1);
    for name in ["last.weight", "before.weight"] {
        model.add(name, &[VOCABULARY, VOCABULARY], |_| 3.0 * random());
    }
    model
}

fn llama() -> SampleModel {
    let (hidden, wide, kv) = (32, 48, 16);
    let config = json!({ "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": hidden,
        "intermediate_size": wide, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "hidden_act": "silu" });
    let mut model = SampleModel { name: "llama", config, tensors: BTreeMap::new() };
    let mut random = random(2);
    model.add("model.embed_tokens.weight", &[VOCABULARY, hidden], |_| random());
    model.add("model.norm.weight", &[hidden], |_| 1.0);
    for layer in 0..2 {
        let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            model.add(&at(norm), &[hidden], |_| 1.0);
        }
        let linear = [
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", kv, hidden),
            ("self_attn.v_proj", kv, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", wide, hidden),
            ("mlp.up_proj", wide, hidden),
            ("mlp.down_proj", hidden, wide),
        ];
        for (name, out, inner) in linear {
            let scale = 1.5 / (inner as f32).sqrt();
            model.add(&at(name), &[out, inner], |_| scale * random());
        }
    }
    model
}

/// Numbers between -1 and 1, the same on every machine.
fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
    }
}
