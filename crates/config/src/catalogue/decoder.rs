//! Decoders: how an answer is read out of what the model says.

use serde_json::Value;

use super::{
    COUNT, Choice, FALSE, Fill, Key, NULL, Section, Status, Type, Union, Variant, built, key,
};
use crate::view::{View, join};

/// Where the one output feature stands.
pub(crate) const OUTPUT: &str = "output_features.0";

/// Whether an answer is generated; labels that are only scored are not, nor are documents answered.
pub(super) fn generates(view: &View<'_>, _: &str) -> bool {
    if view.get("prompt.document").is_some() {
        return false;
    }
    view.broken("output_features")
        || view.text("output_features.0.type") != Some("category")
        || view.text("output_features.0.decoder.choose") != Some("score")
}

/// Whether the output is text.
pub(super) fn generates_text(view: &View<'_>, _: &str) -> bool {
    view.broken("output_features") || view.text("output_features.0.type") == Some("text")
}

pub(super) static TEXT: Union = Union {
    doc: "How the answer is read.",
    tag: "type",
    shorthand: true,
    fallback: Some("text_extractor"),
    variants: &[
        Variant {
            name: "text_extractor",
            doc: "The generated text as it is.",
            status: Status::Built,
            keys: &[IDLE],
        },
        Variant {
            name: "text_parser",
            doc: "The generated text, which is held to a JSON schema, a regular expression or a \
                  grammar: exactly one of them.",
            status: Status::Built,
            keys: &[PARSER, IDLE],
        },
    ],
};

pub(super) static CATEGORY: Union = Union {
    doc: "How the label is found.",
    tag: "type",
    shorthand: true,
    fallback: Some("category_extractor"),
    variants: &[Variant {
        name: "category_extractor",
        doc: "Labels are scored under the prompt, or found in a generated text.",
        status: Status::Built,
        keys: &[EXTRACTOR, IDLE],
    }],
};

const PARSER: &[Key] = &[
    key(
        "json_schema",
        Type::Map(&Type::Any, 1),
        NULL,
        "The JSON Schema that the answer is valid under, as YAML; its properties become columns of \
         the predictions.",
    ),
    key(
        "regex",
        Type::Words,
        NULL,
        "The regular expression that the whole answer matches, in the syntax of Rust's `regex`.",
    ),
    key(
        "grammar",
        Type::Words,
        NULL,
        "The grammar that the answer follows: EBNF (`::=`) with the rule `root`, or Lark with the \
         rule `start`.",
    ),
];

fn chooses(view: &View<'_>, parent: &str, how: &str) -> bool {
    view.may_be(&join(parent, "choose"), how)
}

const EXTRACTOR: &[Key] = &[
    key(
        "choose",
        Type::Choice(&[
            built("score", "Each label is scored under the prompt; the likeliest wins."),
            built("generate", "A text is generated and `match` finds the label in it."),
        ]),
        Fill::From {
            derive: |view, parent| {
                let matches = join(parent, "match");
                let generate = view.written(&matches).is_some() || view.broken(&matches);
                Some(Value::from(if generate { "generate" } else { "score" }))
            },
            words: "`generate` if `match` is given, else `score`",
        },
        "How the label is found.",
    )
    .differs("Ludwig always generates"),
    key(
        "match",
        Type::Map(&RULE_TYPE, 1),
        NULL,
        "For each label the rule that finds it in the generated text; the first that fits wins.",
    )
    .only(|view, parent| chooses(view, parent, "generate"), "`choose: generate`"),
    key(
        "fallback_label",
        Type::Label,
        Fill::From {
            derive: |view, _| {
                view.written("output_features.0.preprocessing.fallback_label").cloned()
            },
            words: "`preprocessing.fallback_label`",
        },
        "The label when no rule fits; without one the prediction is empty and counts as wrong.",
    )
    .only(
        |view, parent| chooses(view, parent, "generate"),
        "`choose: generate`; scoring always finds a label",
    ),
    key(
        "label_score",
        Type::Choice(&[
            built("sum", "The log-probability of the whole label."),
            built("mean", "The same per token, so that long labels are not at a loss."),
            built("calibrated", "`sum` minus the label's score under an empty input."),
        ]),
        Fill::From {
            derive: |view, _| {
                let learnt =
                    view.text("trainer.type") == Some("finetune") || view.may_have_adapter();
                let messages = view.get("prompt.messages").is_some_and(|it| !it.is_null());
                Some(if learnt || messages { "mean" } else { "calibrated" }.into())
            },
            words: "`calibrated`; `mean` where something was learnt or `prompt.messages` is set",
        },
        "How a label's tokens make its score.",
    )
    .differs("not in Ludwig")
    .only(|view, parent| chooses(view, parent, "score"), "`choose: score`"),
    key("constrain_to_vocabulary", Type::Bool, FALSE, "Lets only labels be generated.")
        .not_built("structured output"),
    key("str2idx", Type::Map(&COUNT, 0), NULL, "Numbers of the labels.")
        .no_effect("Ludwig computes it itself"),
];

const RULES: &[Choice] = &[
    built("contains", "The text holds `value`, whatever the case."),
    built("regex", "The pattern `value` occurs in the lower-cased text."),
    built("json_schema", "The text is JSON whose `label`, `value` or `category` equals `value`."),
];

static RULE_TYPE: Type = Type::Section(&RULE);
static RULE: Section = Section {
    doc: "Finds one label in a generated text.",
    keys: &[&[
        key("type", Type::Choice(RULES), Fill::Required, "How `value` is looked for."),
        key("value", Type::Label, Fill::Required, "What is looked for."),
    ]],
};

const IDLE: &[Key] = &[
    key("max_new_tokens", super::SIZE, NULL, "Most tokens of the answer.")
        .no_effect("`generation.max_new_tokens` decides, in Ludwig too"),
    key("match_strategy", Type::Choice(RULES), NULL, "Ludwig's unused switch.")
        .no_effect("Ludwig stores it and never reads it"),
    key("tokenizer", Type::Label, NULL, "The tokenizer.")
        .no_effect("the model's own tokenizer always reads the text"),
    key("input_size", COUNT, NULL, "Width of the model.").no_effect("the model knows it"),
    key("pretrained_model_name_or_path", Type::Words, NULL, "The tokenizer's model.")
        .no_effect("the model's own tokenizer always reads the text"),
    key("vocab_file", Type::Words, NULL, "The tokenizer's words.")
        .no_effect("the model's own tokenizer always reads the text"),
];
