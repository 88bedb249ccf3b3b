//! Adapters beside weights that are rounded while they are loaded: what PEFT computes beside the
//! weights that bitsandbytes decodes (`tests/make_quantized.py`).

use std::collections::BTreeMap;

use fidelio_backend::{
    Backend as _, BackendError, DeviceId, OpenSpec, Precision, Quantization, Session, Trains,
    Weights as _, contract::check_session,
};
use fidelio_model::BurnBackend;

use crate::{
    checkpoint::{Golden, engines},
    learning::{Row, check_adapter, json, spec},
};

const KINDS: [(&str, Quantization); 5] = [
    ("nf4", Quantization::Nf4 { double_quant: false }),
    ("nf4-double", Quantization::Nf4 { double_quant: true }),
    ("fp4", Quantization::Fp4 { double_quant: false }),
    ("fp4-double", Quantization::Fp4 { double_quant: true }),
    ("int8", Quantization::Int8),
];

fn open(
    golden: &Golden,
    backend: &BurnBackend,
    how: Quantization,
) -> Result<Box<dyn Session>, BackendError> {
    let mut spec = OpenSpec::new(golden.config.clone());
    spec.quantization = Some(how);
    backend.open(DeviceId(0), &spec, &golden.tensors)
}

#[test]
fn adapters_beside_rounded_weights_equal_peft() {
    let golden = Golden::read("llama-quantized");
    let batch: BTreeMap<String, Vec<Row>> = json(&golden.folder.join("gradients.json"));
    for backend in engines() {
        for (kind, how) in KINDS {
            let at = format!("{kind} on {}", backend.name());
            let open = || open(&golden, &backend, how).unwrap();
            check_adapter(&at, &open, &golden.folder.join(kind), &batch["rows"]);
        }
    }
}

#[test]
fn rounded_weights_themselves_cannot_learn() {
    let golden = Golden::read("llama-quantized");
    let backend = engines().remove(0);
    let mut session = open(&golden, &backend, Quantization::Int8).unwrap();
    let error = session.learn(&spec(Trains::All, false)).map(|_| ()).unwrap_err();
    assert!(matches!(error, BackendError::Adapter { .. }), "{error}");
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused_by_name() {
    let backend = engines().remove(0);
    let golden = Golden::read("llama"); // rows of 32
    let Err(BackendError::Weights { problems }) = open(&golden, &backend, KINDS[0].1) else {
        panic!("it opened");
    };
    let first = "`model.layers.0.self_attn.q_proj.weight` has rows of 32";
    assert!(problems.iter().any(|problem| problem.starts_with(first)), "{problems:?}");
    assert!(open(&golden, &backend, Quantization::Int8).is_ok(), "8 bits have no blocks");
}

#[test]
fn quantised_blocks_are_not_rounded_again() {
    let backend = engines().remove(0);
    let mut golden = Golden::read("llama-quantized");
    let name = "model.layers.0.mlp.up_proj.weight";
    let mut tensor = golden.tensors.get(name).unwrap();
    tensor.encoding = fidelio_backend::Encoding::Q8_0;
    tensor.bytes = vec![0; 64 * 64 / 32 * 34].into();
    golden.tensors.0.insert(name.into(), tensor);
    let Err(BackendError::Weights { problems }) = open(&golden, &backend, KINDS[0].1) else {
        panic!("it opened");
    };
    assert!(problems[0].contains("quantised already, as Q8_0"), "{problems:?}");
}

/// Rounded activations depend on their own row alone, and learn nothing.
#[test]
fn integer_activations_keep_the_contract() {
    let golden = Golden::read("llama-quantized");
    for backend in engines() {
        let mut spec = OpenSpec::new(golden.config.clone());
        spec.quantization = Some(Quantization::Int8);
        spec.precision = Precision::Int8Activations;
        let open = || backend.open(DeviceId(0), &spec, &golden.tensors);
        if !matches!(backend.name(), "flex" | "ndarray") {
            assert!(matches!(open().map(|_| ()), Err(BackendError::Precision { .. })));
            continue;
        }
        check_session(&|| open().unwrap(), 2e-4);
        let learns = crate::learning::spec(Trains::All, false);
        let error = open().unwrap().learn(&learns).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("int8-activations cannot learn"), "{error}");
    }
}
