//! From what was written to what is the case: `defaults` are applied, missing keys filled, keys
//! without effect found and taken out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::catalogue::{self, Fill, Key, Section, Status, Type, Union, When};
use crate::check::{Checked, Place};
use crate::problem::{Kind, Problem};
use crate::run::ModelType;
use crate::source::Source;
use crate::view::{View, at, join};

/// A settled run file: every key that has an effect has its value.
pub(crate) fn settle(checked: &mut Checked, sources: &[Source], model: ModelType) -> Value {
    let root = catalogue::root(model);
    apply_defaults(checked, sources);
    let mut settled = checked.written.clone();
    if let Value::Object(map) = &mut settled {
        map.shift_remove("defaults");
        fill_section(map, root);
    }
    derive(&mut settled, checked, model);
    let mut useless = Vec::new();
    let before = settled.clone();
    let view = View { written: &checked.written, settled: &before, broken: &checked.broken };
    if let Value::Object(map) = &mut settled {
        prune_section(map, root, "", &view, &mut useless);
    }
    for (path, needs) in useless {
        let problem = useless_key(&path, needs, &checked.places, sources);
        checked.problems.push(problem);
    }
    order(&settled, root)
}

fn useless_key(
    path: &str,
    needs: &str,
    places: &BTreeMap<String, Place>,
    sources: &[Source],
) -> Problem {
    let mut problem = Problem::new(Kind::Useless, path, format!("`{path}` has no effect here"))
        .because(format!("it needs {needs}"))
        .hint(remedy(needs));
    if let Some(place) = places.get(path) {
        problem = problem.at(sources, place.key.unwrap_or(place.value), "");
    }
    // The setting that takes the effect away is shown where it was written.
    let other = needs.split('`').nth(1).and_then(|code| code.split_once(": "));
    if let Some((key, _)) = other {
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        let place = places.get(key).or_else(|| places.get(&join(parent, key)));
        if let Some(place) = place {
            problem = problem.related(sources, place.value, "decided here");
        }
    }
    problem
}

fn remedy(needs: &str) -> String {
    let code = needs.strip_prefix('`').and_then(|rest| rest.split_once('`'));
    match code {
        Some((code, "")) if code.contains(": ") => format!("remove it, or write `{code}`"),
        _ => "remove it, or change what it needs".to_owned(),
    }
}

/// Copies `defaults.text.*` into each text feature that does not say otherwise.
fn apply_defaults(checked: &mut Checked, sources: &[Source]) {
    let Some(Value::Object(parts)) = at(&checked.written, "defaults.text").cloned() else { return };
    let mut features = vec!["input_features.0".to_owned()];
    if at(&checked.written, "output_features.0.type") == Some(&Value::from("text")) {
        features.push("output_features.0".to_owned());
    }
    for (part, keys) in &parts {
        let Value::Object(keys) = keys else { continue };
        for (name, value) in keys {
            let from = join(&join("defaults.text", part), name);
            let mut used = false;
            for feature in &features {
                let section = join(feature, part);
                let path = join(&section, name);
                let known =
                    part == "preprocessing" || (part == "decoder" && feature.starts_with("output"));
                let Some(map) = section_of(&mut checked.written, &section).filter(|_| known) else {
                    continue;
                };
                if !map.contains_key(name) && !checked.broken.contains(&path) {
                    map.insert(name.clone(), value.clone());
                    used = true;
                    if let Some(place) = checked.places.get(&from).copied() {
                        checked.places.insert(path, place);
                    }
                }
            }
            let (why, hint) = match part.as_str() {
                "decoder" if features.len() == 1 => ("the output is not a text", "remove it"),
                _ => ("every text feature sets the key itself", "remove it here, or there"),
            };
            if !used && matches!(part.as_str(), "preprocessing" | "decoder") {
                let mut problem =
                    Problem::new(Kind::Useless, &from, format!("`{from}` has no effect"))
                        .because(why)
                        .hint(hint);
                if let Some(place) = checked.places.get(&from) {
                    problem = problem.at(sources, place.key.unwrap_or(place.value), "");
                }
                checked.problems.push(problem);
            }
        }
    }
}

/// The map of a feature's section, made where it is not there yet.
fn section_of<'a>(written: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let (feature, part) = path.rsplit_once('.')?;
    let (list, index) = feature.rsplit_once('.')?;
    let feature = written.get_mut(list)?.get_mut(index.parse::<usize>().ok()?)?;
    let map = feature.as_object_mut()?;
    map.entry(part).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn fill_section(map: &mut Map<String, Value>, section: &'static Section) {
    for key in section.keys() {
        fill_key(map, key);
    }
}

fn fill_key(map: &mut Map<String, Value>, key: &'static Key) {
    if key.status != Status::Built || key.name == "defaults" {
        return;
    }
    if !map.contains_key(key.name) && matches!(key.fill, Fill::Json(_)) {
        map.insert(key.name.to_owned(), key.default_value());
    }
    if let Some(value) = map.get_mut(key.name) {
        fill_value(value, &key.takes);
    }
}

fn fill_value(value: &mut Value, takes: &'static Type) {
    match (takes, value) {
        (Type::Section(section), Value::Object(map)) => fill_section(map, section),
        (Type::Union(union), Value::Object(map)) => fill_union(map, union),
        (Type::List(of, _), Value::Array(items)) => {
            for item in items {
                fill_value(item, of);
            }
        }
        (Type::Map(of, _), Value::Object(map)) => {
            for (_, item) in map.iter_mut() {
                fill_value(item, of);
            }
        }
        _ => {}
    }
}

fn fill_union(map: &mut Map<String, Value>, union: &'static Union) {
    if let (None, Some(fallback)) = (map.get(union.tag), union.fallback) {
        map.insert(union.tag.to_owned(), Value::from(fallback));
    }
    let variant = map.get(union.tag).and_then(Value::as_str).and_then(|tag| union.variant(tag));
    for key in variant.into_iter().flat_map(catalogue::Variant::keys) {
        fill_key(map, key);
    }
}

/// Fills what follows from other keys, in the order of the catalogue.
fn derive(settled: &mut Value, checked: &Checked, model: ModelType) {
    for entry in catalogue::entries_of(model) {
        let Fill::From { derive, .. } = entry.key.fill else { continue };
        if entry.status != Status::Built {
            continue;
        }
        for names in free_names(settled, &entry.path) {
            let path = named(&entry.path, &names);
            let (parent, name) = path.rsplit_once('.').unwrap_or(("", &path));
            let applies = entry.under.iter().all(|(tag, value)| {
                at(settled, &named(tag, &names)).and_then(Value::as_str) == Some(value)
            });
            let absent = at(settled, &path).is_none_or(Value::is_null);
            if !applies || !absent || checked.broken.contains(&path) {
                continue;
            }
            let view = View { written: &checked.written, settled, broken: &checked.broken };
            if let Some(mut value) = derive(&view, parent) {
                fill_value(&mut value, &entry.key.takes);
                insert(settled, parent, name, value);
            }
        }
    }
}

/// What a file has where a path of the catalogue stands for several: keys of a map for `*`, items of
/// a list for `0`. One list for each way to fill them in; one empty list where there is nothing to
/// fill in.
fn free_names(settled: &Value, path: &str) -> Vec<Vec<String>> {
    let parts: Vec<&str> = path.split('.').collect();
    let mut found = vec![Vec::new()];
    for (place, _) in parts.iter().enumerate().filter(|(_, part)| is_free(part)) {
        let around = parts[..place].join(".");
        found = found
            .into_iter()
            .flat_map(|names| {
                let keys: Vec<String> = match at(settled, &named(&around, &names)) {
                    Some(Value::Object(map)) => map.keys().cloned().collect(),
                    Some(Value::Array(list)) => (0..list.len()).map(|it| it.to_string()).collect(),
                    _ => Vec::new(),
                };
                keys.into_iter().map(move |key| [names.clone(), vec![key]].concat())
            })
            .collect();
    }
    found
}

fn is_free(part: &str) -> bool {
    matches!(part, "*" | "0")
}

/// A path of the catalogue with what it stands for filled in, in order.
fn named(path: &str, names: &[String]) -> String {
    let mut names = names.iter();
    let part = |part| if is_free(part) { names.next().map_or(part, String::as_str) } else { part };
    path.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn insert(settled: &mut Value, parent: &str, name: &str, value: Value) {
    let mut here = settled;
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        let next = match here {
            Value::Object(map) => map.get_mut(part),
            Value::Array(list) => part.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            _ => None,
        };
        let Some(next) = next else { return };
        here = next;
    }
    if let Value::Object(map) = here {
        map.insert(name.to_owned(), value);
    }
}

type Found = Vec<(String, &'static str)>;

fn prune_section(
    map: &mut Map<String, Value>,
    section: &'static Section,
    path: &str,
    view: &View<'_>,
    found: &mut Found,
) {
    for key in section.keys() {
        prune_key(map, key, path, view, found);
    }
}

fn prune_key(
    map: &mut Map<String, Value>,
    key: &'static Key,
    parent: &str,
    view: &View<'_>,
    found: &mut Found,
) {
    let path = join(parent, key.name);
    if let When::Only { test, needs } = key.when
        && !test(view, parent)
    {
        map.shift_remove(key.name);
        if view.written(&path).is_some() {
            found.push((path, needs));
        }
        return;
    }
    if let Some(value) = map.get_mut(key.name) {
        prune_value(value, &key.takes, &path, view, found);
    }
}

fn prune_value(
    value: &mut Value,
    takes: &'static Type,
    path: &str,
    view: &View<'_>,
    found: &mut Found,
) {
    match (takes, value) {
        (Type::Section(section), Value::Object(map)) => {
            prune_section(map, section, path, view, found);
        }
        (Type::Union(union), Value::Object(map)) => {
            let tag = map.get(union.tag).and_then(Value::as_str).map(str::to_owned);
            let variant = tag.and_then(|tag| union.variant(&tag));
            for key in variant.into_iter().flat_map(catalogue::Variant::keys) {
                prune_key(map, key, path, view, found);
            }
        }
        (Type::List(of, _), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune_value(item, of, &join(path, &index.to_string()), view, found);
            }
        }
        (Type::Map(of, _), Value::Object(map)) => {
            for (name, item) in map.iter_mut() {
                prune_value(item, of, &join(path, name), view, found);
            }
        }
        _ => {}
    }
}

/// The same value with keys in the catalogue's order, so that equal run files print equally.
fn order(settled: &Value, root: &'static Section) -> Value {
    let mut settled = settled.clone();
    if let Value::Object(map) = &mut settled {
        order_section(map, root);
    }
    settled
}

fn order_section(map: &mut Map<String, Value>, section: &'static Section) {
    order_keys(map, None, section.keys());
}

fn order_keys(
    map: &mut Map<String, Value>,
    tag: Option<&str>,
    keys: impl Iterator<Item = &'static Key>,
) {
    let mut old = std::mem::take(map);
    if let Some((tag, value)) = tag.and_then(|tag| old.shift_remove_entry(tag)) {
        map.insert(tag, value);
    }
    for key in keys {
        if let Some((name, mut value)) = old.shift_remove_entry(key.name) {
            order_value(&mut value, &key.takes);
            map.insert(name, value);
        }
    }
}

fn order_value(value: &mut Value, takes: &'static Type) {
    match (takes, value) {
        (Type::Section(section), Value::Object(map)) => order_section(map, section),
        (Type::Union(union), Value::Object(map)) => {
            let tag = map.get(union.tag).and_then(Value::as_str).map(str::to_owned);
            if let Some(variant) = tag.and_then(|tag| union.variant(&tag)) {
                order_keys(map, Some(union.tag), variant.keys());
            }
        }
        (Type::List(of, _), Value::Array(items)) => {
            for item in items {
                order_value(item, of);
            }
        }
        (Type::Map(of, _), Value::Object(map)) => {
            for item in map.values_mut() {
                order_value(item, of);
            }
        }
        _ => {}
    }
}
