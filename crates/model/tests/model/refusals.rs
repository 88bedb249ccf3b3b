//! Checkpoints that must not load, each with an error that names the tensor or key.

use fidelio_backend::{
    Backend as _, BackendError, DeviceId, OpenSpec, TensorSink as _, Weights as _,
};
use fidelio_weights::{TensorBuffer, peft};
use serde_json::json;

use crate::checkpoint::{Golden, engines};

const Q_PROJ: &str = "model.layers.0.self_attn.q_proj.weight";

/// Opens a spoilt copy of a reference and returns what is said about it.
fn complaint(name: &str, spoil: impl FnOnce(&mut Golden)) -> String {
    let mut golden = Golden::read(name);
    spoil(&mut golden);
    let backend = engines().remove(0);
    match backend.open(DeviceId(0), &OpenSpec::new(golden.config), &golden.tensors) {
        Ok(_) => panic!("a spoilt checkpoint loaded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn all_misfitting_tensors_are_named_at_once() {
    let complaint = complaint("llama", |golden| {
        let moved = golden.tensors.0.remove(Q_PROJ).unwrap();
        golden.tensors.0.insert("model.layers.0.self_attn.qproj.weight".into(), moved);
        golden.tensors.0.get_mut("model.norm.weight").unwrap().shape = vec![31];
    });
    for part in [
        "`model.layers.0.self_attn.q_proj.weight` [32, 32] is missing",
        "`model.layers.0.self_attn.qproj.weight` is not a tensor of this architecture",
        "`model.norm.weight` is [31], expected [32]",
    ] {
        assert!(complaint.contains(part), "`{part}` is not in: {complaint}");
    }
}

#[test]
fn truncated_bytes_are_refused() {
    let complaint = complaint("llama", |golden| {
        let tensor = golden.tensors.0.get_mut(Q_PROJ).unwrap();
        tensor.bytes = tensor.bytes.slice(..100);
    });
    assert!(complaint.contains("has 100 bytes, expected 4096"), "{complaint}");
}

#[test]
fn a_tied_head_that_differs_is_refused() {
    let spoil = |golden: &mut Golden, bytes: Option<Vec<u8>>| {
        let mut copy = golden.tensors.0["model.embed_tokens.weight"].clone();
        if let Some(bytes) = bytes {
            copy.bytes = bytes.into();
        }
        golden.tensors.0.insert("lm_head.weight".into(), copy);
    };
    let zeros = vec![0; 96 * 32 * 4];
    let complaint = complaint("llama", |golden| spoil(golden, Some(zeros)));
    assert!(complaint.contains("`lm_head.weight` differs"), "{complaint}");
    let mut same = Golden::read("llama");
    spoil(&mut same, None);
    same.open(&engines().remove(0));
}

#[test]
fn what_is_not_built_is_refused_by_key() {
    for (key, value, part) in [
        ("hidden_act", json!("relu"), "`hidden_act`"),
        ("rope_parameters", json!({"rope_type": "spiral"}), "`spiral` is not built"),
        ("num_key_value_heads", json!(3), "`num_key_value_heads`"),
        ("hidden_size", json!("wide"), "`hidden_size`"),
        ("model_type", json!("rwkv"), "`rwkv` is not supported"),
    ] {
        let complaint = complaint("llama", |golden| golden.config[key] = value);
        assert!(complaint.contains(part), "`{part}` is not in: {complaint}");
    }
}

/// What a family does not have, or not yet, and a key that nobody has looked at.
#[test]
fn what_would_change_the_numbers_is_refused_by_name() {
    for (model, key, value, part) in [
        ("llama", "attn_temperature_tuning", json!(true), "`attn_temperature_tuning`"),
        ("llama", "quantization_config", json!({"quant_method": "awq"}), "`quantization_config`"),
        ("llama", "partial_rotary_factor", json!(0.5), "`partial_rotary_factor`"),
        ("llama", "rope_interleaved", json!(true), "only false is built"),
        ("mistral", "attention_bias", json!(true), "`attention_bias`"),
        ("mistral", "sliding_window", json!(0), "`sliding_window` in the model's config.json is 0"),
        ("qwen2-window", "layer_types", json!(["full_attention"]), "1 entries for 2 layers"),
        (
            "qwen2-window",
            "sliding_window",
            json!(null),
            "`sliding_window` in the model's config.json is missing",
        ),
        (
            "qwen3",
            "layer_types",
            json!(["full_attention", "chunked_attention"]),
            "`chunked_attention`",
        ),
        ("gemma2", "hidden_activation", json!("relu"), "`hidden_activation`"),
        ("gemma2", "final_logit_softcapping", json!(-1.0), "`final_logit_softcapping`"),
        ("gemma3", "attn_logit_softcapping", json!(50.0), "`attn_logit_softcapping`"),
        ("gemma3", "use_bidirectional_attention", json!(true), "`use_bidirectional_attention`"),
        (
            "gemma3",
            "rope_parameters",
            json!({"rope_type": "default"}),
            "`rope_parameters.rope_type`",
        ),
        ("phi3", "rope_parameters", json!({"type": "longrope"}), "`rope_scaling.short_factor`"),
        ("smollm3", "no_rope_layers", json!([1, 0]), "2 entries for 5 layers"),
        ("olmo2", "sliding_window", json!(4096), "`sliding_window`"),
        ("gpt2", "activation_function", json!("relu"), "`activation_function`"),
        ("gpt2", "add_cross_attention", json!(true), "only false is built"),
        ("gpt2", "hidden_size", json!(32), "`n_embd` in the model's config.json is 24, and"),
        ("gpt2", "n_head", json!(0), "`n_head` in the model's config.json is 0"),
        ("gpt2", "alibi", json!(true), "`alibi`"),
        (
            "gpt-neox",
            "rope_parameters",
            json!({"rope_type": "default", "partial_rotary_factor": 0.2}),
            "which turns 3 of 16 channels",
        ),
        ("gpt-neox", "hidden_act", json!("relu"), "`hidden_act`"),
        ("gpt-neox", "sliding_window", json!(4), "`sliding_window`"),
    ] {
        let complaint = complaint(model, |golden| golden.config[key] = value);
        assert!(complaint.contains(part), "{model}: `{part}` is not in: {complaint}");
    }
}

/// What exporters write that changes nothing.
#[test]
fn keys_without_effect_are_passed_over() {
    let mut golden = Golden::read("llama");
    for (key, value) in [
        ("torch_dtype", json!("bfloat16")),
        ("pretraining_tp", json!(1)),
        ("is_llama_config", json!(true)),
        ("rope_interleaved", json!(false)),
        ("transformers.js_config", json!({"dtype": "q4"})),
        ("rope_scaling", json!(null)),
        ("sliding_window", json!(null)),
    ] {
        golden.config[key] = value;
    }
    golden.open(&engines().remove(0));
}

#[test]
fn an_absent_device_is_refused() {
    let golden = Golden::read("llama");
    let backend = engines().remove(0);
    let spec = OpenSpec::new(golden.config);
    let result = backend.open(DeviceId(9), &spec, &golden.tensors);
    assert!(matches!(result, Err(BackendError::NoDevice { device: 9, .. })));
}

/// What is said about an adapter that lacks a tensor and has one that belongs nowhere: nothing of it
/// may be left out without a word.
#[test]
fn an_adapter_with_other_tensors_than_its_layers_is_refused_by_name() {
    let golden = Golden::read("llama");
    let adapter = peft::open(&golden.folder.join("lora-plain")).unwrap();
    let names = adapter.weights.names();
    let lost = names.iter().find(|name| name.ends_with("lora_B.weight")).unwrap();
    let mut given = TensorBuffer::new();
    for name in names.iter().filter(|name| *name != lost) {
        given.put(name, adapter.weights.get(name).unwrap()).unwrap();
    }
    let stranger = "model.layers.7.self_attn.q_proj.lora_A.weight";
    given.put(stranger, adapter.weights.get(lost).unwrap()).unwrap();
    let mut session = golden.open(&fidelio_model::backends().remove(0));
    let complaint = session.add_adapter(&adapter.spec, Some(&given)).unwrap_err().to_string();
    assert!(complaint.contains(&format!("`{lost}`")) && complaint.contains("is missing"));
    assert!(complaint.contains(&format!("`{stranger}` is not a tensor of this adapter")));
    // It changes nothing: the whole adapter is taken afterwards.
    session.add_adapter(&adapter.spec, Some(&adapter.weights)).unwrap();
}
