//! `input_features` and `output_features`.

use serde_json::Value;

use super::{
    COUNT, Choice, EMPTY, FALSE, Fill, Key, NOT_NEGATIVE, NULL, SHARE, SIZE, Section, Status, TRUE,
    Type, Union, Variant, built, decoder, key, later_variant, never,
};
use crate::view::{View, join};

const ONE_TEXT: &str =
    "a language model reads text: name other columns in `prompt.template` instead";

pub(super) static INPUT: Section = Section {
    doc: "What the model reads.",
    keys: &[
        &[
            NAME,
            key(
                "type",
                Type::Choice(&[
                    built("text", "Text."),
                    never("category", ONE_TEXT),
                    never("number", ONE_TEXT),
                    never("binary", ONE_TEXT),
                    never("date", ONE_TEXT),
                    never("sequence", ONE_TEXT),
                    never("set", ONE_TEXT),
                    never("bag", ONE_TEXT),
                    never("vector", ONE_TEXT),
                    never("timeseries", ONE_TEXT),
                    super::later("image", "models that read images"),
                    super::later("audio", "models that read sound"),
                ]),
                Fill::Json("\"text\""),
                "The type of its cells.",
            ),
            key("column", Type::Label, COLUMN, "The column that `{__sample__}` shows.")
                .only(reads_sample, "a prompt that shows the input's own column: no template, or one with `{__sample__}`"),
            key("preprocessing", Type::Section(&INPUT_CELLS), EMPTY, "How its cells are read."),
            key("encoder", Type::Union(&ENCODER), EMPTY, "How it is encoded.").not_built("encoders"),
        ],
        IDLE_FEATURE,
    ],
};

pub(super) const NAME: Key = key(
    "name",
    Type::Label,
    Fill::Required,
    "A name for the feature; also its column unless `column` says otherwise.",
);

pub(super) const COLUMN: Fill = Fill::From {
    derive: |view, parent| view.get(&join(parent, "name")).cloned(),
    words: "the feature's `name`",
};

fn reads_sample(view: &View<'_>, _: &str) -> bool {
    view.broken("prompt")
        || (view.written("prompt.messages").is_none()
            && view.written("prompt.document").is_none()
            && view
                .written("prompt.template")
                .and_then(Value::as_str)
                .is_none_or(|template| template.contains("{__sample__")))
}

const IDLE_FEATURE: &[Key] = &[
    key("proc_column", Type::Label, NULL, "Ludwig's name for the prepared column.")
        .no_effect("Ludwig computes it itself"),
    key("tied", Type::Label, NULL, "Shares an encoder with another feature.")
        .no_effect("there is one input feature"),
    key("active", Type::Bool, TRUE, "Whether the feature is used.")
        .no_effect("there is one input feature and one output feature; both are used"),
];

pub(super) static ENCODER: Union = Union {
    doc: "How inputs are encoded; a language model reads token ids, so only `passthrough`.",
    tag: "type",
    shorthand: true,
    fallback: Some("passthrough"),
    variants: &[Variant {
        name: "passthrough",
        doc: "As token ids.",
        status: Status::Built,
        keys: &[&[key("skip", Type::Bool, FALSE, "Ludwig's switch.").not_built("encoders")]],
    }],
};

const STRATEGIES: &[Choice] = &[
    built("fill_with_const", "`fill_value` takes its place."),
    built("fill_with_mode", "The column's most frequent value takes its place."),
    built("bfill", "The next row's value takes its place."),
    built("ffill", "The row before's value takes its place."),
    built("drop_row", "The row is left out and counted."),
];

pub(super) const fn strategy(fill: Fill) -> Key {
    key("missing_value_strategy", Type::Choice(STRATEGIES), fill, "What happens to empty cells.")
}

pub(super) const fn fill_value(fill: Fill) -> Key {
    key("fill_value", Type::Label, fill, "What stands in empty cells.").only(
        |view, parent| {
            parent.starts_with("defaults")
                || view.may_be(&join(parent, "missing_value_strategy"), "fill_with_const")
        },
        "`missing_value_strategy: fill_with_const`",
    )
}

const UNKNOWN: Fill = Fill::Json("\"<UNK>\"");
const MAX_INPUT: Key = key("max_sequence_length", SIZE, NULL, "Most tokens of the feature.");
const MAX_OUTPUT: Key = key(
    "max_sequence_length",
    SIZE,
    NULL,
    "Most tokens of the answer; raises the default of `generation.max_new_tokens`.",
);

static INPUT_CELLS: Section = Section {
    doc: "How the input's cells are read.",
    keys: &[
        &[MAX_INPUT, strategy(Fill::Json("\"fill_with_const\"")), fill_value(UNKNOWN)],
        IDLE,
        FOR_ECD,
    ],
};

static OUTPUT_CELLS: Section = Section {
    doc: "How the expected answers are read.",
    keys: &[
        &[MAX_OUTPUT, strategy(Fill::Json("\"drop_row\"")), fill_value(UNKNOWN)],
        IDLE,
        FOR_ECD,
    ],
};

pub(super) static DEFAULT_TEXT_KEYS: [Key; 3] = [
    key("max_sequence_length", SIZE, NULL, "Most tokens of a feature."),
    strategy(NULL),
    fill_value(NULL),
];

const HF: &str = "the model's own tokenizer always reads the text";
/// Keys of Ludwig's own tokenizers, which an LLM never uses.
pub(super) const IDLE: &[Key] = &[
    key("tokenizer", Type::Label, NULL, "Ludwig's tokenizer.").no_effect(HF),
    key("pretrained_model_name_or_path", Type::Words, NULL, "The tokenizer's model.").no_effect(HF),
    key("vocab_file", Type::Words, NULL, "The tokenizer's words.").no_effect(HF),
    key("lowercase", Type::Bool, FALSE, "Lower-cases the text.").no_effect(HF),
    key("most_common", COUNT, NULL, "Words kept.").no_effect(HF),
    key("padding_symbol", Type::Text, NULL, "Padding word.").no_effect(HF),
    key("unknown_symbol", Type::Text, NULL, "Word for unknown words.").no_effect(HF),
    key("ngram_size", SIZE, NULL, "Words per unit.").no_effect(HF),
    key(
        "padding",
        Type::Choice(&[built("left", ""), built("right", "")]),
        NULL,
        "Side of the padding.",
    )
    .no_effect("Fidelio never pads"),
    key("sequence_length", SIZE, NULL, "Exact length.").no_effect("Fidelio never pads"),
    key("computed_fill_value", Type::Label, NULL, "What Ludwig found out.")
        .no_effect("Ludwig computes it itself; `fill_value` is yours"),
];
/// Keys of texts that become vectors.
pub(super) const FOR_ECD: &[Key] = &[
    key("cache_encoder_embeddings", Type::Bool, FALSE, "Keeps embeddings.")
        .no_effect("it is for `model_type: ecd`"),
    key("compute_idf", Type::Bool, FALSE, "Counts words.").no_effect("it is for `model_type: ecd`"),
    key("prompt", Type::Map(&Type::Any, 0), NULL, "A prompt of the feature.")
        .no_effect("it is for `model_type: ecd`; the prompt of an LLM stands at the top level"),
];

const ANSWERS: &str = "a language model answers with text or with a category";

/// One output feature.
pub(super) static OUTPUT: Union = Union {
    doc: "What the model answers.",
    tag: "type",
    shorthand: false,
    fallback: None,
    variants: &[
        Variant {
            name: "text",
            doc: "The generated text itself.",
            status: Status::Built,
            keys: &[
                &[NAME, OUTPUT_COLUMN, TEXT_PREPROCESSING, TEXT_DECODER, LOSS_TEXT],
                IDLE_OUTPUT,
                IDLE_FEATURE,
            ],
        },
        Variant {
            name: "category",
            doc: "One label out of a list.",
            status: Status::Built,
            keys: &[CATEGORY, IDLE_OUTPUT, IDLE_FEATURE],
        },
        no("number"),
        no("binary"),
        no("set"),
        no("sequence"),
        no("vector"),
        no("date"),
        no("timeseries"),
        later_variant("image", "models that make images", &[]),
    ],
};

const fn no(name: &'static str) -> Variant {
    Variant { name, doc: "", status: Status::NoEffect(ANSWERS), keys: &[] }
}

const OUTPUT_COLUMN: Key =
    key("column", Type::Label, COLUMN, "The column with the expected answers.");
const TEXT_PREPROCESSING: Key =
    key("preprocessing", Type::Section(&OUTPUT_CELLS), EMPTY, "How the expected answers are read.");
const TEXT_DECODER: Key =
    key("decoder", Type::Union(&decoder::TEXT), EMPTY, "How the answer is read.");
const LOSS_TEXT: Key = key("loss", Type::Union(&TEXT_LOSS), EMPTY, "What training minimises.")
    .not_built("other losses");

fn evaluates(view: &View<'_>, _: &str) -> bool {
    view.broken("trainer") || view.get("trainer.skip_all_evaluation") != Some(&Value::Bool(true))
}
const EVALUATES: &str = "`trainer.skip_all_evaluation: false`";

/// A metric that a run can be judged by.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, here and in the statistics.
    pub name: &'static str,
    /// Whether it is made from probabilities, which only scored labels have.
    pub probabilities: bool,
}

const fn metric(name: &'static str) -> Metric {
    Metric { name, probabilities: false }
}

const fn of_probabilities(name: &'static str) -> Metric {
    Metric { name, probabilities: true }
}

const TEXT_METRICS: &[Metric] = &[
    metric("loss"),
    metric("perplexity"),
    metric("next_token_perplexity"),
    metric("token_accuracy"),
    metric("sequence_accuracy"),
    metric("exact_match"),
    metric("bleu"),
    metric("chrf"),
    metric("rouge"),
    metric("rouge1"),
    metric("rouge2"),
    metric("rougeL"),
    metric("rougeLsum"),
    metric("word_error_rate"),
    metric("char_error_rate"),
];

const DOCUMENT_METRICS: &[Metric] = &[
    metric("loss"),
    metric("perplexity"),
    metric("next_token_perplexity"),
    metric("bits_per_byte"),
];

const NUMBER_METRICS: &[Metric] = &[
    metric("root_mean_squared_error"),
    metric("mean_squared_error"),
    metric("mean_absolute_error"),
    metric("r2"),
    metric("loss"),
];

const CATEGORY_METRICS: &[Metric] = &[
    metric("accuracy"),
    metric("accuracy_micro"),
    metric("accuracy_macro"),
    metric("balanced_accuracy"),
    metric("f1_macro"),
    metric("f1_micro"),
    metric("f1_weighted"),
    metric("precision_macro"),
    metric("precision_weighted"),
    metric("kappa"),
    of_probabilities("hits_at_k"),
    of_probabilities("roc_auc"),
    of_probabilities("loss"),
    of_probabilities("brier"),
    of_probabilities("calibration_error"),
];

pub(super) const TOP_K: Fill = Fill::From {
    derive: |view, parent| {
        let vocab = view.written(&join(parent, "preprocessing.vocab")).and_then(Value::as_array);
        let fewer = vocab.map_or(usize::MAX, |labels| labels.len().saturating_sub(1));
        Some(Value::from(fewer.clamp(1, 3)))
    },
    words: "3, or one less than the labels of `vocab`",
};

const CATEGORY: &[Key] = &[
    NAME,
    OUTPUT_COLUMN,
    key("preprocessing", Type::Section(&LABELS), EMPTY, "Which labels there are."),
    key("decoder", Type::Union(&decoder::CATEGORY), EMPTY, "How the label is found."),
    key("top_k", SIZE, TOP_K, "The k of the metric `hits_at_k`.").only(evaluates, EVALUATES),
    key("loss", Type::Union(&CATEGORY_LOSS), EMPTY, "What training minimises.")
        .not_built("other losses"),
    key("calibration", Type::Bool, FALSE, "Calibrates probabilities on validation rows.")
        .not_built("calibration on validation rows"),
];

static LABELS: Section = Section {
    doc: "Which labels there are.",
    keys: &[
        &[
            key(
                "vocab",
                Type::List(&Type::Label, 1),
                NULL,
                "The labels; those that occur in the data when absent.",
            )
            .also(&["labels", "classes", "vocabulary"]),
            key("fallback_label", Type::Label, NULL, "The default of `decoder.fallback_label`.")
                .only(|view, _| decoder::generates(view, ""), "`decoder.choose: generate`"),
            strategy(Fill::Json("\"drop_row\"")),
            fill_value(NULL),
        ],
        &[
            key("most_common", SIZE, NULL, "Labels kept, by frequency.")
                .no_effect("rare labels are labels; `vocab` says which ones there are"),
            key("lowercase", Type::Bool, FALSE, "Lower-cases labels.")
                .no_effect("labels are compared without regard to case, and shown as written"),
            key("computed_fill_value", Type::Label, NULL, "What Ludwig found out.")
                .no_effect("Ludwig computes it itself; `fill_value` is yours"),
            key("cache_encoder_embeddings", Type::Bool, FALSE, "Keeps embeddings.")
                .no_effect("it is for `model_type: ecd`"),
        ],
    ],
};

const SEVERAL: &str = "it combines several outputs, and an LLM has one";
const IDLE_OUTPUT: &[Key] = &[
    key("output_logits", Type::Bool, FALSE, "Writes each step's logits into the predictions.")
        .not_built("logits in the predictions"),
    key("reduce_input", Type::Label, NULL, "How inputs combine.").no_effect(SEVERAL),
    key("reduce_dependencies", Type::Label, NULL, "How outputs combine.").no_effect(SEVERAL),
    key("dependencies", Type::List(&Type::Label, 0), NULL, "Outputs it depends on.")
        .no_effect(SEVERAL),
    key("class_similarities", Type::Any, NULL, "How near classes are.").not_built("other losses"),
];

const CLASS_WEIGHTS: Key =
    key("class_weights", Type::Any, NULL, "Weights of classes.").not_built("other losses");
/// Keys of losses that do not work yet.
pub(super) const OTHER_LOSSES: &[Key] = &[
    key("robust_lambda", NOT_NEGATIVE, Fill::Json("0"), "Robust loss.").not_built("other losses"),
    key("confidence_penalty", NOT_NEGATIVE, Fill::Json("0"), "Penalty on confidence.")
        .not_built("other losses"),
    key("class_similarities", Type::Any, NULL, "How near classes are.").not_built("other losses"),
    key("class_similarities_temperature", NOT_NEGATIVE, Fill::Json("0"), "How much that counts.")
        .not_built("other losses"),
    key("label_smoothing", SHARE, Fill::Json("0"), "Share given to other classes.")
        .not_built("other losses"),
    key("weight", NOT_NEGATIVE, Fill::Json("1.0"), "Weight of the loss.").not_built("other losses"),
    key("unique", Type::Bool, FALSE, "Counts each token once.").not_built("other losses"),
];

pub(super) static TEXT_LOSS: Union = Union {
    doc: "What training minimises.",
    tag: "type",
    shorthand: true,
    fallback: Some("next_token_softmax_cross_entropy"),
    variants: &[
        Variant {
            name: "next_token_softmax_cross_entropy",
            doc: "Cross entropy of each next token.",
            status: Status::Built,
            keys: &[&[CLASS_WEIGHTS], OTHER_LOSSES],
        },
        later_variant(
            "sequence_softmax_cross_entropy",
            "other losses",
            &[&[CLASS_WEIGHTS], OTHER_LOSSES],
        ),
    ],
};

static CATEGORY_LOSS: Union = Union {
    doc: "What training minimises.",
    tag: "type",
    shorthand: true,
    fallback: Some("softmax_cross_entropy"),
    variants: &[Variant {
        name: "softmax_cross_entropy",
        doc: "Cross entropy of the label.",
        status: Status::Built,
        keys: &[&[CLASS_WEIGHTS], OTHER_LOSSES],
    }],
};

/// The metrics that an output feature of this type has, or a run over documents (`document`).
pub fn metrics_of(output: &str) -> &'static [Metric] {
    match output {
        "category" | "binary" => CATEGORY_METRICS,
        "number" => NUMBER_METRICS,
        "document" => DOCUMENT_METRICS,
        _ => TEXT_METRICS,
    }
}
