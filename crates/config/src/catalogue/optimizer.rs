//! `trainer.optimizer`: how gradients become steps. Keys and defaults are Ludwig's, which are
//! those of the libraries that it uses.

use super::{
    Bound, COUNT, FALSE, Fill, Key, NOT_NEGATIVE, NULL, NUMBER, POSITIVE, SIZE, TRUE, Type, Union,
    built, key, later_variant, variant,
};

pub(super) static OPTIMIZER: Union = Union {
    doc: "How gradients become steps.",
    tag: "type",
    shorthand: true,
    fallback: Some("adamw"),
    variants: &[
        variant("sgd", "Along the gradient, with momentum if asked for.", &[SGD]),
        variant("adam", "Adam; its weight decay is part of the gradient.", &[ADAM]),
        variant("adamw", "Adam with weight decay apart from the gradient.", &[ADAM]),
        variant("adamax", "Adam by the greatest gradient instead of the mean square.", &[MOMENTS]),
        variant("nadam", "Adam with Nesterov's momentum.", &[MOMENTS, NADAM]),
        variant("radam", "Adam that waits until its variance is known.", &[MOMENTS]),
        variant("adagrad", "By the sum of all squared gradients.", &[ADAGRAD]),
        variant("adadelta", "By running squares of gradients and steps.", &[ADADELTA]),
        variant("rmsprop", "By a running square of the gradient.", &[RMSPROP]),
        variant("adafactor", "Adam with a moment per row and column: little memory.", &[ADAFACTOR]),
        variant(
            "lion",
            "By the sign of the momentum; wants a rate about ten times smaller.",
            &[LION, IDLE_BITS],
        ),
        variant(
            "adam_8bit",
            "Adam with moments in 8 bits, as bitsandbytes has it: weights shrink as with `adamw`.",
            &[MOMENTS, BLOCKS],
        ),
        variant(
            "adamw_8bit",
            "AdamW with moments in 8 bits: a quarter of its memory.",
            &[MOMENTS, BLOCKS],
        ),
        variant("lion_8bit", "Lion with its momentum in 8 bits.", &[LION, BLOCKS]),
        variant("lamb", "Adam with steps in proportion to each tensor's norm.", &[LAMB]),
        variant("muon", "Momentum made orthogonal, for matrices.", &[MUON]),
        variant(
            "schedule_free_adamw",
            "AdamW that averages instead of following a schedule.",
            &[SCHEDULE_FREE],
        ),
        later_variant("sgd_8bit", BITS_8, &[SGD, BITS]),
        later_variant("adagrad_8bit", BITS_8, &[ADAGRAD, BITS]),
        later_variant("rmsprop_8bit", BITS_8, &[RMSPROP, BITS]),
        later_variant("lamb_8bit", BITS_8, &[LAMB]),
        later_variant("lars_8bit", BITS_8, &[LARS]),
        later_variant("paged_adam", PAGED, &[ADAM, BITS]),
        later_variant("paged_adamw", PAGED, &[ADAM, BITS]),
        later_variant("paged_lion", PAGED, &[LION, BITS]),
        later_variant("paged_adam_8bit", PAGED, &[ADAM, BITS]),
        later_variant("paged_adamw_8bit", PAGED, &[ADAM, BITS]),
        later_variant("paged_lion_8bit", PAGED, &[LION, BITS]),
        later_variant("lars", "the optimizer LARS", &[LARS]),
        later_variant("lbfgs", "the optimizer L-BFGS", &[LBFGS]),
        later_variant("soap", "the optimizer SOAP", &[ADAM]),
    ],
};

const BITS_8: &str = "an optimizer in 8 bits";
const PAGED: &str = "an optimizer whose state is paged";

const MEMORY: Type = Type::Float(Bound::With(0.0), Bound::Without(1.0));

const DECAY: Key =
    key("weight_decay", NOT_NEGATIVE, Fill::Json("0.0"), "How fast weights shrink toward 0.");
const EPS: Key = eps("1e-8");
const BETAS: Key = key(
    "betas",
    Type::List(&MEMORY, 2),
    Fill::Json("[0.9, 0.999]"),
    "How much of the first and of the second moment is kept at each update.",
);
const AMSGRAD: Key =
    key("amsgrad", Type::Bool, FALSE, "Divides by the greatest second moment so far.");
const MOMENTUM: Key = momentum("0.0");
const NESTEROV: Key = key("nesterov", Type::Bool, FALSE, "Looks ahead along the momentum.");
const DAMPENING: Key = key(
    "dampening",
    NUMBER,
    Fill::Json("0.0"),
    "How much less of the gradient joins the momentum.",
);

const fn eps(default: &'static str) -> Key {
    key("eps", POSITIVE, Fill::Json(default), "Added to what is divided by.")
}

const fn momentum(default: &'static str) -> Key {
    key("momentum", MEMORY, Fill::Json(default), "How much of the last step is kept.")
}

const SGD: &[Key] = &[MOMENTUM, DECAY, DAMPENING, NESTEROV];
const MOMENTS: &[Key] = &[BETAS, EPS, DECAY];
const ADAM: &[Key] = &[BETAS, EPS, DECAY, AMSGRAD];
const NADAM: &[Key] =
    &[key("momentum_decay", NOT_NEGATIVE, Fill::Json("0.004"), "How fast the momentum comes in.")];
const ADAGRAD: &[Key] = &[
    key("initial_accumulator_value", NOT_NEGATIVE, Fill::Json("0.0"), "Where the sum begins."),
    key("lr_decay", NOT_NEGATIVE, Fill::Json("0.0"), "How fast the rate falls by itself."),
    DECAY,
    eps("1e-10"),
];
const ADADELTA: &[Key] = &[
    key("rho", MEMORY, Fill::Json("0.9"), "How much of the squares is kept."),
    eps("1e-6"),
    DECAY,
];
const RMSPROP: &[Key] = &[
    MOMENTUM,
    key("alpha", MEMORY, Fill::Json("0.99"), "How much of the square is kept."),
    EPS,
    key(
        "centered",
        Type::Bool,
        FALSE,
        "Divides by the deviation, not by the root of the mean square.",
    ),
    DECAY,
];
const ADAFACTOR: &[Key] = &[
    key("scale_parameter", Type::Bool, TRUE, "Makes steps in proportion to each tensor's size."),
    key(
        "relative_step",
        Type::Bool,
        TRUE,
        "Takes its own rate, which falls with the updates, instead of `trainer.learning_rate` and its schedule.",
    ),
    key(
        "warmup_init",
        Type::Bool,
        FALSE,
        "Lets its own rate begin small; needs `relative_step: true`.",
    ),
    key("lr", POSITIVE, NULL, "")
        .no_effect("`trainer.learning_rate` is the rate of every optimizer"),
];
const LION: &[Key] = &[BETAS, DECAY];
const LAMB: &[Key] = &[
    key("bias_correction", Type::Bool, TRUE, "Makes up for moments that begin at 0."),
    BETAS,
    EPS,
    DECAY,
    key("amsgrad", Type::Bool, FALSE, "AMSGrad's variant.").not_built("AMSGrad in LAMB"),
    key("adam_w_mode", Type::Bool, TRUE, "Weight decay as in AdamW.")
        .not_built("LAMB with weight decay in the gradient"),
    key("max_unorm", NOT_NEGATIVE, NULL, "Most size of a step.")
        .not_built("a bound of LAMB's steps"),
    IDLE_BLOCKS,
    IDLE_PERCENTILE,
];
const MUON: &[Key] = &[
    momentum("0.95"),
    key("nesterov", Type::Bool, TRUE, "Looks ahead along the momentum."),
    key("weight_decay", NOT_NEGATIVE, Fill::Json("0.0"), "How fast weights shrink toward 0.")
        .differs("not in Ludwig"),
];
const SCHEDULE_FREE: &[Key] = &[
    BETAS,
    key("eps", POSITIVE, Fill::Json("1e-8"), "Added to what is divided by.")
        .differs("not in Ludwig"),
    DECAY,
    key("warmup_steps", COUNT, Fill::Json("0"), "Updates in which its rate rises."),
];

const BITS: &[Key] = &[
    key("block_wise", Type::Bool, TRUE, "8-bit state in blocks."),
    key("percentile_clipping", SIZE, Fill::Json("100"), "Clips by percentile."),
];
const BLOCKS: &[Key] = &[
    key("block_wise", Type::Bool, TRUE, "Whether every 256 numbers have a scale of their own.")
        .not_built("one scale for all of a tensor"),
    IDLE_PERCENTILE,
];
const BITS_ONLY: &str = "it is for optimizers in 8 bits";
const IDLE_BLOCKS: Key = key("block_wise", Type::Bool, NULL, "").no_effect(BITS_ONLY);
const IDLE_PERCENTILE: Key = key("percentile_clipping", SIZE, NULL, "")
    .no_effect("`trainer.gradient_clipping` limits gradients");
const IDLE_BITS: &[Key] = &[IDLE_BLOCKS, IDLE_PERCENTILE];
const LARS: &[Key] = &[
    momentum("0.9"),
    DAMPENING,
    DECAY,
    NESTEROV,
    key("percentile_clipping", SIZE, Fill::Json("100"), "Clips by percentile."),
    key("max_unorm", NOT_NEGATIVE, Fill::Json("1.0"), "Most size of a step."),
];
const LBFGS: &[Key] = &[
    key("max_iter", SIZE, Fill::Json("20"), "Iterations per step."),
    key("max_eval", SIZE, NULL, "Evaluations per step."),
    key("tolerance_grad", POSITIVE, Fill::Json("1e-7"), "Ends by gradient."),
    key("tolerance_change", POSITIVE, Fill::Json("1e-9"), "Ends by change."),
    key("history_size", SIZE, Fill::Json("100"), "Memory."),
    key("line_search_fn", Type::Choice(&[built("strong_wolfe", "")]), NULL, "Line search."),
];
