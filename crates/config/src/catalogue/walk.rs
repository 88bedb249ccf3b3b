//! The catalogue as a flat list.

use std::sync::LazyLock;

use super::{Key, Section, Status, Type, Variant, root};
use crate::run::ModelType;
use crate::view::join;

/// One key with the place where it may stand.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its dotted path; `0` for an item of a list, `*` for a free key of a map.
    pub path: String,
    /// The key.
    pub key: &'static Key,
    /// The variants it belongs to, outermost first: path of the tag, and the tag's value.
    pub under: Vec<(String, &'static str)>,
    /// Whether it does something: its own status, or that of a section around it.
    pub status: Status,
}

/// Every key of a run file of `model_type: llm`, a section before its keys, in the order of the
/// catalogue.
pub fn entries() -> &'static [Entry] {
    entries_of(ModelType::Llm)
}

/// The same for a run file of this kind of model.
pub fn entries_of(model: ModelType) -> &'static [Entry] {
    static LLM: LazyLock<Vec<Entry>> = LazyLock::new(|| walked(ModelType::Llm));
    static ECD: LazyLock<Vec<Entry>> = LazyLock::new(|| walked(ModelType::Ecd));
    match model {
        ModelType::Llm => &LLM,
        ModelType::Ecd => &ECD,
    }
}

fn walked(model: ModelType) -> Vec<Entry> {
    let mut found = Vec::new();
    section("", root(model), &[], Status::Built, &mut found);
    found
}

/// The tag that a bare word stands for at this path, as `split: fixed` does for `{type: fixed}`.
pub(crate) fn shorthand(model: ModelType, path: &str) -> Option<&'static str> {
    let takes = path.split('.').try_fold(None, |around, part| match around {
        None => below_section(root(model), part).map(Some),
        Some(takes) => one_below(takes, part).map(Some),
    });
    match takes? {
        Some(Type::Union(union)) if union.shorthand => Some(union.tag),
        _ => None,
    }
}

/// What stands at a key, a number or a name below something of this type. Of the variants of a
/// union, the first that has the key.
fn one_below(takes: &'static Type, part: &str) -> Option<&'static Type> {
    match takes {
        Type::Section(of) => below_section(of, part),
        Type::Union(of) => {
            let keys = of.variants.iter().flat_map(Variant::keys);
            keys.filter(|key| key.name == part).map(|key| &key.takes).next()
        }
        Type::List(of, _) | Type::Map(of, _) => Some(of),
        Type::Either(options) => options.iter().find_map(|option| one_below(option, part)),
        _ => None,
    }
}

fn below_section(section: &'static Section, part: &str) -> Option<&'static Type> {
    section.keys().find(|key| key.name == part).map(|key| &key.takes)
}

type Under<'a> = &'a [(String, &'static str)];

fn section(
    path: &str,
    of: &'static Section,
    under: Under<'_>,
    status: Status,
    found: &mut Vec<Entry>,
) {
    for key in of.keys() {
        one(path, key, under, status, found);
    }
}

fn one(parent: &str, key: &'static Key, under: Under<'_>, around: Status, found: &mut Vec<Entry>) {
    let path = join(parent, key.name);
    let status = if around == Status::Built { key.status } else { around };
    found.push(Entry { path: path.clone(), key, under: under.to_vec(), status });
    below(&path, &key.takes, under, status, found);
}

fn below(
    path: &str,
    takes: &'static Type,
    under: Under<'_>,
    status: Status,
    found: &mut Vec<Entry>,
) {
    match takes {
        Type::Section(of) => section(path, of, under, status, found),
        Type::Union(of) => {
            for Variant { name, status: own, .. } in of.variants {
                let mut under = under.to_vec();
                under.push((join(path, of.tag), name));
                let status = if status == Status::Built { *own } else { status };
                let Some(variant) = of.variant(name) else { continue };
                for key in variant.keys() {
                    one(path, key, &under, status, found);
                }
            }
        }
        Type::List(of, _) => below(&join(path, "0"), of, under, status, found),
        Type::Map(of, _) => below(&join(path, "*"), of, under, status, found),
        Type::Either(options) => {
            for option in *options {
                below(path, option, under, status, found);
            }
        }
        Type::Bool
        | Type::Int(..)
        | Type::Float(..)
        | Type::Text
        | Type::Words
        | Type::Label
        | Type::Form(_)
        | Type::Choice(_)
        | Type::Any => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Fill;

    const MODELS: [ModelType; 2] = [ModelType::Llm, ModelType::Ecd];

    #[test]
    fn defaults_are_json_and_keys_are_unique() {
        for model in MODELS {
            let mut seen = std::collections::BTreeSet::new();
            let all = entries_of(model);
            assert!(all.len() > 150, "{}", all.len());
            for entry in all {
                if let Fill::Json(text) = entry.key.fill {
                    let value = serde_json::from_str::<serde_json::Value>(text);
                    assert!(value.is_ok(), "{}", entry.path);
                }
                let place = (entry.path.clone(), format!("{:?}", entry.under));
                assert!(seen.insert(place), "{} stands twice", entry.path);
            }
        }
    }

    #[test]
    fn every_built_key_has_a_sentence() {
        let all = MODELS.iter().flat_map(|&model| entries_of(model));
        for entry in all.filter(|entry| entry.status == Status::Built) {
            assert!(entry.key.doc.ends_with('.'), "{}: `{}`", entry.path, entry.key.doc);
        }
    }
}
