//! Tokenizers built from GGUF metadata, against llama.cpp's own vectors and transformers' ids.

use std::path::Path;

use fidelio_weights::{
    Checkpoint, Tokenizer, WeightsError,
    gguf::{Gguf, GgufPlan, GgufWriter, MetadataValue as M, Quantization},
    unwatched,
};
use serde_json::{Value, json};

use crate::{
    caches::{default_model, present},
    gguf_export,
};

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

#[test]
fn every_vector_of_the_vocabularies_passes() {
    for name in ["gpt-2", "llama-bpe", "llama-spm", "qwen2", "bert-bge", "starcoder", "refact"] {
        let Some(file) = present(&format!("fixtures/vocab/ggml-vocab-{name}.gguf")) else {
            continue;
        };
        check_vectors(name, &file, Tokenizer::from_gguf(&Gguf::open(&file).unwrap()).unwrap());
    }
}

/// Encodes llama.cpp's vectors beside a vocabulary's file.
fn check_vectors(name: &str, file: &Path, tokenizer: Tokenizer) {
    let read =
        |ending: &str| std::fs::read_to_string(format!("{}{ending}", file.display())).expect(name);
    let mut encoder = tokenizer.into_encoder();
    encoder.set_encode_special_tokens(true); // the vectors take `<s>` in a text as text
    let inputs = read(".inp");
    let texts: Vec<&str> =
        inputs.strip_suffix(SEPARATOR).unwrap_or(&inputs).split(SEPARATOR).collect();
    let outputs = read(".out");
    assert_eq!(texts.len(), outputs.lines().count(), "{name}");
    for (text, line) in texts.iter().zip(outputs.lines()) {
        let expected: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        let found = encoder.encode(*text, false).unwrap();
        assert_eq!(found.get_ids(), expected, "{name}: {text:?} {:?}", found.get_tokens());
    }
}

/// From a file to a `tokenizer.json`, as a folder has it, and from that to a file again.
#[test]
fn vectors_pass_after_a_vocabulary_was_written_again() {
    for name in ["gpt-2", "llama-bpe", "llama-spm", "qwen2"] {
        let Some(file) = present(&format!("fixtures/vocab/ggml-vocab-{name}.gguf")) else {
            continue;
        };
        let tokenizer = Tokenizer::from_gguf(&Gguf::open(&file).unwrap()).unwrap();
        let json = tokenizer.encoder().to_string(false).unwrap();
        let rows = tokenizer.encoder().get_vocab_size(true);
        let named = match &tokenizer.specials().bos {
            Some(bos) => json!({ "bos_token": bos.text }),
            None => json!({}),
        };
        let again = written_again(&serde_json::from_str(&json).unwrap(), &named, rows);
        check_vectors(name, &file, again);
    }
}

/// What a GGUF file of a model with this `tokenizer.json` gives as its tokenizer.
fn written_again(tokenizer: &Value, named: &Value, rows: usize) -> Tokenizer {
    let config = json!({
        "model_type": "llama", "vocab_size": rows, "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    let (folder, from) = gguf_export::checkpoint_with(&config, tokenizer, named);
    let path = folder.path().join("model.gguf");
    let plan = GgufPlan::new(&from, "tiny", Quantization::F32).unwrap();
    plan.write(from.weights(), &path, &mut unwatched).unwrap();
    Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap()
}

/// Published `tokenizer.json` files, against ids that transformers gave.
#[test]
fn published_tokenizers_keep_the_ids_of_transformers() {
    let golden: Value =
        serde_json::from_str(include_str!("fixtures/real_tokenizers.json")).unwrap();
    for model in golden.as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        let read = |file: &str| -> Option<Value> {
            let path = present(&format!("fixtures/tokenizers/{name}/{file}"))?;
            Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        };
        let Some(tokenizer) = read("tokenizer.json") else { continue };
        // The models have more embeddings than tokens.
        let again = written_again(&tokenizer, &read("tokenizer_config.json").unwrap(), 152_064);
        for case in model["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let found = again.encoder().encode(text, true).unwrap();
            assert_eq!(json!(found.get_ids()), case["ids"], "{name}: {text}");
        }
    }
}

#[test]
fn smollm2_has_the_ids_of_transformers() {
    let Some(model) = default_model() else { return };
    let tokenizer = Checkpoint::open(&model).unwrap().tokenizer().unwrap();
    let golden: Value = serde_json::from_str(include_str!("fixtures/smollm2_tokens.json")).unwrap();
    let ids = |case: &Value| -> Vec<u32> {
        case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    for case in golden["encode"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let found = tokenizer.encoder().encode(text, true).unwrap();
        assert_eq!(found.get_ids(), ids(case), "{text}");
    }
    for case in golden["decode"].as_array().unwrap() {
        assert_eq!(tokenizer.encoder().decode(&ids(case), true).unwrap(), case["text"]);
    }
    let specials = tokenizer.specials();
    assert_eq!(specials.bos.as_ref().map(|s| (s.id, &*s.text)), Some((1, "<|im_start|>")));
    assert_eq!(
        specials.eos.iter().map(|s| (s.id, &*s.text)).collect::<Vec<_>>(),
        [(2, "<|im_end|>")]
    );
    assert!(!specials.add_bos && !specials.add_eos);
}

/// A vocabulary of SentencePiece small enough to reason about.
fn sentencepiece() -> GgufWriter {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(["▁", "a", "b", "ab", "▁a", "▁ab"].map(str::to_owned));
    let texts: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let mut kinds = vec![2, 3, 3];
    kinds.extend([6; 256]);
    kinds.extend([1; 6]);
    let mut scores = vec![0.0; 259];
    scores.extend([-10.0, -9.0, -9.0, -2.0, -1.0, -3.0]);
    GgufWriter::new()
        .metadata("general.architecture", &M::Text("llama"))
        .metadata("tokenizer.ggml.model", &M::Text("llama"))
        .metadata("tokenizer.ggml.tokens", &M::Texts(&texts))
        .metadata("tokenizer.ggml.token_type", &M::I32s(&kinds))
        .metadata("tokenizer.ggml.scores", &M::F32s(&scores))
        .metadata("tokenizer.ggml.bos_token_id", &M::U32(1))
        .metadata("tokenizer.ggml.eos_token_id", &M::U32(2))
        .metadata("tokenizer.ggml.unknown_token_id", &M::U32(0))
}

fn tokenizer(writer: &GgufWriter) -> Result<Tokenizer, WeightsError> {
    let bytes = writer.to_bytes().unwrap();
    Tokenizer::from_gguf(&Gguf::parse(&bytes.into(), "made.gguf".as_ref()).unwrap())
}

#[test]
fn the_best_score_joins_first() {
    let tokenizer = tokenizer(&sentencepiece()).unwrap();
    let encode = |text| tokenizer.encoder().encode(text, true).unwrap();
    // `▁a` (-1) is joined before `ab` (-2), so `▁a` + `b` become `▁ab` only by its own merge.
    assert_eq!(encode("ab").get_tokens(), ["<s>", "▁ab"]);
    assert_eq!(encode("bab").get_tokens(), ["<s>", "▁", "b", "ab"]);
    assert!(tokenizer.specials().add_bos);
}

#[test]
fn bytes_spell_what_no_piece_does() {
    let tokenizer = tokenizer(&sentencepiece()).unwrap();
    let ids = tokenizer.encoder().encode("é a", false).unwrap().get_ids().to_vec();
    assert_eq!(ids[1..3], [3 + 0xC3, 3 + 0xA9]);
    assert_eq!(tokenizer.encoder().decode(&ids, true).unwrap(), "é a");
}

#[test]
fn unknown_kinds_are_refused_by_name() {
    let tokens = M::Texts(&["a"]);
    let base = |model| {
        GgufWriter::new()
            .metadata("general.architecture", &M::Text("llama"))
            .metadata("tokenizer.ggml.model", &M::Text(model))
            .metadata("tokenizer.ggml.tokens", &tokens)
            .metadata("tokenizer.ggml.merges", &M::Texts(&[]))
    };
    let error = tokenizer(&base("gpt2").metadata("tokenizer.ggml.pre", &M::Text("tekken")));
    assert!(error.unwrap_err().to_string().contains("`tekken`"));
    assert!(tokenizer(&base("rwkv")).unwrap_err().to_string().contains("`rwkv`"));
    assert!(tokenizer(&base("gpt2")).unwrap_err().to_string().contains("tokenizer.ggml.pre"));
}

#[test]
fn merges_that_do_not_fit_are_refused() {
    for merge in ["a a", "a", "a z", "", " ", "é"] {
        let writer = GgufWriter::new()
            .metadata("general.architecture", &M::Text("llama"))
            .metadata("tokenizer.ggml.model", &M::Text("gpt2"))
            .metadata("tokenizer.ggml.pre", &M::Text("gpt-2"))
            .metadata("tokenizer.ggml.tokens", &M::Texts(&["a", "b"]))
            .metadata("tokenizer.ggml.merges", &M::Texts(&[merge]));
        let error = tokenizer(&writer).unwrap_err();
        assert!(error.to_string().contains(&format!("`{merge}`")), "{error}");
    }
}

#[test]
fn a_special_token_outside_the_vocabulary_is_named() {
    let writer = sentencepiece().metadata("tokenizer.ggml.padding_token_id", &M::U32(9999));
    let error = tokenizer(&writer).unwrap_err().to_string();
    assert!(error.contains("9999") && error.contains("padding"), "{error}");
}

#[test]
fn a_file_without_a_tokenizer_says_so() {
    let writer = GgufWriter::new().metadata("general.architecture", &M::Text("llama"));
    assert!(matches!(tokenizer(&writer), Err(WeightsError::NoTokenizer { .. })));
}
