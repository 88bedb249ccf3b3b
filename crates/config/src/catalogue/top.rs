//! The top level of a run file.

use super::machine::{BACKEND, DEVICE, PRECISIONS};
use super::{COUNT, never};
use super::{
    EMPTY, FALSE, Fill, Key, NULL, Section, Type, adapter, adapters, built, decoder, defaults,
    feature, generation, hyperopt, key, preprocessing, prompt, quantization, trainer,
};

/// A whole run file.
pub static RUN_FILE: Section = Section {
    doc: "What a run does: which model reads which column, what it answers, and how that is measured.",
    keys: &[KEYS, NOTES],
};

static INPUT: Type = Type::Section(&feature::INPUT);
static OUTPUT: Type = Type::Union(&feature::OUTPUT);

const KEYS: &[Key] = &[
    key(
        "model_type",
        Type::Choice(&[
            built("llm", "A language model that reads text and answers with text."),
            never("ecd", "its keys are others"),
            never("gbm", "Ludwig removed tree models; use a tree library"),
        ]),
        Fill::Required,
        "The kind of model.",
    )
    .differs("Ludwig takes `ecd` when the key is absent"),
    key(
        "base_model",
        Type::Words,
        Fill::Required,
        "The model: a local folder, a GGUF file, an id on the hub (`org/name`), or an alias that `fidelio models` lists.",
    )
    .also(&["model", "model_name", "model_name_or_path", "base_model_name"]),
    key(
        "input_features",
        Type::List(&INPUT, 1),
        Fill::Required,
        "What the model reads: exactly one feature of type `text`.",
    )
    .also(&["inputs", "features"]),
    key(
        "output_features",
        Type::List(&OUTPUT, 1),
        Fill::Required,
        "What it answers: exactly one feature, `text` or `category`.",
    )
    .also(&["outputs", "targets"]),
    key("prompt", Type::Section(&prompt::PROMPT), EMPTY, "How a row becomes the text that the model reads."),
    key(
        "generation",
        Type::Section(&generation::GENERATION),
        EMPTY,
        "How the answer is written, token by token.",
    )
    .only(
        decoder::generates,
        "an output that is generated: a text output without `prompt.document`, or a category output with `decoder.choose: generate`",
    )
    .also(&["generation_config", "sampling"]),
    key("preprocessing", Type::Section(&preprocessing::PREPROCESSING), EMPTY, "Which rows are used, and how they are split."),
    key("trainer", Type::Union(&trainer::TRAINER), Fill::Json(r#"{"type": "none"}"#), "What is learnt, and how it is measured.")
        .also(&["training"]),
    key("defaults", Type::Section(&defaults::DEFAULTS), NULL, "Settings for every feature of a type."),
    key("model_parameters", Type::Section(&generation::MODEL_PARAMETERS), NULL, "Changes to the model itself."),
    key("adapter", Type::Union(&adapter::ADAPTER), NULL, "Small weights that are trained, or loaded, on top of the model.")
        .also(&["peft", "peft_config", "lora"]),
    key("adapters", Type::Section(&adapters::ADAPTERS), NULL, "Several adapters with names, one of which is in use; instead of `adapter`."),
    key("quantization", Type::Section(&quantization::QUANTIZATION), NULL, "Loads the model's weights in fewer bits.")
        .also(&["quantisation", "quantize"]),
    key("hyperopt", Type::Section(&hyperopt::HYPEROPT), NULL, "Searches good settings.")
        .not_built("hyperparameter search"),
    key("backend", Type::Union(&BACKEND), EMPTY, "Which machines take part in the run."),
    key("device", Type::Form(&DEVICE), Fill::Json("\"auto\""), "What computes.")
        .differs("not in Ludwig")
        .also(&["accelerator"]),
    key("precision", Type::Choice(PRECISIONS), Fill::Json("\"auto\""), "How exactly it computes.")
        .differs("not in Ludwig")
        .also(&["dtype", "torch_dtype"]),
    key("random_seed", COUNT, Fill::Json("42"), "Seed of the split, of row sampling, and of token sampling unless `generation.seed` is given.")
        .differs("a flag in Ludwig")
        .also(&["seed"]),
    key("trust_remote_code", Type::Bool, FALSE, "Runs Python code that comes with a model.")
        .not_built("running code from a model's repository"),
    key("is_multimodal", Type::Bool, FALSE, "Loads a model that also reads images.")
        .not_built("models that read images"),
    key("preset", Type::Label, NULL, "A named bundle of settings.")
        .no_effect("Ludwig's presets are for `model_type: ecd` only"),
];

/// What every run file may say, whatever its model.
pub(super) const NOTES: &[Key] = &[key(
    "ludwig_version",
    Type::Label,
    NULL,
    "The version of Ludwig that the file was written for; kept as a note.",
)
.differs("Ludwig upgrades old keys by it; Fidelio reads the keys of 0.17")];
