//! `trainer` with `type: finetune`: how much is learnt at once, for how long, and what is kept.

use serde_json::Value;

use super::optimizer::OPTIMIZER;
use super::schedule::SCHEDULER;
use super::trainer::{EVALUATES, PACKING, PACKS, evaluates};
use super::{
    AUTO, COUNT, EMPTY, FALSE, Fill, Key, NOT_NEGATIVE, NULL, NUMBER, POSITIVE, POSITIVE_SHARE,
    SHARE, SIZE, Section, TRUE, Type, built, key,
};
use crate::run::LearningRate;
use crate::view::{View, join};

/// Whether the run learns.
pub(super) fn learns(view: &View<'_>, _: &str) -> bool {
    view.may_be("trainer.type", "finetune")
}
pub(super) const LEARNS: &str = "`trainer.type: finetune`";

pub(super) const FINETUNE: &[Key] = &[
    RATE,
    key("learning_rate_scheduler", Type::Union(&SCHEDULER), SCHEDULE, "How the learning rate changes from update to update.")
        .differs("Ludwig steps it once per batch, Fidelio once per update")
        .also(&["lr_scheduler", "lr_scheduler_type"]),
    key("epochs", SIZE, Fill::Json("3"), "How often every training row is learnt.")
        .differs("100 in Ludwig")
        .only(|view, parent| view.may_lack(&join(parent, "train_steps")), "a run without `train_steps`")
        .also(&["num_epochs", "num_train_epochs"]),
    key("train_steps", SIZE, NULL, "How many updates there are, whatever the number of rows; it takes the place of `epochs`.")
        .differs("Ludwig counts batches, Fidelio updates")
        .also(&["max_steps"]),
    BATCH,
    key(
        "effective_batch_size",
        SIZE_OR_AUTO,
        Fill::Json("\"auto\""),
        "Rows per update: `batch_size` times `gradient_accumulation_steps`; `auto` is what these two say.",
    ),
    key(
        "gradient_accumulation_steps",
        SIZE_OR_AUTO,
        Fill::Json("\"auto\""),
        "Batches per update; `auto` is what `effective_batch_size` asks for, else 1.",
    ),
    key("max_batch_size", SIZE, NULL, "Most rows that `batch_size: auto` may choose.")
        .only(|view, parent| view.may_be(&join(parent, "batch_size"), "auto"), "`batch_size: auto`"),
    key(
        "steps_per_checkpoint",
        COUNT,
        Fill::Json("0"),
        "Updates from one evaluation and checkpoint to the next; 0 for once per epoch.",
    )
    .differs("Ludwig counts batches, Fidelio updates")
    .also(&["save_steps"]),
    key(
        "checkpoints_per_epoch",
        COUNT,
        Fill::Json("0"),
        "Evaluations and checkpoints per epoch, evenly spaced; 0 for what `steps_per_checkpoint` says.",
    ),
    key(
        "early_stop",
        Type::Int(-1, i64::MAX),
        Fill::Json("5"),
        "Evaluations in a row without a better `validation_metric` after which training ends; -1 for never.",
    )
    .only(evaluates, EVALUATES),
    key(
        "eval_steps",
        SIZE,
        NULL,
        "Most batches of `eval_batch_size` rows in each evaluation while training; all rows when absent.",
    )
    .only(evaluates, EVALUATES),
    key("predict_with_generate", Type::Bool, ANSWERS, "Answers the validation rows at each evaluation while training and measures the answers, so that `validation_metric` chooses the best model; without it only their loss is measured, and chooses.")
        .differs("not in Ludwig; transformers' name")
        .only(evaluates, EVALUATES)
        .also(&["generate_during_eval"]),
    key("optimizer", Type::Union(&OPTIMIZER), EMPTY, "How gradients become steps.")
        .differs("`adam` in Ludwig")
        .also(&["optim"]),
    key("gradient_clipping", Type::Section(&CLIPPING), EMPTY, "What limits gradients; at most one of its keys.")
        .also(&["max_grad_norm", "gradient_clip_val"]),
    key("should_shuffle", Type::Bool, TRUE, "Takes the training rows in another order in each epoch.")
        .also(&["shuffle"]),
    key(
        "enable_gradient_checkpointing",
        Type::Bool,
        FALSE,
        "Computes each block's activations a second time instead of keeping them: slower, in less memory.",
    )
    .also(&["gradient_checkpointing"]),
    key(
        "layers_to_freeze_regex",
        Type::Words,
        NULL,
        "Regular expression: parameters in whose name it is found do not learn.",
    ),
    key(
        "model_soup",
        Type::Choice(&[
            built("uniform", "The mean of the best checkpoints."),
            built("greedy", "From the best checkpoint on, each joins the mean if that makes it better."),
        ]),
        NULL,
        "Averages checkpoints at the end of training.",
    )
    .differs("Ludwig's `greedy` is the same as its `uniform`")
    .only(evaluates, EVALUATES),
    key("model_soup_top_k", SIZE, Fill::Json("5"), "How many of the best checkpoints it looks at.")
        .only(|view, parent| evaluates(view, parent) && view.may_have(&join(parent, "model_soup")), "`model_soup`"),
    PACKING,
    PACKS,
    key("base_learning_rate", NOT_NEGATIVE, NULL, "").no_effect("`learning_rate` decides, in Ludwig too"),
    key("learning_rate_scaling", Type::Label, NULL, "").no_effect("a run uses one machine"),
    key("bucketing_field", Type::Label, NULL, "")
        .no_effect("nothing is ever padded, so rows need not be grouped by their length"),
    key("compile", Type::Bool, NULL, "").no_effect("there is nothing to compile"),
    key(
        "regularization_type",
        Type::Choice(&[built("l1", ""), built("l2", ""), built("l1_l2", "")]),
        NULL,
        "Which size of the weights is punished.",
    )
    .not_built("regularization"),
    key("regularization_lambda", SHARE, Fill::Json("0.0"), "How much it is punished.")
        .not_built("regularization"),
    key("increase_batch_size_on_plateau", COUNT, Fill::Json("0"), "How often the batch grows.")
        .not_built(GROWTH),
    key("increase_batch_size_on_plateau_patience", COUNT, Fill::Json("5"), "Evaluations before it grows.")
        .not_built(GROWTH),
    key("increase_batch_size_on_plateau_rate", POSITIVE, Fill::Json("2.0"), "How much it grows.")
        .not_built(GROWTH),
    key("increase_batch_size_eval_metric", Type::Label, Fill::Json("\"loss\""), "What is watched.")
        .not_built(GROWTH),
    key("increase_batch_size_eval_split", Type::Label, Fill::Json("\"training\""), "On which rows.")
        .not_built(GROWTH),
    key("use_mixed_precision", Type::Bool, FALSE, "Half precision where it is safe.")
        .not_built("mixed precision")
        .also(&["fp16", "bf16"]),
    key("loss_balancing", Type::Label, NULL, "").no_effect(ECD),
    key("loss_balancing_alpha", NUMBER, NULL, "").no_effect(ECD),
    key("loss_balancing_lr", NUMBER, NULL, "").no_effect(ECD),
    key("loss_balancing_preference_vector", Type::Any, NULL, "").no_effect(ECD),
    key("loss_balancing_tchebycheff_weight", NUMBER, NULL, "").no_effect(ECD),
    key("contrastive_pretrain_epochs", COUNT, NULL, "").no_effect(ECD),
    key("contrastive_pretrain_temperature", POSITIVE, NULL, "").no_effect(ECD),
    key("contrastive_pretrain_projection_dim", SIZE, NULL, "").no_effect(ECD),
    key("contrastive_pretrain_learnable_temperature", Type::Bool, NULL, "").no_effect(ECD),
    key("modality_dropout", SHARE, NULL, "").no_effect(ECD),
];

/// Metrics of rows whose answers need not be made.
pub(crate) const OF_LOSS: [&str; 4] =
    ["loss", "perplexity", "next_token_perplexity", "bits_per_byte"];

const ANSWERS: Fill = Fill::From {
    derive: |view, parent| {
        let written = |path: &str| view.written(&join(parent, path)).and_then(Value::as_str);
        let plateau = "learning_rate_scheduler.reduce_eval_metric";
        let mut metrics = ["validation_metric", plateau].into_iter().filter_map(written);
        Some(Value::from(metrics.any(|metric| !OF_LOSS.contains(&metric))))
    },
    words: "`true` where `validation_metric` or `reduce_eval_metric` is written and made from answers, else `false`",
};

const SIZE_OR_AUTO: Type = Type::Either(&[SIZE, AUTO]);
const GROWTH: &str = "a batch that grows";
const ECD: &str = "it is for `model_type: ecd`";

const RATE: Key = key(
    "learning_rate",
    Type::Either(&[POSITIVE_SHARE, AUTO]),
    Fill::From {
        derive: |view, _| Some(Value::from(LearningRate::usual(view.may_have_adapter()))),
        words: "`0.0002` with an adapter, `2e-5` without",
    },
    "How far each update goes, where the schedule is at its highest; `auto` is the default.",
)
.differs("0.001 in Ludwig")
.also(&["lr"]);

const SCHEDULE: Fill = Fill::From {
    derive: |view, parent| {
        let optimizer = view.text(&join(parent, "optimizer.type"));
        let decay = if optimizer == Some("schedule_free_adamw") { "constant" } else { "cosine" };
        Some(serde_json::json!({"decay": decay}))
    },
    words: "`cosine`; with `optimizer: schedule_free_adamw` `constant`",
};

const BATCH: Key = key(
    "batch_size",
    SIZE_OR_AUTO,
    Fill::From {
        derive: |view, parent| {
            let written = |name| view.written(&join(parent, name)).and_then(Value::as_u64);
            let both = (written("effective_batch_size"), written("gradient_accumulation_steps"));
            let (Some(rows), Some(batches)) = both else { return Some(Value::from(1)) };
            Some(Value::from(rows.checked_div(batches).map_or(1, |rows| rows.max(1))))
        },
        words: "`effective_batch_size` over `gradient_accumulation_steps` where both are numbers, else `1`",
    },
    "Rows that are learnt at once; `auto` is what memory allows. It changes speed and memory, not what is learnt per update.",
)
.also(&["per_device_train_batch_size", "micro_batch_size"]);

static CLIPPING: Section = Section {
    doc: "What limits gradients; at most one of its keys.",
    keys: &[&[
        key(
            "clipglobalnorm",
            NOT_NEGATIVE,
            Fill::From {
                derive: |view, parent| {
                    let other = |name: &str| view.may_have(&join(parent, name));
                    (!other("clipnorm") && !other("clipvalue")).then(|| Value::from(0.5))
                },
                words: "`0.5`, unless another one is given",
            },
            "All gradients are scaled so that their common norm is at most this; 0 for no limit.",
        )
        .also(&["max_norm", "max_grad_norm"]),
        key(
            "clipnorm",
            POSITIVE,
            NULL,
            "Each tensor's gradient is scaled so that its norm is at most this.",
        ),
        key(
            "clipvalue",
            POSITIVE,
            NULL,
            "Each number of a gradient is kept within minus and plus this.",
        ),
    ]],
};
