//! `trainer.learning_rate_scheduler`: the curve of the learning rate, counted in updates.

use serde_json::Value;

use super::{
    Bound, COUNT, FALSE, Fill, Key, NOT_NEGATIVE, NULL, POSITIVE, POSITIVE_SHARE, SIZE, Type,
    Union, built, key, never, variant,
};
use crate::view::{View, join};

pub(super) static SCHEDULER: Union = Union {
    doc: "How the learning rate changes from update to update.",
    tag: "decay",
    shorthand: true,
    fallback: Some("cosine"),
    variants: &[
        variant(
            "constant",
            "It stays as it is after the warm-up; `null` in Ludwig.",
            &[WARMUP, PLATEAU],
        ),
        variant("linear", "Down to 0 in a line.", &[WARMUP, PLATEAU]),
        variant(
            "exponential",
            "Times `decay_rate` per `decay_steps` updates.",
            &[WARMUP, EXPONENTIAL, PLATEAU],
        ),
        variant(
            "cosine",
            "Down to `eta_min` in half a wave, or in several.",
            &[WARMUP, COSINE, PLATEAU],
        ),
        variant(
            "one_cycle",
            "Up to `max_lr` and down again, with a warm-up of its own.",
            &[ONE_CYCLE, PLATEAU],
        ),
        variant(
            "inverse_sqrt",
            "Down with the inverse root of the updates.",
            &[WARMUP, INVERSE_SQRT, PLATEAU],
        ),
        variant(
            "polynomial",
            "Down to `polynomial_end_lr` as a power of what is left.",
            &[WARMUP, POLYNOMIAL, PLATEAU],
        ),
        variant("wsd", "Up, level, and down, in shares of the run.", &[WSD, PLATEAU]),
    ],
};

const BELOW_ONE: Type = Type::Float(Bound::With(0.0), Bound::Without(1.0));

const WARMUP: &[Key] = &[
    key(
        "warmup_fraction",
        BELOW_ONE,
        Fill::Json("0.03"),
        "Share of all updates in which the rate rises from 0.",
    )
    .differs("0 in Ludwig")
    .also(&["warmup_ratio"]),
    key(
        "warmup_evaluations",
        NOT_NEGATIVE,
        Fill::Json("0.0"),
        "The same as a number of evaluations; the longer of the two holds.",
    ),
];

const PLATEAU: &[Key] = &[
    key(
        "reduce_on_plateau",
        COUNT,
        Fill::Json("0"),
        "How often the rate is reduced where `reduce_eval_metric` gets no better; 0 for never.",
    ),
    key(
        "reduce_on_plateau_patience",
        SIZE,
        Fill::Json("10"),
        "Evaluations in a row without progress before it is reduced.",
    )
    .only(reduces, REDUCES),
    key(
        "reduce_on_plateau_rate",
        Type::Float(Bound::Without(0.0), Bound::Without(1.0)),
        Fill::Json("0.1"),
        "By what it is multiplied each time.",
    )
    .only(reduces, REDUCES),
    key("reduce_eval_metric", Type::Label, Fill::Json("\"loss\""), "The metric that is watched.")
        .only(reduces, REDUCES),
    key(
        "reduce_eval_split",
        Type::Choice(&[
            built("training", "The rows that are learnt; only their `loss` is known."),
            built("validation", "The rows of the validation split."),
            never("test", "what steers training cannot judge it; write `validation`"),
        ]),
        Fill::Json("\"training\""),
        "The rows on which it is watched.",
    )
    .only(reduces, REDUCES),
];

fn reduces(view: &View<'_>, parent: &str) -> bool {
    let times = join(parent, "reduce_on_plateau");
    view.broken(&times) || view.number(&times).is_some_and(|times| times > 0.0)
}
const REDUCES: &str = "a `reduce_on_plateau` above 0";

const EXPONENTIAL: &[Key] = &[
    key("decay_rate", POSITIVE_SHARE, Fill::Json("0.96"), "The factor."),
    key("decay_steps", SIZE, Fill::Json("10000"), "Updates until the factor applies in full."),
    key("staircase", Type::Bool, FALSE, "Applies the factor at once, not little by little."),
];

const COSINE: &[Key] = &[
    key(
        "t_0",
        SIZE,
        NULL,
        "Updates until the wave begins anew; when absent there is one wave to the end of training.",
    )
    .differs("Ludwig begins anew at each checkpoint when it is absent"),
    key("t_mult", SIZE, Fill::Json("1"), "How many times longer each wave is than the one before.")
        .only(|view, parent| view.may_have(&join(parent, "t_0")), "`t_0`"),
    key("eta_min", NOT_NEGATIVE, Fill::Json("0.0"), "The lowest rate."),
];

const ONE_CYCLE: &[Key] = &[
    key("max_lr", POSITIVE, NULL, "The highest rate; `trainer.learning_rate` when absent."),
    key(
        "pct_start",
        Type::Float(Bound::Without(0.0), Bound::Without(1.0)),
        Fill::Json("0.3"),
        "Share of all updates in which it rises.",
    ),
    key("div_factor", POSITIVE, Fill::Json("25.0"), "The first rate is the highest over this."),
    key(
        "final_div_factor",
        POSITIVE,
        Fill::Json("10000.0"),
        "The last rate is the first over this.",
    ),
];

const INVERSE_SQRT: &[Key] = &[key(
    "inverse_sqrt_warmup_steps",
    SIZE,
    Fill::Json("4000"),
    "Updates at the full rate; after them it is multiplied by the root of this over the update.",
)
.differs("Ludwig divides the rate by that root from the start")];

const POLYNOMIAL: &[Key] = &[
    key("polynomial_power", POSITIVE, Fill::Json("1.0"), "The power; 1 is a line."),
    key("polynomial_end_lr", NOT_NEGATIVE, Fill::Json("0.0"), "The last rate.")
        .differs("Ludwig takes it as a share of the learning rate"),
];

const WSD: &[Key] = &[
    key(
        "wsd_warmup_fraction",
        BELOW_ONE,
        Fill::Json("0.1"),
        "Share of all updates in which the rate rises.",
    ),
    key(
        "wsd_stable_fraction",
        BELOW_ONE,
        rest_of("`0.8`, or what the other two leave", |view, parent| {
            Some(left(view, parent, "wsd_warmup_fraction", "wsd_decay_fraction"))
        }),
        "Share in which it stays.",
    ),
    key(
        "wsd_decay_fraction",
        BELOW_ONE,
        rest_of("`0.1`, or what the other two leave", |view, parent| {
            Some(left(view, parent, "wsd_warmup_fraction", "wsd_stable_fraction"))
        }),
        "Share in which it falls; the three add up to 1.",
    ),
];

const fn rest_of(words: &'static str, derive: fn(&View<'_>, &str) -> Option<Value>) -> Fill {
    Fill::From { derive, words }
}

/// What two of the three shares of `wsd` leave for the third.
fn left(view: &View<'_>, parent: &str, first: &str, second: &str) -> Value {
    const USUAL: f64 = 0.1;
    let share = |name| view.number(&join(parent, name)).unwrap_or(USUAL);
    let left = 1.0 - share(first) - share(second);
    // Sums of decimal fractions carry noise that nobody wrote.
    Value::from((left.max(0.0) * 1e9).round() / 1e9)
}
