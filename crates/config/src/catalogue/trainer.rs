//! `trainer`: what is learnt. Only `none` works so far; the others are known so that they can be
//! checked and named.

use serde_json::Value;

use super::decoder::OUTPUT;
use super::{
    AUTO, Bound, COUNT, Choice, FALSE, Fill, Key, NOT_NEGATIVE, NULL, NUMBER, POSITIVE, SHARE,
    SIZE, Section, Status, TRUE, Type, Union, Variant, built, key, later_variant,
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
        later_variant("finetune", "fine-tuning", &[BASE, FINETUNE]),
        later_variant("dpo", "preference tuning", &[BASE, FINETUNE, DPO]),
        later_variant("kto", "preference tuning", &[BASE, FINETUNE, KTO]),
        later_variant("orpo", "preference tuning", &[BASE, FINETUNE, ORPO]),
        later_variant("grpo", "preference tuning", &[BASE, FINETUNE, GRPO]),
    ],
};

fn evaluates(view: &View<'_>, parent: &str) -> bool {
    let skip = join(parent, "skip_all_evaluation");
    view.broken(&skip) || view.get(&skip) != Some(&Value::Bool(true))
}
const EVALUATES: &str = "`trainer.skip_all_evaluation: false`";

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
    key("packing", Type::Bool, NULL, "").no_effect("no run needs it: nothing is ever padded"),
    key("packing_max_sequences_per_pack", SIZE, NULL, "")
        .no_effect("no run needs it: nothing is ever padded"),
];

const SIZE_OR_AUTO: Type = Type::Either(&[SIZE, AUTO]);
const LOSS_NAME: Fill = Fill::Json("\"loss\"");
const TRAINING: Fill = Fill::Json("\"training\"");

const FINETUNE: &[Key] = &[
    key(
        "learning_rate",
        Type::Either(&[SHARE, AUTO]),
        Fill::Json("0.0002"),
        "How far each update goes.",
    )
    .differs("0.001 in Ludwig")
    .also(&["lr"]),
    key("base_learning_rate", NOT_NEGATIVE, Fill::Json("0.0"), "Kept for old files."),
    key(
        "learning_rate_scheduler",
        Type::Section(&SCHEDULER),
        NULL,
        "How the learning rate changes.",
    )
    .also(&["lr_scheduler"]),
    key(
        "learning_rate_scaling",
        Type::Choice(&[built("constant", ""), built("sqrt", ""), built("linear", "")]),
        Fill::Json("\"linear\""),
        "How it grows with workers.",
    ),
    key("epochs", SIZE, Fill::Json("3"), "How often every row is seen.")
        .differs("100 in Ludwig")
        .also(&["num_epochs", "num_train_epochs"]),
    key("train_steps", SIZE, NULL, "Most steps, instead of epochs.").also(&["max_steps"]),
    key("eval_steps", SIZE, NULL, "Batches per evaluation."),
    key(
        "steps_per_checkpoint",
        COUNT,
        Fill::Json("0"),
        "Steps between checkpoints; 0 for once per epoch.",
    ),
    key("checkpoints_per_epoch", COUNT, Fill::Json("0"), "Checkpoints per epoch."),
    key("batch_size", SIZE_OR_AUTO, Fill::Json("1"), "Rows per step."),
    key("eval_batch_size", Type::Either(&[COUNT, AUTO]), NULL, "Rows at once in evaluation."),
    key("effective_batch_size", SIZE_OR_AUTO, Fill::Json("\"auto\""), "Rows per update."),
    key("gradient_accumulation_steps", SIZE_OR_AUTO, Fill::Json("\"auto\""), "Steps per update."),
    key(
        "max_batch_size",
        SIZE,
        Fill::Json("1099511627776"),
        "Most rows per step that `auto` may choose.",
    ),
    key(
        "early_stop",
        Type::Int(-1, i64::MAX),
        Fill::Json("5"),
        "Evaluations without progress after which training ends; -1 for never.",
    ),
    key("evaluate_training_set", Type::Bool, FALSE, "Measures on the training rows too."),
    key("optimizer", Type::Union(&OPTIMIZER), NULL, "How weights are updated.").also(&["optim"]),
    key(
        "regularization_type",
        Type::Choice(&[built("l1", ""), built("l2", ""), built("l1_l2", "")]),
        NULL,
        "Which weights are punished.",
    ),
    key("regularization_lambda", SHARE, Fill::Json("0.0"), "How much."),
    key("should_shuffle", Type::Bool, TRUE, "Shuffles rows in each epoch."),
    key("gradient_clipping", Type::Section(&CLIPPING), NULL, "Bounds the gradient."),
    key("increase_batch_size_on_plateau", COUNT, Fill::Json("0"), "How often the batch grows."),
    key(
        "increase_batch_size_on_plateau_patience",
        COUNT,
        Fill::Json("5"),
        "Evaluations before it grows.",
    ),
    key("increase_batch_size_on_plateau_rate", POSITIVE, Fill::Json("2.0"), "How much it grows."),
    key("increase_batch_size_eval_metric", Type::Label, LOSS_NAME, "What is watched."),
    key("increase_batch_size_eval_split", Type::Label, TRAINING, "On which rows."),
    key("bucketing_field", Type::Label, NULL, "Feature by whose length rows are grouped."),
    key("use_mixed_precision", Type::Bool, FALSE, "Half precision where it is safe.")
        .also(&["fp16", "bf16"]),
    key("compile", Type::Bool, FALSE, "Compiles the model."),
    key(
        "enable_gradient_checkpointing",
        Type::Bool,
        FALSE,
        "Computes activations twice to save memory.",
    )
    .also(&["gradient_checkpointing"]),
    key("layers_to_freeze_regex", Type::Words, NULL, "Names of weights that stay as they are."),
    key(
        "loss_balancing",
        Type::Label,
        Fill::Json("\"none\""),
        "How losses of several outputs are weighed.",
    ),
    key("loss_balancing_alpha", NUMBER, Fill::Json("1.5"), "Its strength."),
    key("loss_balancing_lr", NUMBER, Fill::Json("0.01"), "Its learning rate."),
    key("loss_balancing_preference_vector", Type::Any, NULL, "Its preferences."),
    key("loss_balancing_tchebycheff_weight", NUMBER, Fill::Json("0.5"), "Its weight."),
    key(
        "contrastive_pretrain_epochs",
        COUNT,
        Fill::Json("0"),
        "Epochs of contrastive training before.",
    ),
    key("contrastive_pretrain_temperature", POSITIVE, Fill::Json("0.07"), "Its temperature."),
    key("contrastive_pretrain_projection_dim", SIZE, Fill::Json("128"), "Its width."),
    key("contrastive_pretrain_learnable_temperature", Type::Bool, TRUE, "Whether that is learnt."),
    key("modality_dropout", SHARE, Fill::Json("0.0"), "Leaves out inputs."),
    key(
        "model_soup",
        Type::Choice(&[built("uniform", ""), built("greedy", "")]),
        NULL,
        "Averages checkpoints.",
    ),
    key("model_soup_top_k", SIZE, Fill::Json("5"), "How many."),
];

const DECAYS: &[Choice] = &[
    built("linear", ""),
    built("exponential", ""),
    built("cosine", ""),
    built("one_cycle", ""),
    built("inverse_sqrt", ""),
    built("polynomial", ""),
    built("wsd", ""),
];

static SCHEDULER: Section = Section {
    doc: "How the learning rate changes.",
    keys: &[&[
        key("decay", Type::Choice(DECAYS), NULL, "The curve."),
        key("decay_rate", POSITIVE, Fill::Json("0.96"), "Factor of `exponential`."),
        key("decay_steps", SIZE, Fill::Json("10000"), "Steps of `exponential`."),
        key("staircase", Type::Bool, FALSE, "In steps, not smoothly."),
        key(
            "reduce_on_plateau",
            COUNT,
            Fill::Json("0"),
            "How often it is reduced without progress.",
        ),
        key("reduce_on_plateau_patience", COUNT, Fill::Json("10"), "Evaluations before."),
        key("reduce_on_plateau_rate", SHARE, Fill::Json("0.1"), "By which factor."),
        key("reduce_eval_metric", Type::Label, LOSS_NAME, "What is watched."),
        key("reduce_eval_split", Type::Label, TRAINING, "On which rows."),
        key("warmup_evaluations", NOT_NEGATIVE, Fill::Json("0"), "Evaluations of warm-up."),
        key("warmup_fraction", SHARE, Fill::Json("0.03"), "Share of the steps that is warm-up.")
            .also(&["warmup_ratio"]),
        key("t_0", SIZE, NULL, "First period of `cosine`."),
        key("t_mult", SIZE, Fill::Json("1"), "Growth of its periods."),
        key("eta_min", NOT_NEGATIVE, Fill::Json("0"), "Its lowest rate."),
        key("max_lr", POSITIVE, NULL, "Highest rate of `one_cycle`."),
        key("pct_start", SHARE, Fill::Json("0.3"), "Share of its rise."),
        key("div_factor", POSITIVE, Fill::Json("25"), "Its first divisor."),
        key("final_div_factor", POSITIVE, Fill::Json("10000"), "Its last divisor."),
        key("inverse_sqrt_warmup_steps", COUNT, Fill::Json("4000"), "Warm-up of `inverse_sqrt`."),
        key("polynomial_power", POSITIVE, Fill::Json("1.0"), "Power of `polynomial`."),
        key("polynomial_end_lr", NOT_NEGATIVE, Fill::Json("0.0"), "Its end."),
        key("wsd_warmup_fraction", SHARE, Fill::Json("0.1"), "Warm-up of `wsd`."),
        key("wsd_stable_fraction", SHARE, Fill::Json("0.8"), "Its level part."),
        key("wsd_decay_fraction", SHARE, Fill::Json("0.1"), "Its decay."),
    ]],
};

static CLIPPING: Section = Section {
    doc: "Bounds the gradient.",
    keys: &[&[
        key(
            "clipglobalnorm",
            NOT_NEGATIVE,
            Fill::Json("0.5"),
            "Most length of the whole gradient.",
        ),
        key("clipnorm", NOT_NEGATIVE, NULL, "Most length of each tensor's."),
        key("clipvalue", NOT_NEGATIVE, NULL, "Most size of each number."),
    ]],
};

const DECAY: Key = key("weight_decay", NOT_NEGATIVE, Fill::Json("0.0"), "Decay of weights.");
const EPS: Key = key("eps", POSITIVE, Fill::Json("1e-8"), "Guards divisions.");
const BETAS: Key =
    key("betas", Type::List(&SHARE, 2), Fill::Json("[0.9, 0.999]"), "Memory of the moments.");
const AMSGRAD: Key = key("amsgrad", Type::Bool, FALSE, "AMSGrad variant.");
const MOMENTUM: Key = key("momentum", NOT_NEGATIVE, Fill::Json("0.0"), "Momentum.");
const NESTEROV: Key = key("nesterov", Type::Bool, FALSE, "Nesterov's momentum.");
const DAMPENING: Key = key("dampening", NUMBER, Fill::Json("0.0"), "Dampening.");
const BLOCK_WISE: Key = key("block_wise", Type::Bool, TRUE, "8-bit state in blocks.");
const PERCENTILE: Key =
    key("percentile_clipping", SIZE, Fill::Json("100"), "Clipping by percentile.");
const MAX_UNORM: Key = key("max_unorm", NOT_NEGATIVE, Fill::Json("1.0"), "Bound of the update.");

const SGD: &[Key] = &[MOMENTUM, DECAY, DAMPENING, NESTEROV];
const ADAM: &[Key] = &[BETAS, EPS, DECAY, AMSGRAD];
const BITS: &[Key] = &[BLOCK_WISE, PERCENTILE];
const ADAGRAD: &[Key] = &[
    key("initial_accumulator_value", NOT_NEGATIVE, Fill::Json("0"), "Start of the sum."),
    key("lr_decay", NOT_NEGATIVE, Fill::Json("0"), "Decay of the rate."),
    DECAY,
    EPS,
];
const RMSPROP: &[Key] = &[
    MOMENTUM,
    key("alpha", SHARE, Fill::Json("0.99"), "Memory."),
    EPS,
    key("centered", Type::Bool, FALSE, "Centred variant."),
    DECAY,
];
const LAMB: &[Key] = &[
    key("bias_correction", Type::Bool, TRUE, "Corrects moments."),
    BETAS,
    EPS,
    DECAY,
    AMSGRAD,
    key("adam_w_mode", Type::Bool, TRUE, "Decay as in AdamW."),
    PERCENTILE,
    BLOCK_WISE,
    MAX_UNORM,
];
const LARS: &[Key] = &[MOMENTUM, DAMPENING, DECAY, NESTEROV, PERCENTILE, MAX_UNORM];
const LION: &[Key] = &[BETAS, DECAY];
const LBFGS: &[Key] = &[
    key("max_iter", SIZE, Fill::Json("20"), "Iterations per step."),
    key("max_eval", SIZE, NULL, "Evaluations per step."),
    key("tolerance_grad", POSITIVE, Fill::Json("1e-7"), "Ends by gradient."),
    key("tolerance_change", POSITIVE, Fill::Json("1e-9"), "Ends by change."),
    key("history_size", SIZE, Fill::Json("100"), "Memory."),
    key("line_search_fn", Type::Choice(&[built("strong_wolfe", "")]), NULL, "Line search."),
];
const ADAFACTOR: &[Key] = &[
    key("lr", POSITIVE, NULL, "Own rate."),
    key("scale_parameter", Type::Bool, TRUE, "Scales by the weights."),
    key("relative_step", Type::Bool, TRUE, "Own schedule."),
    key("warmup_init", Type::Bool, FALSE, "Own warm-up."),
];

const fn optimizer(name: &'static str, keys: &'static [&'static [Key]]) -> Variant {
    later_variant(name, "fine-tuning", keys)
}

static OPTIMIZER: Union = Union {
    doc: "How weights are updated.",
    tag: "type",
    shorthand: true,
    fallback: Some("adam"),
    variants: &[
        optimizer("sgd", &[SGD]),
        optimizer("sgd_8bit", &[SGD, BITS]),
        optimizer("lbfgs", &[LBFGS]),
        optimizer("adam", &[ADAM]),
        optimizer("adamw", &[ADAM]),
        optimizer("adam_8bit", &[ADAM, BITS]),
        optimizer("paged_adam", &[ADAM, BITS]),
        optimizer("paged_adam_8bit", &[ADAM, BITS]),
        optimizer("adamw_8bit", &[ADAM, BITS]),
        optimizer("paged_adamw", &[ADAM, BITS]),
        optimizer("paged_adamw_8bit", &[ADAM, BITS]),
        optimizer("adadelta", &[&[key("rho", SHARE, Fill::Json("0.9"), "Memory."), EPS, DECAY]]),
        optimizer("adagrad", &[ADAGRAD]),
        optimizer("adagrad_8bit", &[ADAGRAD, BITS]),
        optimizer("adamax", &[&[BETAS, EPS, DECAY]]),
        optimizer(
            "nadam",
            &[&[
                BETAS,
                EPS,
                DECAY,
                key("momentum_decay", NOT_NEGATIVE, Fill::Json("0.004"), "Decay of momentum."),
            ]],
        ),
        optimizer("radam", &[&[BETAS, EPS, DECAY]]),
        optimizer("adafactor", &[ADAFACTOR]),
        optimizer("rmsprop", &[RMSPROP]),
        optimizer("rmsprop_8bit", &[RMSPROP, BITS]),
        optimizer("lamb", &[LAMB]),
        optimizer("lamb_8bit", &[LAMB]),
        optimizer("lars", &[LARS]),
        optimizer("lars_8bit", &[LARS]),
        optimizer("lion", &[LION]),
        optimizer("lion_8bit", &[LION, BITS]),
        optimizer("paged_lion", &[LION, BITS]),
        optimizer("paged_lion_8bit", &[LION, BITS]),
        optimizer(
            "schedule_free_adamw",
            &[LION, &[key("warmup_steps", COUNT, Fill::Json("0"), "Warm-up.")]],
        ),
        optimizer("muon", &[&[MOMENTUM, NESTEROV]]),
        optimizer("soap", &[ADAM]),
    ],
};

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
