//! `defaults`: settings for every feature of a type.

use super::{EMPTY, Key, NULL, Section, Type, decoder, feature, key};

pub(super) static DEFAULTS: Section = Section {
    doc: "Settings for every feature of a type, where the feature does not say otherwise.",
    keys: &[&[key("text", Type::Section(&TEXT), NULL, "Settings for every text feature.")]],
};

static TEXT: Section = Section { doc: "Settings for every text feature.", keys: &[KEYS] };

const KEYS: &[Key] = &[
    key("preprocessing", Type::Section(&PREPROCESSING), EMPTY, "How its cells are read."),
    key("encoder", Type::Union(&feature::ENCODER), EMPTY, "How inputs are encoded."),
    key("decoder", Type::Union(&decoder::TEXT), EMPTY, "How the answer is read."),
    key("loss", Type::Union(&feature::TEXT_LOSS), EMPTY, "What training minimises."),
];

static PREPROCESSING: Section = Section {
    doc: "How the cells of every text feature are read.",
    keys: &[&feature::DEFAULT_TEXT_KEYS, feature::IDLE, feature::FOR_ECD],
};
