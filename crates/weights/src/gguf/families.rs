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
    /// The layers' tensors, in the order of the computation.
    pub(super) parts: &'static Parts,
    /// Whether rows of queries and keys that are turned together stand side by side.
    pub(super) interleaved: bool,
    /// Whether norms scale by `1 + weight`, which llama.cpp works into the weight.
    pub(super) norms_around_one: bool,
}

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
];

/// The family of an architecture of llama.cpp.
pub(super) fn of(architecture: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.architecture == architecture)
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
