//! A GGUF checkpoint as a folder of plain floats.

use fidelio_backend::{Encoding, Weights};
use fidelio_weights::{Checkpoint, ExportOptions, FloatType, WeightsError, export_folder};

use crate::{caches::default_model, checkpoints::tiny_llama};

#[test]
fn a_folder_holds_what_the_file_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny_llama().write(&path).unwrap();
    let from = Checkpoint::open(&path).unwrap();
    let to = folder.path().join("exported");
    let options = ExportOptions { float_type: FloatType::F32, shard_bytes: 400 };
    export_folder(&from, &to, &options).unwrap();
    let copy = Checkpoint::open(&to).unwrap();
    assert_eq!(copy.weights().names(), from.weights().names());
    for name in from.weights().names() {
        let (a, b) = (from.weights().get(&name).unwrap(), copy.weights().get(&name).unwrap());
        assert_eq!((a.shape, a.bytes), (b.shape, b.bytes), "{name}");
    }
    assert_eq!(copy.config()["hidden_size"], from.config()["hidden_size"]);
    assert_eq!(copy.config()["torch_dtype"], "float32");
    assert!(matches!(export_folder(&from, &to, &options), Err(WeightsError::Exists { .. })));
}

#[test]
fn narrow_floats_are_rounded_to_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny_llama().write(&path).unwrap();
    let from = Checkpoint::open(&path).unwrap();
    for (float_type, encoding) in
        [(FloatType::Bf16, Encoding::BF16), (FloatType::F16, Encoding::F16)]
    {
        let to = folder.path().join(format!("{encoding:?}"));
        export_folder(&from, &to, &ExportOptions { float_type, shard_bytes: u64::MAX }).unwrap();
        let tensor = Checkpoint::open(&to).unwrap().weights().get("lm_head.weight").unwrap();
        assert_eq!(tensor.encoding, encoding);
        let last = tensor.bytes.last_chunk::<2>().copied().unwrap();
        // 79.5 is a tie for bf16 (steps of 0.5 up to 128: exact) and exact for f16.
        let value = match float_type {
            FloatType::Bf16 => half::bf16::from_le_bytes(last).to_f32(),
            _ => half::f16::from_le_bytes(last).to_f32(),
        };
        assert!((value - 79.5).abs() < 1e-6, "{value}");
    }
}

#[test]
fn the_default_model_keeps_its_tokenizer_and_template() {
    let Some(model) = default_model() else { return };
    let from = Checkpoint::open(&model).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("smollm2");
    export_folder(&from, &to, &ExportOptions::default()).unwrap();
    let copy = Checkpoint::open(&to).unwrap();
    assert_eq!(copy.describe().parameters, from.describe().parameters);
    let (a, b) = (from.tokenizer().unwrap(), copy.tokenizer().unwrap());
    assert_eq!(a.specials(), b.specials());
    assert_eq!(a.sha256(), b.sha256());
    let template = |c: &Checkpoint| c.chat_template().unwrap().sha256();
    assert_eq!(template(&from), template(&copy));
}
