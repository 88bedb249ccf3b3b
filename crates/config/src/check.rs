//! The tree against the catalogue: unknown keys, wrong types, values that are not allowed, features
//! that are not built. What is sound comes out as a JSON value; what is not is remembered as broken.

mod complain;
mod scalar;
mod shape;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::catalogue::{self, Fill, Key, Section, Status, Type, Union, Variant};
use crate::problem::{Found, Kind, Problem};
use crate::run::ModelType;
use crate::source::{Source, Span};
use crate::suggest::nearest;
use crate::view::join;
use crate::yaml::{Entry, Node, Shape};

use self::complain::{not_built, not_built_hint, null_hint};
use self::shape::{first, fits, is_default, plain, same_shape};
use self::words::{built_variants, did_you_mean, expected, expected_list, quote_hint, variants};
pub(crate) use self::words::{float_bounds, int_bounds};

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
    pub(crate) problems: Found,
    pub(crate) places: BTreeMap<String, Place>,
    pub(crate) broken: BTreeSet<String>,
}

/// Checks a whole run file of this kind of model.
pub(crate) fn check(root: &Node, sources: &[Source], model: ModelType) -> Checked {
    let mut walk = Walk {
        sources,
        model,
        live: true,
        problems: Found::default(),
        places: BTreeMap::new(),
        broken: BTreeSet::new(),
    };
    let written = if let Shape::Map(map) = &root.shape {
        walk.section(catalogue::root(model), map, root, "")
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
    model: ModelType,
    /// False inside a section that is not built: one complaint about it is enough.
    live: bool,
    problems: Found,
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
            Type::Any => {
                self.mark(node, path);
                Some(plain(node))
            }
            _ => match &node.shape {
                Shape::Scalar(scalar) => self.scalar(takes, scalar, node, path),
                _ => self.wrong(path, node, &expected(takes), quote_hint(takes, node)),
            },
        }
    }

    /// Keeps the places of all that a free value holds.
    fn mark(&mut self, node: &Node, path: &str) {
        match &node.shape {
            Shape::Map(entries) => {
                for entry in entries {
                    let at = join(path, &entry.key);
                    let place = Place { key: Some(entry.key_span), value: entry.value.span };
                    self.places.insert(at.clone(), place);
                    self.mark(&entry.value, &at);
                }
            }
            Shape::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let at = join(path, &index.to_string());
                    self.places.insert(at.clone(), Place { key: None, value: item.span });
                    self.mark(item, &at);
                }
            }
            Shape::Scalar(_) => {}
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
            let problem = self.not_allowed(&at, node, format!("cannot be `{tag}`")).hint(
                null_hint(&at).filter(|_| node.is_null()).map_or_else(
                    || did_you_mean(near, || format!("one of {}", variants(union))),
                    str::to_owned,
                ),
            );
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
        let owners =
            union.variants.iter().filter(|other| other.keys().any(|key| key.name == &*entry.key));
        let (built, later): (Vec<&Variant>, Vec<_>) =
            owners.partition(|other| other.status == Status::Built);
        let owners = if built.is_empty() { later } else { built };
        if owners.is_empty() {
            return None;
        }
        let at = join(path, &entry.key);
        let tag = join(path, union.tag);
        let message = format!("`{at}` has no effect with `{tag}: {}`", variant.name);
        let owners =
            owners.iter().map(|it| format!("`{}`", it.name)).collect::<Vec<_>>().join(", ");
        let problem = Problem::new(Kind::Useless, &at, message)
            .at(self.sources, entry.key_span, "")
            .hint(format!("it belongs to {owners}: remove it, or change `{tag}`"));
        Some(match self.places.get(&tag) {
            Some(place) => problem.related(self.sources, place.value, "chosen here"),
            None => problem,
        })
    }
}
