//! `fidelio export` as a user runs it.

use std::{collections::BTreeSet, process::Command};

use crate::place::Place;

const TOKENIZER: &str = include_str!("../../../weights/tests/weights/fixtures/tiny_tokenizer.json");
/// A tiny checkpoint with random weights.
const WEIGHTS: &[u8] = include_bytes!("../../../model/tests/golden/llama/model.safetensors");
const CONFIG: &str = include_str!("../../../model/tests/golden/llama/config.json");

#[test]
fn what_cannot_be_written_is_refused_before_any_work() {
    let place = tiny().with("config.json", r#"{"model_type":"qwen2"}"#);
    for (arguments, expected) in [
        (&["--model", ".", "-o", "a.gguf", "--quantization", "Q3_K_M"][..], "Q4_K_M"),
        (
            &["--model", ".", "-o", "a", "--format", "safetensors", "--quantization", "q8_0"],
            "no Q8_0",
        ),
        (&["--model", ".", "-o", "a.gguf"], "its architecture is `qwen2`"),
        (&["--model", "gone.gguf", "-o", "a.gguf"], "`gone.gguf` does not exist"),
        (&["-m", ".", "-o", "a.gguf"], "no finished training run"),
        (&["-o", "a.gguf"], "--model-path"),
    ] {
        let said = place.run(&[&["export"], arguments].concat()).expect(2);
        assert!(said.stderr.contains(expected), "{said}");
        assert!(!place.path("a.gguf").exists());
    }
}

/// A place that is a tiny checkpoint, with room for a prompt.
fn tiny() -> Place {
    let config =
        CONFIG.replace("\"max_position_embeddings\": 64", "\"max_position_embeddings\": 512");
    let place = Place::new().with("config.json", &config).with("tokenizer.json", TOKENIZER);
    std::fs::write(place.path("model.safetensors"), WEIGHTS).unwrap();
    place
}

#[test]
fn a_model_is_written_measured_and_used() {
    if cfg!(not(any(feature = "flex", feature = "ndarray"))) {
        eprintln!("skipped: this build has no engine");
        return;
    }
    let place = tiny().with("there.gguf", "mine");
    let export = ["export", "--model", ".", "--quantization", "q8_0", "-o"];
    let said = place.run(&[&export[..], &["there.gguf"]].concat()).expect(2);
    assert!(said.stderr.contains("`there.gguf` exists already"), "{said}");
    assert_eq!(place.read("there.gguf"), "mine");

    let said = place.run(&[&export[..], &["out.gguf", "--json"]].concat()).expect(0);
    assert!(said.stderr.contains("15 tensors as Q8_0"), "{said}");
    let answer = said.json();
    assert!(answer["drift"]["mean_kl"].as_f64().unwrap() < 1e-3, "{answer}");
    assert_eq!(answer["tensors"][0]["reason"], "as asked");
    place.run(&["generate", "--model", "out.gguf", "--prompt", "the"]).expect(0);

    let strict = ["strict.gguf", "--max-mean-kl", "1e-12"];
    let said = place.run(&[&export[..], &strict].concat()).expect(1);
    assert!(said.stderr.contains("nothing was kept"), "{said}");
    assert!(!place.path("strict.gguf").exists());
}

/// A limit on the size of files ends a write as a full disk does.
#[test]
#[cfg(unix)]
fn a_write_that_fails_leaves_nothing() {
    let place = tiny();
    let names = || {
        let entries = std::fs::read_dir(place.path(".")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>()
    };
    let before = names();
    let mut command = Command::new("sh");
    command.env_clear().env("HOME", place.path(".")).current_dir(place.path("."));
    let limited = "trap '' XFSZ; ulimit -f 20; exec \"$0\" \"$@\"";
    command.args(["-c", limited, env!("CARGO_BIN_EXE_fidelio"), "export"]);
    command.args(["--model", ".", "-o", "out.gguf", "--quantization", "F32"]);
    let said = place.said(command.output().unwrap());
    if cfg!(any(feature = "flex", feature = "ndarray")) {
        assert!(said.code == Some(1) && said.stderr.contains("cannot write"), "{said}");
    }
    assert_eq!(names(), before);
}
