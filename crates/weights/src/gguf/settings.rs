//! The settings of a model as llama.cpp's metadata: what `config.rs` reads, written.

use serde::Deserialize;
use serde_json::Value;

use super::{
    families::{self, Family},
    rope_factors,
    writer::{GgufWriter, MetadataValue as M},
};
use crate::WeightsError;

/// The keys of `config.json` that can be written.
#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    model_type: String,
    /// What llama.cpp takes the model for.
    #[serde(skip, default = "families::llama")]
    pub(super) family: &'static Family,
    pub(super) vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default)]
    pub(super) tie_word_embeddings: bool,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    partial_rotary_factor: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    /// Newer checkpoints keep both here.
    rope_parameters: Option<Value>,
}

fn silu() -> String {
    "silu".into()
}

/// What can be written: `model_type`, and llama.cpp's architecture.
const WRITTEN: [(&str, &str); 4] =
    [("llama", "llama"), ("mistral", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3")];

impl Settings {
    /// Reads the settings of a model of an architecture that can be written.
    pub(super) fn read(config: &Value) -> Result<Self, WeightsError> {
        let kind = config["model_type"].as_str().unwrap_or("none");
        let written = WRITTEN.iter().find(|(model_type, _)| *model_type == kind);
        let family = written.and_then(|(_, architecture)| families::of(architecture));
        let Some(family) = family else {
            let names = WRITTEN.map(|(model_type, _)| format!("`{model_type}`")).join(", ");
            return Err(unexportable(format!(
                "its architecture is `{kind}`; {names} can be written"
            )));
        };
        let mut settings: Self = serde_json::from_value(config.clone())
            .map_err(|error| unexportable(format!("config.json: {error}")))?;
        settings.family = family;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), WeightsError> {
        if !matches!(self.hidden_act.as_str(), "silu" | "swish") {
            let act = &self.hidden_act;
            return Err(unexportable(format!("`hidden_act` is `{act}`; only `silu` is written")));
        }
        if self.partial_rotary_factor.is_some_and(|factor| (factor - 1.0).abs() > f64::EPSILON) {
            return Err(unexportable("`partial_rotary_factor` is not 1".into()));
        }
        for (key, heads) in [
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
        ] {
            if heads == 0 {
                return Err(unexportable(format!("`{key}` is 0")));
            }
        }
        Ok(())
    }

    pub(super) fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// The positions within which llama.cpp does what the model does: it sees everything where the
    /// model would see a window only.
    fn context(&self) -> usize {
        let window = self.sliding_window.filter(|_| self.use_sliding_window != Some(false));
        self.max_position_embeddings.min(window.unwrap_or(usize::MAX))
    }

    /// A key of the model's architecture.
    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.family.architecture)
    }

    /// What is written otherwise than `config.json` has it.
    pub(super) fn note(&self) -> Option<String> {
        let cut = self.context() < self.max_position_embeddings;
        cut.then(|| {
            format!(
                "the context is {} instead of {} tokens: llama.cpp has no sliding window for {}",
                self.context(),
                self.max_position_embeddings,
                self.model_type
            )
        })
    }

    /// Adds the keys, and the tensor that holds a rotary scaling.
    pub(super) fn write(&self, writer: GgufWriter) -> Result<GgufWriter, WeightsError> {
        let mut writer =
            writer.metadata("general.architecture", &M::Text(self.family.architecture));
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("context_length", self.context()),
            ("embedding_length", self.hidden_size),
            ("block_count", self.num_hidden_layers),
            ("feed_forward_length", self.intermediate_size),
            ("attention.head_count", self.num_attention_heads),
            ("attention.head_count_kv", self.key_value_heads()),
            ("attention.key_length", self.head_dim()),
            ("attention.value_length", self.head_dim()),
            ("rope.dimension_count", self.head_dim()),
        ] {
            let value = u32::try_from(value)
                .map_err(|_| unexportable(format!("`{key}` is {value}, too large")))?;
            writer = writer.metadata(&self.key(key), &M::U32(value));
        }
        let epsilon = M::F32(self.rms_norm_eps as f32);
        self.rotary(writer.metadata(&self.key("attention.layer_norm_rms_epsilon"), &epsilon))
    }

    fn rotary(&self, writer: GgufWriter) -> Result<GgufWriter, WeightsError> {
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let scaling = scaling.unwrap_or(&Value::Null);
        let base = scaling["rope_theta"].as_f64().or(self.rope_theta).unwrap_or(10_000.0);
        let writer = writer.metadata(&self.key("rope.freq_base"), &M::F32(base as f32));
        let kind = scaling["rope_type"].as_str().or_else(|| scaling["type"].as_str());
        match kind {
            None | Some("default") => Ok(writer),
            Some("linear") => {
                let factor = scaling["factor"].as_f64().ok_or_else(|| {
                    unexportable("its rotary scaling of kind `linear` has no factor".into())
                })?;
                Ok(writer
                    .metadata(&self.key("rope.scaling.type"), &M::Text("linear"))
                    .metadata(&self.key("rope.scaling.factor"), &M::F32(factor as f32)))
            }
            Some("llama3") => self.llama3(writer, scaling, base),
            Some(other) => Err(unexportable(format!(
                "its rotary scaling is `{other}`; `linear` and `llama3` can be written"
            ))),
        }
    }

    fn llama3(
        &self,
        writer: GgufWriter,
        scaling: &Value,
        base: f64,
    ) -> Result<GgufWriter, WeightsError> {
        let divisors = rope_factors::divisors(scaling, base, self.head_dim() / 2)
            .ok_or_else(|| unexportable(format!("its rotary scaling is incomplete: {scaling}")))?;
        let tensor = fidelio_backend::TensorView {
            encoding: fidelio_backend::Encoding::F32,
            shape: vec![divisors.len()],
            bytes: divisors.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let mut noted = scaling.clone();
        if let Some(noted) = noted.as_object_mut() {
            noted.remove("rope_theta"); // it has its own key
        }
        Ok(writer
            .metadata(rope_factors::KEY, &M::Text(&noted.to_string()))
            .tensor("rope_freqs.weight", tensor))
    }
}

pub(super) fn unexportable(problem: String) -> WeightsError {
    WeightsError::Unexportable { format: "GGUF", problem }
}
