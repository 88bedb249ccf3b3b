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
        ("hidden_act", json!("gelu"), "`hidden_act`"),
        ("rope_parameters", json!({"rope_type": "yarn", "factor": 2.0}), "`yarn` is not built"),
        ("num_key_value_heads", json!(3), "`num_key_value_heads`"),
        ("hidden_size", json!("wide"), "`hidden_size`"),
        ("model_type", json!("gpt2"), "`gpt2` is not supported"),
    ] {
        let complaint = complaint("llama", |golden| golden.config[key] = value);
        assert!(complaint.contains(part), "`{part}` is not in: {complaint}");
    }
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
