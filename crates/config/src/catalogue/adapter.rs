//! `adapter`, `adapters`, `quantization`: known in full, built not at all.

use super::{
    COUNT, Choice, EMPTY, FALSE, Fill, Key, NOT_NEGATIVE, NULL, NUMBER, POSITIVE, SHARE, SIZE,
    Section, TRUE, Type, Union, Variant, built, key, later_variant,
};

const fn adapter(name: &'static str, keys: &'static [&'static [Key]]) -> Variant {
    later_variant(name, "adapters", keys)
}

pub(super) static ADAPTER: Union = Union {
    doc: "Small weights on top of the model.",
    tag: "type",
    shorthand: true,
    fallback: None,
    variants: &[
        adapter("lora", &[COMMON, LORA]),
        adapter("adalora", &[COMMON, LORA, ADALORA]),
        adapter("ia3", &[COMMON, IA3]),
        adapter(
            "vera",
            &[COMMON, &[rank("256"), key("projection_prng_key", COUNT, Fill::Json("0"), "Seed.")]],
        ),
        adapter("loha", &[COMMON, &[rank("8"), ALPHA]]),
        adapter("lokr", &[COMMON, &[rank("8"), ALPHA]]),
        adapter("fourierft", &[COMMON, &[frequencies("1000"), scaling("150.0")]]),
        adapter("boft", &[COMMON, BOFT]),
        adapter("oft", &[COMMON, OFT]),
        adapter(
            "hra",
            &[COMMON, &[rank("8"), key("apply_GS", Type::Bool, FALSE, "Orthogonalises.")]],
        ),
        adapter("tinylora", &[COMMON, TINY]),
        adapter(
            "c3a",
            &[
                COMMON,
                &[
                    key("block_size", SIZE, Fill::Json("256"), "Size of blocks."),
                    key(
                        "bias_type",
                        Type::Choice(&[built("none", ""), built("all", ""), built("c3a_only", "")]),
                        Fill::Json("\"none\""),
                        "Which biases train.",
                    ),
                ],
            ],
        ),
        adapter(
            "waveft",
            &[
                COMMON,
                &[
                    frequencies("2592"),
                    scaling("25.0"),
                    key(
                        "wavelet_family",
                        Type::Choice(WAVELETS),
                        Fill::Json("\"db1\""),
                        "The wavelet.",
                    ),
                ],
            ],
        ),
        adapter("ln_tuning", &[COMMON]),
        adapter("vblora", &[COMMON, VBLORA]),
        adapter(
            "adaption_prompt",
            &[
                COMMON,
                &[
                    key("adapter_len", SIZE, Fill::Json("4"), "Tokens."),
                    key("adapter_layers", SIZE, Fill::Json("1"), "Layers."),
                ],
            ],
        ),
    ],
};

const COMMON: &[Key] = &[
    key(
        "pretrained_adapter_weights",
        Type::Words,
        NULL,
        "A trained adapter to start from, or to use.",
    ),
    key("postprocessor", Type::Section(&POSTPROCESSOR), EMPTY, "What happens after training."),
    key("target_modules", Type::List(&Type::Label, 1), NULL, "Names of the layers that get one."),
];

static POSTPROCESSOR: Section = Section {
    doc: "What happens after training.",
    keys: &[&[
        key("merge_adapter_into_base_model", Type::Bool, FALSE, "Adds the adapter to the weights."),
        key("progressbar", Type::Bool, FALSE, "Shows progress."),
    ]],
};

const ALPHA: Key = key("alpha", POSITIVE, Fill::Json("8"), "Strength.").also(&["lora_alpha"]);
const fn rank(default: &'static str) -> Key {
    key("r", SIZE, Fill::Json(default), "Rank.").also(&["rank", "lora_r"])
}
const fn frequencies(default: &'static str) -> Key {
    key("n_frequency", SIZE, Fill::Json(default), "Number of coefficients.")
}
const fn scaling(default: &'static str) -> Key {
    key("scaling", POSITIVE, Fill::Json(default), "Strength.")
}

const INITS: &[Choice] = &[
    built("default", ""),
    built("gaussian", ""),
    built("eva", ""),
    built("olora", ""),
    built("pissa", ""),
    built("corda", ""),
    built("loftq", ""),
    built("orthogonal", ""),
];
const WAVELETS: &[Choice] = &[
    built("db1", ""),
    built("db2", ""),
    built("db3", ""),
    built("haar", ""),
    built("sym2", ""),
    built("coif1", ""),
];

const LORA: &[Key] = &[
    rank("8"),
    key("alpha", POSITIVE, NULL, "Strength; twice the rank when absent.").also(&["lora_alpha"]),
    key("dropout", SHARE, Fill::Json("0.0"), "Dropout.")
        .differs("0.05 in Ludwig")
        .also(&["lora_dropout"]),
    key(
        "bias_type",
        Type::Choice(&[built("none", ""), built("all", ""), built("lora_only", "")]),
        Fill::Json("\"none\""),
        "Which biases train.",
    ),
    key("use_rslora", Type::Bool, FALSE, "Scales by the root of the rank."),
    key("use_dora", Type::Bool, FALSE, "Trains lengths apart."),
    key("loraplus_lr_ratio", POSITIVE, NULL, "Rate of B over that of A."),
    key("init_lora_weights", Type::Choice(INITS), Fill::Json("\"default\""), "How it begins."),
    key("eva_config", Type::Section(&EVA), NULL, "Settings of `eva`."),
    key("loftq_config", Type::Section(&LOFTQ), NULL, "Settings of `loftq`."),
    key("rank_pattern", Type::Map(&SIZE, 0), NULL, "Rank by layer."),
    key("alpha_pattern", Type::Map(&POSITIVE, 0), NULL, "Strength by layer."),
    key("layer_replication", Type::List(&Type::List(&COUNT, 2), 1), NULL, "Layers that repeat."),
];

static EVA: Section = Section {
    doc: "Settings of `eva`.",
    keys: &[&[
        key("rho", POSITIVE, Fill::Json("2.0"), "Redistribution."),
        key("tau", SHARE, Fill::Json("0.99"), "Similarity at which it ends."),
        key("use_label_mask", Type::Bool, TRUE, "Masks labels."),
        key("label_mask_value", Type::Int(i64::MIN, i64::MAX), Fill::Json("-100"), "The mask."),
        key("whiten", Type::Bool, FALSE, "Whitens."),
        key("adjust_scaling_factors", Type::Bool, TRUE, "Adjusts strengths."),
    ]],
};

static LOFTQ: Section = Section {
    doc: "Settings of `loftq`.",
    keys: &[&[
        key("loftq_bits", Type::Int(2, 8), Fill::Json("4"), "Bits."),
        key("loftq_iter", SIZE, Fill::Json("1"), "Rounds."),
    ]],
};

const ADALORA: &[Key] = &[
    key("target_r", SIZE, Fill::Json("8"), "Mean rank at the end."),
    key("init_r", SIZE, Fill::Json("12"), "Rank at the start."),
    key("tinit", COUNT, Fill::Json("0"), "Steps before pruning."),
    key("tfinal", COUNT, Fill::Json("0"), "Steps after it."),
    key("delta_t", SIZE, Fill::Json("1"), "Steps between."),
    key("beta1", SHARE, Fill::Json("0.85"), "Memory of sensitivity."),
    key("beta2", SHARE, Fill::Json("0.85"), "Memory of uncertainty."),
    key("orth_reg_weight", NOT_NEGATIVE, Fill::Json("0.5"), "Weight of orthogonality."),
    key("total_step", SIZE, Fill::Json("10000"), "Steps in all."),
];

const IA3: &[Key] = &[
    key("feedforward_modules", Type::List(&Type::Label, 1), NULL, "Which are feed-forward."),
    key("fan_in_fan_out", Type::Bool, FALSE, "Transposed weights."),
    key("modules_to_save", Type::List(&Type::Label, 1), NULL, "What else is saved."),
    key("init_ia3_weights", Type::Bool, TRUE, "Begins at one."),
];

const BOFT: &[Key] = &[
    key("boft_block_size", SIZE, Fill::Json("4"), "Size of blocks."),
    key("boft_n_butterfly_factor", SIZE, Fill::Json("1"), "Factors."),
    key("boft_dropout", SHARE, Fill::Json("0.05"), "Dropout."),
];

const OFT: &[Key] = &[
    key("r", COUNT, Fill::Json("0"), "Number of blocks; 0 to use their size."),
    key("oft_block_size", SIZE, Fill::Json("32"), "Size of blocks."),
    key("module_dropout", SHARE, Fill::Json("0.0"), "Dropout."),
    key("coft", Type::Bool, FALSE, "Constrained variant."),
    key("eps", POSITIVE, Fill::Json("6e-5"), "Its bound."),
];

const TINY: &[Key] = &[
    rank("2"),
    key("u", SIZE, Fill::Json("64"), "Size of the shared vector."),
    key("weight_tying", SHARE, Fill::Json("0.0"), "Share of tied layers."),
    key("projection_seed", COUNT, Fill::Json("42"), "Seed."),
    key("save_projection", Type::Bool, TRUE, "Saves the projection."),
    key("tinylora_dropout", SHARE, Fill::Json("0.0"), "Dropout."),
];

const VBLORA: &[Key] = &[
    rank("4"),
    key("num_vectors", SIZE, Fill::Json("256"), "Vectors in the bank."),
    key("vector_length", SIZE, Fill::Json("256"), "Their length."),
    key("topk", SIZE, Fill::Json("2"), "Vectors per part."),
    key("vblora_dropout", SHARE, Fill::Json("0.0"), "Dropout."),
    key("save_only_topk_weights", Type::Bool, FALSE, "Saves less."),
];

static ADAPTER_TYPE: Type = Type::Union(&ADAPTER);
pub(super) static ADAPTERS: Section = Section {
    doc: "Several named adapters, and how they merge.",
    keys: &[&[
        key("adapters", Type::Map(&ADAPTER_TYPE, 1), Fill::Required, "The adapters by name."),
        key("active", Type::Label, NULL, "The one in use."),
        key("merge", Type::Section(&MERGE), NULL, "How they merge."),
    ]],
};

const MERGES: &[Choice] = &[
    built("linear", ""),
    built("svd", ""),
    built("ties", ""),
    built("dare_linear", ""),
    built("dare_ties", ""),
    built("magnitude_prune", ""),
];

static MERGE: Section = Section {
    doc: "How adapters merge.",
    keys: &[&[
        key("name", Type::Label, Fill::Json("\"merged\""), "Name of the result."),
        key("sources", Type::List(&Type::Label, 1), Fill::Required, "What is merged."),
        key("weights", Type::List(&NUMBER, 1), NULL, "In which proportions."),
        key("combination_type", Type::Choice(MERGES), Fill::Json("\"linear\""), "In which way."),
        key("density", SHARE, Fill::Json("0.5"), "Share of weights kept."),
    ]],
};

pub(super) static QUANTIZATION: Section = Section {
    doc: "Loads the model's weights in fewer bits.",
    keys: &[&[
        key(
            "backend",
            Type::Choice(&[built("bitsandbytes", ""), built("torchao", "")]),
            Fill::Json("\"bitsandbytes\""),
            "What does it.",
        ),
        key("bits", Type::Int(4, 8), Fill::Json("4"), "Bits per weight.")
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
        ),
        key("qat", Type::Bool, FALSE, "Trains with rounding."),
        key("llm_int8_threshold", NOT_NEGATIVE, Fill::Json("6.0"), "Outliers beyond stay exact."),
        key("llm_int8_has_fp16_weight", Type::Bool, FALSE, "Keeps half precision too."),
        key(
            "bnb_4bit_compute_dtype",
            Type::Choice(&[built("float32", ""), built("float16", ""), built("bfloat16", "")]),
            Fill::Json("\"float16\""),
            "Arithmetic.",
        ),
        key("bnb_4bit_use_double_quant", Type::Bool, TRUE, "Rounds scales too."),
        key(
            "bnb_4bit_quant_type",
            Type::Choice(&[built("nf4", ""), built("fp4", "")]),
            Fill::Json("\"nf4\""),
            "The grid.",
        ),
    ]],
};
