//! Opening checkpoints of both formats.

use std::{fs, path::Path};

use bytes::Bytes;
use fidelio_backend::{Encoding, TensorView, Weights};
use fidelio_kernels::{Format, dequantize};
use fidelio_weights::{
    Checkpoint, Fault, WeightsError,
    gguf::{GgufWriter, MetadataValue as M},
    safetensors::{self, TensorPlan, save_safetensors},
};
use serde_json::json;

use crate::caches::default_model;

#[test]
fn the_default_model_is_what_it_should_be() {
    let Some(model) = default_model() else { return };
    let checkpoint = Checkpoint::open(&model).unwrap();
    let described = checkpoint.describe();
    assert_eq!(described.parameters, 134_515_008);
    assert_eq!(described.context, Some(8192));
    assert_eq!(
        serde_json::to_value(&described.encodings).unwrap(),
        json!({ "F32": 61, "Q4_1": 210, "Q8_0": 1 })
    );
    let config = checkpoint.config();
    for (key, value) in [
        ("model_type", json!("llama")),
        ("hidden_size", json!(576)),
        ("intermediate_size", json!(1536)),
        ("num_hidden_layers", json!(30)),
        ("num_attention_heads", json!(9)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(64)),
        ("rms_norm_eps", json!(1e-5)),
        ("rope_theta", json!(100_000.0)),
        ("max_position_embeddings", json!(8192)),
        ("vocab_size", json!(49152)),
        ("tie_word_embeddings", json!(true)),
        ("attention_bias", json!(false)),
        ("bos_token_id", json!(1)),
        ("eos_token_id", json!(2)),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    assert!(checkpoint.chat_template().unwrap().text.contains("<|im_start|>"));
}

/// Decoded with gguf-py and reordered as transformers does when it loads a GGUF file.
#[test]
fn rows_stand_in_the_order_of_hugging_face() {
    let Some(model) = default_model() else { return };
    let checkpoint = Checkpoint::open(&model).unwrap();
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("fixtures/smollm2_rows.json")).unwrap();
    for case in golden["rows"].as_array().unwrap() {
        let name = case["tensor"].as_str().unwrap();
        let tensor = checkpoint.weights().get(name).unwrap();
        assert_eq!(json!(tensor.shape), case["shape"], "{name}");
        let row = floats(&tensor, case["row"].as_u64().unwrap() as usize);
        for (found, expected) in row.iter().zip(case["first"].as_array().unwrap()) {
            assert!((f64::from(*found) - expected.as_f64().unwrap()).abs() < 1e-6, "{case}");
        }
        let sum: f64 = row.iter().map(|v| f64::from(*v)).sum();
        assert!((sum - case["sum"].as_f64().unwrap()).abs() < 1e-4, "{case} {sum}");
    }
}

fn floats(tensor: &TensorView, row: usize) -> Vec<f32> {
    let format = match tensor.encoding {
        Encoding::Q4_1 => Format::Q4_1,
        Encoding::Q8_0 => Format::Q8_0,
        other => panic!("{other:?}"),
    };
    let bytes = tensor.bytes.len() / tensor.shape[0];
    let mut out = vec![0.0; tensor.shape[1]];
    dequantize(format, &tensor.bytes[row * bytes..(row + 1) * bytes], &mut out);
    out
}

/// A Llama of one layer whose query rows are numbered.
pub(crate) fn tiny_llama() -> GgufWriter {
    let tensor = |shape: &[usize], from: f32| TensorView {
        encoding: Encoding::F32,
        shape: shape.to_vec(),
        bytes: (0..shape.iter().product::<usize>())
            .flat_map(|i| (from + i as f32).to_le_bytes())
            .collect(),
    };
    GgufWriter::new()
        .metadata("general.architecture", &M::Text("llama"))
        .metadata("llama.embedding_length", &M::U32(8))
        .metadata("llama.block_count", &M::U32(1))
        .metadata("llama.feed_forward_length", &M::U32(16))
        .metadata("llama.attention.head_count", &M::U32(2))
        .metadata("llama.attention.head_count_kv", &M::U32(1))
        .metadata("llama.attention.layer_norm_rms_epsilon", &M::F32(1e-6))
        .metadata("llama.context_length", &M::U32(32))
        .tensor("token_embd.weight", tensor(&[10, 8], 0.0))
        .tensor("output.weight", tensor(&[10, 8], 0.5))
        .tensor("blk.0.attn_q.weight", tensor(&[8, 8], 0.0))
        .tensor("blk.0.attn_k.weight", tensor(&[4, 8], 100.0))
        .tensor("blk.0.attn_q.bias", tensor(&[8], 0.0))
        .tensor("blk.0.ffn_gate.weight", tensor(&[16, 8], 7.0))
        .tensor("mystery.weight", tensor(&[2], 0.0))
}

#[test]
fn gguf_tensors_get_hugging_faces_names_and_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny_llama().write(&path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let names = checkpoint.weights().names();
    assert_eq!(
        names,
        [
            "lm_head.weight",
            "model.embed_tokens.weight",
            "model.layers.0.mlp.gate_proj.weight",
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.self_attn.q_proj.bias",
            "model.layers.0.self_attn.q_proj.weight",
            "mystery.weight",
        ]
    );
    let first_of_rows = |name: &str| -> Vec<f32> {
        let tensor = checkpoint.weights().get(name).unwrap();
        let stride = tensor.bytes.len() / tensor.shape[0];
        tensor
            .bytes
            .chunks(stride)
            .map(|row| f32::from_le_bytes(*row.first_chunk().unwrap()))
            .collect()
    };
    // Two heads of four rows: neighbours become halves.
    assert_eq!(
        first_of_rows("model.layers.0.self_attn.q_proj.weight"),
        [0.0, 16.0, 8.0, 24.0, 32.0, 48.0, 40.0, 56.0]
    );
    assert_eq!(
        first_of_rows("model.layers.0.self_attn.q_proj.bias"),
        [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]
    );
    assert_eq!(
        first_of_rows("model.layers.0.self_attn.k_proj.weight"),
        [100.0, 116.0, 108.0, 124.0]
    );
    assert_eq!(checkpoint.config()["tie_word_embeddings"], false);
    assert_eq!(checkpoint.config()["attention_bias"], true);
    assert_eq!(checkpoint.config()["rope_theta"], 10_000.0);
}

#[test]
fn unmoved_tensors_share_the_files_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny_llama().write(&path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let at = || checkpoint.weights().get("lm_head.weight").unwrap().bytes.as_ptr();
    assert_eq!(at(), at());
}

#[test]
fn missing_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    GgufWriter::new().metadata("general.architecture", &M::Text("llama")).write(&path).unwrap();
    let error = Checkpoint::open(&path).unwrap_err();
    let WeightsError::Malformed { fault: Fault::MissingKey { key }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(key, "llama.embedding_length");
}

fn write_folder(folder: &Path, shard_bytes: u64) {
    fs::write(folder.join("config.json"), r#"{"model_type":"llama","vocab_size":4}"#).unwrap();
    let plans: Vec<TensorPlan> = ["a", "b", "c"]
        .map(|name| TensorPlan { name: name.into(), encoding: Encoding::F32, shape: vec![2, 2] })
        .into();
    save_safetensors(folder, &plans, shard_bytes, |plan| {
        Ok(Bytes::from(vec![plan.name.as_bytes()[0]; 16]))
    })
    .unwrap();
}

#[test]
fn one_file_or_shards_hold_the_same() {
    for (shard_bytes, files) in [(u64::MAX, 2), (32, 4), (1, 5)] {
        let folder = tempfile::tempdir().unwrap();
        write_folder(folder.path(), shard_bytes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.weights().names(), ["a", "b", "c"]);
        let tensor = checkpoint.weights().get("b").unwrap();
        assert_eq!((tensor.shape, &tensor.bytes[..]), (vec![2, 2], &[b'b'; 16][..]));
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), 32);
    let index = folder.path().join("model.safetensors.index.json");
    let truth = fs::read_to_string(&index).unwrap();
    let open = |text: String| {
        fs::write(&index, text).unwrap();
        Checkpoint::open(folder.path()).unwrap_err()
    };
    let error = open(truth.replace("\"c\"", "\"d\""));
    assert!(matches!(error, WeightsError::MissingFromShard { ref tensor, .. } if tensor == "d"));
    let error = open(truth.replace("model-00002", "../model-00002"));
    assert!(matches!(error, WeightsError::ShardName { .. }), "{error}");
    let error = open(truth.replace("model-00002-of-00002", "model-00009-of-00002"));
    assert!(matches!(error, WeightsError::NotFound { .. }), "{error}");
    assert!(matches!(open("[]".into()), WeightsError::Malformed { .. }));
}

#[test]
fn pickles_are_refused_and_said_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("run any code"), "{error}");
    assert!(error.hint().unwrap().contains("safetensors"));
    let file = folder.path().join("model.pt");
    fs::write(&file, "x").unwrap();
    assert!(matches!(Checkpoint::open(&file), Err(WeightsError::Pickle { .. })));
}

#[test]
fn a_folder_of_other_things_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(error.hint().unwrap().contains("notes.txt"));
    assert!(matches!(
        Checkpoint::open(&folder.path().join("absent")),
        Err(WeightsError::NotFound { .. })
    ));
}

#[test]
fn a_folder_with_one_gguf_file_is_that_file() {
    let folder = tempfile::tempdir().unwrap();
    tiny_llama().write(&folder.path().join("a.gguf")).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().config()["hidden_size"], 8);
    tiny_llama().write(&folder.path().join("b.gguf")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(matches!(error, WeightsError::Ambiguous { ref choices, .. } if choices.len() == 2));
}

#[test]
fn a_failed_write_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = TensorPlan { name: "a".into(), encoding: Encoding::F32, shape: vec![2] };
    let error = save_safetensors(folder.path(), &[plan], 1, |_| Ok(Bytes::from_static(b"short")));
    assert!(error.unwrap_err().to_string().contains("5 bytes were given for 8"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_header_in_another_order_reads_the_same() {
    let header = br#"{"b":{"data_offsets":[4,6],"shape":[1],"dtype":"BF16"},"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
    let tensors = safetensors::parse(&file.into(), "m.safetensors".as_ref()).unwrap();
    assert_eq!(tensors.names(), ["a", "b"]);
    let b = tensors.get("b").unwrap();
    assert_eq!((b.encoding, b.shape, &b.bytes[..]), (Encoding::BF16, vec![1], &[5, 6][..]));
}
