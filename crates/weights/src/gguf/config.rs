//! The settings of a GGUF model under the keys of Hugging Face's `config.json`.

use serde_json::{Map, Value, json};

use super::{metadata::Metadata, names::heads, rope_factors};
use crate::{Fault, tensors::Stored};

/// Builds the settings. A tensor that only encodes settings (`rope_freqs.weight`) is taken out of
/// `stored` when its meaning could be written down.
pub(super) fn config(metadata: &Metadata, stored: &mut Vec<Stored>) -> Result<Value, Fault> {
    let architecture = metadata.require_text("general.architecture")?;
    let mut settings = Settings { metadata, architecture, keys: Map::new() };
    settings.set("model_type", json!(architecture));
    if architecture == "llama" {
        settings.set("architectures", json!(["LlamaForCausalLM"]));
        settings.set("hidden_act", json!("silu"));
        settings.require(&["embedding_length", "block_count", "feed_forward_length"])?;
        settings.require(&["attention.head_count", "attention.layer_norm_rms_epsilon"])?;
    }
    settings.sizes()?;
    settings.heads()?;
    settings.rotary(stored)?;
    settings.read_tensors(stored);
    settings.tokens()?;
    Ok(Value::Object(settings.keys))
}

struct Settings<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    keys: Map<String, Value>,
}

impl Settings<'_> {
    fn set(&mut self, key: &str, value: Value) {
        self.keys.insert(key.to_owned(), value);
    }

    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }

    fn require(&self, suffixes: &[&str]) -> Result<(), Fault> {
        match suffixes.iter().map(|s| self.key(s)).find(|key| self.metadata.get(key).is_none()) {
            Some(key) => Err(Fault::MissingKey { key }),
            None => Ok(()),
        }
    }

    fn unsigned(&self, suffix: &str) -> Result<Option<u64>, Fault> {
        heads(self.metadata, &self.key(suffix))
    }

    fn float(&self, suffix: &str) -> Result<Option<f64>, Fault> {
        self.metadata.float(&self.key(suffix))
    }

    fn sizes(&mut self) -> Result<(), Fault> {
        for (key, suffix) in [
            ("hidden_size", "embedding_length"),
            ("num_hidden_layers", "block_count"),
            ("intermediate_size", "feed_forward_length"),
            ("max_position_embeddings", "context_length"),
            ("sliding_window", "attention.sliding_window"),
            ("num_local_experts", "expert_count"),
            ("num_experts_per_tok", "expert_used_count"),
        ] {
            if let Some(value) = self.unsigned(suffix)? {
                self.set(key, json!(value));
            }
        }
        for (key, suffix) in [
            ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
            ("layer_norm_eps", "attention.layer_norm_epsilon"),
        ] {
            if let Some(value) = self.float(suffix)? {
                self.set(key, json!(value));
            }
        }
        Ok(())
    }

    fn heads(&mut self) -> Result<(), Fault> {
        let Some(heads) = self.unsigned("attention.head_count")? else { return Ok(()) };
        let kv_heads = self.unsigned("attention.head_count_kv")?.unwrap_or(heads);
        self.set("num_attention_heads", json!(heads));
        self.set("num_key_value_heads", json!(kv_heads));
        let hidden = self.unsigned("embedding_length")?.unwrap_or(0);
        let head_dim = match self.unsigned("attention.key_length")? {
            Some(length) => length,
            None => hidden.checked_div(heads).unwrap_or(0),
        };
        self.set("head_dim", json!(head_dim));
        if let Some(turned) = self.unsigned("rope.dimension_count")?.filter(|&t| t != head_dim) {
            self.set("partial_rotary_factor", json!(turned as f64 / head_dim as f64));
        }
        Ok(())
    }

    fn rotary(&mut self, stored: &mut Vec<Stored>) -> Result<(), Fault> {
        let base = self.float("rope.freq_base")?.unwrap_or(10_000.0);
        self.set("rope_theta", json!(base));
        if let Some(kind) = self.metadata.text(&self.key("rope.scaling.type"))?
            && kind != "none"
        {
            let mut scaling = json!({ "rope_type": kind });
            if let Some(factor) = self.float("rope.scaling.factor")? {
                scaling["factor"] = json!(factor);
            }
            if let Some(length) = self.unsigned("rope.scaling.original_context_length")? {
                scaling["original_max_position_embeddings"] = json!(length);
            }
            self.set("rope_scaling", scaling);
        }
        let noted = self.metadata.text(rope_factors::KEY)?;
        if let Some(at) = stored.iter().position(|t| &*t.name == "rope_freqs.weight")
            && let Some(scaling) = rope_factors::llama3(&stored[at], base, noted)
        {
            stored.remove(at);
            self.set("rope_scaling", scaling);
        }
        Ok(())
    }

    /// What the tensors say better than the metadata.
    fn read_tensors(&mut self, stored: &[Stored]) {
        let find = |name: &str| stored.iter().find(|tensor| &*tensor.name == name);
        let embedding = find("model.embed_tokens.weight").or_else(|| find("token_embd.weight"));
        if let Some(embedding) = embedding {
            self.set("vocab_size", json!(embedding.shape.first()));
            let head = find("lm_head.weight").or_else(|| find("output.weight"));
            self.set("tie_word_embeddings", json!(head.is_none()));
        }
        if self.architecture == "llama" {
            let has = |name| find(name).is_some();
            self.set("attention_bias", json!(has("model.layers.0.self_attn.q_proj.bias")));
            self.set("mlp_bias", json!(has("model.layers.0.mlp.gate_proj.bias")));
        }
    }

    fn tokens(&mut self) -> Result<(), Fault> {
        if !self.keys.contains_key("vocab_size") {
            let size = match self.metadata.array("tokenizer.ggml.tokens")? {
                Some(tokens) => Some(tokens.len() as u64),
                None => self.unsigned("vocab_size")?,
            };
            if let Some(size) = size {
                self.set("vocab_size", json!(size));
            }
        }
        for (key, name) in [
            ("bos_token_id", "tokenizer.ggml.bos_token_id"),
            ("eos_token_id", "tokenizer.ggml.eos_token_id"),
            ("pad_token_id", "tokenizer.ggml.padding_token_id"),
        ] {
            if let Some(id) = self.metadata.unsigned(name)? {
                self.set(key, json!(id));
            }
        }
        Ok(())
    }
}
