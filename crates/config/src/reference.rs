//! The catalogue as a page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::catalogue::{
    Choice, Entry, Fill, Key, PROBE_FILE, RUN_FILE, Section, Status, Type, Union, When, entries,
    entries_of,
};
use crate::check::{float_bounds, int_bounds};
use crate::problem::Kind;
use crate::run::ModelType;

/// The reference page of all keys, in Markdown.
pub fn reference_page() -> String {
    // A key that several variants have is one key here.
    let mut paths: BTreeMap<&str, Status> = BTreeMap::new();
    for entry in entries().iter().chain(entries_of(ModelType::Ecd)) {
        let status = paths.entry(&entry.path).or_insert(entry.status);
        if entry.status == Status::Built {
            *status = Status::Built;
        }
    }
    let count = |test: fn(&Status) -> bool| paths.values().filter(|status| test(status)).count();
    let built = count(|status| *status == Status::Built);
    let later = count(|status| matches!(status, Status::NotBuilt(_)));
    let idle = paths.len() - built - later;
    let mut page = String::from("# Keys of a run file\n\n");
    let _ = writeln!(
        page,
        "This page is generated from the catalogue that also checks run files.\n\
         Of {} keys {built} do what their sentence says.\n\
         {later} belong to features that are not built yet; writing one (other than its default) is an error that names the feature.\n\
         {idle} are known from Ludwig and cannot have an effect here; writing one is an error that says why.\n\
         A key that may be `null` means the same when it is left out.\n",
        paths.len()
    );
    problems(&mut page);
    page.push_str(
        "Run files of `model_type: ecd` have [keys of their own](#heads-on-vectors).\n\n",
    );
    section(&mut page, "The top level", "", &RUN_FILE, &[]);
    page.push_str("# Heads on vectors\n\nThe keys of run files of `model_type: ecd`.\n\n");
    section(&mut page, "The top level of `model_type: ecd`", "", &PROBE_FILE, &[]);
    page
}

fn problems(page: &mut String) {
    page.push_str("## Problems\n\nAll problems of a file are listed at once, by line.\n\n");
    page.push_str("| code | kind |\n|---|---|\n");
    for kind in Kind::ALL {
        let _ = writeln!(page, "| {} | {} |", kind.code(), kind.title());
    }
    page.push('\n');
}

/// A section's table, then the sections below it.
fn section(
    page: &mut String,
    title: &str,
    path: &str,
    section: &'static Section,
    above: &[&'static Section],
) {
    if above.iter().any(|other| std::ptr::eq(*other, section)) {
        return;
    }
    heading(page, title, section.doc);
    let keys: Vec<&'static Key> = section.keys().collect();
    table(page, &keys);
    let mut above = above.to_vec();
    above.push(section);
    for key in keys {
        below(page, &crate::view::join(path, key.name), &key.takes, &above);
    }
}

fn below(page: &mut String, path: &str, takes: &'static Type, above: &[&'static Section]) {
    match takes {
        Type::Section(of) => section(page, &format!("`{path}`"), path, of, above),
        Type::Union(of) => union(page, path, of, above),
        Type::List(of, _) => below(page, &format!("{path}.0"), of, above),
        Type::Map(of, _) => below(page, &format!("{path}.*"), of, above),
        Type::Either(options) => {
            for option in *options {
                below(page, path, option, above);
            }
        }
        _ => {}
    }
}

fn union(page: &mut String, path: &str, union: &'static Union, above: &[&'static Section]) {
    heading(page, &format!("`{path}`"), union.doc);
    let tag = union.tag;
    if union.shorthand {
        let name = path.rsplit('.').next().unwrap_or(path);
        let _ = writeln!(page, "`{name}: NAME` is short for `{name}: {{{tag}: NAME}}`.\n");
    }
    let _ = writeln!(page, "| `{tag}` | meaning | keys beside `{tag}` |\n|---|---|---|");
    for variant in union.variants {
        let names: Vec<String> = variant
            .keys()
            .filter(|key| !matches!(key.status, Status::NoEffect(_)))
            .map(|key| format!("`{}`", key.name))
            .collect();
        let default = if union.fallback == Some(variant.name) { " (default)" } else { "" };
        let meaning = format!("{}{}", status(variant.status), variant.doc);
        let names = if names.is_empty() { "–".to_owned() } else { names.join(", ") };
        let _ = writeln!(page, "| `{}`{default} | {meaning} | {names} |", variant.name);
    }
    page.push('\n');
    let mut keys: Vec<&'static Key> = Vec::new();
    for key in union.variants.iter().flat_map(crate::catalogue::Variant::keys) {
        // Variants that share a key share its row; those that give it another default do not.
        let same = |other: &&&'static Key| {
            other.name == key.name && other.doc == key.doc && default(other) == default(key)
        };
        if !keys.iter().any(|other| same(&other)) {
            keys.push(key);
        }
    }
    if !keys.is_empty() {
        table(page, &keys);
    }
    for key in keys {
        below(page, &crate::view::join(path, key.name), &key.takes, above);
    }
}

fn heading(page: &mut String, title: &str, doc: &str) {
    let _ = writeln!(page, "## {title}\n\n{doc}\n");
}

fn table(page: &mut String, keys: &[&'static Key]) {
    page.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
    for key in keys {
        let mut meaning = format!("{}{}", status(key.status), key.doc);
        if let When::Only { needs, .. } = key.when {
            let _ = write!(meaning, " Has an effect only with {needs}.");
        }
        if !key.differs.is_empty() {
            let _ = write!(meaning, " *Difference: {}.*", key.differs);
        }
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&takes(&key.takes)),
            cell(&default(key)),
            cell(meaning.trim()),
        );
    }
    page.push('\n');
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn status(status: Status) -> String {
    match status {
        Status::Built => String::new(),
        Status::NotBuilt(feature) => format!("**Not built yet** ({feature}). "),
        Status::NoEffect(why) => format!("**No effect**: {why}. "),
    }
}

fn default(key: &Key) -> String {
    match key.fill {
        Fill::Required => "**required**".to_owned(),
        Fill::Nothing => "`null`".to_owned(),
        Fill::Json(text) => format!("`{text}`"),
        Fill::From { words, .. } => words.to_owned(),
    }
}

fn takes(of: &'static Type) -> String {
    match of {
        Type::Bool => "bool".to_owned(),
        Type::Int(i64::MIN, i64::MAX) => "whole number".to_owned(),
        Type::Int(from, to) => format!("whole number, {}", int_bounds(*from, *to)),
        Type::Float(crate::catalogue::Bound::Open, crate::catalogue::Bound::Open) => {
            "number".to_owned()
        }
        Type::Float(from, to) => format!("number, {}", float_bounds(*from, *to)),
        Type::Text | Type::Words => "text".to_owned(),
        Type::Label => "name".to_owned(),
        Type::Form(form) => form.words.to_owned(),
        Type::Choice(choices) => words(choices),
        Type::List(of, _) => format!("list of: {}", takes(of)),
        Type::Map(of, _) => format!("map of names to: {}", takes(of)),
        Type::Section(_) | Type::Union(_) => "section".to_owned(),
        Type::Either(options) => options.iter().map(takes).collect::<Vec<_>>().join("; or "),
        Type::Any => "anything".to_owned(),
    }
}

fn words(choices: &'static [Choice]) -> String {
    let built = choices.iter().filter(|choice| choice.status == Status::Built);
    let words: Vec<String> = built.map(|choice| format!("`{}`", choice.name)).collect();
    let later = choices.iter().filter(|choice| matches!(choice.status, Status::NotBuilt(_)));
    let later: Vec<String> = later.map(|choice| format!("`{}`", choice.name)).collect();
    match (words.is_empty(), later.is_empty()) {
        (_, true) => words.join(", "),
        (true, false) => format!("(not built yet: {})", later.join(", ")),
        (false, false) => format!("{} (not built yet: {})", words.join(", "), later.join(", ")),
    }
}

/// Every path of the catalogue that does something, for completion.
pub fn built_paths() -> Vec<String> {
    let mut paths: Vec<String> = entries()
        .iter()
        .filter(|entry| entry.status == Status::Built)
        .map(|Entry { path, .. }| path.clone())
        .collect();
    paths.dedup();
    paths
}
