//! `preprocessing`: which rows are used, and how they are split.

use super::{
    Fill, Key, NULL, NUMBER, POSITIVE_SHARE, SHARE, SIZE, Section, Status, Type, Union, Variant,
    key,
};

pub(super) static PREPROCESSING: Section = Section {
    doc: "Which rows are used, and how they are split.",
    keys: &[&[
        key("sample_ratio", POSITIVE_SHARE, Fill::Json("1.0"), "Share of the rows that is drawn at random, before the split."),
        key("sample_size", SIZE, NULL, "Number of rows that is drawn at random, before the split."),
        key(
            "global_max_sequence_length",
            SIZE,
            NULL,
            "Most tokens of prompt and answer together, never more than the model's context; that when absent.",
        )
        .also(&["max_seq_length", "max_sequence_length", "cutoff_len", "max_length", "sequence_len"]),
        key("split", Type::Union(&SPLIT), Fill::Json("{}"), "How rows are divided into training, validation and test."),
        key("oversample_minority", NUMBER, NULL, "Repeats rows of the rarer class.")
            .no_effect("it balances outputs of type `binary`, which `model_type: llm` does not have"),
        key("undersample_majority", NUMBER, NULL, "Leaves out rows of the more frequent class.")
            .no_effect("it balances outputs of type `binary`, which `model_type: llm` does not have"),
    ]],
};

pub(super) static SPLIT: Union = Union {
    doc: "How rows are divided into training, validation and test. Files given as training, validation and test sets are not split.",
    tag: "type",
    shorthand: true,
    fallback: Some("random"),
    variants: &[
        variant("random", "At random, by `random_seed`.", &[PROBABILITIES]),
        variant(
            "fixed",
            "By a column: 0 or `training`, 1 or `validation`, 2 or `test`.",
            &[&[key("column", Type::Label, Fill::Json("\"split\""), "The column that says it.")]],
        ),
        variant(
            "stratify",
            "At random, each class in the same proportions.",
            &[
                &[key("column", Type::Label, Fill::Required, "The column with the classes.")],
                PROBABILITIES,
            ],
        ),
        variant(
            "datetime",
            "By time: the oldest rows for training.",
            &[
                &[
                    key("column", Type::Label, Fill::Required, "The column with the times."),
                    key(
                        "datetime_format",
                        Type::Words,
                        NULL,
                        "How they are written, as in `%Y-%m-%d`; recognised when absent.",
                    ),
                    key(
                        "fill_value",
                        Type::Label,
                        Fill::Json("\"\""),
                        "The time of rows that have none; an empty text makes them an error.",
                    ),
                ],
                PROBABILITIES,
            ],
        ),
        variant(
            "hash",
            "By a hash of a column's value, so that equal values stay together.",
            &[
                &[key("column", Type::Label, Fill::Required, "The column whose value is hashed.")],
                PROBABILITIES,
            ],
        ),
    ],
};

const fn variant(
    name: &'static str,
    doc: &'static str,
    keys: &'static [&'static [Key]],
) -> Variant {
    Variant { name, doc, status: Status::Built, keys }
}

const PROBABILITIES: &[Key] = &[key(
    "probabilities",
    Type::List(&SHARE, 3),
    Fill::Json("[0.7, 0.1, 0.2]"),
    "Shares of training, validation and test; their sum is 1.",
)];
