//! Every key of a run file, as data: its type, default, meaning, and whether it does something yet.
//!
//! Everything else is derived from here: the checks, the suggestions, the defaults, the JSON Schema,
//! the reference page, and the test that mutates each key.

mod adapter;
mod adapters;
mod decoder;
mod defaults;
mod feature;
mod finetune;
mod generation;
mod hyperopt;
mod lora;
mod machine;
mod optimizer;
mod preprocessing;
mod probe;
mod prompt;
mod quantization;
mod retrieval;
mod schedule;
mod top;
mod trainer;
mod walk;

pub use feature::{Metric, metrics_of};
pub(crate) use finetune::OF_LOSS;
pub use probe::PROBE_FILE;
pub(crate) use retrieval::RETRIEVAL;
pub use top::RUN_FILE;
pub(crate) use walk::shorthand;
pub use walk::{Entry, entries, entries_of};

use crate::run::ModelType;

use crate::view::View;

/// A mapping with fixed keys.
#[derive(Debug)]
pub struct Section {
    /// One sentence about what the section is for.
    pub doc: &'static str,
    /// Its keys; several groups where sections share some.
    pub keys: &'static [&'static [Key]],
}

/// The top level of a run file for this kind of model.
pub fn root(of: ModelType) -> &'static Section {
    match of {
        ModelType::Llm => &RUN_FILE,
        ModelType::Ecd => &PROBE_FILE,
    }
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub takes: Type,
    /// What it is when it is not written.
    pub fill: Fill,
    /// One sentence (the reference page's).
    pub doc: &'static str,
    /// Whether it does something.
    pub status: Status,
    /// How it differs from Ludwig's key of this name; empty where it does not.
    pub differs: &'static str,
    /// When it can have an effect.
    pub when: When,
    /// Other names people write for it.
    pub also: &'static [&'static str],
}

/// Whether a key or value does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what its sentence says.
    Built,
    /// Ludwig has it and Fidelio will; the feature's name.
    NotBuilt(&'static str),
    /// Ludwig knows it, but it cannot have an effect here; why.
    NoEffect(&'static str),
}

/// When a key can have an effect.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// In every run.
    Always,
    /// Only if the test holds of the settled run file.
    Only {
        /// The test, given the path of the key's section. It must be true where the values it looks
        /// at are broken.
        test: fn(&View<'_>, &str) -> bool,
        /// What the test wants, as in "has an effect only with …".
        needs: &'static str,
    },
}

/// What stands in the settled run file when a key is not written.
#[derive(Debug, Clone, Copy)]
pub enum Fill {
    /// It must be written.
    Required,
    /// Nothing: the key may also be written as `null`.
    Nothing,
    /// This value, in JSON.
    Json(&'static str),
    /// What follows from other keys.
    From {
        /// Computes it, given the path of the key's section; `None` is nothing.
        derive: fn(&View<'_>, &str) -> Option<serde_json::Value>,
        /// The rule in words.
        words: &'static str,
    },
}

/// What a key takes.
#[derive(Debug)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number from `.0` to `.1`.
    Int(i64, i64),
    /// A number between two bounds.
    Float(Bound, Bound),
    /// Text.
    Text,
    /// Text that may not be empty.
    Words,
    /// A name that may look like a number or a bool: labels, column names, versions.
    Label,
    /// Text with a form of its own.
    Form(&'static Form),
    /// One of these.
    Choice(&'static [Choice]),
    /// A list with at least `.1` items.
    List(&'static Type, usize),
    /// A map with free keys and at least `.1` entries.
    Map(&'static Type, usize),
    /// A section with fixed keys.
    Section(&'static Section),
    /// A section whose keys depend on its `type`.
    Union(&'static Union),
    /// The first of these that fits.
    Either(&'static [Type]),
    /// Anything (only inside sections that are not built yet).
    Any,
}

/// One end of a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No end.
    Open,
    /// Up to and with this number.
    With(f64),
    /// Up to but without this number.
    Without(f64),
}

/// Text with a form of its own.
#[derive(Debug)]
pub struct Form {
    /// What is allowed, for the reference page.
    pub words: &'static str,
    /// The same for editors, as a regular expression of JSON Schema.
    pub pattern: &'static str,
    /// Judges a text.
    pub judge: fn(&str) -> Verdict,
}

/// What a [`Form`] thinks of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It fits.
    Fine,
    /// It does not; what it should be, and perhaps what was meant.
    Wrong(String),
    /// It fits, but the feature it names is not built yet.
    NotBuilt(&'static str),
}

/// One allowed word.
#[derive(Debug)]
pub struct Choice {
    /// As it is written.
    pub name: &'static str,
    /// One sentence, may be empty.
    pub doc: &'static str,
    /// Whether it does something.
    pub status: Status,
}

/// A section whose keys depend on its `type`.
#[derive(Debug)]
pub struct Union {
    /// One sentence about the section.
    pub doc: &'static str,
    /// The key that selects the variant, mostly `type`.
    pub tag: &'static str,
    /// Whether the bare name of a variant may stand for `{type: name}`.
    pub shorthand: bool,
    /// The variant when `type` is not written; none makes it required.
    pub fallback: Option<&'static str>,
    /// The variants.
    pub variants: &'static [Variant],
}

/// One variant of a [`Union`].
#[derive(Debug)]
pub struct Variant {
    /// The `type` that selects it.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Whether it does something.
    pub status: Status,
    /// Its keys beside `type`.
    pub keys: &'static [&'static [Key]],
}

/// A key with everything at its most common.
pub(crate) const fn key(name: &'static str, takes: Type, fill: Fill, doc: &'static str) -> Key {
    Key {
        name,
        takes,
        fill,
        doc,
        status: Status::Built,
        differs: "",
        when: When::Always,
        also: &[],
    }
}

impl Key {
    pub(crate) const fn not_built(self, feature: &'static str) -> Self {
        Self { status: Status::NotBuilt(feature), ..self }
    }

    pub(crate) const fn no_effect(self, why: &'static str) -> Self {
        Self { status: Status::NoEffect(why), ..self }
    }

    pub(crate) const fn differs(self, how: &'static str) -> Self {
        Self { differs: how, ..self }
    }

    pub(crate) const fn only(self, test: fn(&View<'_>, &str) -> bool, needs: &'static str) -> Self {
        Self { when: When::Only { test, needs }, ..self }
    }

    pub(crate) const fn also(self, names: &'static [&'static str]) -> Self {
        Self { also: names, ..self }
    }

    /// The default as a value; null where there is none or it depends on other keys.
    pub fn default_value(&self) -> serde_json::Value {
        match self.fill {
            Fill::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            _ => serde_json::Value::Null,
        }
    }

    /// Whether `null` may be written for it, meaning the same as not writing it.
    pub fn takes_null(&self) -> bool {
        matches!(self.fill, Fill::Nothing | Fill::From { .. })
    }
}

impl Section {
    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }
}

impl Union {
    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

impl Variant {
    /// Every key beside `type`.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }
}

/// A variant that works.
pub(crate) const fn variant(
    name: &'static str,
    doc: &'static str,
    keys: &'static [&'static [Key]],
) -> Variant {
    Variant { name, doc, status: Status::Built, keys }
}

/// A choice that works.
pub(crate) const fn built(name: &'static str, doc: &'static str) -> Choice {
    Choice { name, doc, status: Status::Built }
}

/// A choice of Ludwig's that does not work yet.
pub(crate) const fn later(name: &'static str, feature: &'static str) -> Choice {
    Choice { name, doc: "", status: Status::NotBuilt(feature) }
}

/// A choice of Ludwig's that has no place here.
pub(crate) const fn never(name: &'static str, why: &'static str) -> Choice {
    Choice { name, doc: "", status: Status::NoEffect(why) }
}

/// A variant that does not work yet.
pub(crate) const fn later_variant(
    name: &'static str,
    feature: &'static str,
    keys: &'static [&'static [Key]],
) -> Variant {
    Variant { name, doc: "", status: Status::NotBuilt(feature), keys }
}

pub(crate) const COUNT: Type = Type::Int(0, i64::MAX);
pub(crate) const SIZE: Type = Type::Int(1, i64::MAX);
pub(crate) const TOKEN: Type = Type::Int(0, u32::MAX as i64);
pub(crate) const NUMBER: Type = Type::Float(Bound::Open, Bound::Open);
pub(crate) const NOT_NEGATIVE: Type = Type::Float(Bound::With(0.0), Bound::Open);
pub(crate) const POSITIVE: Type = Type::Float(Bound::Without(0.0), Bound::Open);
pub(crate) const SHARE: Type = Type::Float(Bound::With(0.0), Bound::With(1.0));
pub(crate) const POSITIVE_SHARE: Type = Type::Float(Bound::Without(0.0), Bound::With(1.0));
pub(crate) const AUTO: Type = Type::Choice(&[built("auto", "Chosen by Fidelio.")]);
pub(crate) const NULL: Fill = Fill::Nothing;
pub(crate) const FALSE: Fill = Fill::Json("false");
pub(crate) const TRUE: Fill = Fill::Json("true");
pub(crate) const EMPTY: Fill = Fill::Json("{}");
