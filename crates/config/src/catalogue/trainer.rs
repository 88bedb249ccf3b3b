//! `trainer`: what is learnt. Preference tuning does not work yet; it is known so that it can be
//! checked and named.

use serde_json::Value;

use super::decoder::OUTPUT;
use super::finetune::FINETUNE;
use super::{
    AUTO, Bound, COUNT, FALSE, Fill, Key, NOT_NEGATIVE, NULL, NUMBER, POSITIVE, SHARE, SIZE,
    Section, Status, Type, Union, Variant, built, key, later_variant,
};
use crate::view::{View, join};

pub(super) static TRAINER: Union = Union {
    doc: "What is learnt, and how it is measured.",
    tag: "type",
    shorthand: true,
    fallback: None,
    variants: &[
        Variant {
            name: "none",
            doc: "Nothing is learnt: the model is prompted as it is.",
            status: Status::Built,
            keys: &[BASE, EVALUATION, IDLE],
        },
        Variant {
            name: "finetune",
            doc: "The answers of the training rows are learnt: by an `adapter`, or without one by every weight of the model.",
            status: Status::Built,
            keys: &[BASE, EVALUATION, FINETUNE],
        },
        later_variant("dpo", "preference tuning", &[BASE, EVALUATION, FINETUNE, DPO]),
        later_variant("kto", "preference tuning", &[BASE, EVALUATION, FINETUNE, KTO]),
        later_variant("orpo", "preference tuning", &[BASE, EVALUATION, FINETUNE, ORPO]),
        later_variant("grpo", "preference tuning", &[BASE, EVALUATION, FINETUNE, GRPO]),
    ],
};

pub(super) fn evaluates(view: &View<'_>, parent: &str) -> bool {
    let skip = join(parent, "skip_all_evaluation");
    view.broken(&skip) || view.get(&skip) != Some(&Value::Bool(true))
}
pub(super) const EVALUATES: &str = "`trainer.skip_all_evaluation: false`";

const BASE: &[Key] = &[
    key("skip_all_evaluation", Type::Bool, FALSE, "Computes no metrics."),
    key(
        "validation_field",
        Type::Label,
        Fill::From {
            derive: |view, _| view.get(&join(OUTPUT, "name")).cloned(),
            words: "the output feature's `name`",
        },
        "The output whose metric is the run's headline: the output feature's name, or `combined`.",
    )
    .only(evaluates, EVALUATES),
    key(
        "validation_metric",
        Type::Label,
        Fill::From {
            derive: |view, _| {
                let category = view.text("output_features.0.type") == Some("category");
                let combined = view.text("trainer.validation_field") == Some("combined");
                Some(Value::from(if category && !combined { "accuracy" } else { "loss" }))
            },
            words: "`accuracy` for a category, `loss` for text",
        },
        "The run's headline metric.",
    )
    .only(evaluates, EVALUATES),
    key("enable_profiling", Type::Bool, FALSE, "Records a profile.")
        .not_built("profiling a training run"),
    key("profiler", Type::Section(&PROFILER), NULL, "When it is recorded.")
        .not_built("profiling a training run"),
];

static PROFILER: Section = Section {
    doc: "When a profile is recorded.",
    keys: &[&[
        key("wait", COUNT, Fill::Json("1"), "Steps before."),
        key("warmup", COUNT, Fill::Json("1"), "Steps thrown away."),
        key("active", COUNT, Fill::Json("3"), "Steps recorded."),
        key("repeat", COUNT, Fill::Json("5"), "Rounds."),
        key("skip_first", COUNT, Fill::Json("0"), "Steps before the first round."),
    ]],
};

const EVALUATION: &[Key] = &[
    key(
        "eval_batch_size",
        Type::Either(&[SIZE, AUTO]),
        Fill::Json("\"auto\""),
        "Most rows that are in work at once; `auto` is what memory allows.",
    )
    .differs("2 in Ludwig, where rows are still generated one by one"),
    key("evaluate_training_set", Type::Bool, FALSE, "Measures on the training rows too.")
        .not_built("measuring on the training rows"),
];

const NONE: &str = "`trainer.type: none` trains nothing";
const ROWS: &str = "`trainer.type: none` trains nothing; rows at once are `eval_batch_size`";
const IDLE: &[Key] = &[
    key("learning_rate", NUMBER, NULL, "").no_effect(NONE),
    key("base_learning_rate", NUMBER, NULL, "").no_effect(NONE),
    key("batch_size", Type::Either(&[SIZE, AUTO]), NULL, "").no_effect(ROWS),
    key("should_shuffle", Type::Bool, NULL, "").no_effect(NONE),
    key("epochs", SIZE, NULL, "").no_effect(NONE),
    key("train_steps", SIZE, NULL, "").no_effect(NONE),
    key("eval_steps", SIZE, NULL, "")
        .no_effect("all rows are evaluated; `preprocessing.sample_size` takes fewer"),
    key("steps_per_checkpoint", COUNT, NULL, "").no_effect(NONE),
    key("checkpoints_per_epoch", COUNT, NULL, "").no_effect(NONE),
    key("early_stop", Type::Int(-1, i64::MAX), NULL, "").no_effect(NONE),
    PACKING,
    PACKS,
];

const PADS: &str = "no run needs it: nothing is ever padded";
pub(super) const PACKING: Key = key("packing", Type::Bool, NULL, "").no_effect(PADS);
pub(super) const PACKS: Key = key("packing_max_sequences_per_pack", SIZE, NULL, "").no_effect(PADS);

const REJECTED: Key = key(
    "rejected_column",
    Type::Label,
    Fill::Json("\"rejected\""),
    "The column with the worse answers.",
);
const DPO: &[Key] = &[
    key("dpo_beta", POSITIVE, Fill::Json("0.1"), "How near it stays to the reference.")
        .also(&["beta"]),
    key(
        "dpo_loss_type",
        Type::Choice(&[built("sigmoid", ""), built("ipo", "")]),
        Fill::Json("\"sigmoid\""),
        "The loss.",
    ),
    key(
        "dpo_label_smoothing",
        Type::Float(Bound::With(0.0), Bound::With(0.5)),
        Fill::Json("0.0"),
        "Share of wrong preferences.",
    ),
    REJECTED,
];
const KTO: &[Key] = &[
    key("kto_beta", POSITIVE, Fill::Json("0.1"), "How near it stays to the reference.")
        .also(&["beta"]),
    REJECTED,
];
const ORPO: &[Key] = &[
    key("orpo_beta", POSITIVE, Fill::Json("0.1"), "Weight of the preference.").also(&["beta"]),
    REJECTED,
];
const GRPO: &[Key] = &[
    key("grpo_beta", NOT_NEGATIVE, Fill::Json("0.04"), "Weight of the distance to the reference.")
        .also(&["beta"]),
    key("grpo_epsilon", SHARE, Fill::Json("0.2"), "Bound of the ratio."),
    key("grpo_num_generations", SIZE, Fill::Json("4"), "Answers per prompt.")
        .also(&["num_generations"]),
];
