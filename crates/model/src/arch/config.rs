//! What the `config.json` of every decoder has, and which keys nobody needs to look at.

use std::{collections::BTreeSet, sync::Arc};

use fidelio_backend::{BackendError, OpenSpec};
use fidelio_ops::Activation;
use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

use super::config_of;
use crate::layers::{AttentionConfig, NormConfig, NormKind, Rotary, RotaryConfig, UNKNOWN, refuse};

/// The keys that decoders share, as `config.json` spells them.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct DecoderConfig {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) max_position_embeddings: usize,
    rms_norm_eps: f64,
    hidden_act: Option<String>,
    pub(super) tie_word_embeddings: Option<bool>,
    #[serde(default)]
    pub(super) attention_bias: bool,
    #[serde(default)]
    pub(super) mlp_bias: bool,
    /// `full_attention` or `sliding_attention` for each layer.
    pub(super) layer_types: Option<Vec<String>>,
}

/// Keys that change nothing of what a decoder computes: where it comes from, how it was or would be
/// trained, how its output is wrapped, how text is drawn from it.
const WITHOUT_EFFECT: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_flash_attn_2_enabled",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "max_sequence_length",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// The same of what only encoders have: also what only stands on top of them, and which kernels they
/// would be computed with.
const WITHOUT_EFFECT_ON_ENCODERS: &[&str] = &[
    "_num_labels",
    "attention_probs_dropout_prob",
    "classifier_activation",
    "classifier_bias",
    "classifier_pooling",
    "cls_token_id",
    "decoder_bias",
    "deterministic_flash_attn",
    "directionality",
    "dropout",
    "embedding_dropout",
    "hidden_dropout_prob",
    "initializer_cutoff_factor",
    "mlp_dropout",
    "num_labels",
    "output_past",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "qa_dropout",
    "reference_compile",
    "repad_logits_with_grad",
    "seq_classif_dropout",
    "sparse_pred_ignore_index",
    "sparse_prediction",
    "tie_weights_",
    "tie_word_embeddings",
];

/// Keys that change nothing where they are false.
const ONLY_FALSE: &[&str] = &["add_cross_attention", "rope_interleaved", "use_mrope"];

/// The shared keys, and an architecture's own.
///
/// # Errors
/// Where a key is missing, does not fit or would make no model; and where there is one that nobody
/// reads.
pub(super) fn read<T: DeserializeOwned>(
    spec: &OpenSpec,
) -> Result<(DecoderConfig, T), BackendError> {
    let config: DecoderConfig = config_of(spec)?;
    let own: T = config_of(spec)?;
    let mut read: BTreeSet<&str> = WITHOUT_EFFECT.iter().copied().collect();
    read.extend(keys_of::<DecoderConfig>());
    read.extend(keys_of::<RotaryConfig>());
    read.extend(keys_of::<T>());
    let keys = spec.config.as_object().into_iter().flatten();
    for (key, value) in keys.filter(|(_, value)| !value.is_null()) {
        let off = ONLY_FALSE.contains(&key.as_str());
        if off && value.as_bool() != Some(false) {
            return refuse(key, format!("is {value}; only false is built"));
        }
        if !off && !read.contains(key.as_str()) {
            return refuse(key, UNKNOWN.into());
        }
    }
    config.check()?;
    Ok((config, own))
}

/// The keys of an encoder.
///
/// # Errors
/// As [`read`].
pub(super) fn read_encoder<T: DeserializeOwned>(spec: &OpenSpec) -> Result<T, BackendError> {
    let own: T = config_of(spec)?;
    let known = [WITHOUT_EFFECT, WITHOUT_EFFECT_ON_ENCODERS, keys_of::<T>()];
    let keys = spec.config.as_object().into_iter().flatten();
    for (key, _) in keys.filter(|(_, value)| !value.is_null()) {
        if !known.iter().any(|keys| keys.contains(&key.as_str())) {
            return refuse(key, UNKNOWN.into());
        }
    }
    Ok(own)
}

/// Builds an architecture that has names of its own for shared keys: its name, the shared one.
///
/// # Errors
/// Those of `build`, about the key as `config.json` spells it; and where both names are there and
/// say two things.
pub(super) fn under_own_names<T>(
    names: &[(&str, &str)],
    spec: &OpenSpec,
    build: impl FnOnce(&OpenSpec) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let mut renamed = spec.clone();
    for (own, shared) in names {
        let Some(keys) = renamed.config.as_object_mut() else { break };
        let Some(value) = keys.remove(*own).filter(|value| !value.is_null()) else { continue };
        match keys.get(*shared).filter(|there| !there.is_null()) {
            Some(there) if *there != value => {
                return refuse(own, format!("is {value}, and `{shared}` is {there}"));
            }
            _ => keys.insert((*shared).to_owned(), value),
        };
    }
    build(&renamed).map_err(|error| match error {
        BackendError::ModelConfig { key, problem } => {
            let own = names.iter().find(|(_, shared)| *shared == key);
            BackendError::ModelConfig { key: own.map_or(key, |(own, _)| (*own).into()), problem }
        }
        other => other,
    })
}

impl DecoderConfig {
    fn check(&self) -> Result<(), BackendError> {
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if size == 0 {
                return refuse(key, "is 0".into());
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.key_value_heads()) {
            return refuse(
                "num_key_value_heads",
                format!(
                    "is {}, which does not divide the {} attention heads",
                    self.key_value_heads(),
                    self.num_attention_heads
                ),
            );
        }
        Ok(())
    }

    pub(super) fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub(super) fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Hidden and inner width of the feed-forward layers.
    pub(super) fn mlp_sizes(&self) -> [usize; 2] {
        [self.hidden_size, self.intermediate_size]
    }

    /// Sizes of the attention layers, and biases where `attention_bias` says so.
    pub(super) fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            hidden_size: self.hidden_size,
            query_heads: self.num_attention_heads,
            key_value_heads: self.key_value_heads(),
            head_dim: self.head_dim(),
            bias: self.attention_bias,
            output_bias: self.attention_bias,
        }
    }

    /// Norms that scale by their weight.
    pub(super) fn norm(&self) -> NormConfig {
        NormConfig { eps: self.rms_norm_eps, kind: NormKind::RootMeanSquare }
    }

    /// The context and the angles for whole heads.
    pub(super) fn rotary(&self, spec: &OpenSpec) -> Result<(usize, Arc<Rotary>), BackendError> {
        self.rotary_of_base(spec, 10_000.0)
    }

    /// The same for an architecture with another base where `config.json` does not say.
    pub(super) fn rotary_of_base(
        &self,
        spec: &OpenSpec,
        base: f64,
    ) -> Result<(usize, Arc<Rotary>), BackendError> {
        let mut written: RotaryConfig = config_of(spec)?;
        written.rope_theta.get_or_insert(base);
        let context = self.max_position_embeddings;
        let (context, rotary) = Rotary::new(&written, spec.rotary, self.head_dim(), context)?;
        Ok((context, Arc::new(rotary)))
    }

    /// What `hidden_act` names; `silu` where it is absent.
    pub(super) fn activation(&self) -> Result<Activation, BackendError> {
        activation("hidden_act", self.hidden_act.as_deref().unwrap_or("silu"))
    }

    /// For an architecture without biases.
    pub(super) fn refuse_biases(&self) -> Result<(), BackendError> {
        for (key, bias) in [("attention_bias", self.attention_bias), ("mlp_bias", self.mlp_bias)] {
            if bias {
                return refuse(key, "is true; this architecture has no biases".into());
            }
        }
        Ok(())
    }

    /// The window of each layer: `window` where `layer_types` has `sliding_attention`, or, where
    /// there is no such list, where `slides` says so.
    pub(super) fn windows(
        &self,
        window: Option<u32>,
        slides: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<u32>>, BackendError> {
        let layers = self.num_hidden_layers;
        let slides: Vec<bool> = match &self.layer_types {
            None => (0..layers).map(slides).collect(),
            Some(types) if types.len() != layers => {
                let problem = format!("has {} entries for {layers} layers", types.len());
                return refuse("layer_types", problem);
            }
            Some(types) => types.iter().map(|it| layer_slides(it)).collect::<Result<_, _>>()?,
        };
        match window {
            Some(0) => refuse("sliding_window", "is 0".into()),
            None if slides.contains(&true) => {
                refuse("sliding_window", "is missing, and some layers have one".into())
            }
            _ => Ok(slides.into_iter().map(|slides| window.filter(|_| slides)).collect()),
        }
    }
}

fn layer_slides(layer_type: &str) -> Result<bool, BackendError> {
    match layer_type {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => refuse("layer_types", format!("has `{other}`, which is not built")),
    }
}

/// The activation of a name.
pub(super) fn activation(key: &str, name: &str) -> Result<Activation, BackendError> {
    match name {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        // The same formula, written in three ways.
        "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Activation::GeluTanh),
        other => {
            let built = "`silu`, `gelu` and `gelu_pytorch_tanh` are built";
            refuse(key, format!("is `{other}`; {built}"))
        }
    }
}

/// The keys that a struct reads: what its `Deserialize` asks for.
fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Asked<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("only its keys are wanted"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            keys: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = keys;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut keys: &'static [&'static str] = &[];
    let _ = T::deserialize(Asked(&mut keys)); // an error by design
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_struct_are_those_it_reads() {
        let keys = keys_of::<RotaryConfig>();
        assert_eq!(
            keys,
            [
                "rope_theta",
                "rope_scaling",
                "rope_parameters",
                "partial_rotary_factor",
                "original_max_position_embeddings"
            ]
        );
        assert!(keys_of::<DecoderConfig>().contains(&"layer_types"));
    }

    /// A list that knew an architecture's key would hide it from all others.
    #[test]
    fn no_key_is_read_and_without_effect() {
        let shared = keys_of::<DecoderConfig>().iter().chain(keys_of::<RotaryConfig>());
        for key in shared {
            assert!(!WITHOUT_EFFECT.contains(key), "{key}");
        }
    }
}
