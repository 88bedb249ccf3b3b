//! `fidelio export` as a user runs it.

use std::{collections::BTreeSet, process::Command};

use serde_json::json;

use crate::place::{Place, RUN};

const TOKENIZER: &str = include_str!("../../../weights/tests/weights/fixtures/tiny_tokenizer.json");
/// A tiny checkpoint with random weights.
const WEIGHTS: &[u8] = include_bytes!("../../../model/tests/golden/llama/model.safetensors");
/// Of its file, by `sha256sum`.
const SHA256: &str = "715614cc64184b44f00304f9cb85774093f52ce0b7e37c1e7afd35352df68336";
const CONFIG: &str = include_str!("../../../model/tests/golden/llama/config.json");

#[test]
fn what_cannot_be_written_is_refused_before_any_work() {
    let place = tiny().with("config.json", r#"{"model_type":"gemma2"}"#);
    for (arguments, expected) in [
        (&["--model", ".", "-o", "a.gguf", "--quantization", "Q3_K_M"][..], "Q4_K_M"),
        (
            &["--model", ".", "-o", "a", "--format", "safetensors", "--quantization", "q8_0"],
            "no Q8_0",
        ),
        (&["--model", ".", "-o", "a.gguf"], "its architecture is `gemma2`"),
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

/// Learns a little on the tiny checkpoint, into `run`; none where this build has no engine.
pub(crate) fn trained(adapter: &str) -> Option<Place> {
    trained_with(&format!("{RUN}adapter: {{type: lora, r: 2{adapter}}}\n"), None)
}

/// The same of a run file, where the model has a chat template if `tokenizer_config` says so.
pub(crate) fn trained_with(run: &str, tokenizer_config: Option<&str>) -> Option<Place> {
    if cfg!(not(any(feature = "flex", feature = "ndarray"))) {
        eprintln!("skipped: this build has no engine");
        return None;
    }
    let run = run.replace("base_model: smollm2-135m", "base_model: .");
    let learns = "trainer: {type: finetune, train_steps: 2}";
    let mut run = run.replace("trainer: {type: none}", learns);
    if !run.contains("adapter:") {
        run += "adapter: {type: lora, r: 2}\n";
    }
    let mut place =
        tiny().with("run.yaml", &run).with("rows.csv", "question,answer\na b,c\nb,a c\n");
    if let Some(config) = tokenizer_config {
        place = place.with("tokenizer_config.json", config);
    }
    place.run(&["train", "-c", "run.yaml", "--training-set", "rows.csv", "-o", "run"]).expect(0);
    Some(place)
}

#[test]
fn other_weights_than_a_run_learnt_on_are_refused_unless_they_are_allowed() {
    let Some(place) = trained("") else { return };
    let mut provenance: serde_json::Value =
        serde_json::from_str(&place.read("run/provenance.json")).unwrap();
    provenance["base_weights"] = json!({ "path": "elsewhere", "sha256": "0123", "files": [] });
    std::fs::write(place.path("run/provenance.json"), provenance.to_string()).unwrap();
    for command in [["export", "-o", "a.gguf"], ["merge", "-o", "a"]] {
        let arguments = [&command[..], &["-m", "run"]].concat();
        let said = place.run(&arguments).expect(2);
        for part in ["`run` learnt on other base weights", "`elsewhere` of sha256 0123", SHA256] {
            assert!(said.stderr.contains(part), "{said}");
        }
        assert!(said.stderr.contains("add `--allow-other-weights`"), "{said}");
        let said = place.run(&[&arguments[..], &["--allow-other-weights"]].concat()).expect(0);
        assert!(said.stderr.contains("what `run` learnt on `elsewhere` of sha256 0123"), "{said}");
    }
    let said = place.run(&["generate", "--prompt", "a", "--allow-other-weights"]).expect(2);
    assert!(said.stderr.contains("--model-path"), "{said}");
}

#[test]
fn a_run_may_write_the_whole_model_beside_its_adapter() {
    let merge = ", postprocessor: {merge_adapter_into_base_model: true}";
    let Some(place) = trained(merge) else { return };
    assert!(place.path("run/model/model_weights/adapter_config.json").exists());
    let arguments = ["generate", "--model", "run/model/merged", "--prompt", "a", "--json"];
    let merged = place.run(&arguments).expect(0).json();
    let arguments = ["generate", "-m", "run", "--prompt", "a", "--json"];
    assert_eq!(merged["text"], place.run(&arguments).expect(0).json()["text"]);
}
