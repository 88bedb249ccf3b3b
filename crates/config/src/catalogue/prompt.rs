//! `prompt`: how a row becomes what the model reads.

use super::finetune::learns;
use super::{
    Choice, EMPTY, Fill, Key, NULL, SIZE, Section, Status, Type, Union, Variant, built, key,
};
use crate::view::join;

pub(super) static PROMPT: Section =
    Section { doc: "How a row becomes the text that the model reads.", keys: &[PROMPT_KEYS] };

const PROMPT_KEYS: &[Key] = &[
    key(
        "template",
        Type::Words,
        NULL,
        "Text with references in braces: any column of the row, `{__sample__}` (the input feature's cell), `{__task__}`, `{__context__}` (the examples of `retrieval`); literal braces are doubled.",
    ),
    key("task", Type::Words, NULL, "What the model shall do, in words; `{__task__}` in the template."),
    key(
        "system",
        Type::Words,
        NULL,
        "Text of the system message, for models with a chat template.",
    )
    .differs("not in Ludwig"),
    key(
        "messages",
        Type::Label,
        NULL,
        "Column that holds whole conversations (a list of `{role, content}`); it takes the place of template and task.",
    )
    .differs("not in Ludwig"),
    key(
        "document",
        Type::Label,
        NULL,
        "Column that holds plain documents: there is no prompt and no answer, and every token is learnt or measured.",
    )
    .differs("not in Ludwig")
    .also(&["documents", "text_column", "dataset_text_field"]),
    key(
        "chat_template",
        Type::Either(&[Type::Choice(&[built("auto", "Wrap if the model ships a chat template.")]), Type::Bool]),
        Fill::Json("\"auto\""),
        "Whether the prompt is wrapped in the model's chat template: `auto` (if it ships one), `true` (an error if it does not) or `false`.",
    )
    .differs("Ludwig never wraps"),
    key(
        "overflow",
        Type::Union(&OVERFLOW),
        EMPTY,
        "What happens to a row whose prompt is too long.",
    )
    .differs("Ludwig cuts on the right and says nothing")
    .also(&["truncation", "truncate"]),
    key(
        "budget",
        Type::Map(&SIZE, 1),
        NULL,
        "Most tokens that a column may take in the prompt, by column; what `overflow` says applies beyond.",
    )
    .differs("not in Ludwig")
    .only(
        |view, _| view.may_lack("prompt.messages") && view.may_lack("prompt.document"),
        "a prompt made of columns, not of `prompt.messages` or `prompt.document`",
    ),
    key(
        "special_tokens_in_data",
        Type::Choice(&[
            built("error", "The run stops before it starts and lists the rows."),
            built("allow", "They become the special tokens that they spell."),
            built("escape", "They are read as plain text."),
        ]),
        Fill::Json("\"error\""),
        "What happens to rows whose text spells a special token such as `<|im_end|>`.",
    )
    .differs("Ludwig lets data end its own turn"),
    key(
        "boundary",
        Type::Choice(&[
            built("error", "The run stops before it starts and lists the rows."),
            built("separate", "The answer is encoded alone and put behind the prompt."),
        ]),
        Fill::Json("\"error\""),
        "What happens where the tokenizer would merge the prompt's end with the answer's beginning, as a space at the end of a template does.",
    )
    .differs("Ludwig always encodes apart"),
    key(
        "learn",
        Type::Choice(&[
            built("last", "The last one; the turns before are its prompt."),
            built("all", "Every one."),
        ]),
        Fill::Json("\"last\""),
        "Which of the assistant's turns in a `messages` column are learnt.",
    )
    .differs("not in Ludwig")
    .only(
        |view, parent| learns(view, parent) && view.may_have(&join(parent, "messages")),
        "`trainer.type: finetune` and `prompt.messages`",
    )
    .also(&["train_on", "assistant_only_loss"]),
    key(
        "retrieval",
        Type::Union(&super::retrieval::KINDS),
        NULL,
        "Shows labelled rows in the prompt, chosen among the training rows or given.",
    )
    .also(&["few_shot", "examples", "fewshot"]),
];

static OVERFLOW: Union = Union {
    doc: "What happens to a row whose prompt is too long.",
    tag: "rule",
    shorthand: true,
    fallback: Some("error"),
    variants: &[
        Variant {
            name: "error",
            doc: "The run stops before it starts and lists the rows.",
            status: Status::Built,
            keys: &[],
        },
        Variant {
            name: "drop",
            doc: "The row is left out and counted.",
            status: Status::Built,
            keys: &[],
        },
        Variant {
            name: "truncate",
            doc: "The columns' text is cut, never the template, and the cut tokens are counted.",
            status: Status::Built,
            keys: &[&[key(
                "side",
                Type::Choice(SIDES),
                Fill::Required,
                "The side on which text is cut away.",
            )]],
        },
        Variant {
            name: "window",
            doc: "A document is read in windows of so many tokens as fit, and each token is learnt once.",
            status: Status::Built,
            keys: &[&[key(
                "overlap",
                SIZE,
                Fill::Json("1"),
                "Tokens that a window repeats from the one before, as context that is not learnt again.",
            )
            .also(&["stride", "context"])]],
        },
    ],
};

const SIDES: &[Choice] = &[built("left", "The beginning goes."), built("right", "The end goes.")];
