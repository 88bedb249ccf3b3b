//! Commands that need a run file and no model.

use crate::place::{Place, RUN};

#[test]
fn render_config_fills_every_default_and_loads_again() {
    let place = Place::new().with("run.yaml", RUN);
    let said = place.run(&["render-config", "-c", "run.yaml"]).expect(0);
    insta::assert_snapshot!(said);
    let again = Place::new().with("run.yaml", &said.stdout);
    assert_eq!(again.run(&["render-config", "-c", "run.yaml"]).expect(0).stdout, said.stdout);
}

#[test]
fn flags_win_over_the_file_and_set_over_flags() {
    let place = Place::new().with("run.yaml", RUN);
    let said = place
        .run(&[
            "render-config",
            "-c",
            "run.yaml",
            "--json",
            "--random_seed",
            "7",
            "--device",
            "ndarray",
            "-gc",
            r#"{"max_new_tokens": 9, "stop": ["a: b"]}"#,
            "-bs",
            "3",
            "--set",
            "generation.max_new_tokens=11",
        ])
        .expect(0);
    let config = said.json();
    assert_eq!(config["random_seed"], 7);
    assert_eq!(config["device"], "ndarray");
    assert_eq!(config["trainer"]["eval_batch_size"], 3);
    assert_eq!(config["generation"]["max_new_tokens"], 11);
    assert_eq!(config["generation"]["stop"][0], "a: b");
}

#[test]
fn a_run_file_may_be_given_as_text() {
    let said = Place::new().run(&["render-config", "-cs", RUN, "-rs", "5"]).expect(0);
    assert!(said.stdout.contains("random_seed: 5"), "{said}");
}

#[test]
fn an_output_file_is_not_overwritten_unasked() {
    let place = Place::new().with("run.yaml", RUN);
    let write = ["render-config", "-c", "run.yaml", "-o", "full.yaml"];
    let said = place.run(&write).expect(0);
    assert_eq!(said.stdout, "");
    assert!(place.read("full.yaml").contains("random_seed: 42"));
    insta::assert_snapshot!(place.run(&write).expect(2));
    place.run(&[&write[..], &["--overwrite"]].concat()).expect(0);
}

#[test]
fn check_without_data_checks_the_run_file() {
    let place = Place::new().with("run.yaml", RUN);
    insta::assert_snapshot!(place.run(&["check", "-c", "run.yaml"]).expect(0));
    let quiet = place.run(&["check", "-c", "run.yaml", "--quiet"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let schema = Place::new().run(&["schema"]).expect(0).json();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["else"]["properties"]["generation"].is_object());
    assert_eq!(schema["if"]["properties"]["model_type"]["const"], "ecd");
    assert!(schema["then"]["properties"]["combiner"].is_object());
}
