//! Every key of the catalogue, mutated: the rendered run file changes, or an error appears.

use std::collections::BTreeSet;

use fidelio_config::catalogue::{Bound, Entry, Fill, Status, Type, When, entries_of};
use fidelio_config::{AnyDocument, Kind, ModelType, Override, Problems, parse_any};
use serde_json::{Value, json};

use crate::files;

/// Each kind of run file, and where its good ones are.
const KINDS: [(ModelType, &str); 2] = [(ModelType::Llm, "good"), (ModelType::Ecd, "probes")];

fn with(text: &str, sets: &[String]) -> Result<AnyDocument, Problems> {
    let sets: Vec<Override> = sets.iter().map(Override::new).collect();
    parse_any("run.yaml", text, &sets)
}

fn good(folder: &str) -> Vec<(String, String, AnyDocument)> {
    let parsed = |(name, text): (String, String)| {
        let document = with(&text, &[]).unwrap();
        (name, text, document)
    };
    files::all(folder).into_iter().map(parsed).collect()
}

/// The path with a label in place of a map's free key.
fn path(entry: &Entry) -> String {
    let free = match entry.path.as_str() {
        path if path.starts_with("adapters.") => "first",
        _ => "positive",
    };
    entry.path.replace('*', free)
}

/// Values that differ from each other, of which at least one differs from what a file says.
fn samples(takes: &'static Type, name: &str) -> Vec<Value> {
    match takes {
        Type::Bool => vec![json!(true), json!(false)],
        Type::Int(..) if name == "bits" => vec![json!(4), json!(8)],
        Type::Int(from, to) => {
            let from = (*from).max(-1);
            vec![json!(from + 1), json!(from + 2), json!((from + 3).min(*to))]
        }
        // A rate that falls ends below the one it begins with.
        Type::Float(..) if matches!(name, "eta_min" | "polynomial_end_lr") => {
            vec![json!(1e-6), json!(2e-6)]
        }
        Type::Float(_, to) => {
            let most = if matches!(to, Bound::Open) { f64::MAX } else { 1.0 };
            let all = [3.5, 0.25, 0.5, 1.5].into_iter();
            all.filter(|value| *value <= most).map(Value::from).collect()
        }
        // Only a few texts have a form that other keys ask for.
        Type::Text | Type::Words | Type::Label => match name {
            "template" => vec![json!("{q} {r}"), json!("{__sample__} {__task__}")],
            "format" => {
                vec![json!("{__sample__} is {__answer__}"), json!("{__answer__}: {__sample__}")]
            }
            "validation_field" => vec![json!("combined")],
            "validation_metric" | "reduce_eval_metric" => {
                vec![json!("f1_micro"), json!("rouge"), json!("perplexity")]
            }
            _ => vec![json!("x1"), json!("y2")],
        },
        Type::Form(_) => vec![json!("flex"), json!("wgpu:1")],
        Type::Choice(choices) => choices.iter().map(|choice| json!(choice.name)).collect(),
        Type::List(of, least) => {
            if name == "layer_replication" {
                return vec![json!([[0, 2]]), json!([[0, 2], [1, 3]])];
            }
            if name == "examples" {
                let one = json!({"review": "x1", "label": "good"});
                return vec![json!([one]), json!([one, one])];
            }
            if name == "probabilities" {
                return vec![json!([0.5, 0.25, 0.25]), json!([1, 0, 0])];
            }
            let one = samples(of, name);
            let two = one.get(1).or(one.first()).cloned();
            let many: Vec<Value> = two.into_iter().cycle().take((*least).max(1)).collect();
            vec![
                one.first().cloned().into_iter().cycle().take((*least).max(1)).collect(),
                many.into(),
            ]
        }
        Type::Map(of, _) => samples(of, name)
            .into_iter()
            .flat_map(|value| ["__sample__", "positive", "x"].map(|key| json!({key: value})))
            .collect(),
        Type::Section(section) => {
            let required: serde_json::Map<String, Value> = section
                .keys()
                .filter(|key| matches!(key.fill, Fill::Required))
                .map(|key| (key.name.to_owned(), samples(&key.takes, key.name)[0].clone()))
                .collect();
            let optional = section.keys().find(|key| {
                !matches!(key.fill, Fill::Required) && matches!(key.when, When::Always)
            });
            let mut full = required.clone();
            if let Some(key) = optional {
                let more = samples(&key.takes, key.name);
                full.insert(key.name.to_owned(), more.last().cloned().unwrap());
            }
            vec![required.into(), full.into()]
        }
        Type::Union(union) => union
            .variants
            .iter()
            .map(|variant| {
                let mut map =
                    serde_json::Map::from_iter([(union.tag.to_owned(), json!(variant.name))]);
                for key in variant.keys().filter(|key| matches!(key.fill, Fill::Required)) {
                    map.insert(key.name.to_owned(), samples(&key.takes, key.name)[0].clone());
                }
                map.into()
            })
            .collect(),
        Type::Either(options) => options.iter().flat_map(|option| samples(option, name)).collect(),
        Type::Any => vec![json!("anything"), json!([1])],
    }
}

/// Whether there is only one value that works so far.
fn one_way(takes: &'static Type) -> bool {
    match takes {
        Type::Choice(all) => all.iter().filter(|it| it.status == Status::Built).count() == 1,
        Type::Union(of) => of.variants.iter().filter(|it| it.status == Status::Built).count() == 1,
        _ => false,
    }
}

/// The overrides that bring a file to the variants that the key belongs to.
fn variants(entry: &Entry) -> Vec<String> {
    entry
        .under
        .iter()
        .map(|(tag, value)| {
            let tag =
                tag.replace('*', if tag.starts_with("adapters.") { "first" } else { "positive" });
            format!("{tag}={value}")
        })
        .collect()
}

/// Whether the entry's variants are those that the file already has.
fn applies(entry: &Entry, base: &AnyDocument) -> bool {
    entry.under.iter().all(|(tag, value)| {
        let pointer = format!("/{}", tag.replace('.', "/"));
        base.settled().pointer(&pointer).and_then(Value::as_str) == Some(value)
    })
}

#[test]
fn a_built_key_changes_the_rendered_file() {
    for (model, folder) in KINDS {
        assert_eq!(dead(model, &good(folder)), [""; 0]);
    }
}

/// The built keys that change no file.
fn dead(model: ModelType, files: &[(String, String, AnyDocument)]) -> Vec<String> {
    let mut dead = BTreeSet::new();
    for entry in entries_of(model).iter().filter(|entry| entry.status == Status::Built) {
        let path = path(entry);
        let alive = files.iter().any(|(_, text, base)| {
            let sets = if applies(entry, base) { Vec::new() } else { variants(entry) };
            let Ok(base) = with(text, &sets) else { return false };
            samples(&entry.key.takes, entry.key.name).iter().any(|value| {
                let mut sets = sets.clone();
                sets.push(format!("{path}={value}"));
                with(text, &sets).is_ok_and(|document| document.render() != base.render())
            })
        });
        // `choose` says what `match` decides already; it is there to be read.
        if !alive && !one_way(&entry.key.takes) && entry.key.name != "choose" {
            dead.insert(path);
        }
    }
    dead.into_iter().collect()
}

#[test]
fn no_mutation_is_ignored() {
    for (model, folder) in KINDS {
        none_is_ignored(model, &good(folder));
    }
}

fn none_is_ignored(model: ModelType, good: &[(String, String, AnyDocument)]) {
    for entry in entries_of(model) {
        let path = path(entry);
        // What is not built is the same error everywhere.
        let some = if entry.status == Status::Built { good.len() } else { 1 };
        for (name, text, base) in good.iter().take(some) {
            for value in samples(&entry.key.takes, entry.key.name) {
                let mut sets = variants(entry);
                sets.push(format!("{path}={value}"));
                let Ok(document) = with(text, &sets) else { continue };
                if document.render() != base.render() {
                    continue;
                }
                // Nothing changed: then the value must be what the file says anyway.
                // `defaults` are part of the features.
                let place = path
                    .replace("defaults.text.decoder", "output_features.0.decoder")
                    .replace("defaults.text", "input_features.0")
                    .replace('.', "/");
                let said = base.settled().pointer(&format!("/{place}"));
                let said = said.cloned().unwrap_or_default();
                let same = said == value
                    || entry.key.default_value() == value
                    || says_the_same(&said, &value)
                    || one_way(&entry.key.takes)
                    || (entry.status != Status::Built && is_off(&value, entry));
                assert!(same, "{name}: `{path}={value}` is ignored; it says {said}");
            }
        }
    }
}

/// Whether all that `value` says stands in `said`.
fn says_the_same(said: &Value, value: &Value) -> bool {
    match (said, value) {
        (Value::Null, Value::Object(value)) => value.is_empty(),
        (Value::Object(said), Value::Object(value)) => value
            .iter()
            .all(|(key, value)| said.get(key).is_some_and(|said| says_the_same(said, value))),
        (Value::Number(said), Value::Number(value)) => said.as_f64() == value.as_f64(),
        (Value::Object(said), Value::String(_)) => {
            said.len() == 1 && said.values().next() == Some(value)
        }
        _ => said == value,
    }
}

/// A key that is not built may say what happens anyway: its default.
fn is_off(value: &Value, entry: &Entry) -> bool {
    let default = entry.key.default_value();
    says_the_same(&default, value)
        || matches!((&entry.key.takes, value), (Type::Union(union), Value::Object(map))
            if map.get(union.tag).and_then(Value::as_str) == union.fallback)
}

#[test]
fn a_misspelt_key_is_an_error_that_names_the_right_one() {
    misspelt(ModelType::Llm, &file("good", "scored-class"));
    misspelt(ModelType::Ecd, &file("probes", "category"));
}

fn file(folder: &str, name: &str) -> String {
    files::all(folder).into_iter().find(|(found, _)| found == name).unwrap().1
}

fn misspelt(model: ModelType, text: &str) {
    for entry in entries_of(model) {
        let path = path(entry);
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", &path));
        if name.len() < 4 || entry.path.ends_with('*') {
            continue;
        }
        let wrong =
            format!("{}{}", &name[..name.len() - 1], if name.ends_with('q') { 'z' } else { 'q' });
        let wrong = if parent.is_empty() { wrong } else { format!("{parent}.{wrong}") };
        let mut sets = variants(entry);
        sets.push(format!("{wrong}=1"));
        let problems = with(text, &sets).expect_err(&wrong);
        let found = problems.iter().find(|it| it.kind == Kind::UnknownKey && it.path == wrong);
        let found = found.unwrap_or_else(|| panic!("`{wrong}` is not found unknown:\n{problems}"));
        let hint = found.hint.as_deref().unwrap_or("");
        assert!(hint.starts_with("did you mean"), "{wrong}: {hint}");
    }
}

#[test]
fn a_key_that_is_not_built_is_an_error_that_names_the_feature() {
    let count = named_features(ModelType::Llm, &file("good", "sampled-text"));
    assert!(count > 40, "{count}");
    let count = named_features(ModelType::Ecd, &file("probes", "category"));
    assert!(count > 5, "{count}");
}

/// How many keys that are not built are errors which name the feature: all of them.
fn named_features(model: ModelType, text: &str) -> usize {
    let mut count = 0;
    for entry in entries_of(model) {
        let Status::NotBuilt(feature) = entry.status else { continue };
        if !entry.under.is_empty() || entry.path.contains("decoder") {
            continue;
        }
        let default = entry.key.default_value();
        let samples = samples(&entry.key.takes, entry.key.name);
        let off = |value: &Value| *value == default || *value == json!({}) || is_off(value, entry);
        let Some(value) = samples.iter().rev().find(|value| !off(value)) else { continue };
        let problems = with(text, &[format!("{}={value}", path(entry))]).expect_err(&entry.path);
        let named =
            problems.iter().any(|it| it.kind == Kind::NotBuilt && it.message.contains(feature));
        assert!(named, "{}={value}\n{problems}", entry.path);
        count += 1;
    }
    count
}

#[test]
fn every_key_stands_on_the_reference_page() {
    let page = fidelio_config::reference_page();
    for entry in KINDS.iter().flat_map(|(model, _)| entries_of(*model)) {
        assert!(page.contains(&format!("| `{}` |", entry.key.name)), "{}", entry.path);
    }
}
