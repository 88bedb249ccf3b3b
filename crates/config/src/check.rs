//! The tree against the catalogue: unknown keys, wrong types, values that are not allowed, features
//! that are not built. What is sound comes out as a JSON value; what is not is remembered as broken.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::catalogue::{
    Bound, Choice, Fill, Key, RUN_FILE, Section, Status, Type, Union, Variant, Verdict, entries,
};
use crate::problem::{Kind, Problem};
use crate::source::{Source, Span};
use crate::suggest::nearest;
use crate::view::join;
use crate::yaml::{Entry, Node, Scalar, Shape};

/// Where a key and its value stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The key; none for an item of a list.
    pub key: Option<Span>,
    /// The value.
    pub value: Span,
}

/// What the walk over a tree found.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) written: Value,
    pub(crate) problems: Vec<Problem>,
    pub(crate) places: BTreeMap<String, Place>,
    pub(crate) broken: BTreeSet<String>,
}

/// Checks a whole run file.
pub(crate) fn check(root: &Node, sources: &[Source]) -> Checked {
    let mut walk = Walk {
        sources,
        live: true,
        problems: Vec::new(),
        places: BTreeMap::new(),
        broken: BTreeSet::new(),
    };
    let written = if let Shape::Map(map) = &root.shape {
        walk.section(&RUN_FILE, map, root, "")
    } else {
        walk.wrong("", root, "a run file is a map of keys", None);
        None
    };
    Checked {
        written: written.unwrap_or_else(|| Value::Object(Map::new())),
        problems: walk.problems,
        places: walk.places,
        broken: walk.broken,
    }
}

struct Walk<'a> {
    sources: &'a [Source],
    /// False inside a section that is not built: one complaint about it is enough.
    live: bool,
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
    broken: BTreeSet<String>,
}

impl Walk<'_> {
    fn section(
        &mut self,
        section: &'static Section,
        map: &[Entry],
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        let keys: Vec<&'static Key> = section.keys().collect();
        self.keys(&keys, map, node, path, &|_, _| None)
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "its siblings return what they could not read as none"
    )]
    /// Checks the keys of one map. `foreign` may know why a key is not among `keys`.
    fn keys(
        &mut self,
        keys: &[&'static Key],
        map: &[Entry],
        node: &Node,
        path: &str,
        foreign: &dyn Fn(&Self, &Entry) -> Option<Problem>,
    ) -> Option<Value> {
        let mut object = Map::new();
        for key in keys {
            let Some(entry) = map.iter().find(|entry| &*entry.key == key.name) else {
                if matches!(key.fill, Fill::Required) {
                    self.missing(key, node, path);
                }
                continue;
            };
            let at = join(path, key.name);
            self.places
                .insert(at.clone(), Place { key: Some(entry.key_span), value: entry.value.span });
            if let Some(value) = self.key(key, entry, &at) {
                object.insert(key.name.to_owned(), value);
            }
        }
        for entry in map {
            if keys.iter().all(|key| key.name != &*entry.key) {
                let problem =
                    foreign(self, entry).unwrap_or_else(|| self.unknown(keys, entry, path));
                self.problems.push(problem);
                self.break_at(join(path, &entry.key));
            }
        }
        Some(Value::Object(object))
    }

    fn key(&mut self, key: &'static Key, entry: &Entry, path: &str) -> Option<Value> {
        let node = &entry.value;
        if node.is_null() && key.takes_null() {
            return None;
        }
        if node.is_null() && !matches!(key.takes, Type::Text | Type::Any) {
            let hint = match key.takes {
                Type::Section(_) | Type::Union(_) | Type::List(..) | Type::Map(..) => {
                    "write its content indented below it, or remove the line"
                }
                _ => "write a value, or remove the line",
            };
            let span = entry.key_span;
            let problem = Problem::new(Kind::WrongType, path, format!("`{path}` has no value"))
                .at(self.sources, span, format!("it takes {}", expected(&key.takes)))
                .hint(hint);
            self.fail(problem, path);
            return None;
        }
        let was_live = self.live;
        self.live &= key.status == Status::Built;
        let value = self.value(&key.takes, node, path);
        self.live = was_live;
        match key.status {
            Status::Built => value,
            Status::NotBuilt(feature) => {
                if !self.live {
                    return value;
                }
                if !value.as_ref().is_some_and(|value| is_default(key, value)) {
                    let problem = not_built(path, feature).at(self.sources, entry.key_span, "");
                    self.fail(problem.hint(not_built_hint(key)), path);
                }
                None
            }
            Status::NoEffect(why) => {
                if self.live {
                    let problem =
                        Problem::new(Kind::Useless, path, format!("`{path}` has no effect"))
                            .at(self.sources, entry.key_span, "")
                            .because(why)
                            .hint("remove it");
                    self.fail(problem, path);
                }
                None
            }
        }
    }

    fn value(&mut self, takes: &'static Type, node: &Node, path: &str) -> Option<Value> {
        match takes {
            Type::Section(section) => match &node.shape {
                Shape::Map(map) => self.section(section, map, node, path),
                _ => self.wrong(path, node, "a section with keys of its own", None),
            },
            Type::Union(union) => self.union(union, node, path),
            Type::List(of, least) => self.list(of, *least, node, path),
            Type::Map(of, least) => self.map(of, *least, node, path),
            Type::Either(options) => {
                let fits = options.iter().find(|option| fits(option, node));
                match fits.or_else(|| options.iter().find(|option| same_shape(option, node))) {
                    Some(option) => self.value(option, node, path),
                    None => self.wrong(path, node, &expected(takes), None),
                }
            }
            Type::Any => Some(plain(node)),
            _ => match &node.shape {
                Shape::Scalar(scalar) => self.scalar(takes, scalar, node, path),
                _ => self.wrong(path, node, &expected(takes), quote_hint(takes, node)),
            },
        }
    }

    fn list(&mut self, of: &'static Type, least: usize, node: &Node, path: &str) -> Option<Value> {
        let Shape::List(items) = &node.shape else {
            let hint = matches!(node.shape, Shape::Map(_)).then_some("begin it with `- `");
            let one =
                matches!(node.shape, Shape::Scalar(_)).then_some("write it in brackets: `[…]`");
            return self.wrong(path, node, &expected_list(of), hint.or(one).map(str::to_owned));
        };
        if items.len() < least {
            let count = if least == 1 { "1 item".to_owned() } else { format!("{least} items") };
            let problem = self.not_allowed(path, node, format!("needs at least {count}"));
            self.fail(problem, path);
            return None;
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = join(path, &index.to_string());
            self.places.insert(at.clone(), Place { key: None, value: item.span });
            if let Some(value) = self.value(of, item, &at) {
                values.push(value);
            } else {
                // Holds the place, so that later items keep their numbers.
                self.break_at(at);
                values.push(Value::Null);
            }
        }
        Some(Value::Array(values))
    }

    fn map(&mut self, of: &'static Type, least: usize, node: &Node, path: &str) -> Option<Value> {
        let Shape::Map(entries) = &node.shape else {
            return self.wrong(path, node, "a map of names", None);
        };
        if entries.len() < least {
            let problem = self.not_allowed(path, node, "needs at least 1 entry".to_owned());
            self.fail(problem, path);
            return None;
        }
        let mut object = Map::new();
        for entry in entries {
            let at = join(path, &entry.key);
            self.places
                .insert(at.clone(), Place { key: Some(entry.key_span), value: entry.value.span });
            if let Some(value) = self.value(of, &entry.value, &at) {
                object.insert(entry.key.to_string(), value);
            }
        }
        Some(Value::Object(object))
    }

    fn union(&mut self, union: &'static Union, node: &Node, path: &str) -> Option<Value> {
        let (tag, tag_node, map): (&str, Option<&Node>, &[Entry]) = match &node.shape {
            Shape::Scalar(scalar) if union.shorthand && !scalar.is_null() => {
                (&scalar.text, Some(node), &[])
            }
            Shape::Map(map) => {
                let written = map.iter().find(|entry| &*entry.key == union.tag);
                match (written, union.fallback) {
                    (Some(Entry { value, key_span, .. }), _) => {
                        let at = join(path, union.tag);
                        let place = Place { key: Some(*key_span), value: value.span };
                        self.places.insert(at.clone(), place);
                        let Shape::Scalar(scalar) = &value.shape else {
                            return self.wrong(&at, value, &variants(union), None);
                        };
                        (&scalar.text, Some(value), map)
                    }
                    (None, Some(fallback)) => (fallback, None, map),
                    (None, None) => return self.no_tag(union, map, node, path),
                }
            }
            _ => return self.wrong(path, node, "a section with keys of its own", None),
        };
        let at = join(path, union.tag);
        let Some(variant) = union.variant(tag) else {
            let known = union.variants.iter().map(|variant| variant.name);
            let near = nearest(tag, known.clone());
            let node = tag_node.unwrap_or(node);
            let problem = self
                .not_allowed(&at, node, format!("cannot be `{tag}`"))
                .hint(did_you_mean(near, || format!("one of {}", variants(union))));
            self.fail(problem, &at);
            self.known_somewhere(union, map, path);
            return None;
        };
        let was_live = self.live;
        match variant.status {
            Status::Built => {}
            Status::NotBuilt(feature) => {
                if self.live {
                    let span = tag_node.unwrap_or(node).span;
                    let message = format!("`{at}: {tag}` needs {feature}, which is not built yet");
                    let problem = Problem::new(Kind::NotBuilt, &at, message)
                        .at(self.sources, span, "")
                        .hint(built_variants(union));
                    self.fail(problem, &at);
                }
                self.live = false;
            }
            Status::NoEffect(why) => {
                let node = tag_node.unwrap_or(node);
                let problem = self
                    .not_allowed(&at, node, format!("cannot be `{tag}`"))
                    .because(why)
                    .hint(built_variants(union));
                self.fail(problem, &at);
                self.live = false;
                self.known_somewhere(union, map, path);
                self.live = was_live;
                return None;
            }
        }
        let rest: Vec<Entry> =
            map.iter().filter(|entry| &*entry.key != union.tag).cloned().collect();
        let keys: Vec<&'static Key> = variant.keys().collect();
        let value = self.keys(&keys, &rest, node, path, &|walk, entry| {
            walk.of_another_variant(union, variant, entry, path)
        });
        self.live = was_live;
        let Some(Value::Object(found)) = value else { return None };
        let mut object = Map::new();
        object.insert(union.tag.to_owned(), Value::from(variant.name));
        object.extend(found);
        Some(Value::Object(object))
    }

    fn no_tag(
        &mut self,
        union: &'static Union,
        map: &[Entry],
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        let span = self.places.get(path).and_then(|place| place.key).unwrap_or(first(node));
        let at = join(path, union.tag);
        let problem = Problem::new(Kind::Missing, &at, format!("`{at}` is missing"))
            .at(self.sources, span, "")
            .hint(built_variants(union));
        self.fail(problem, &at);
        self.known_somewhere(union, map, path);
        None
    }

    /// Without a valid tag a key is only unknown if no variant has it.
    fn known_somewhere(&mut self, union: &'static Union, map: &[Entry], path: &str) {
        let keys: Vec<&'static Key> = union.variants.iter().flat_map(Variant::keys).collect();
        for entry in map.iter().filter(|entry| &*entry.key != union.tag) {
            if keys.iter().all(|key| key.name != &*entry.key) {
                let problem = self.unknown(&keys, entry, path);
                self.problems.push(problem);
            }
        }
    }

    fn of_another_variant(
        &self,
        union: &'static Union,
        variant: &Variant,
        entry: &Entry,
        path: &str,
    ) -> Option<Problem> {
        let owners: Vec<&str> = union
            .variants
            .iter()
            .filter(|other| other.keys().any(|key| key.name == &*entry.key))
            .map(|other| other.name)
            .collect();
        if owners.is_empty() {
            return None;
        }
        let at = join(path, &entry.key);
        let tag = join(path, union.tag);
        let message = format!("`{at}` has no effect with `{tag}: {}`", variant.name);
        let owners = owners.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = Problem::new(Kind::Useless, &at, message)
            .at(self.sources, entry.key_span, "")
            .hint(format!("it belongs to {owners}: remove it, or change `{tag}`"));
        Some(match self.places.get(&tag) {
            Some(place) => problem.related(self.sources, place.value, "chosen here"),
            None => problem,
        })
    }

    fn scalar(
        &mut self,
        takes: &'static Type,
        scalar: &Scalar,
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        match takes {
            Type::Bool => {
                if let Some(value) = scalar.as_bool() {
                    Some(Value::Bool(value))
                } else {
                    let hint = match scalar.text.to_lowercase().as_str() {
                        "yes" | "on" | "y" => Some("write `true`".to_owned()),
                        "no" | "off" | "n" => Some("write `false`".to_owned()),
                        "true" | "false" => Some("remove the quotes".to_owned()),
                        _ => None,
                    };
                    self.wrong(path, node, "`true` or `false`", hint)
                }
            }
            Type::Int(from, to) => match scalar.as_int() {
                Some(value) if (*from..=*to).contains(&value) => Some(Value::from(value)),
                Some(value) => {
                    let bounds = int_bounds(*from, *to);
                    let got = format!("got {value}");
                    self.range(path, node, &bounds, got)
                }
                None => {
                    let whole = scalar.as_float().filter(|v| v.fract() == 0.0 && v.abs() < 1e15);
                    let hint = whole.map(|value| format!("write {value}"));
                    self.wrong(path, node, "a whole number", hint.or_else(|| number_hint(scalar)))
                }
            },
            Type::Float(from, to) => match scalar.as_float() {
                Some(value) if !value.is_finite() => {
                    self.range(path, node, "must be a finite number", format!("got {value}"))
                }
                Some(value) if above(*from, value) && below(*to, value) => Some(Value::from(value)),
                Some(value) => {
                    let got = format!("got {value}");
                    self.range(path, node, &float_bounds(*from, *to), got)
                }
                None => self.wrong(path, node, "a number", number_hint(scalar)),
            },
            Type::Text | Type::Words => {
                let empty_text = scalar.text.is_empty() && matches!(takes, Type::Text);
                if !scalar.is_text() && !empty_text {
                    let hint = format!("for a text, write `\"{}\"`", scalar.text);
                    return self.wrong(path, node, "text", Some(hint));
                }
                if scalar.text.is_empty() && matches!(takes, Type::Words) {
                    return self.range(path, node, "must not be empty", String::new());
                }
                Some(Value::from(&*scalar.text))
            }
            Type::Label => Some(Value::from(&*scalar.text)),
            Type::Form(form) => match (form.judge)(&scalar.text) {
                Verdict::Fine => Some(Value::from(&*scalar.text)),
                Verdict::NotBuilt(feature) => {
                    if self.live {
                        let problem = not_built(path, feature).at(self.sources, node.span, "");
                        self.fail(problem, path);
                    }
                    None
                }
                Verdict::Wrong(hint) => {
                    let words = form.words;
                    let problem = self
                        .not_allowed(path, node, format!("cannot be `{}`", scalar.text))
                        .hint(if hint.is_empty() { format!("it takes {words}") } else { hint });
                    self.fail(problem, path);
                    None
                }
            },
            Type::Choice(choices) => self.choice(choices, scalar, node, path),
            _ => None,
        }
    }

    fn choice(
        &mut self,
        choices: &'static [Choice],
        scalar: &Scalar,
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        let Some(choice) = choices.iter().find(|choice| choice.name == &*scalar.text) else {
            let near = nearest(&scalar.text, choices.iter().map(|choice| choice.name));
            let problem = self
                .not_allowed(path, node, format!("cannot be `{}`", scalar.text))
                .hint(did_you_mean(near, || format!("one of {}", names(choices))));
            self.fail(problem, path);
            return None;
        };
        match choice.status {
            Status::Built => return Some(Value::from(choice.name)),
            Status::NotBuilt(feature) => {
                if self.live {
                    let message = format!(
                        "`{path}: {}` needs {feature}, which is not built yet",
                        choice.name
                    );
                    let problem =
                        Problem::new(Kind::NotBuilt, path, message).at(self.sources, node.span, "");
                    self.fail(problem, path);
                } else {
                    return Some(Value::from(choice.name));
                }
            }
            Status::NoEffect(why) => {
                let problem = self
                    .not_allowed(path, node, format!("cannot be `{}`", choice.name))
                    .because(why);
                self.fail(problem, path);
            }
        }
        None
    }

    fn missing(&mut self, key: &Key, node: &Node, path: &str) {
        let at = join(path, key.name);
        let span = self.places.get(path).and_then(|place| place.key).unwrap_or(first(node));
        let doc = key.doc.trim_end_matches('.');
        let hint = match example(&at) {
            Some(example) => format!("add `{example}`"),
            None => format!("add `{}`: {doc}", key.name),
        };
        let problem = Problem::new(Kind::Missing, &at, format!("`{at}` is missing"))
            .at(self.sources, span, "")
            .hint(hint);
        self.fail(problem, &at);
    }

    fn unknown(&self, keys: &[&'static Key], entry: &Entry, path: &str) -> Problem {
        let word = &*entry.key;
        let at = join(path, word);
        let place = if path.is_empty() { "at the top level" } else { path };
        let message = if path.is_empty() {
            format!("unknown key `{word}` {place}")
        } else {
            format!("unknown key `{word}` in `{place}`")
        };
        let known = || keys.iter().map(|key| key.name);
        let alias = keys.iter().find(|key| key.also.contains(&word)).map(|key| key.name);
        // A key that other sections know, or one that was misspelt here?
        let hint = alias
            .map(|name| format!("did you mean `{name}`?"))
            .or_else(|| {
                let here = nearest(word, known());
                let exact = elsewhere(word);
                match (here, exact) {
                    (None, Some(path)) => Some(format!("did you mean `{path}`?")),
                    (Some(name), _) => Some(format!("did you mean `{name}`?")),
                    (None, None) => None,
                }
            })
            .unwrap_or_else(|| format!("known here: {}", list(known())));
        Problem::new(Kind::UnknownKey, at, message).at(self.sources, entry.key_span, "").hint(hint)
    }

    fn wrong(
        &mut self,
        path: &str,
        node: &Node,
        want: &str,
        hint: Option<String>,
    ) -> Option<Value> {
        let name = if path.is_empty() { "the file" } else { path };
        let mut problem = Problem::new(
            Kind::WrongType,
            path,
            format!("`{name}` must be {want}, not {}", node.describe()),
        )
        .at(self.sources, node.span, "");
        problem.hint = hint;
        self.fail(problem, path);
        None
    }

    fn range(&mut self, path: &str, node: &Node, bounds: &str, got: String) -> Option<Value> {
        let problem = Problem::new(Kind::NotAllowed, path, format!("`{path}` {bounds}")).at(
            self.sources,
            node.span,
            got,
        );
        let problem = match range_hint(path) {
            Some(hint) => problem.hint(hint),
            None => problem,
        };
        self.fail(problem, path);
        None
    }

    fn not_allowed(&self, path: &str, node: &Node, what: String) -> Problem {
        Problem::new(Kind::NotAllowed, path, format!("`{path}` {what}")).at(
            self.sources,
            node.span,
            "",
        )
    }

    fn fail(&mut self, problem: Problem, path: &str) {
        self.problems.push(problem);
        self.break_at(path.to_owned());
    }

    fn break_at(&mut self, path: String) {
        self.broken.insert(path);
    }
}

fn not_built(path: &str, feature: &str) -> Problem {
    Problem::new(Kind::NotBuilt, path, format!("`{path}` needs {feature}, which is not built yet"))
}

fn not_built_hint(key: &Key) -> String {
    match key.name {
        "quantization" => {
            "remove it; a GGUF file as `base_model` keeps its weights quantised".to_owned()
        }
        "retrieval" => "remove it; fixed examples can stand in `prompt.template`".to_owned(),
        _ => "remove it".to_owned(),
    }
}

/// Advice where a number that looks harmless is refused.
fn range_hint(path: &str) -> Option<&'static str> {
    match path {
        "generation.temperature" => Some("for greedy decoding write `do_sample: false` instead"),
        "generation.top_p" | "generation.typical_p" => Some("1.0 switches it off"),
        "preprocessing.sample_ratio" => {
            Some("it is the share of rows that is kept: 1.0 keeps all of them")
        }
        "model_parameters.rope_scaling.factor" => {
            Some("remove `rope_scaling` to keep the context as it is")
        }
        _ => None,
    }
}

/// What a minimal file would say.
fn example(path: &str) -> Option<&'static str> {
    Some(match path {
        "model_type" => "model_type: llm",
        "base_model" => "base_model: HuggingFaceTB/SmolLM2-135M-Instruct",
        "input_features" => "input_features: [{name: text, type: text}]",
        "output_features" => "output_features: [{name: answer, type: text}]",
        "prompt.overflow.side" => "side: left",
        _ => return None,
    })
}

/// The one other path that ends in this key and works, or else one that will.
fn elsewhere(word: &str) -> Option<String> {
    let all = entries();
    let ends = |path: &str| path.rsplit('.').next() == Some(word);
    let mut found = all.iter().filter(|entry| {
        ends(&entry.path) || (entry.key.also.contains(&word) && entry.status == Status::Built)
    });
    let best = found
        .clone()
        .find(|entry| entry.status == Status::Built)
        .or_else(|| found.find(|entry| matches!(entry.status, Status::NotBuilt(_))))?;
    Some(best.path.clone())
}

fn did_you_mean(near: Option<&str>, otherwise: impl FnOnce() -> String) -> String {
    near.map_or_else(otherwise, |near| format!("did you mean `{near}`?"))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if all.is_empty() { "no key".to_owned() } else { all.join(", ") }
}

pub(crate) fn names(choices: &'static [Choice]) -> String {
    list(choices.iter().filter(|c| c.status == Status::Built).map(|choice| choice.name))
}

fn variants(union: &'static Union) -> String {
    list(union.variants.iter().map(|variant| variant.name))
}

fn built_variants(union: &'static Union) -> String {
    let built = union.variants.iter().filter(|variant| variant.status == Status::Built);
    let names: Vec<String> =
        built.map(|variant| format!("`{}: {}`", union.tag, variant.name)).collect();
    if names.is_empty() {
        "remove it".to_owned()
    } else {
        format!("built so far: {}", names.join(", "))
    }
}

/// The first key of a map, the item itself otherwise: where something is missing.
fn first(node: &Node) -> Span {
    match &node.shape {
        Shape::Map(entries) => entries.first().map_or(node.span, |entry| entry.key_span),
        _ => node.span,
    }
}

/// Whether a value says what is the case anyway.
fn is_default(key: &'static Key, value: &Value) -> bool {
    let Fill::Json(_) = key.fill else { return false };
    let default = key.default_value();
    if default == *value {
        return true;
    }
    let all = |keys: &[&'static Key], object: &Map<String, Value>, tag: &str| {
        object.iter().filter(|(name, _)| *name != tag).all(|(name, value)| {
            keys.iter().find(|key| key.name == name).is_some_and(|key| is_default(key, value))
        })
    };
    match (&key.takes, value) {
        (Type::Section(section), Value::Object(object)) => {
            all(&section.keys().collect::<Vec<_>>(), object, "")
        }
        (Type::Union(union), Value::Object(object)) => {
            let tag = object.get(union.tag).and_then(Value::as_str);
            let variant = tag.filter(|tag| Some(*tag) == union.fallback);
            variant
                .and_then(|tag| union.variant(tag))
                .is_some_and(|variant| all(&variant.keys().collect::<Vec<_>>(), object, union.tag))
        }
        _ => match (default.as_f64(), value.as_f64()) {
            (Some(default), Some(value)) => default.total_cmp(&value).is_eq(),
            _ => false,
        },
    }
}

/// Whether a value would pass, without saying why not.
fn fits(takes: &'static Type, node: &Node) -> bool {
    match (takes, &node.shape) {
        (Type::Choice(choices), Shape::Scalar(scalar)) => {
            choices.iter().any(|choice| choice.name == &*scalar.text)
        }
        _ => same_shape(takes, node),
    }
}

fn same_shape(takes: &'static Type, node: &Node) -> bool {
    match (takes, &node.shape) {
        (Type::Bool, Shape::Scalar(scalar)) => scalar.as_bool().is_some(),
        (Type::Int(..), Shape::Scalar(scalar)) => scalar.as_int().is_some(),
        (Type::Float(..), Shape::Scalar(scalar)) => scalar.as_float().is_some(),
        (Type::Choice(_) | Type::Text | Type::Words, Shape::Scalar(scalar)) => scalar.is_text(),
        (Type::Label | Type::Form(_), Shape::Scalar(_))
        | (Type::List(..), Shape::List(_))
        | (Type::Map(..) | Type::Section(_) | Type::Union(_), Shape::Map(_))
        | (Type::Any, _) => true,
        _ => false,
    }
}

/// A value as JSON without any expectation.
fn plain(node: &Node) -> Value {
    match &node.shape {
        Shape::List(items) => Value::Array(items.iter().map(plain).collect()),
        Shape::Map(entries) => Value::Object(
            entries.iter().map(|entry| (entry.key.to_string(), plain(&entry.value))).collect(),
        ),
        Shape::Scalar(it) if it.is_null() => Value::Null,
        Shape::Scalar(it) => it
            .as_bool()
            .map(Value::Bool)
            .or_else(|| it.as_int().map(Value::from))
            .or_else(|| it.as_float().map(Value::from))
            .unwrap_or_else(|| Value::from(&*it.text)),
    }
}

/// What a type takes, in words.
pub(crate) fn expected(takes: &'static Type) -> String {
    match takes {
        Type::Bool => "`true` or `false`".to_owned(),
        Type::Int(..) => "a whole number".to_owned(),
        Type::Float(..) => "a number".to_owned(),
        Type::Text | Type::Words | Type::Form(_) => "text".to_owned(),
        Type::Label => "a name".to_owned(),
        Type::Choice(choices) => {
            let names = names(choices);
            if choices.len() > 1 { format!("one of {names}") } else { names }
        }
        Type::List(of, _) => expected_list(of),
        Type::Map(..) => "a map of names".to_owned(),
        Type::Section(_) | Type::Union(_) => "a section with keys of its own".to_owned(),
        Type::Either(options) => options.iter().map(expected).collect::<Vec<_>>().join(" or "),
        Type::Any => "a value".to_owned(),
    }
}

fn expected_list(of: &'static Type) -> String {
    match of {
        Type::Int(..) => "a list of whole numbers",
        Type::Float(..) => "a list of numbers",
        Type::Section(_) | Type::Union(_) => "a list of sections",
        Type::List(..) => "a list of lists",
        _ => "a list of texts",
    }
    .to_owned()
}

fn number_hint(scalar: &Scalar) -> Option<String> {
    let digits = scalar.text.replace(['_', ','], "");
    let unquoted = Scalar { text: digits.into(), plain: true };
    unquoted.as_float().map(|_| format!("write {}", unquoted.text))
}

/// `template: {question}` is a map to YAML.
fn quote_hint(takes: &Type, node: &Node) -> Option<String> {
    let Shape::Map(entries) = &node.shape else { return None };
    let text = matches!(takes, Type::Text | Type::Words | Type::Label | Type::Form(_));
    match entries.first() {
        Some(entry) if text && entry.value.is_null() => Some(format!(
            "YAML reads braces as a section; put the text in quotes: `\"{{{}}}\"`",
            entry.key
        )),
        Some(_) if text => Some("put a text that holds `: ` in quotes".to_owned()),
        _ => None,
    }
}

fn above(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::Open => true,
        Bound::With(least) => value >= least,
        Bound::Without(least) => value > least,
    }
}

fn below(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::Open => true,
        Bound::With(most) => value <= most,
        Bound::Without(most) => value < most,
    }
}

pub(crate) fn int_bounds(from: i64, to: i64) -> String {
    match (from, to) {
        (0, i64::MAX) => "must not be negative".to_owned(),
        (_, i64::MAX) => format!("must be at least {from}"),
        (i64::MIN, _) => format!("must be at most {to}"),
        _ => format!("must be from {from} to {to}"),
    }
}

pub(crate) fn float_bounds(from: Bound, to: Bound) -> String {
    match (from, to) {
        (Bound::Open, Bound::Open) => "must be a number".to_owned(),
        (Bound::Without(from), Bound::Open) => format!("must be above {from}"),
        (Bound::With(from), Bound::Open) => format!("must be at least {from}"),
        (Bound::With(from), Bound::With(to)) => format!("must be from {from} to {to}"),
        (Bound::Without(from), Bound::With(to)) => {
            format!("must be above {from} and at most {to}")
        }
        (_, Bound::With(to)) => format!("must be at most {to}"),
        (_, Bound::Without(to)) => format!("must be below {to}"),
    }
}
