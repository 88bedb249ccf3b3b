//! `generation` and `model_parameters`: how the answer is written.

use super::decoder::generates_text;
use super::finetune::{LEARNS, learns};
use super::{
    Bound, COUNT, Choice, FALSE, Fill, Key, NOT_NEGATIVE, NULL, NUMBER, POSITIVE, POSITIVE_SHARE,
    SHARE, SIZE, Section, TOKEN, TRUE, Type, built, key,
};
use crate::view::View;

pub(super) static GENERATION: Section = Section {
    doc: "How the answer is written, token by token.",
    keys: &[LENGTH, SAMPLING, PENALTIES, STOPS, REPORT, BEAMS, NOT_YET],
};

fn samples(view: &View<'_>, _: &str) -> bool {
    view.may_be_true("generation.do_sample")
}
const SAMPLES: &str = "`generation.do_sample: true`";

const TOKENS: Type = Type::List(&TOKEN, 1);

const LENGTH: &[Key] = &[
    key(
        "max_new_tokens",
        SIZE,
        NULL,
        "Most tokens of the answer. When absent: 32, or the output's or the global `max_sequence_length` where that is more; without either, half the model's context.",
    )
    .differs("Ludwig takes a written 32 for an absent value")
    .also(&["max_tokens", "max_output_tokens", "num_predict", "n_predict", "max_length_tokens"]),
    key("min_new_tokens", COUNT, NULL, "Fewest tokens: until then the end token cannot be chosen.")
        .also(&["min_tokens"]),
    key("max_length", SIZE, NULL, "Most tokens of prompt and answer together.")
        .no_effect("`max_new_tokens` always decides, in Ludwig too"),
    key("min_length", COUNT, NULL, "Fewest tokens of prompt and answer together.")
        .no_effect("it counts the prompt's tokens; `min_new_tokens` says what is meant"),
    key("max_time", POSITIVE, NULL, "Seconds after which an answer is ended.").also(&["timeout"]),
];

const SAMPLING: &[Key] = &[
    key(
        "do_sample",
        Type::Bool,
        FALSE,
        "Draws each token at random by its probability, instead of taking the likeliest.",
    )
    .differs("Ludwig samples by default, at temperature 0.1")
    .also(&["sample", "greedy"]),
    key(
        "temperature",
        POSITIVE,
        Fill::Json("0.1"),
        "Divides the logits: below 1 likelier tokens win more often.",
    )
    .only(samples, SAMPLES),
    key("top_k", COUNT, Fill::Json("50"), "Draws among the so many likeliest tokens; 0 for all.")
        .only(samples, SAMPLES),
    key(
        "top_p",
        POSITIVE_SHARE,
        Fill::Json("1.0"),
        "Draws among the likeliest tokens that together have this probability.",
    )
    .differs("Ludwig also takes 0")
    .only(samples, SAMPLES),
    key(
        "min_p",
        SHARE,
        Fill::Json("0.0"),
        "Leaves out tokens less likely than this share of the likeliest one.",
    )
    .differs("not in Ludwig")
    .only(samples, SAMPLES),
    key(
        "typical_p",
        POSITIVE_SHARE,
        Fill::Json("1.0"),
        "Draws among the tokens of most typical information that together have this probability.",
    )
    .only(samples, SAMPLES),
    key("seed", COUNT, NULL, "Seed of token sampling; `random_seed` when absent.")
        .differs("not in Ludwig")
        .only(samples, SAMPLES),
];

const PENALTIES: &[Key] = &[
    key(
        "repetition_penalty",
        POSITIVE,
        Fill::Json("1.0"),
        "Divides the logits of tokens that already stand in prompt or answer.",
    ),
    key(
        "presence_penalty",
        Type::Float(Bound::With(-2.0), Bound::With(2.0)),
        Fill::Json("0.0"),
        "Subtracted from the logits of tokens that already stand in the answer.",
    )
    .differs("not in Ludwig"),
    key(
        "frequency_penalty",
        Type::Float(Bound::With(-2.0), Bound::With(2.0)),
        Fill::Json("0.0"),
        "Subtracted once for each time that the token stands in the answer.",
    )
    .differs("not in Ludwig"),
    key(
        "no_repeat_ngram_size",
        COUNT,
        Fill::Json("0"),
        "Forbids any run of so many tokens to occur twice; 0 for off.",
    ),
    key("bad_words", Type::List(&Type::Words, 1), NULL, "Texts that the answer may not hold.")
        .differs("not in Ludwig"),
    key("bad_words_ids", Type::List(&TOKENS, 1), NULL, "The same as lists of token ids."),
    key("suppress_tokens", TOKENS, NULL, "Token ids that are never chosen."),
    key("begin_suppress_tokens", TOKENS, NULL, "Token ids that are not chosen as the first token."),
];

const STOPS: &[Key] = &[
    key(
        "stop",
        Type::List(&Type::Words, 1),
        NULL,
        "Texts that end the answer; they are not part of it.",
    )
    .differs("not in Ludwig")
    .also(&["stop_sequences", "stop_strings", "stop_words", "stopping_criteria"]),
    key(
        "eos_token_id",
        Type::Either(&[TOKEN, TOKENS]),
        NULL,
        "Token ids that end the answer, instead of the model's own.",
    ),
];

const REPORT: &[Key] = &[key(
    "logprobs",
    Type::Int(0, 100),
    NULL,
    "Reports each token's log-probability and so many of the likeliest others.",
)
.differs("not in Ludwig")
.also(&["top_logprobs", "output_scores"])
.only(generates_text, "an output of type `text`")];

const BEAM: &str = "beam search";
const BEAMS: &[Key] = &[
    key("num_beams", SIZE, Fill::Json("1"), "Beams that are kept.").not_built(BEAM),
    key("num_beam_groups", SIZE, Fill::Json("1"), "Groups of beams that must differ.")
        .not_built(BEAM),
    key("diversity_penalty", NUMBER, Fill::Json("0.0"), "How much groups must differ.")
        .not_built(BEAM),
    key("length_penalty", NUMBER, Fill::Json("1.0"), "Whether long beams are favoured.")
        .not_built(BEAM),
    key(
        "early_stopping",
        Type::Either(&[Type::Bool, Type::Choice(&[built("never", "")])]),
        FALSE,
        "When beams end.",
    )
    .not_built(BEAM),
    key("force_words_ids", Type::Any, NULL, "Token ids that must occur.")
        .not_built("constrained beam search"),
    key("penalty_alpha", NOT_NEGATIVE, NULL, "Balance of contrastive search.")
        .not_built("contrastive search"),
    key("prompt_lookup_num_tokens", SIZE, NULL, "Tokens guessed from the prompt.")
        .not_built("assisted decoding"),
    key("guidance_scale", NOT_NEGATIVE, NULL, "Strength of classifier-free guidance.")
        .not_built("classifier-free guidance"),
];

const NOT_YET: &[Key] = &[
    key("epsilon_cutoff", SHARE, Fill::Json("0.0"), "Leaves out tokens below this probability.")
        .not_built("epsilon sampling"),
    key("eta_cutoff", SHARE, Fill::Json("0.0"), "The same, adapted to the entropy.")
        .not_built("eta sampling"),
    key("renormalize_logits", Type::Bool, FALSE, "Normalises logits after the rules.")
        .not_built("renormalised logits"),
    key("remove_invalid_values", Type::Bool, FALSE, "Replaces NaN and infinity.")
        .not_built("repairing invalid logits (they are an error)"),
    key(
        "exponential_decay_length_penalty",
        Type::Any,
        NULL,
        "Favours the end token more and more.",
    )
    .not_built("length decay"),
    key("sequence_bias", Type::Any, NULL, "Adds to the logits of token sequences.")
        .not_built("logit bias"),
    key("forced_bos_token_id", TOKEN, NULL, "The first token.").not_built("forced tokens"),
    key(
        "forced_eos_token_id",
        Type::Either(&[TOKEN, TOKENS]),
        NULL,
        "The last token when the length is reached.",
    )
    .not_built("forced tokens"),
    key("forced_decoder_ids", Type::Any, NULL, "Tokens at given places.")
        .not_built("forced tokens"),
    key("use_cache", Type::Bool, TRUE, "Keeps keys and values of earlier tokens.")
        .not_built("running without a key/value cache"),
    key("encoder_repetition_penalty", NUMBER, NULL, "Penalty on the encoder's tokens.")
        .no_effect("the models here have no encoder"),
    key("pad_token_id", TOKEN, NULL, "The padding token.").no_effect("Fidelio never pads"),
    key("bos_token_id", TOKEN, NULL, "The first token of a prompt.")
        .no_effect("the tokenizer and its chat template decide how a prompt begins"),
];

pub(super) static MODEL_PARAMETERS: Section = Section {
    doc: "Changes to the model itself.",
    keys: &[&[
        key(
            "rope_scaling",
            Type::Section(&ROPE),
            NULL,
            "Stretches rotary positions for longer contexts.",
        ),
        key(
            "neftune_noise_alpha",
            NOT_NEGATIVE,
            Fill::Json("0.0"),
            "Strength of the noise on token embeddings while they are learnt (NEFTune; 5 or 10 are usual); above 0, rows that begin alike are no longer computed together.",
        )
        .differs("Ludwig takes whole numbers only")
        .only(learns, LEARNS),
    ]],
};

const ROPES: &[Choice] = &[
    built("linear", "Positions are divided by the factor."),
    built("dynamic", "The base grows with the length."),
];

static ROPE: Section = Section {
    doc: "Stretches rotary positions for longer contexts.",
    keys: &[&[
        key("rope_type", Type::Choice(ROPES), Fill::Required, "How positions are stretched.")
            .also(&["type"]),
        key(
            "factor",
            Type::Float(Bound::Without(1.0), Bound::Open),
            Fill::Required,
            "How many times longer the context becomes.",
        ),
    ]],
};
