//! `fidelio adapters merge` as a user runs it.

use std::path::Path;

use crate::place::Place;

/// Adapters that PEFT wrote, of the same model and rank.
const SOURCES: &str = "../weights/tests/weights/fixtures/combined/sources";

fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCES).join(name).display().to_string()
}

#[test]
fn adapters_become_one_that_can_be_merged_again() {
    let place = Place::new();
    let [first, third] = ["first", "third"].map(source);
    let merge = ["adapters", "merge", &first, &third, "-o", "one", "--json"];
    let more = ["--type", "ties", "--weights", "1,0.5", "--density", "0.4"];
    let answer = place.run(&[&merge[..], &more].concat()).expect(0).json();
    assert_eq!(answer["how"]["combination_type"], "ties", "{answer}");
    assert_eq!(answer["sources"][1]["weight"], 0.5, "{answer}");
    assert!(!answer["modules"].as_array().unwrap().is_empty(), "{answer}");
    let before = std::fs::read(place.path("one/adapter_model.safetensors")).unwrap();

    let said = place.run(&merge).expect(2);
    assert!(said.stderr.contains("`one`") && said.stderr.contains("--overwrite"), "{said}");
    assert_eq!(std::fs::read(place.path("one/adapter_model.safetensors")).unwrap(), before);
    let said = place.run(&[&merge[..], &["--overwrite"]].concat()).expect(0);
    assert_eq!(said.json()["how"]["combination_type"], "linear");
    assert_ne!(std::fs::read(place.path("one/adapter_model.safetensors")).unwrap(), before);

    place.run(&["adapters", "merge", "one", &third, "-o", "two", "--type", "svd"]).expect(0);
    assert!(place.path("two/adapter_config.json").exists());
}

#[test]
fn what_cannot_become_one_is_refused_and_leaves_nothing() {
    let place = Place::new().with("notes.txt", "mine");
    let [first, thin, third] = ["first", "thin", "third"].map(source);
    let cases: [(&[&str], &str); 6] = [
        (&[&first, &third, "--weights", "1"], "2 adapters have 1 weights"),
        (&[&first, &third, "--density", "0.5"], "`--density` does nothing with `--type linear`"),
        (&[&first, &third, "--type", "ties", "--density", "1.5"], "1.5"),
        (&[&first, &third, "--type", "ties", "--seed", "1"], "`--seed` does nothing"),
        (&[&first, &thin], "only `svd` takes different ranks"),
        (&[&first, "gone"], "gone"),
    ];
    for (arguments, expected) in cases {
        let arguments = [&["adapters", "merge", "-o", "out"], arguments].concat();
        let said = place.run(&arguments);
        assert!(matches!(said.code, Some(1 | 2)) && said.stderr.contains(expected), "{said}");
        assert!(!place.path("out").exists(), "{said}");
    }
}
