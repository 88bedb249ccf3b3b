//! Answers with a form, as a user has them.

use crate::place::{Place, RUN, cache_with_model};

const SCHEMA: &str = r#"{"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},
    "river": {"enum": ["Seine", "Rhine"]}}, "required": ["city", "river"],
    "additionalProperties": false}"#;

#[test]
fn a_mistake_in_a_form_is_an_error_at_its_line() {
    let form = "decoder: {type: text_parser, json_schema: {type: string, minLenght: 3}}";
    let run =
        RUN.replace("{name: answer, type: text}", &format!("{{name: answer, type: text, {form}}}"));
    assert!(run.contains("minLenght"), "the run file has another output: {run}");
    let place = Place::new().with("run.yaml", &run);
    let said = place.run(&["check", "-c", "run.yaml"]).expect(2);
    insta::assert_snapshot!(said);
}

#[test]
fn forms_of_the_command_line_are_checked_before_a_model_is_looked_for() {
    let place = Place::new()
        .with("schema.json", r#"{"items": {"uniqueItems": true}}"#)
        .with("broken.json", "{")
        .with("sums.lark", "start: \"a\"\nstart: sum");
    for (flags, said_of) in [
        (["--json-schema", "schema.json"], "`uniqueItems` at `#/items` of the schema"),
        (["--json-schema", "broken.json"], "`broken.json` is not JSON"),
        (["--json-schema", "gone.json"], "cannot read `gone.json`"),
        (["--regex", "(?=a)"], "the regular expression"),
        (["--grammar", "sums.lark"], "line 2, column 8 of the grammar: duplicate rule"),
    ] {
        let said = place.run(&[&["generate", "-p", "Hi"], &flags[..]].concat()).expect(2);
        assert!(said.stderr.contains(said_of), "{said}");
    }
    let both = ["generate", "-p", "Hi", "--regex", "a", "--grammar", "sums.lark"];
    place.run(&both).expect(2);
}

#[test]
fn generate_holds_the_text_to_its_form() {
    let Some(cache) = cache_with_model() else { return };
    let place = Place::new()
        .with("schema.json", SCHEMA)
        .with("words.lark", "start: WORD \", \" WORD\nWORD: /[a-z]{2,8}/");
    let say = |flags: &[&str]| {
        let prompt = ["generate", "--prompt", "What is the capital of France?", "--json"];
        let said = place.run(&[&prompt, flags, &["--offline", "--cache-dir", &cache]].concat());
        said.expect(0).json()
    };
    let said = say(&["--json-schema", "schema.json"]);
    let value: serde_json::Value = serde_json::from_str(said["text"].as_str().unwrap()).unwrap();
    assert!(value["city"].as_str().unwrap().len() <= 20, "{value}");
    assert!(["Seine", "Rhine"].contains(&value["river"].as_str().unwrap()), "{value}");
    assert_eq!(
        (said["finish_reason"].as_str(), value.as_object().unwrap().len()),
        (Some("stop"), 2)
    );

    let said = say(&["--regex", "Par(?:is|ma)", "--temperature", "2", "--seed", "4"]);
    assert!(["Paris", "Parma"].contains(&said["text"].as_str().unwrap()), "{said}");
    let said = say(&["--grammar", "words.lark"]);
    let words = said["text"].as_str().unwrap().split_once(", ").unwrap();
    assert!([words.0, words.1].iter().all(|word| (2..=8).contains(&word.len())), "{said}");
}
