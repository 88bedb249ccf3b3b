//! Types and bounds in words, for problems and for the reference page.

use crate::catalogue::{Bound, Choice, Status, Type, Union};
use crate::yaml::{Node, Scalar, Shape};

pub(super) fn did_you_mean(near: Option<&str>, otherwise: impl FnOnce() -> String) -> String {
    near.map_or_else(otherwise, |near| format!("did you mean `{near}`?"))
}

pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if all.is_empty() { "no key".to_owned() } else { all.join(", ") }
}

pub(super) fn names(choices: &'static [Choice]) -> String {
    list(choices.iter().filter(|c| c.status == Status::Built).map(|choice| choice.name))
}

pub(super) fn variants(union: &'static Union) -> String {
    list(union.variants.iter().map(|variant| variant.name))
}

pub(super) fn built_variants(union: &'static Union) -> String {
    let built = union.variants.iter().filter(|variant| variant.status == Status::Built);
    let names: Vec<String> =
        built.map(|variant| format!("`{}: {}`", union.tag, variant.name)).collect();
    if names.is_empty() {
        "remove it".to_owned()
    } else {
        format!("built so far: {}", names.join(", "))
    }
}

/// What a type takes, in words.
pub(super) fn expected(takes: &'static Type) -> String {
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

pub(super) fn expected_list(of: &'static Type) -> String {
    match of {
        Type::Int(..) => "a list of whole numbers",
        Type::Float(..) => "a list of numbers",
        Type::Section(_) | Type::Union(_) => "a list of sections",
        Type::List(..) => "a list of lists",
        _ => "a list of texts",
    }
    .to_owned()
}

pub(super) fn number_hint(scalar: &Scalar) -> Option<String> {
    let digits = scalar.text.replace(['_', ','], "");
    let unquoted = Scalar { text: digits.into(), plain: true };
    unquoted.as_float().map(|_| format!("write {}", unquoted.text))
}

/// `template: {question}` is a map to YAML.
pub(super) fn quote_hint(takes: &Type, node: &Node) -> Option<String> {
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
        (Bound::With(from), Bound::Without(to)) => {
            format!("must be at least {from} and below {to}")
        }
        (Bound::Without(from), Bound::Without(to)) => {
            format!("must be above {from} and below {to}")
        }
        (_, Bound::With(to)) => format!("must be at most {to}"),
        (_, Bound::Without(to)) => format!("must be below {to}"),
    }
}
