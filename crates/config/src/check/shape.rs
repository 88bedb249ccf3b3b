//! What a value looks like beside a type, without saying what is wrong with it.

use serde_json::{Map, Value};

use crate::catalogue::{Fill, Key, Type};
use crate::source::Span;
use crate::yaml::{Node, Shape};

/// Whether a value says what is the case anyway.
pub(super) fn is_default(key: &'static Key, value: &Value) -> bool {
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
pub(super) fn fits(takes: &'static Type, node: &Node) -> bool {
    match (takes, &node.shape) {
        (Type::Choice(choices), Shape::Scalar(scalar)) => {
            choices.iter().any(|choice| choice.name == &*scalar.text)
        }
        _ => same_shape(takes, node),
    }
}

pub(super) fn same_shape(takes: &'static Type, node: &Node) -> bool {
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
pub(super) fn plain(node: &Node) -> Value {
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

/// The first key of a map, the item itself otherwise: where something is missing.
pub(super) fn first(node: &Node) -> Span {
    match &node.shape {
        Shape::Map(entries) => entries.first().map_or(node.span, |entry| entry.key_span),
        _ => node.span,
    }
}
