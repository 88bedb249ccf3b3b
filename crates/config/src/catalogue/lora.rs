//! `adapter` with `type: lora`: two thin matrices beside each target. Keys and meanings are PEFT's,
//! under Ludwig's names.

use serde_json::Value;

use super::finetune::{LEARNS, learns};
use super::{
    Bound, COUNT, Choice, FALSE, Fill, Key, NULL, POSITIVE, SHARE, SIZE, Section, TRUE, Type,
    built, key, later,
};
use crate::view::{View, join};

/// What shapes a new adapter; a trained one says it itself.
pub(super) const LORA: &[Key] = &[
    key("r", SIZE, Fill::Json("8"), "The rank: how many rows and columns the two matrices have.")
        .only(new, NEW)
        .also(&["rank", "lora_r"]),
    key(
        "alpha",
        POSITIVE,
        Fill::From {
            derive: |view, parent| {
                view.number(&join(parent, "r")).map(|rank| Value::from(2.0 * rank))
            },
            words: "twice `r`",
        },
        "What the matrices' product is multiplied by, after a division by `r`.",
    )
    .only(new, NEW)
    .also(&["lora_alpha"]),
    key(
        "dropout",
        Type::Float(Bound::With(0.0), Bound::Without(1.0)),
        Fill::Json("0.0"),
        "Share of its inputs that the adapter does not see while it learns; above 0, rows that begin alike are no longer computed together.",
    )
    .differs("0.05 in Ludwig")
    .only(new, NEW)
    .also(&["lora_dropout"]),
    key(
        "bias_type",
        Type::Choice(&[
            built("none", "None."),
            built("all", "Every one of the model."),
            built("lora_only", "Those of the target modules."),
        ]),
        Fill::Json("\"none\""),
        "Which of the model's biases learn too.",
    )
    .only(new, NEW)
    .also(&["bias"]),
    key(
        "target_modules",
        Type::Either(&[Type::List(&Type::Label, 1), Type::Words]),
        NULL,
        "Which linear layers get one: a list of names that theirs end in, a regular expression that matches the whole name, or `all-linear`; when absent, the ones usual for the architecture.",
    )
    .differs("Ludwig takes lists only")
    .only(new, NEW),
    key(
        "use_rslora",
        Type::Bool,
        FALSE,
        "Divides by the root of `r` instead of `r`, so that high ranks learn as fast.",
    )
    .only(new, NEW),
    key(
        "use_dora",
        Type::Bool,
        FALSE,
        "Learns the length of each output's weights apart from their direction (DoRA).",
    )
    .only(new, NEW),
    key(
        "init_lora_weights",
        Type::Choice(STARTS),
        Fill::Json("\"default\""),
        "What the matrices start from; what the adapter adds is 0 in each of these.",
    )
    .only(new, NEW),
    key("rank_pattern", Type::Map(&SIZE, 1), NULL, "Other ranks, by name or regular expression of modules; the first that fits holds.")
        .only(new, NEW),
    key("alpha_pattern", Type::Map(&POSITIVE, 1), NULL, "Other values of `alpha`, in the same way.")
        .only(new, NEW),
    key(
        "loraplus_lr_ratio",
        POSITIVE,
        NULL,
        "The learning rate of the second matrix over that of the first (LoRA+); 1 when absent.",
    )
    .only(learns, LEARNS),
    key("eva_config", Type::Section(&EVA), NULL, "Settings of `init_lora_weights: eva`.")
        .not_built(FROM_DATA),
    key("loftq_config", Type::Section(&LOFTQ), NULL, "Settings of `init_lora_weights: loftq`.")
        .not_built(FROM_WEIGHTS),
    key(
        "layer_replication",
        Type::List(&Type::List(&COUNT, 2), 1),
        NULL,
        "Makes the model deeper without new weights: its layers are those of each range `[first, end]`, the end left out, one range after the other; a layer that is used again has adapters of its own.",
    )
    .only(new, NEW),
];

fn new(view: &View<'_>, parent: &str) -> bool {
    view.may_lack(&join(parent, "pretrained_adapter_weights"))
}
const NEW: &str =
    "a new adapter: that of `pretrained_adapter_weights` says in its own files what it is";

const FROM_DATA: &str = "an adapter that starts from the data";
const FROM_WEIGHTS: &str = "an adapter that starts from the model's weights";

const STARTS: &[Choice] = &[
    built("default", "The first as PyTorch's linear layers, the second 0."),
    built("gaussian", "The first normal with deviation `1 / r`, the second 0."),
    built("orthogonal", "Orthogonal factors of a product that is 0; `r` must be even."),
    built(
        "olora",
        "The first columns and rows of the weight's QR decomposition; what they add at first is taken off again.",
    ),
    built(
        "pissa",
        "The largest singular directions of the weight; what they add at first is taken off again.",
    ),
    later("loftq", FROM_WEIGHTS),
    later("eva", FROM_DATA),
    later("corda", FROM_DATA),
];

static EVA: Section = Section {
    doc: "Settings of `eva`.",
    keys: &[&[
        key("rho", POSITIVE, Fill::Json("2.0"), "Redistribution."),
        key("tau", SHARE, Fill::Json("0.99"), "Similarity at which it ends."),
        key("use_label_mask", Type::Bool, TRUE, "Masks labels."),
        key("label_mask_value", Type::Int(i64::MIN, i64::MAX), Fill::Json("-100"), "The mask."),
        key("whiten", Type::Bool, FALSE, "Whitens."),
        key("adjust_scaling_factors", Type::Bool, TRUE, "Adjusts strengths."),
    ]],
};

static LOFTQ: Section = Section {
    doc: "Settings of `loftq`.",
    keys: &[&[
        key("loftq_bits", Type::Int(2, 8), Fill::Json("4"), "Bits."),
        key("loftq_iter", SIZE, Fill::Json("1"), "Rounds."),
    ]],
};
