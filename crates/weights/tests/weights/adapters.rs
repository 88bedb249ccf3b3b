//! Adapters that PEFT wrote: read as they were meant, and written back the same.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fidelio_backend::{
    AdapterSpec, Encoding, LoraBias, LoraInit, LoraSpec, TargetModules, TensorSink, TensorView,
    Weights,
};
use fidelio_weights::{Checkpoint, Merged, TensorBuffer, WeightsError, peft, safetensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights/fixtures/peft")
}

/// What PEFT was asked for, and the tensors it saved.
fn expected() -> serde_json::Map<String, Value> {
    let text = fs::read(fixtures().join("expected.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn lora(adapter: &peft::PeftAdapter) -> &LoraSpec {
    match &adapter.spec {
        AdapterSpec::Lora(spec) => spec,
        other => panic!("{other:?}"),
    }
}

/// Each tensor's shape and digest, by its name in memory.
fn digests(weights: &dyn Weights) -> BTreeMap<String, Value> {
    let digest = |name: String| {
        let tensor = weights.get(&name).unwrap();
        assert_eq!(tensor.encoding, Encoding::F32);
        let hash = Sha256::digest(&tensor.bytes);
        let hex = u64::from_be_bytes(*hash.first_chunk().unwrap());
        (name, json!([tensor.shape, format!("{hex:016x}")]))
    };
    weights.names().into_iter().map(digest).collect()
}

#[test]
fn tensors_are_those_that_peft_saved_under_their_names_in_memory() {
    for (name, want) in expected() {
        let adapter = peft::open(&fixtures().join(&name)).unwrap();
        assert_eq!(adapter.base_model.as_deref(), want["base"].as_str(), "{name}");
        let in_memory = |on_disk: &str| {
            on_disk.strip_prefix("base_model.model.").unwrap().replace(".base_layer.bias", ".bias")
        };
        let tensors = want["tensors"].as_object().unwrap();
        let want = tensors.iter().map(|(key, it)| (in_memory(key), it.clone())).collect();
        assert_eq!(digests(&adapter.weights), want, "{name}");
    }
}

#[test]
fn a_configuration_says_what_peft_was_asked_for() {
    for (name, want) in expected() {
        let adapter = peft::open(&fixtures().join(&name)).unwrap();
        let spec = lora(&adapter);
        let asked = &want["asked"];
        let on = |key: &str| asked.get(key) == Some(&json!(true));
        assert_eq!(json!(spec.r), asked["r"], "{name}");
        assert_eq!(Some(spec.lora_alpha), asked["lora_alpha"].as_f64(), "{name}");
        assert_eq!(
            json!(spec.lora_dropout),
            *asked.get("lora_dropout").unwrap_or(&json!(0.0)),
            "{name}"
        );
        assert_eq!((spec.use_dora, spec.use_rslora), (on("use_dora"), on("use_rslora")), "{name}");
        assert_eq!(json!(spec.bias), *asked.get("bias").unwrap_or(&json!("none")), "{name}");
    }
}

#[test]
fn targets_patterns_and_starts_arrive() {
    let spec = |name: &str| lora(&peft::open(&fixtures().join(name)).unwrap()).clone();
    let plain = spec("plain");
    let both = vec!["q_proj".to_owned(), "v_proj".to_owned()];
    assert_eq!(plain.target_modules, TargetModules::Named(both));
    assert_eq!((plain.init_lora_weights, plain.bias), (LoraInit::Default, LoraBias::None));
    let patterns = spec("patterns");
    let regex = r".*\.(q_proj|v_proj|down_proj)";
    assert_eq!(patterns.target_modules, TargetModules::Pattern(regex.to_owned()));
    assert_eq!(patterns.rank_pattern.get(r"layers\.1\..*\.q_proj"), Some(&2));
    assert_eq!(patterns.alpha_pattern.get("v_proj"), Some(&3.5));
    assert_eq!(spec("all-linear").init_lora_weights, LoraInit::Gaussian);
    assert_eq!(spec("orthogonal").init_lora_weights, LoraInit::Orthogonal);
    assert_eq!(spec("bias-lora-only").bias, LoraBias::LoraOnly);
}

#[test]
fn what_is_saved_is_what_was_opened() {
    for name in expected().keys() {
        let folder = tempfile::tempdir().unwrap();
        let from = fixtures().join(name);
        let adapter = peft::open(&from).unwrap();
        let base = adapter.base_model.as_deref();
        peft::save(folder.path(), lora(&adapter), base, &adapter.weights).unwrap();
        // The same keys with the same values, but for notes and the order of lists.
        let config = |folder: &Path| -> Value {
            serde_json::from_slice(&fs::read(folder.join(CONFIG)).unwrap()).unwrap()
        };
        assert_eq!(config(folder.path()), config(&from), "{name}");
        let on_disk = |folder: &Path| safetensors::open(&folder.join(MODEL)).unwrap();
        assert_eq!(digests(&on_disk(folder.path())), digests(&on_disk(&from)), "{name}");
        let again = peft::open(folder.path()).unwrap();
        assert_eq!(again.spec, adapter.spec, "{name}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{name}");
    }
}

#[test]
fn the_word_for_every_layer_is_written_as_peft_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = peft::open(&fixtures().join("plain")).unwrap();
    let targets = TargetModules::Named(vec!["all-linear".to_owned()]);
    let spec = LoraSpec { target_modules: targets, ..lora(&adapter).clone() };
    peft::save(folder.path(), &spec, None, &adapter.weights).unwrap();
    let text = fs::read_to_string(folder.path().join(CONFIG)).unwrap();
    assert!(text.contains(r#""target_modules": "all-linear""#), "{text}");
    assert_eq!(peft::open(folder.path()).unwrap().base_model, None);
}

/// Opens a copy of the plain adapter, changed.
fn changed(change: impl FnOnce(&Path)) -> WeightsError {
    let folder = tempfile::tempdir().unwrap();
    for file in [CONFIG, MODEL] {
        fs::copy(fixtures().join("plain").join(file), folder.path().join(file)).unwrap();
    }
    change(folder.path());
    peft::open(folder.path()).unwrap_err()
}

fn with_key(key: &str, value: &Value) -> WeightsError {
    changed(|folder| {
        let path = folder.join(CONFIG);
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[key] = value.clone();
        fs::write(path, config.to_string()).unwrap();
    })
}

#[test]
fn keys_that_would_change_the_result_are_refused_by_name() {
    for (key, value, said) in [
        ("peft_type", json!("IA3"), "says IA3; only LORA"),
        ("task_type", json!("SEQ_CLS"), "only CAUSAL_LM"),
        ("modules_to_save", json!(["lm_head"]), "is not supported"),
        ("layers_to_transform", json!([0]), "is not supported"),
        ("exclude_modules", json!("q"), "is not supported"),
        ("lora_bias", json!(true), "is not supported"),
        ("trainable_token_indices", json!([1]), "is not supported"),
        ("use_sparkles", json!(0.5), "is not known"),
        ("init_lora_weights", json!("pissa"), "only fit a model that was changed"),
        ("target_modules", json!(null), "does not say which layers"),
        ("r", json!(0), "is 0"),
        ("r", json!("many"), "cannot be used"),
        ("bias", json!("some"), "cannot be used"),
        ("rank_pattern", json!({"q_proj": -1}), "cannot be used at `q_proj`"),
        ("alpha_pattern", json!({"(q": 2}), "no regular expression"),
    ] {
        let error = with_key(key, &value);
        let named =
            matches!(&error, WeightsError::AdapterConfig { key: found, .. } if found == key);
        assert!(named && error.to_string().contains(said), "{key}: {error}");
    }
}

#[test]
fn unknown_keys_that_say_nothing_are_fine() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixtures().join("plain").join(MODEL), folder.path().join(MODEL)).unwrap();
    // As an old PEFT writes it, with keys of a new one that are switched off.
    let config = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"],
        "use_sparkles": false, "sparkles_config": null, "sparkles": {}, "eva_config": {"rho": 2.0},
    });
    fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
    let adapter = peft::open(folder.path()).unwrap();
    assert_eq!(lora(&adapter).r, 4);
}

#[test]
fn files_that_are_missing_or_broken_are_named() {
    let missing =
        |file: &'static str| changed(|folder| fs::remove_file(folder.join(file)).unwrap());
    for file in [CONFIG, MODEL] {
        let error = missing(file);
        assert!(matches!(error, WeightsError::NoAdapter { missing, .. } if missing == file));
    }
    let error = peft::open(Path::new("no/such/adapter")).unwrap_err();
    assert!(matches!(error, WeightsError::NotFound { .. }), "{error}");
    let error = changed(|folder| {
        fs::rename(folder.join(MODEL), folder.join("adapter_model.bin")).unwrap();
    });
    assert!(matches!(error, WeightsError::Pickle { .. }), "{error}");
    assert!(error.hint().unwrap().contains("with PEFT"));
    let error = changed(|folder| fs::write(folder.join(CONFIG), "[1]").unwrap());
    assert!(error.to_string().contains("is no JSON object"), "{error}");
    let error = changed(|folder| fs::write(folder.join(CONFIG), "{").unwrap());
    assert!(matches!(error, WeightsError::Malformed { .. }), "{error}");
}

#[test]
fn every_prefix_of_the_tensors_is_an_error() {
    let whole = fs::read(fixtures().join("plain").join(MODEL)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixtures().join("plain").join(CONFIG), folder.path().join(CONFIG)).unwrap();
    for end in (0..whole.len()).step_by(97) {
        fs::write(folder.path().join(MODEL), &whole[..end]).unwrap();
        let error = peft::open(folder.path()).unwrap_err();
        assert!(matches!(error, WeightsError::Malformed { .. }), "{end}: {error}");
    }
}

fn one_float(value: f32) -> TensorView {
    let bytes = Bytes::copy_from_slice(&value.to_le_bytes());
    TensorView { encoding: Encoding::F32, shape: vec![1], bytes }
}

#[test]
fn a_tensor_of_something_else_is_refused_both_ways() {
    let stranger = "base_model.model.lm_head.modules_to_save.weight";
    let error = changed(|folder| {
        let mut tensors = vec![(stranger.to_owned(), one_float(1.0))];
        let own = safetensors::open(&folder.join(MODEL)).unwrap();
        tensors.extend(own.names().into_iter().map(|name| {
            let tensor = own.get(&name).unwrap();
            (name, tensor)
        }));
        safetensors::save_file(&folder.join(MODEL), &tensors).unwrap();
    });
    assert!(matches!(&error, WeightsError::AdapterTensor { tensor, .. } if tensor == stranger));
    let mut buffer = TensorBuffer::new();
    buffer.put("model.norm.weight", one_float(1.0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let adapter = peft::open(&fixtures().join("plain")).unwrap();
    let error = peft::save(folder.path(), lora(&adapter), None, &buffer).unwrap_err();
    assert!(error.to_string().contains("model.norm.weight"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_an_engine_gave_comes_back_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/optimizer.safetensors");
    let mut buffer = TensorBuffer::new();
    buffer.put("z.first", one_float(1.5)).unwrap();
    buffer.put("a.second", one_float(-2.0)).unwrap();
    assert!(buffer.put("a.second", one_float(3.0)).is_err());
    buffer.write(&path).unwrap();
    let read = safetensors::open(&path).unwrap();
    assert_eq!(read.names(), ["a.second", "z.first"]);
    for name in read.names() {
        assert_eq!(read.get(&name).unwrap().bytes, buffer.get(&name).unwrap().bytes);
    }
    assert!(buffer.get("other").unwrap_err().to_string().contains("other"));
}

#[test]
fn what_is_no_tensor_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let short = TensorView { shape: vec![2], ..one_float(1.0) };
    let blocks = TensorView { encoding: Encoding::Q8_0, shape: vec![32], bytes: Bytes::new() };
    for tensors in [
        vec![("a".to_owned(), short)],
        vec![("a".to_owned(), blocks)],
        vec![("a".to_owned(), one_float(1.0)), ("a".to_owned(), one_float(2.0))],
    ] {
        let error = safetensors::save_file(&path, &tensors).unwrap_err();
        assert!(matches!(error, WeightsError::Unwritable { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A factor without its other half would be left out, and the rest merged as if it were all.
#[test]
fn half_of_a_layers_adapter_is_not_merged() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/llama");
    let checkpoint = Checkpoint::open(&golden).unwrap();
    for (name, endings) in [
        ("lora-plain", &["lora_A.weight", "lora_B.weight"][..]),
        ("lora-dora", &["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"]),
    ] {
        let whole = peft::open(&golden.join(name)).unwrap();
        Merged::new(&checkpoint, whole.clone()).unwrap();
        for ending in endings {
            let names = whole.weights.names();
            let lost = names.iter().find(|name| name.ends_with(ending)).unwrap();
            let mut rest = TensorBuffer::new();
            for name in names.iter().filter(|name| *name != lost) {
                rest.put(name, whole.weights.get(name).unwrap()).unwrap();
            }
            let folder = tempfile::tempdir().unwrap();
            peft::save(folder.path(), lora(&whole), None, &rest).unwrap();
            let error = Merged::new(&checkpoint, peft::open(folder.path()).unwrap()).unwrap_err();
            assert!(error.to_string().contains(&format!("no `{lost}`")), "{error}");
        }
    }
}
