//! Tokenizers of Hugging Face folders, in the many ways that their files are written.

use std::{fs, path::Path};

use fidelio_weights::{Checkpoint, Tokenizer, WeightsError};
use serde_json::{Value, json};

use crate::caches::present;

/// Words, two special tokens, and the trap of embedders: padding and truncation in the file.
fn tokenizer_json() -> Value {
    json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 },
        "padding": {
            "strategy": { "Fixed": 6 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"
        },
        "added_tokens": [
            special(0, "<pad>"), special(1, "<s>"), special(2, "</s>"), special(3, "<|turn|>")
        ],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": "<s>", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } }
            ],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } }
        },
        "decoder": null,
        "model": {
            "type": "WordLevel",
            "vocab": { "<pad>": 0, "<s>": 1, "</s>": 2, "<|turn|>": 3, "a": 4, "b": 5, "<unk>": 6 },
            "unk_token": "<unk>"
        }
    })
}

fn special(id: u32, text: &str) -> Value {
    json!({
        "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    })
}

fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "tokenizer.json", &tokenizer_json());
    for (name, value) in files {
        write(folder.path(), name, value);
    }
    folder
}

fn write(folder: &Path, name: &str, value: &Value) {
    fs::write(folder.join(name), value.to_string()).unwrap();
}

/// A folder that is a whole checkpoint, with an empty weights file.
fn checkpoint(files: &[(&str, Value)]) -> Checkpoint {
    let folder = folder(files);
    fs::write(folder.path().join("model.safetensors"), [&2_u64.to_le_bytes()[..], b"{}"].concat())
        .unwrap();
    if !folder.path().join("config.json").exists() {
        write(folder.path(), "config.json", &json!({ "eos_token_id": [2, 3] }));
    }
    Checkpoint::open(&folder.keep()).unwrap()
}

#[test]
fn texts_are_neither_cut_nor_padded() {
    let folder = folder(&[]);
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let found = tokenizer.encoder().encode("a b a b", true).unwrap();
    assert_eq!(found.get_ids(), [1, 4, 5, 4, 5]);
}

#[test]
fn special_tokens_are_strings_or_objects() {
    let folder = folder(&[
        (
            "tokenizer_config.json",
            json!({ "bos_token": { "content": "<s>", "lstrip": false }, "eos_token": "</s>", "pad_token": null }),
        ),
        (
            "special_tokens_map.json",
            json!({ "pad_token": { "content": "<pad>" }, "eos_token": "<|turn|>" }),
        ),
    ]);
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let specials = tokenizer.specials();
    assert_eq!(specials.bos.as_ref().unwrap().id, 1);
    assert_eq!(specials.eos[0].text, "</s>");
    assert_eq!(specials.pad.as_ref().unwrap().id, 0);
    assert!(specials.add_bos && !specials.add_eos, "as the post-processor does");
}

#[test]
fn the_config_decides_about_bos() {
    let config = json!({ "bos_token": "<s>", "add_bos_token": false, "add_eos_token": true });
    let folder = folder(&[("tokenizer_config.json", config)]);
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert!(!tokenizer.specials().add_bos && tokenizer.specials().add_eos);
}

#[test]
fn every_end_of_text_is_found() {
    let ends = |checkpoint: Checkpoint| -> Vec<u32> {
        checkpoint.tokenizer().unwrap().specials().eos.iter().map(|eos| eos.id).collect()
    };
    let named = || ("tokenizer_config.json", json!({ "eos_token": "<|turn|>" }));
    assert_eq!(ends(checkpoint(&[named()])), [3, 2]);
    let generation = ("generation_config.json", json!({ "eos_token_id": 2 }));
    assert_eq!(ends(checkpoint(&[generation])), [2]);
}

#[test]
fn a_special_token_that_is_unknown_is_named() {
    let folder = folder(&[("tokenizer_config.json", json!({ "eos_token": "<|end|>" }))]);
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, WeightsError::SpecialToken { ref token, .. } if token == "<|end|>"));
}

#[test]
fn templates_come_from_files_strings_and_lists() {
    let text = |text: &str| ("tokenizer_config.json", json!({ "chat_template": text }));
    let found = checkpoint(&[text("T")]);
    assert_eq!(found.chat_template().unwrap().text, "T");
    let list = json!([{ "name": "rag", "template": "R" }, { "name": "default", "template": "D" }]);
    let found = checkpoint(&[("tokenizer_config.json", json!({ "chat_template": list }))]);
    assert_eq!(found.chat_template().unwrap().text, "D");
    assert_eq!(found.chat_templates()[1].name, "rag");
    assert_eq!(checkpoint(&[]).chat_template(), None);

    let folder = folder(&[text("T")]);
    fs::write(folder.path().join("chat_template.jinja"), "J").unwrap();
    fs::write(folder.path().join("model.safetensors"), [&2_u64.to_le_bytes()[..], b"{}"].concat())
        .unwrap();
    write(folder.path(), "config.json", &json!({}));
    let found = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(found.chat_template().unwrap().text, "J");
    assert_eq!(found.chat_template().unwrap().from, "chat_template.jinja");
}

#[test]
fn the_hash_follows_what_the_tokenizer_does() {
    let hash = |change: &dyn Fn(&mut Value)| {
        let mut value = tokenizer_json();
        change(&mut value);
        let folder = folder(&[]);
        write(folder.path(), "tokenizer.json", &value);
        Tokenizer::from_folder(folder.path()).unwrap().sha256()
    };
    let same = hash(&|_| {});
    assert_eq!(same.len(), 64);
    assert_eq!(same, hash(&|v| v["truncation"] = Value::Null));
    assert_ne!(same, hash(&|v| v["model"]["vocab"]["c"] = json!(7)));
    assert_ne!(
        same,
        hash(&|v| {
            v["normalizer"] =
                json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "b" });
        })
    );
}

#[test]
fn a_broken_file_is_named() {
    let folder = folder(&[]);
    fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, WeightsError::NoTokenizer { .. }));
}

/// Ids by transformers' tokenizers, with special tokens.
#[test]
fn real_files_give_the_ids_of_transformers() {
    let golden: Value =
        serde_json::from_str(include_str!("fixtures/real_tokenizers.json")).unwrap();
    for model in golden.as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        let file = format!("fixtures/tokenizers/{name}/tokenizer.json");
        let Some(path) = present(&file) else { continue };
        let tokenizer = Tokenizer::from_folder(path.parent().unwrap()).unwrap();
        for case in model["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let found = tokenizer.encoder().encode(text, true).unwrap();
            assert_eq!(json!(found.get_ids()), case["ids"], "{name}: {text}");
        }
        let specials = tokenizer.specials();
        let (bos, eos) = match name {
            "qwen3" => (None, "<|im_end|>"),
            _ => (Some("<|begin_of_text|>"), "<|eot_id|>"),
        };
        assert_eq!(specials.bos.as_ref().map(|s| &*s.text), bos);
        assert_eq!(specials.eos[0].text, eos);
        assert_eq!(specials.add_bos, bos.is_some());
    }
}
