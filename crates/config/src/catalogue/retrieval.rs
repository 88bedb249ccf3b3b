//! `prompt.retrieval`: rows that are shown with their answers before another one is asked, or passages
//! of documents.

use super::{Bound, FALSE, Fill, Key, NULL, SIZE, Type, Union, built, key, variant};
use crate::view::{View, join};

/// Where examples are set.
pub(crate) const RETRIEVAL: &str = "prompt.retrieval";

pub(super) static KINDS: Union = Union {
    doc: "Shows labelled rows, or passages of documents, in the prompt.",
    tag: "type",
    shorthand: true,
    fallback: None,
    variants: &[
        variant(
            "random",
            "Drawn anew for each row, from the seed and the row's text alone.",
            &[&[K, BALANCE, DIVERSITY], SHOWN, SAVED, &[NO_MODEL]],
        ),
        variant(
            "bm25",
            "The training rows, or the passages of a corpus, that share most words with the row, rare words counting more.",
            &[&[CORPUS, K, BALANCE, DIVERSITY, ORDER], SHOWN, SAVED, &[NO_MODEL]],
        ),
        variant(
            "fixed",
            "The same for every row: those of `examples`, or drawn once from the seed.",
            &[FIXED, SHOWN],
        ),
        variant(
            "semantic",
            "The training rows that mean most nearly the same, by the vectors of a model.",
            &[&[K, BALANCE, DIVERSITY, ORDER], VECTORS, SHOWN, SAVED],
        ),
        variant(
            "hybrid",
            "Those that stand high among both: common words and meaning (reciprocal rank fusion).",
            &[&[K, BALANCE, DIVERSITY, ORDER], VECTORS, SHOWN, SAVED],
        ),
    ],
};

const CORPUS: Key = key(
    "corpus",
    Type::Words,
    NULL,
    "A folder that `fidelio index` made: passages of its documents are shown, and no rows.",
)
.differs("not in Ludwig, which shows rows only")
.also(&["documents", "knowledge_base", "index_path"]);

const K: Key = key("k", SIZE, Fill::Json("1"), "How many rows or passages are shown.")
    .differs("0 is not taken for 1")
    .also(&["num_examples", "num_shots", "shots", "n_shots", "top_k"]);

const BALANCE: Key = key(
    "balance",
    Type::Bool,
    FALSE,
    "Whether each label is shown equally often, as far as there are rows.",
)
.differs("not in Ludwig")
.only(of_labelled_rows, A_CATEGORY)
.also(&["balanced", "label_balanced", "stratify"]);

const DIVERSITY: Key = key(
    "diversity",
    Type::Float(Bound::With(0.0), Bound::With(1.0)),
    Fill::Json("0.0"),
    "How much a row that is like one already chosen is held back: 0 not at all; at 1 nothing else counts (maximal marginal relevance).",
)
.differs("not in Ludwig")
.only(of_rows, ROWS)
.also(&["mmr", "mmr_lambda"]);

const ORDER: Key = key(
    "order",
    Type::Choice(&[
        built("similar_last", "The most similar one last, next to the row."),
        built("similar_first", "The most similar one first."),
    ]),
    Fill::Json("\"similar_last\""),
    "The order in which they are shown.",
)
.differs("not in Ludwig, which shows the most similar one first");

const FIXED: &[Key] = &[
    key(
        "examples",
        Type::List(&Type::Map(&Type::Label, 1), 1),
        NULL,
        "The rows, each as its columns with their text, the output column with the answer among them; they are shown in this order.",
    )
    .differs("not in Ludwig"),
    K.only(drawn, DRAWN),
    BALANCE.only(
        |view, parent| drawn(view, parent) && of_labels(view),
        "a category output, and no `examples`",
    ),
    DIVERSITY.only(drawn, DRAWN),
];

const DRAWN: &str = "rows that are drawn, not `examples`";
const A_CATEGORY: &str = "a category output, whose labels it balances, and no `corpus`";
const ROWS: &str = "rows that are shown, not passages of a `corpus`";

fn drawn(view: &View<'_>, parent: &str) -> bool {
    view.may_lack(&join(parent, "examples"))
}

fn of_rows(view: &View<'_>, parent: &str) -> bool {
    view.may_lack(&join(parent, "corpus"))
}

fn of_labelled_rows(view: &View<'_>, parent: &str) -> bool {
    of_rows(view, parent) && of_labels(view)
}

fn of_labels(view: &View<'_>) -> bool {
    view.broken("output_features") || view.text("output_features.0.type") == Some("category")
}

fn in_context(view: &View<'_>, parent: &str) -> bool {
    view.may_be(&join(parent, "show"), "context")
}
const IN_CONTEXT: &str = "`show: context`";

const SHOWN: &[Key] = &[
    key(
        "duplicates",
        Type::Choice(&[
            built("show", "They may be shown; how many rows that concerns is said."),
            built("skip", "They are passed over; how many rows that concerns is said."),
        ]),
        Fill::Json("\"show\""),
        "What happens to rows that say the same as the row that is asked, or nearly so. The row itself is never shown.",
    )
    .differs("in Ludwig a row may be its own example")
    .only(of_rows, ROWS),
    key(
        "show",
        Type::Choice(&[
            built("context", "As text, where the template says `{__context__}`."),
            built("turns", "As earlier turns of the chat, each asked as the row is."),
        ]),
        Fill::Json("\"context\""),
        "Where they are shown.",
    )
    .differs("not in Ludwig"),
    key(
        "format",
        Type::Words,
        NULL,
        "What one row looks like: references to any column, `{__sample__}`, `{__task__}` and `{__answer__}`. Without it, as what follows `{__context__}` in the template, with the answer behind. What one passage looks like: references to `{__passage__}`, `{__source__}` and `{__task__}`; without it, the source in brackets with the passage below.",
    )
    .differs("Ludwig shows Python objects")
    .only(in_context, IN_CONTEXT)
    .also(&["example_template", "example_format"]),
    key("separator", Type::Text, Fill::Json("\"\\n\\n\""), "What stands between two rows or passages.")
        .differs("not in Ludwig")
        .only(in_context, IN_CONTEXT),
    key("max_tokens", SIZE, NULL, "Most tokens that they may add to a prompt.")
        .differs("not in Ludwig"),
    key(
        "over_budget",
        Type::Choice(&[
            built("fewer", "The prompt shows fewer of them, and the rows are counted."),
            built("error", "The run stops before it starts and lists the rows."),
        ]),
        Fill::Json("\"fewer\""),
        "What happens where there is no room for all of them, within `max_tokens` or in the model's context.",
    )
    .differs("not in Ludwig"),
];

const SAVED: &[Key] =
    &[key("index_name", Type::Words, NULL, "A saved index instead of a new one.")
        .not_built("saved indexes")];

const VECTORS: &[Key] = &[
    MODEL,
    key(
        "long_texts",
        Type::Choice(&[
            built("error", "The run stops before it starts and lists the rows."),
            built("truncate", "Only what fits is compared. The prompt shows the whole text."),
        ]),
        Fill::Json("\"error\""),
        "What happens to rows that are too long for the model that makes vectors.",
    )
    .differs("Ludwig cuts them and does not say so"),
];

const MODEL: Key = key(
    "model_name",
    Type::Words,
    Fill::Json("\"minilm\""),
    "The model whose vectors are compared: a folder, a hub id or an alias.",
)
.differs("has a default")
.also(&["embedding_model", "embedder", "encoder"]);
const NO_MODEL: Key = key("model_name", Type::Words, NULL, "The model whose vectors are compared.")
    .no_effect("only `semantic` and `hybrid` embed texts");
