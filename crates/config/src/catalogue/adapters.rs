//! `adapters`: several adapters with names, one of them in use, and what some of them merge to.

use serde_json::Value;

use super::adapter::ADAPTER;
use super::{Choice, Fill, Key, NULL, NUMBER, POSITIVE_SHARE, Section, Type, built, key};
use crate::view::{View, join};

static ADAPTER_TYPE: Type = Type::Union(&ADAPTER);

pub(super) static ADAPTERS: Section = Section {
    doc: "Several adapters with names, one of which is in use.",
    keys: &[&[
        key(
            "adapters",
            Type::Map(&ADAPTER_TYPE, 1),
            Fill::Required,
            "The adapters by their names (letters, digits, `-`, `_`); each is what `adapter` may be.",
        ),
        key(
            "active",
            Type::Label,
            ACTIVE,
            "The one in use, by its name or by that of the merged one: it learns, it answers.",
        ),
        key(
            "merge",
            Type::Section(&MERGE),
            NULL,
            "One more adapter, made of trained ones before anything is learnt.",
        ),
    ]],
};

const ACTIVE: Fill = Fill::From {
    derive: |view, parent| {
        let names = view.get(&join(parent, "adapters"))?.as_object()?;
        names.keys().next().map(|name| Value::from(name.as_str()))
    },
    words: "the first of `adapters`",
};

static MERGE: Section = Section {
    doc: "One more adapter, made of trained ones, as PEFT's `add_weighted_adapter` does.",
    keys: &[&[
        key("name", Type::Label, Fill::Json("\"merged\""), "Its name."),
        key(
            "sources",
            Type::List(&Type::Label, 1),
            Fill::Required,
            "What it is made of: names of adapters that have `pretrained_adapter_weights`.",
        ),
        key(
            "weights",
            Type::List(&NUMBER, 1),
            NULL,
            "What each source is multiplied by, in their order; 1 each when absent.",
        ),
        key("combination_type", Type::Choice(TYPES), Fill::Json("\"linear\""), "In which way."),
        DENSITY,
    ]],
};

const DENSITY: Key = key(
    "density",
    POSITIVE_SHARE,
    Fill::Json("0.5"),
    "Share of each source's elements that is kept.",
)
.only(prunes, "`combination_type: ties`, `dare_linear`, `dare_ties` or `magnitude_prune`");

fn prunes(view: &View<'_>, parent: &str) -> bool {
    let path = join(parent, "combination_type");
    view.broken(&path) || !matches!(view.text(&path), Some("linear" | "svd"))
}

const TYPES: &[Choice] = &[
    built("linear", "The weighted sum of each of the two matrices."),
    built(
        "svd",
        "The best approximation of the sum of what the sources add; takes different ranks.",
    ),
    built("ties", "Each source's largest elements, signs decided together."),
    built("dare_linear", "Elements dropped at random, then the weighted sum."),
    built("dare_ties", "Elements dropped at random, signs decided together."),
    built("magnitude_prune", "Each source's largest elements, then the weighted sum."),
];
