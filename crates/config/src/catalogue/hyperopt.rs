//! `hyperopt`: known in full, built not at all.

use super::{EMPTY, Fill, Key, NULL, POSITIVE, SIZE, Section, Type, built, key};

pub(super) static HYPEROPT: Section = Section { doc: "Searches good settings.", keys: &[KEYS] };

const KEYS: &[Key] = &[
    key(
        "goal",
        Type::Choice(&[built("minimize", ""), built("maximize", "")]),
        Fill::Json("\"minimize\""),
        "Whether less is better.",
    ),
    key("metric", Type::Label, Fill::Json("\"loss\""), "What is judged."),
    key("output_feature", Type::Label, Fill::Json("\"combined\""), "Of which output."),
    key("split", Type::Label, Fill::Json("\"validation\""), "On which rows."),
    key("eval_split", Type::Label, NULL, "On which rows (other spelling)."),
    key(
        "search_alg",
        Type::Either(&[Type::Map(&Type::Any, 0), Type::Label]),
        EMPTY,
        "Which settings are tried next.",
    ),
    key("executor", Type::Section(&EXECUTOR), EMPTY, "How trials run."),
    key("parameters", Type::Map(&Type::Any, 0), EMPTY, "Dotted path to the values that are tried."),
];

static EXECUTOR: Section = Section {
    doc: "How trials run.",
    keys: &[&[
        key(
            "type",
            Type::Choice(&[built("ray", ""), built("optuna", "")]),
            Fill::Json("\"ray\""),
            "What runs them.",
        ),
        key("num_samples", SIZE, NULL, "Number of trials."),
        key("time_budget_s", POSITIVE, Fill::Json("3600"), "Seconds for all."),
        key("cpu_resources_per_trial", POSITIVE, Fill::Json("1"), "CPUs for each."),
        key("gpu_resources_per_trial", super::NOT_NEGATIVE, Fill::Json("0"), "GPUs for each."),
        key(
            "max_concurrent_trials",
            Type::Either(&[SIZE, super::AUTO]),
            Fill::Json("\"auto\""),
            "How many at once.",
        ),
        key("scheduler", Type::Map(&Type::Any, 0), NULL, "Which trials end early."),
        key("sampler", Type::Label, NULL, "Optuna's sampler."),
        key("pruner", Type::Any, NULL, "Optuna's pruner."),
        key("study_name", Type::Label, NULL, "Optuna's study."),
        key("storage", Type::Words, NULL, "Optuna's storage."),
    ]],
};
