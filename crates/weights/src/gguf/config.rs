//! The settings of a GGUF model under the keys of Hugging Face's `config.json`.

use fidelio_backend::Encoding;
use serde_json::{Map, Value, json};

use super::{
    families::{self, Family},
    metadata::{Metadata, Scalar, Value as Entry},
    names::heads,
    rope_factors,
};
use crate::{Fault, tensors::Stored};

/// Builds the settings. A tensor that only encodes settings (`rope_freqs.weight`) is taken out of
/// `stored` when its meaning could be written down.
pub(super) fn config(metadata: &Metadata, stored: &mut Vec<Stored>) -> Result<Value, Fault> {
    let architecture = metadata.require_text("general.architecture")?;
    let family = families::of(architecture);
    let mut settings = Settings { metadata, architecture, keys: Map::new() };
    settings.set("model_type", json!(family.map_or(architecture, |family| family.model_type)));
    if let Some(Family { class, activation: [key, name], epsilon, .. }) = family {
        settings.set("architectures", json!([class]));
        settings.set(key, json!(name));
        settings.require(&["embedding_length", "block_count", "feed_forward_length"])?;
        settings.require(&["attention.head_count", *epsilon])?;
    }
    settings.sizes()?;
    settings.heads()?;
    settings.rotary(stored)?;
    settings.windows()?;
    settings.of_family()?;
    settings.read_tensors(stored, family);
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
            ("attn_logit_softcapping", "attn_logit_softcapping"),
            ("final_logit_softcapping", "final_logit_softcapping"),
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
        self.longrope(stored)?;
        let noted = self.metadata.text(rope_factors::KEY)?;
        if let Some(at) = stored.iter().position(|t| &*t.name == "rope_freqs.weight")
            && let Some(scaling) = rope_factors::llama3(&stored[at], base, noted)
        {
            stored.remove(at);
            self.set("rope_scaling", scaling);
        }
        Ok(())
    }

    /// LongRoPE's divisors are tensors there.
    fn longrope(&mut self, stored: &mut Vec<Stored>) -> Result<(), Fault> {
        let mut scaling = json!({ "rope_type": "longrope" });
        for (key, name) in [
            ("short_factor", "rope_factors_short.weight"),
            ("long_factor", "rope_factors_long.weight"),
        ] {
            let is_it = |tensor: &Stored| &*tensor.name == name && tensor.encoding == Encoding::F32;
            let Some(at) = stored.iter().position(is_it) else { continue };
            let (floats, _) = stored[at].bytes.as_chunks::<4>();
            let floats: Vec<f32> = floats.iter().map(|it| f32::from_le_bytes(*it)).collect();
            scaling[key] = json!(floats);
            stored.remove(at);
        }
        if scaling["short_factor"].is_null() {
            return Ok(());
        }
        scaling["original_max_position_embeddings"] =
            json!(self.unsigned("rope.scaling.original_context_length")?);
        scaling["attention_factor"] = json!(self.float("rope.scaling.attn_factor")?);
        self.set("rope_scaling", scaling);
        Ok(())
    }

    /// A window of 0 is none; the pattern is every so-manieth layer that sees everything, or a list.
    fn windows(&mut self) -> Result<(), Fault> {
        let window = self.unsigned("attention.sliding_window")?;
        if let Some(window) = window {
            self.set("sliding_window", json!((window > 0).then_some(window)));
            if self.architecture == "llama" && window > 0 {
                self.set("model_type", json!("mistral")); // what a Llama within a window is
            }
        }
        let pattern = self.key("attention.sliding_window_pattern");
        match self.metadata.get(&pattern) {
            Some(Entry::Array(list)) => {
                let kinds = list.scalars(&pattern)?.map(|entry| match entry {
                    Scalar::Bool(true) => "sliding_attention",
                    _ => "full_attention",
                });
                let kinds: Vec<&str> = kinds.collect();
                self.set("layer_types", json!(kinds));
            }
            Some(_) => {
                let every = self.metadata.unsigned(&pattern)?;
                self.set("sliding_window_pattern", json!(every));
            }
            None => {}
        }
        Ok(())
    }

    /// What llama.cpp knows of an architecture and its files do not say.
    fn of_family(&mut self) -> Result<(), Fault> {
        match self.architecture {
            "smollm3" => self.set("no_rope_layer_interval", json!(4)),
            "gpt2" => {
                let epsilon = self.keys.remove("layer_norm_eps").unwrap_or_default();
                self.set("layer_norm_epsilon", epsilon);
                self.keys.remove("rope_theta"); // positions are learnt
            }
            "gptneox" => {
                let parallel = self.metadata.get(&self.key("use_parallel_residual"));
                let parallel = !matches!(parallel, Some(Entry::Scalar(Scalar::Bool(false))));
                self.set("use_parallel_residual", json!(parallel));
            }
            "gemma2" => self.query_scale(46)?,
            "gemma3" => {
                self.query_scale(62)?;
                if let Some(base) = self.float("rope.freq_base_swa")? {
                    self.set("rope_local_base_freq", json!(base));
                }
                let layers = self.unsigned("block_count")?.unwrap_or(0);
                if self.keys.get("sliding_window").is_none_or(Value::is_null) {
                    self.set("sliding_window", Value::Null);
                    self.set("layer_types", json!(vec!["full_attention"; layers as usize]));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Scores of Gemma are scaled by the width of a head, but for the largest model, which is known
    /// by its layers, by what would be the width if heads filled the hidden states.
    fn query_scale(&mut self, layers_of_largest: u64) -> Result<(), Fault> {
        let largest = self.unsigned("block_count")? == Some(layers_of_largest);
        let scalar = if largest {
            let (hidden, heads) =
                (self.unsigned("embedding_length")?, self.unsigned("attention.head_count")?);
            json!(hidden.unwrap_or(0).checked_div(heads.unwrap_or(0)))
        } else {
            self.keys.get("head_dim").cloned().unwrap_or_default()
        };
        self.set("query_pre_attn_scalar", scalar);
        Ok(())
    }

    /// What the tensors say better than the metadata.
    fn read_tensors(&mut self, stored: &[Stored], family: Option<&Family>) {
        let find = |name: &str| stored.iter().find(|tensor| &*tensor.name == name);
        let [table, head] = family
            .map_or(["token_embd", "output"], |it| [it.whole.table, it.whole.head])
            .map(|name| find(&format!("{name}.weight")));
        if let Some(table) = table {
            self.set("vocab_size", json!(table.shape.first()));
            self.set("tie_word_embeddings", json!(head.is_none()));
        }
        if self.architecture == "gptneox" {
            let bias = find("gpt_neox.layers.0.attention.query_key_value.bias");
            self.set("attention_bias", json!(bias.is_some()));
        }
        if matches!(self.architecture, "llama" | "smollm3" | "qwen3" | "olmo2") {
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
