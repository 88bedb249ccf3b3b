//! `fidelio adapters merge` as a user runs it.

use std::{fs, path::Path};

use crate::place::Place;

const SOURCES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../weights/tests/weights/fixtures/combined/sources");

/// A place with three adapters that PEFT wrote.
fn place() -> Place {
    let place = Place::new();
    for name in ["first", "second", "thin"] {
        let (from, to) = (Path::new(SOURCES).join(name), place.path(name));
        fs::create_dir(&to).unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
    place
}

#[test]
fn adapters_become_one_that_can_become_part_of_another() {
    let place = place();
    let merge = ["adapters", "merge", "first", "second", "-o"];
    let said = place
        .run(
            &[&merge[..], &["deep/out", "--type", "ties", "--weights", "1,-0.5", "--json"]]
                .concat(),
        )
        .expect(0);
    assert!(said.stderr.contains("the merged adapter is in deep/out"), "{said}");
    let answer = said.json();
    let how = serde_json::json!({"combination_type": "ties", "density": 0.5});
    assert_eq!(answer["how"], how);
    assert_eq!(answer["base_model"], "tiny/llama");
    assert_eq!(answer["sources"][1], serde_json::json!({"adapter": "second", "weight": -0.5}));
    assert_eq!(answer["modules"].as_array().unwrap().len(), 6);
    assert_eq!(answer["modules"][1]["sources"], serde_json::json!(["first", "second"]));
    let config: serde_json::Value =
        serde_json::from_str(&place.read("deep/out/adapter_config.json")).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&4.into(), &4.into()));

    let again = ["adapters", "merge", "deep/out", "thin", "-o", "svd", "--type", "svd"];
    let said = place.run(&again).expect(0);
    let line = said.stdout.lines().find(|line| line.starts_with("down_proj")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["down_proj", "2", "4", "deep/out", "0.0", "%"], "{said}");
    assert!(said.stdout.contains("deep/out + thin"), "{said}");
}

#[test]
fn what_is_drawn_is_drawn_again_from_the_same_seed() {
    let place = place();
    let tensors = |seed: &str, out: &str| {
        let merge = ["adapters", "merge", "first", "second", "--type", "dare_linear"];
        place.run(&[&merge[..], &["--seed", seed, "-o", out]].concat()).expect(0);
        fs::read(place.path(out).join("adapter_model.safetensors")).unwrap()
    };
    let first = tensors("7", "a");
    assert_eq!(first, tensors("7", "b"));
    assert_ne!(first, tensors("8", "c"));
}

#[test]
fn what_is_there_goes_only_when_asked_and_only_if_it_is_an_adapter() {
    let place = place().with("notes.txt", "mine");
    let merge =
        |more: &[&str]| place.run(&[&["adapters", "merge", "first", "second"], more].concat());
    let said = merge(&["-o", "thin"]).expect(2);
    assert!(said.stderr.contains("holds results already"), "{said}");
    assert!(said.stderr.contains("--overwrite"), "{said}");
    for to in [".", "notes.txt"] {
        let said = merge(&["-o", to, "--overwrite"]).expect(2);
        assert!(said.stderr.contains("holds no adapter"), "{said}");
    }
    assert_eq!(place.read("notes.txt"), "mine");
    merge(&["-o", "thin", "--overwrite"]).expect(0);
    assert!(place.read("thin/adapter_config.json").contains("down_proj"));
}

#[test]
fn what_cannot_be_merged_is_refused_and_leaves_nothing() {
    let place = place();
    let other = place.read("second/adapter_config.json").replace("tiny/llama", "tiny/other");
    fs::create_dir(place.path("other")).unwrap();
    fs::copy(
        place.path("second/adapter_model.safetensors"),
        place.path("other/adapter_model.safetensors"),
    )
    .unwrap();
    fs::write(place.path("other/adapter_config.json"), other).unwrap();
    for (arguments, expected) in [
        (&["first", "thin"][..], "only `svd` takes different ranks"),
        (&["first", "gone"], "`gone` does not exist"),
        (&["first", "."], "holds no adapter"),
        (&["first", "other"], "stands on `tiny/other`, and `first` stands on `tiny/llama`"),
        (&["first", "second", "--weights", "1"], "2 adapters have 1 weights"),
        (&["first", "second", "--density", "0.5"], "`--density` does nothing with `--type linear`"),
        (&["first", "second", "--type", "ties", "--seed", "1"], "`--seed` does nothing"),
        (&["first", "second", "--type", "ties", "--density", "0"], "must be above 0"),
        (&["first", "--type", "svd"], "needs two adapters or more"),
    ] {
        let said = place.run(&[&["adapters", "merge", "-o", "out"], arguments].concat()).expect(2);
        assert!(said.stderr.contains(expected), "{said}");
        assert!(!place.path("out").exists());
    }
    let same = ["adapters", "merge", "first", "other", "--base-model", "tiny/llama", "-o", "out"];
    place.run(&same).expect(0);
}
