//! What a run learnt is used on the weights that it learnt on, or on others on purpose. No engine is
//! needed: weights are looked at before anything is opened.

use std::{fs, path::Path};

use fidelio::{Error, Export, Model, RunFile, model_folder, weights};
use serde_json::json;

use crate::machine_at;

const TOKENIZER: &str = include_str!("../../../weights/tests/weights/fixtures/tiny_tokenizer.json");
const WEIGHTS: &[u8] = include_bytes!("../../../model/tests/golden/llama/model.safetensors");
/// An adapter of PEFT's for it.
const ADAPTER: [(&str, &[u8]); 2] = [
    (
        "adapter_config.json",
        include_bytes!("../../../model/tests/golden/llama/lora-plain/adapter_config.json"),
    ),
    (
        "adapter_model.safetensors",
        include_bytes!("../../../model/tests/golden/llama/lora-plain/adapter_model.safetensors"),
    ),
];
const CONFIG: &str = include_str!("../../../model/tests/golden/llama/config.json");
/// Of `WEIGHTS`, by `sha256sum`.
const SHA256: &str = "715614cc64184b44f00304f9cb85774093f52ce0b7e37c1e7afd35352df68336";

/// A tiny model in a folder.
fn model(folder: &Path, weights: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    fs::write(folder.join("tokenizer.json"), TOKENIZER).unwrap();
    fs::write(folder.join("model.safetensors"), weights).unwrap();
}

/// The folder of a run that trained an adapter on a model at `base`, as far as it is looked at here.
fn trained(run: &Path, base: &Path) {
    let place = run.parent().unwrap();
    let found = Model::find(&machine_at(place), &base.to_string_lossy(), &weights::Silent).unwrap();
    let learnt = model_folder(run);
    fs::create_dir_all(&learnt).unwrap();
    for (name, bytes) in ADAPTER {
        fs::write(learnt.join(name), bytes).unwrap();
    }
    let text = format!(
        "model_type: llm\nbase_model: {}\nadapter: {{type: lora}}\n\
         input_features: [{{name: question, type: text}}]\n\
         output_features: [{{name: answer, type: text}}]\ntrainer: {{type: finetune}}\n",
        json!(base)
    );
    fs::write(run.join("run.yaml"), text).unwrap();
    let description = json!({ "plan": { "model": found.card() } });
    fs::write(run.join("description.json"), description.to_string()).unwrap();
    let file = base.join("model.safetensors");
    let provenance = json!({
        "fidelio_version": "0.1.0",
        "base_weights": { "path": base, "sha256": SHA256,
            "files": [{ "path": file, "bytes": WEIGHTS.len(), "sha256": SHA256 }] },
        "adapter_weights": null,
        "tokenizer_sha256": found.card().tokenizer_sha256,
        "chat_template_sha256": null,
        "prompt_template_sha256": "",
        "data": [],
    });
    fs::write(run.join("provenance.json"), provenance.to_string()).unwrap();
}

/// The same model with one weight changed.
fn other() -> Vec<u8> {
    let mut weights = WEIGHTS.to_vec();
    let last = weights.len() - 2;
    weights[last] ^= 1;
    weights
}

#[test]
fn an_adapter_is_used_on_the_weights_that_it_learnt_on() {
    let place = tempfile::tempdir().unwrap();
    let (run, base) = (place.path().join("run"), place.path().join("base"));
    model(&base, WEIGHTS);
    trained(&run, &base);
    let (machine, loaded) = (machine_at(place.path()), RunFile::of_run(&run, &[]).unwrap());
    let export = Export::of_run(&machine, &loaded, &weights::Silent).unwrap();
    assert_eq!(export.note(), None);
}

#[test]
fn other_weights_under_an_adapter_are_refused_with_both_places_and_hashes() {
    let place = tempfile::tempdir().unwrap();
    let (run, base) = (place.path().join("run"), place.path().join("base"));
    model(&base, WEIGHTS);
    trained(&run, &base);
    let moved = place.path().join("moved");
    model(&moved, &other());
    let elsewhere = format!("base_model={}", json!(moved));
    let overrides = [fidelio::config::Override::new(elsewhere)];
    let loaded = RunFile::of_run(&run, &overrides).unwrap();
    let machine = machine_at(place.path());
    let error = Export::of_run(&machine, &loaded, &weights::Silent).unwrap_err();
    let Error::OtherWeights { then, now, .. } = &error else { panic!("{error}") };
    let now_sha256 = now.sha256.clone().unwrap();
    assert_eq!((then.path.as_deref(), now.path.as_deref()), (Some(&*base), Some(&*moved)));
    assert_eq!((then.sha256.as_deref(), now_sha256.len()), (Some(SHA256), 64));
    for part in [&*run, &*base, &*moved].map(|path| path.to_string_lossy().into_owned()) {
        assert!(error.to_string().contains(&part), "{error}");
    }
    assert!(error.to_string().contains(&now_sha256) && error.to_string().contains(SHA256));
    assert!(error.hint().unwrap().contains("--allow-other-weights"));

    let loaded = loaded.allow_other_weights(true);
    let export = Export::of_run(&machine, &loaded, &weights::Silent).unwrap();
    let note = export.note().unwrap();
    assert!(note.contains(SHA256) && note.contains(&now_sha256), "{note}");
}

#[test]
fn the_same_weights_elsewhere_are_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (run, base) = (place.path().join("run"), place.path().join("base"));
    model(&base, WEIGHTS);
    trained(&run, &base);
    let moved = place.path().join("moved");
    fs::rename(&base, &moved).unwrap();
    let overrides = [fidelio::config::Override::new(format!("base_model={}", json!(moved)))];
    let loaded = RunFile::of_run(&run, &overrides).unwrap();
    let machine = machine_at(place.path());
    assert_eq!(Export::of_run(&machine, &loaded, &weights::Silent).unwrap().note(), None);
}
