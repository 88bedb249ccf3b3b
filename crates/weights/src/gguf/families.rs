//! Architectures of llama.cpp that we know, and what they are called at Hugging Face.

/// Parts of a layer: llama.cpp's name, Hugging Face's.
type Parts = [(&'static str, &'static str)];

/// An architecture in both worlds.
#[derive(Debug)]
pub(super) struct Family {
    /// `general.architecture` of a GGUF file.
    pub(super) architecture: &'static str,
    /// `model_type` of a `config.json`.
    pub(super) model_type: &'static str,
    /// Its class in transformers.
    pub(super) class: &'static str,
    /// The key and name of its activation, which files leave unsaid.
    pub(super) activation: [&'static str; 2],
    /// The tensors outside of layers.
    pub(super) whole: &'static Whole,
    /// The key of what norms add before they take a root.
    pub(super) epsilon: &'static str,
    /// Tensors that stand in another form there.
    pub(super) forms: &'static [(&'static str, Otherwise)],
    /// The layers' tensors, in the order of the computation.
    pub(super) parts: &'static Parts,
    /// Whether rows of queries and keys that are turned together stand side by side.
    pub(super) interleaved: bool,
    /// Whether norms scale by `1 + weight`, which llama.cpp works into the weight.
    pub(super) norms_around_one: bool,
}

/// Tensors outside of layers, as Hugging Face calls them.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) table: &'static str,
    pub(super) positions: Option<&'static str>,
    pub(super) norm: &'static str,
    pub(super) head: &'static str,
    /// Where the layers stand.
    pub(super) layers: &'static str,
}

/// How llama.cpp has a tensor that Hugging Face has otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// A matrix with its rows as columns.
    Turned,
    /// Rows in three parts, where each head has a row of every part.
    InThreeParts,
}

const USUAL: &Whole = &Whole {
    table: "model.embed_tokens",
    positions: None,
    norm: "model.norm",
    head: "lm_head",
    layers: "model.layers",
};

/// The key of a root mean square norm, and of a layer norm.
const OF_ROOT: &str = "attention.layer_norm_rms_epsilon";
const OF_LAYER: &str = "attention.layer_norm_epsilon";

const SILU: [&str; 2] = ["hidden_act", "silu"];
const GELU: [&str; 2] = ["hidden_activation", "gelu_pytorch_tanh"];

/// Norms before attention and the feed-forward layer.
const PRE_NORM: &Parts = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The same with norms of queries and keys.
const PRE_NORM_QK: &Parts = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Fused projections.
const FUSED: &Parts = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.gate_up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Norms after attention and the feed-forward layer, and of queries and keys.
const POST_NORM: &Parts = &[
    ("attn_q", "self_attn.q_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// Norms before and after both.
const NORMS_AROUND: &Parts = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// Of GPT-2.
const GPT2: &Parts = &[
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];

/// Of GPT-NeoX.
const NEOX: &Parts = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "attention.query_key_value"),
    ("attn_output", "attention.dense"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];

const fn family(
    architecture: &'static str,
    model_type: &'static str,
    class: &'static str,
    parts: &'static Parts,
) -> Family {
    Family {
        architecture,
        model_type,
        class,
        activation: SILU,
        whole: USUAL,
        epsilon: OF_ROOT,
        forms: &[],
        parts,
        interleaved: false,
        norms_around_one: false,
    }
}

const fn gemma(
    architecture: &'static str,
    model_type: &'static str,
    class: &'static str,
) -> Family {
    Family {
        activation: GELU,
        norms_around_one: true,
        ..family(architecture, model_type, class, NORMS_AROUND)
    }
}

/// All of them.
pub(super) static FAMILIES: &[Family] = &[
    Family { interleaved: true, ..family("llama", "llama", "LlamaForCausalLM", PRE_NORM) },
    Family { interleaved: true, ..family("smollm3", "smollm3", "SmolLM3ForCausalLM", PRE_NORM) },
    family("qwen2", "qwen2", "Qwen2ForCausalLM", PRE_NORM),
    family("qwen3", "qwen3", "Qwen3ForCausalLM", PRE_NORM_QK),
    family("phi3", "phi3", "Phi3ForCausalLM", FUSED),
    family("olmo2", "olmo2", "Olmo2ForCausalLM", POST_NORM),
    gemma("gemma2", "gemma2", "Gemma2ForCausalLM"),
    gemma("gemma3", "gemma3_text", "Gemma3ForCausalLM"),
    Family {
        activation: ["activation_function", "gelu_new"],
        whole: &Whole {
            table: "transformer.wte",
            positions: Some("transformer.wpe"),
            norm: "transformer.ln_f",
            head: "lm_head",
            layers: "transformer.h",
        },
        epsilon: OF_LAYER,
        forms: &[
            ("attn.c_attn.weight", Otherwise::Turned),
            ("attn.c_proj.weight", Otherwise::Turned),
            ("mlp.c_fc.weight", Otherwise::Turned),
            ("mlp.c_proj.weight", Otherwise::Turned),
        ],
        ..family("gpt2", "gpt2", "GPT2LMHeadModel", GPT2)
    },
    Family {
        // llama.cpp computes the other formula, which is near this one.
        activation: ["hidden_act", "gelu"],
        whole: &Whole {
            table: "gpt_neox.embed_in",
            positions: None,
            norm: "gpt_neox.final_layer_norm",
            head: "embed_out",
            layers: "gpt_neox.layers",
        },
        epsilon: OF_LAYER,
        forms: &[
            ("attention.query_key_value.weight", Otherwise::InThreeParts),
            ("attention.query_key_value.bias", Otherwise::InThreeParts),
        ],
        ..family("gptneox", "gpt_neox", "GPTNeoXForCausalLM", NEOX)
    },
];

/// The family of an architecture of llama.cpp.
pub(super) fn of(architecture: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.architecture == architecture)
}

impl Family {
    /// How llama.cpp has a tensor of Hugging Face's name, if otherwise.
    pub(super) fn form_of(&self, name: &str) -> Option<Otherwise> {
        let part = name.strip_prefix(self.whole.layers)?.strip_prefix('.')?;
        let (_, part) = part.split_once('.')?;
        self.forms.iter().find(|(it, _)| *it == part).map(|(_, form)| *form)
    }
}

/// The family of a `model_type`.
pub(super) fn of_model_type(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_type == model_type)
}

/// The first of them.
pub(super) fn llama() -> &'static Family {
    &FAMILIES[0]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_is_llama() {
        assert_eq!(llama().architecture, "llama");
    }

    #[test]
    fn no_name_leads_to_two_places() {
        for family in FAMILIES {
            assert!(std::ptr::eq(of(family.architecture).unwrap(), family));
            for side in [0, 1] {
                let names: BTreeSet<&str> =
                    family.parts.iter().map(|(a, b)| [*a, *b][side]).collect();
                assert_eq!(names.len(), family.parts.len(), "{}", family.architecture);
            }
        }
    }
}
