//! Checkpoints of folders as GGUF files, and back.

use std::{fs, ops::ControlFlow, path::Path};

use fidelio_backend::{Encoding, TensorView, Weights};
use fidelio_kernels::{Format, dequantize};
use fidelio_weights::{
    Checkpoint, ExportOptions, FloatType, WeightsError, export_folder,
    gguf::{Gguf, GgufPlan, Quantization, Reason},
    safetensors::{TensorPlan, save_safetensors},
    unwatched,
};
use serde_json::{Value, json};

use crate::{caches::default_model, checkpoints::tiny_llama};

/// A byte-level vocabulary of letters, digits and a few merges.
fn tokenizer_json() -> Value {
    serde_json::from_str(include_str!("fixtures/tiny_tokenizer.json")).unwrap()
}

/// A checkpoint of random numbers with rows of 256, and of two layers.
fn config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 64, "hidden_size": 256, "intermediate_size": 256,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
    })
}

fn write(folder: &Path, name: &str, value: &Value) {
    fs::write(folder.join(name), value.to_string()).unwrap();
}

/// Numbers from -1 to 1 that look random.
fn noise(count: usize, seed: usize) -> Vec<u8> {
    let at = |i: usize| {
        let hash = ((i + 7919 * seed) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((hash ^ hash >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).flat_map(|i| at(i).to_le_bytes()).collect()
}

/// A whole folder for such settings and tokenizer.
fn checkpoint(config: &Value, tokenizer: &Value) -> (tempfile::TempDir, Checkpoint) {
    let named = json!({ "bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ a }}" });
    checkpoint_with(config, tokenizer, &named)
}

/// As above, with a `tokenizer_config.json`.
pub(crate) fn checkpoint_with(
    config: &Value,
    tokenizer: &Value,
    named: &Value,
) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.json", config);
    write(folder.path(), "tokenizer.json", tokenizer);
    write(folder.path(), "tokenizer_config.json", named);
    let size = |key: &str| config[key].as_u64().unwrap() as usize;
    let (hidden, mlp) = (size("hidden_size"), size("intermediate_size"));
    let heads = size("num_attention_heads");
    let q = heads * size("head_dim");
    let kv = size("num_key_value_heads") * size("head_dim");
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![size("vocab_size"), hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    if config["tie_word_embeddings"] == false {
        tensors.push(("lm_head.weight".to_owned(), vec![size("vocab_size"), hidden]));
    }
    for layer in 0..size("num_hidden_layers") {
        for (part, shape) in [
            ("input_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![q, hidden]),
            ("self_attn.k_proj", vec![kv, hidden]),
            ("self_attn.v_proj", vec![kv, hidden]),
            ("self_attn.o_proj", vec![hidden, q]),
            ("post_attention_layernorm", vec![hidden]),
            ("mlp.gate_proj", vec![mlp, hidden]),
            ("mlp.up_proj", vec![mlp, hidden]),
            ("mlp.down_proj", vec![hidden, mlp]),
        ] {
            tensors.push((format!("model.layers.{layer}.{part}.weight"), shape));
        }
        let more: &[(&str, usize)] = match config["model_type"].as_str() {
            Some("qwen2") => &[("q_proj.bias", q), ("k_proj.bias", kv), ("v_proj.bias", kv)],
            Some("qwen3") => &[("q_norm.weight", q / heads), ("k_norm.weight", q / heads)],
            _ => &[],
        };
        tensors.extend(
            more.iter().map(|(part, width)| {
                (format!("model.layers.{layer}.self_attn.{part}"), vec![*width])
            }),
        );
    }
    let plans: Vec<TensorPlan> = tensors
        .into_iter()
        .map(|(name, shape)| TensorPlan { name, encoding: Encoding::F32, shape })
        .collect();
    save_safetensors(folder.path(), &plans, u64::MAX, |plan| {
        Ok(noise(plan.shape.iter().product(), plan.name.len()).into())
    })
    .unwrap();
    let opened = Checkpoint::open(folder.path()).unwrap();
    (folder, opened)
}

fn floats(tensor: &TensorView) -> Vec<f32> {
    let format = Format::ALL
        .into_iter()
        .find(|format| format!("{format:?}") == format!("{:?}", tensor.encoding))
        .unwrap();
    let mut values = vec![0.0; tensor.shape.iter().product()];
    dequantize(format, &tensor.bytes, &mut values);
    values
}

/// The file of a checkpoint, and what it holds.
fn exported(from: &Checkpoint, quantization: Quantization) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let plan = GgufPlan::new(from, "tiny", quantization).unwrap();
    plan.write(from.weights(), &path, &mut unwatched).unwrap();
    let opened = Checkpoint::open(&path).unwrap();
    (folder, opened)
}

/// The largest error, where elements reach from -1 to 1: half a step, and a little for the scales.
fn allowed(encoding: Encoding) -> f32 {
    match encoding {
        Encoding::F32 => 0.0,
        Encoding::F16 => 3e-4,
        Encoding::BF16 => 2e-3,
        Encoding::Q8_0 => 5e-3,
        Encoding::Q6_K => 0.04,
        Encoding::Q5_K | Encoding::Q5_0 | Encoding::Q5_1 => 0.07,
        _ => 0.14,
    }
}

#[test]
fn every_kind_of_file_holds_what_the_folder_held() {
    let (_kept, from) = checkpoint(&config(), &tokenizer_json());
    for quantization in Quantization::ALL {
        let (_kept, copy) = exported(&from, quantization);
        assert_eq!(copy.weights().names(), from.weights().names());
        for name in from.weights().names() {
            let [a, b] = [&from, &copy].map(|of| of.weights().get(&name).unwrap());
            assert_eq!(a.shape, b.shape, "{name}");
            let allowed = allowed(b.encoding);
            for (a, b) in floats(&a).iter().zip(floats(&b)) {
                assert!((a - b).abs() <= allowed, "{quantization} {name}: {a} {b}");
            }
        }
    }
}

#[test]
fn settings_tokenizer_and_template_come_along() {
    let (_kept, from) = checkpoint(&config(), &tokenizer_json());
    let (_kept, copy) = exported(&from, Quantization::F16);
    for (key, value) in from.config().as_object().unwrap() {
        assert_eq!(&copy.config()[key], value, "{key}");
    }
    assert_eq!(copy.chat_template().unwrap().text, "{{ a }}");
    let [a, b] = [&from, &copy].map(|of| of.tokenizer().unwrap());
    assert_eq!(a.specials().bos, b.specials().bos);
    assert_eq!(a.specials().eos, b.specials().eos);
    assert!(!b.specials().add_bos);
    let text = "the other 12 </s> there";
    let [a, b] = [a, b].map(|it| it.encoder().encode(text, true).unwrap().get_ids().to_vec());
    assert_eq!(a, b);
}

/// A file's own keys are copied.
#[test]
fn a_file_becomes_another_file() {
    let (_kept, folder) = checkpoint(&config(), &tokenizer_json());
    let (_kept, from) = exported(&folder, Quantization::F16);
    let (_kept, copy) = exported(&from, Quantization::Q6_K);
    let [a, b] = [&from, &copy].map(|of| of.tokenizer().unwrap());
    assert_eq!((a.sha256(), a.specials()), (b.sha256(), b.specials()));
    assert_eq!(from.chat_template(), copy.chat_template());
    assert_eq!(from.config(), copy.config());
}

#[test]
fn mixed_kinds_say_what_each_tensor_gets() {
    let (_kept, from) = checkpoint(&config(), &tokenizer_json());
    let plan = GgufPlan::new(&from, "tiny", Quantization::Q4_K_M).unwrap();
    let of = |name: &str| {
        let tensor = plan.tensors().iter().find(|tensor| tensor.name == name).unwrap();
        (tensor.plan.name.as_str(), tensor.plan.encoding, tensor.reason)
    };
    let layer = |part: &str| format!("model.layers.1.{part}.weight");
    assert_eq!(of("lm_head.weight"), ("output.weight", Encoding::Q6_K, Reason::Output));
    let embeddings = ("token_embd.weight", Encoding::Q4_K, Reason::Asked);
    assert_eq!(of("model.embed_tokens.weight"), embeddings);
    assert_eq!(of(&layer("mlp.down_proj")).1, Encoding::Q6_K);
    assert_eq!(of(&layer("self_attn.v_proj")).2, Reason::MoreBits);
    // Its rows have 4 · 32 elements.
    assert_eq!(of(&layer("self_attn.o_proj")).2, Reason::Row(128));
    assert_eq!(of("model.norm.weight").1, Encoding::F32);
    assert!(plan.notes().is_empty());
}

fn pre(file: &Path) -> String {
    let gguf = Gguf::open(file).unwrap();
    gguf.metadata().require_text("tokenizer.ggml.pre").unwrap().to_owned()
}

#[test]
fn the_way_of_cutting_text_is_found_by_its_ids() {
    let mut digits = tokenizer_json();
    digits["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Digits", "individual_digits": true }, digits["pre_tokenizer"],
    ]});
    for (tokenizer, expected) in [(tokenizer_json(), "gpt-2"), (digits.clone(), "smollm")] {
        let (_kept, from) = checkpoint(&config(), &tokenizer);
        let (folder, _) = exported(&from, Quantization::F16);
        assert_eq!(pre(&folder.path().join("model.gguf")), expected);
    }
    let mut unknown = digits;
    unknown["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "String": "h" }, "behavior": "Isolated", "invert": false },
        unknown["pre_tokenizer"],
    ]});
    let (_kept, from) = checkpoint(&config(), &unknown);
    let error = GgufPlan::new(&from, "tiny", Quantization::F16).unwrap_err();
    assert!(error.to_string().contains("becomes other tokens"), "{error}");
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value, &mut Value), expected: &str) {
    let (mut config, mut tokenizer) = (config(), tokenizer_json());
    let kept = checkpoint(&config, &tokenizer).0;
    change(&mut config, &mut tokenizer);
    write(kept.path(), "config.json", &config);
    write(kept.path(), "tokenizer.json", &tokenizer);
    let from = Checkpoint::open(kept.path()).unwrap();
    let error = GgufPlan::new(&from, "tiny", Quantization::Q8_0).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_llama_cpp_would_do_otherwise_is_refused() {
    refused(|c, _| c["model_type"] = json!("gemma2"), "its architecture is `gemma2`");
    refused(|c, _| c["hidden_act"] = json!("gelu"), "`gelu`");
    refused(|c, _| c["rope_scaling"] = json!({ "rope_type": "yarn", "factor": 2.0 }), "`yarn`");
    refused(|c, _| c["rope_scaling"] = json!({ "rope_type": "llama3" }), "incomplete");
    refused(|c, _| c["num_hidden_layers"] = json!(3), "`model.layers.2.input_layernorm.weight`");
    refused(|c, _| c["num_hidden_layers"] = json!(1), "`model.layers.1.input_layernorm.weight`");
    refused(|c, _| c["num_attention_heads"] = json!(0), "`num_attention_heads` is 0");
    refused(|c, _| c["num_attention_heads"] = json!(5), "does not fit config.json");
    refused(|c, _| c["vocab_size"] = json!(20), "`vocab_size` is 20, and there are 64 embeddings");
    refused(
        |_, t| t["model"]["vocab"]["far"] = json!(70),
        "has id 70; the model has 64 embeddings",
    );
    refused(
        |_, t| t["model"] = json!({ "type": "WordLevel", "vocab": {}, "unk_token": "" }),
        "Word",
    );
}

/// Under names of its own, rows as they are; a window that is not used changes nothing.
#[test]
fn qwen_is_written_as_itself_and_comes_back() {
    for kind in ["qwen2", "qwen3"] {
        let mut config = config();
        config["model_type"] = json!(kind);
        config["sliding_window"] = json!(32);
        config["use_sliding_window"] = json!(false);
        let (_kept, from) = checkpoint(&config, &tokenizer_json());
        let (_kept, copy) = exported(&from, Quantization::F32);
        assert_eq!(copy.config()["model_type"], kind);
        assert_eq!(copy.config()["max_position_embeddings"], 128);
        let names = from.weights().names();
        assert_eq!(copy.weights().names(), names);
        for name in names {
            let [before, after] =
                [&from, &copy].map(|checkpoint| checkpoint.weights().get(&name).unwrap());
            assert_eq!(before.shape, after.shape, "{name}");
            assert_eq!(floats(&before), floats(&after), "{name}");
        }
    }
}

#[test]
fn a_sliding_window_shortens_the_context() {
    let mut config = config();
    config["model_type"] = json!("mistral");
    config["sliding_window"] = json!(32);
    let (_kept, from) = checkpoint(&config, &tokenizer_json());
    let plan = GgufPlan::new(&from, "tiny", Quantization::F16).unwrap();
    assert!(plan.notes()[0].contains("32 instead of 128"), "{:?}", plan.notes());
    assert_eq!(exported(&from, Quantization::F16).1.config()["max_position_embeddings"], 32);
}

#[test]
fn rotary_scalings_are_what_they_were() {
    for scaling in [
        json!({ "rope_type": "linear", "factor": 4.0 }),
        json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32 }),
    ] {
        let mut config = config();
        config["rope_scaling"] = scaling.clone();
        let (_kept, from) = checkpoint(&config, &tokenizer_json());
        let (_kept, copy) = exported(&from, Quantization::F32);
        assert_eq!(copy.config()["rope_scaling"], scaling);
    }
}

#[test]
fn tied_embeddings_are_the_output() {
    let mut config = config();
    config["tie_word_embeddings"] = json!(true);
    let (_kept, from) = checkpoint(&config, &tokenizer_json());
    let (_kept, copy) = exported(&from, Quantization::Q4_K_M);
    let embeddings = copy.weights().get("model.embed_tokens.weight").unwrap();
    assert_eq!(embeddings.encoding, Encoding::Q6_K);
    assert_eq!(copy.config()["tie_word_embeddings"], true);
}

/// Weights whose last tensor cannot be had.
struct Broken<'a>(&'a Checkpoint);

impl Weights for Broken<'_> {
    fn names(&self) -> Vec<String> {
        self.0.weights().names()
    }

    fn get(&self, name: &str) -> Result<TensorView, fidelio_backend::BackendError> {
        let name = if name == "lm_head.weight" { "gone" } else { name };
        self.0.weights().get(name)
    }
}

#[test]
fn a_failed_export_leaves_nothing() {
    let (_kept, from) = checkpoint(&config(), &tokenizer_json());
    let folder = tempfile::tempdir().unwrap();
    let plan = GgufPlan::new(&from, "tiny", Quantization::Q8_0).unwrap();
    let error =
        plan.write(&Broken(&from), &folder.path().join("model.gguf"), &mut unwatched).unwrap_err();
    assert!(
        matches!(error, WeightsError::ReadTensor { ref tensor, .. } if tensor == "lm_head.weight")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_stopped_export_leaves_nothing() {
    let (_kept, from) = checkpoint(&config(), &tokenizer_json());
    let folder = tempfile::tempdir().unwrap();
    let plan = GgufPlan::new(&from, "tiny", Quantization::Q8_0).unwrap();
    let mut left = 3;
    let mut each = || {
        left -= 1;
        if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let error = plan.write(from.weights(), &folder.path().join("model.gguf"), &mut each);
    assert!(matches!(error, Err(WeightsError::Stopped)), "{error:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_gguf_file_with_a_stranger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny_llama().write(&path).unwrap();
    let from = Checkpoint::open(&path).unwrap();
    let error = GgufPlan::new(&from, "tiny", Quantization::F16).unwrap_err();
    assert!(matches!(error, WeightsError::Unexportable { .. }), "{error}");
}

#[test]
fn the_default_model_comes_back_through_a_folder() {
    let Some(model) = default_model() else { return };
    let original = Checkpoint::open(&model).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let folder = kept.path().join("folder");
    let options = ExportOptions { float_type: FloatType::F16, ..ExportOptions::default() };
    export_folder(&original, &folder, &options).unwrap();
    let from = Checkpoint::open(&folder).unwrap();
    let (file, copy) = exported(&from, Quantization::F16);
    assert_eq!(pre(&file.path().join("model.gguf")), "smollm");
    assert_eq!(copy.tokenizer().unwrap().sha256(), original.tokenizer().unwrap().sha256());
    assert_eq!(copy.tokenizer().unwrap().specials(), original.tokenizer().unwrap().specials());
    for name in original.weights().names() {
        let [a, b] = [&from, &copy].map(|of| of.weights().get(&name).unwrap());
        assert_eq!(floats(&a), floats(&b), "{name}");
    }
}

/// What is stored in the blocks asked for is not decoded and encoded again.
#[test]
fn the_default_model_keeps_its_bytes() {
    let Some(model) = default_model() else { return };
    let original = Checkpoint::open(&model).unwrap();
    let (_kept, copy) = exported(&original, Quantization::Q4_1);
    for name in original.weights().names() {
        let [a, b] = [&original, &copy].map(|of| of.weights().get(&name).unwrap());
        assert!(a.encoding == b.encoding && a.bytes == b.bytes, "{name}");
    }
    let plan = GgufPlan::new(&original, "again", Quantization::Q8_0).unwrap();
    assert!(plan.notes()[0].contains("210 tensors are quantised already"), "{:?}", plan.notes());
}
