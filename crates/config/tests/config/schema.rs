//! The JSON Schema, judged by a validator of its own: the few keywords that the schema uses, and a
//! refusal of any other. (The metaschema and Python's `jsonschema` agree with it.)

use regex::Regex;
use serde_json::Value;

use crate::files;

/// What is wrong with `value`, as paths; empty when the schema accepts it.
fn errors(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, want) in schema.as_object().expect("a schema is a map") {
        let fine = match keyword.as_str() {
            // What `if` chooses between is looked at there.
            "$schema" | "title" | "description" | "default" | "definitions" | "then" | "else" => {
                true
            }
            "$ref" => {
                let name = want.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                errors(root, &root["definitions"][name], value, at).is_empty()
            }
            "if" => {
                let holds = errors(root, want, value, at).is_empty();
                let then = &schema[if holds { "then" } else { "else" }];
                found.extend(errors(root, then, value, at));
                true
            }
            "allOf" => {
                want.as_array().unwrap().iter().all(|one| errors(root, one, value, at).is_empty())
            }
            "type" => match want {
                Value::Array(types) => types.iter().any(|want| is(value, want)),
                want => is(value, want),
            },
            "const" => value == want,
            "enum" => want.as_array().unwrap().contains(value),
            "anyOf" => {
                want.as_array().unwrap().iter().any(|one| errors(root, one, value, at).is_empty())
            }
            "minimum" => value.as_f64().is_none_or(|it| it >= want.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|it| it <= want.as_f64().unwrap()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|it| it > want.as_f64().unwrap()),
            "exclusiveMaximum" => value.as_f64().is_none_or(|it| it < want.as_f64().unwrap()),
            "minLength" => {
                value.as_str().is_none_or(|it| it.len() as u64 >= want.as_u64().unwrap())
            }
            "minItems" => {
                value.as_array().is_none_or(|it| it.len() as u64 >= want.as_u64().unwrap())
            }
            "minProperties" => {
                value.as_object().is_none_or(|it| it.len() as u64 >= want.as_u64().unwrap())
            }
            "pattern" => {
                let pattern = Regex::new(want.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|it| pattern.is_match(it))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(errors(root, want, item, &format!("{at}/{index}")));
                }
                true
            }
            "required" => value.as_object().is_none_or(|it| {
                want.as_array().unwrap().iter().all(|key| it.contains_key(key.as_str().unwrap()))
            }),
            "properties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = want.get(key) {
                        found.extend(errors(root, schema, item, &format!("{at}/{key}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    if schema.get("properties").and_then(|all| all.get(key)).is_some() {
                        continue;
                    }
                    match want {
                        Value::Bool(false) => found.push(format!("{at}/{key}: unknown")),
                        want => found.extend(errors(root, want, item, &format!("{at}/{key}"))),
                    }
                }
                true
            }
            other => panic!("the schema uses `{other}`, which this test does not check"),
        };
        if !fine {
            found.push(format!("{at}: {keyword} {want}"));
        }
    }
    found
}

fn is(value: &Value, want: &Value) -> bool {
    match want.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type of JSON Schema"),
    }
}

fn settled(text: &str) -> Value {
    fidelio_config::parse_any("t", text, &[]).unwrap().settled().clone()
}

#[test]
fn schema_tells_what_is_not_built() {
    let text = fidelio_config::json_schema().to_string();
    assert!(text.contains("NOT BUILT YET (preference tuning)"));
    assert!(text.contains("Most tokens of the answer."));
}

#[test]
fn schema_accepts_good_files() {
    let schema = fidelio_config::json_schema();
    for (name, text) in files::all("good").into_iter().chain(files::all("probes")) {
        let errors = errors(&schema, &schema, &settled(&text), "");
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn schema_refuses_what_one_key_alone_shows_to_be_wrong() {
    let schema = fidelio_config::json_schema();
    let (_, text) =
        files::all("good").into_iter().find(|(name, _)| name == "sampled-text").unwrap();
    let good = settled(&text);
    for (pointer, key, bad) in [
        ("", "bas_model", Value::from("m")),
        ("", "base_model", Value::from(3)),
        ("/generation", "temprature", Value::from(0.5)),
        ("/generation", "temperature", Value::from(0.0)),
        ("/generation", "max_new_tokens", Value::from("many")),
        ("/generation", "stop", Value::from("###")),
        ("/preprocessing", "sample_ratio", Value::from(2)),
        ("/preprocessing/split", "type", Value::from("randm")),
        ("/preprocessing/split", "probabilities", Value::from(1)),
        ("/trainer", "type", Value::from("nothing")),
        ("/trainer", "learning_rte", Value::from(0.1)),
        ("", "device", Value::from("gpu")),
    ] {
        let mut wrong = good.clone();
        wrong.pointer_mut(pointer).unwrap()[key] = bad.clone();
        assert!(!errors(&schema, &schema, &wrong, "").is_empty(), "{pointer}/{key}: {bad}");
    }
    let (_, probe) = files::all("probes").swap_remove(0);
    for (pointer, key, bad) in [
        ("", "bas_model", Value::from("m")),
        ("/trainer", "regularization_lambda", Value::from(-1)),
        ("/input_features/0/encoder", "type", Value::from("brt")),
    ] {
        let mut wrong = settled(&probe);
        wrong.pointer_mut(pointer).unwrap()[key] = bad.clone();
        assert!(!errors(&schema, &schema, &wrong, "").is_empty(), "{pointer}/{key}: {bad}");
    }
    let mut short = good.clone();
    short.as_object_mut().unwrap().remove("base_model");
    assert!(!errors(&schema, &schema, &short, "").is_empty());
}
