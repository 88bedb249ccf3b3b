//! `quantization`: the numbers of bitsandbytes, under its keys.

use super::{FALSE, Fill, Key, NOT_NEGATIVE, NULL, Section, TRUE, Type, built, key, later};
use crate::view::{View, join};

pub(super) static QUANTIZATION: Section = Section {
    doc: "Rounds the weights of a model's linear layers while it is loaded; embeddings, norms and the output head stay as they are.",
    keys: &[KEYS],
};

const KEYS: &[Key] = &[
    key(
        "backend",
        Type::Choice(&[
            built("bitsandbytes", "Its numbers, computed by Fidelio."),
            later("torchao", TORCHAO),
        ]),
        Fill::Json("\"bitsandbytes\""),
        "Whose numbers they are.",
    ),
    key("bits", Type::Int(4, 8), Fill::Json("4"), "Bits per weight, 4 or 8: blocks of 64 with a scale, or whole numbers with a scale per row.")
        .also(&["load_in_4bit", "load_in_8bit"]),
    key(
        "mode",
        Type::Choice(&[
            built("int4_weight_only", ""),
            built("int8_weight_only", ""),
            built("int8_dynamic", ""),
            built("float8", ""),
        ]),
        NULL,
        "Way of `torchao`.",
    )
    .not_built(TORCHAO),
    key("qat", Type::Bool, FALSE, "Trains with rounding.").not_built(TORCHAO),
    key("llm_int8_threshold", NOT_NEGATIVE, Fill::Json("6.0"), "Activations beyond it stay exact.")
        .no_effect("activations are never rounded, so all of them stay exact"),
    key("llm_int8_has_fp16_weight", Type::Bool, FALSE, "Keeps half precision too.")
        .no_effect("adapters learn beside rounded weights, which need no second copy"),
    key(
        "bnb_4bit_compute_dtype",
        Type::Choice(&[
            built("float32", "32 bits."),
            later("float16", HALVES),
            later("bfloat16", HALVES),
        ]),
        Fill::Json("\"float32\""),
        "The arithmetic of products with these weights.",
    )
    .differs("`float16` in Ludwig")
    .only(four_bits, FOUR_BITS),
    key("bnb_4bit_use_double_quant", Type::Bool, TRUE, "Whether the scales are rounded to 8 bits too, which saves 0.37 bits per weight.")
        .only(four_bits, FOUR_BITS),
    key(
        "bnb_4bit_quant_type",
        Type::Choice(&[
            built("nf4", "Quantiles of the normal distribution."),
            built("fp4", "Floats of four bits."),
        ]),
        Fill::Json("\"nf4\""),
        "What the 16 codes stand for.",
    )
    .only(four_bits, FOUR_BITS),
];

const TORCHAO: &str = "torchao's quantization";
const HALVES: &str = "arithmetic in 16 bits";

fn four_bits(view: &View<'_>, parent: &str) -> bool {
    let bits = join(parent, "bits");
    view.broken(&bits) || view.number(&bits) == Some(4.0)
}
const FOUR_BITS: &str = "`bits: 4`";
