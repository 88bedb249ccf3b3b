//! Adapters that were worked into their model answer as PEFT does with them beside it.

use fidelio_backend::{Backend as _, DeviceId, OpenSpec};
use fidelio_weights::{Checkpoint, Merged, peft};

use crate::{
    checkpoint::{Golden, engines, tensors_of},
    learning::{check_logits, floats},
};

#[test]
fn a_merged_model_has_the_logits_of_peft() {
    const LLAMA: &[&str] = &["lora-plain", "lora-rslora", "lora-dora", "lora-patterns"];
    let backend = engines().remove(0);
    for (model, kinds) in [
        ("llama", LLAMA),
        ("llama-bias-llama3", LLAMA),
        ("gpt2", &["lora-plain", "lora-dora"]), // whose weights stand the other way round
        ("gpt-neox", &["lora-rslora"]),
    ] {
        let golden = Golden::read(model);
        let checkpoint = Checkpoint::open(&golden.folder).unwrap();
        for kind in kinds {
            let folder = golden.folder.join(kind);
            let merged = Merged::new(&checkpoint, peft::open(&folder).unwrap()).unwrap();
            let spec = OpenSpec::new(golden.config.clone());
            let mut session = backend.open(DeviceId(0), &spec, &merged).unwrap();
            let expected: crate::learning::Adapted =
                crate::learning::json(&folder.join("expected.json"));
            let logits = floats(&tensors_of(&folder.join("expected.safetensors")).0["logits"]);
            check_logits(
                &format!("{model} {kind}"),
                session.as_mut(),
                &expected.ids,
                None,
                &logits,
            );
        }
    }
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let biased = Checkpoint::open(&Golden::read("llama-bias-llama3").folder).unwrap();
    let with_bias = Golden::read("llama").folder.join("lora-rslora");
    let mut adapter = peft::open(&with_bias).unwrap();
    assert!(Merged::new(&biased, adapter.clone()).is_ok(), "the layers have the same names");
    let mut tensors = fidelio_weights::TensorBuffer::new();
    let name = "model.layers.9.self_attn.q_proj.lora_A.weight";
    fidelio_backend::TensorSink::put(&mut tensors, name, golden_tensor(&adapter)).unwrap();
    let file = tempfile::tempdir().unwrap();
    tensors.write(&file.path().join("a.safetensors")).unwrap();
    adapter.weights =
        fidelio_weights::safetensors::open(&file.path().join("a.safetensors")).unwrap();
    let error = Merged::new(&biased, adapter).unwrap_err().to_string();
    assert!(error.contains("model.layers.9"), "{error}");
}

fn golden_tensor(adapter: &peft::PeftAdapter) -> fidelio_backend::TensorView {
    let (name, ..) = adapter.weights.iter().next().unwrap();
    fidelio_backend::Weights::get(&adapter.weights, name).unwrap()
}
