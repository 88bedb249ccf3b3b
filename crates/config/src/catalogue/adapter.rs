//! `adapter`: known in full, of which LoRA is built.

use super::finetune::{LEARNS, learns};
use super::lora::LORA;
use super::{
    COUNT, Choice, EMPTY, FALSE, Fill, Key, NOT_NEGATIVE, NULL, POSITIVE, SHARE, SIZE, Section,
    TRUE, Type, Union, Variant, built, key, later_variant, variant,
};

const fn adapter(name: &'static str, keys: &'static [&'static [Key]]) -> Variant {
    later_variant(name, "adapters other than LoRA", keys)
}

pub(super) static ADAPTER: Union = Union {
    doc: "Small weights on top of the model.",
    tag: "type",
    shorthand: true,
    fallback: None,
    variants: &[
        variant(
            "lora",
            "Two thin matrices beside each target, whose product is added to its weight.",
            &[COMMON, LORA],
        ),
        adapter("adalora", &[COMMON, LORA, ADALORA]),
        adapter("ia3", &[COMMON, TARGETS, IA3]),
        adapter(
            "vera",
            &[
                COMMON,
                TARGETS,
                &[rank("256"), key("projection_prng_key", COUNT, Fill::Json("0"), "Seed.")],
            ],
        ),
        adapter("loha", &[COMMON, TARGETS, &[rank("8"), ALPHA]]),
        adapter("lokr", &[COMMON, TARGETS, &[rank("8"), ALPHA]]),
        adapter("fourierft", &[COMMON, TARGETS, &[frequencies("1000"), scaling("150.0")]]),
        adapter("boft", &[COMMON, TARGETS, BOFT]),
        adapter("oft", &[COMMON, TARGETS, OFT]),
        adapter(
            "hra",
            &[COMMON, TARGETS, &[rank("8"), key("apply_GS", Type::Bool, FALSE, "Orthogonalises.")]],
        ),
        adapter("tinylora", &[COMMON, TARGETS, TINY]),
        adapter(
            "c3a",
            &[
                COMMON,
                TARGETS,
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
                TARGETS,
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
        adapter("ln_tuning", &[COMMON, TARGETS]),
        adapter("vblora", &[COMMON, TARGETS, VBLORA]),
        adapter(
            "adaption_prompt",
            &[
                COMMON,
                TARGETS,
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
        "A trained adapter, to use as it is or to start from: a folder in PEFT's format, a training run's folder, or a hub id (`org/name`); its own files say its rank and targets.",
    )
    .differs("Ludwig reads adapters from the hub only"),
    key("postprocessor", Type::Section(&POSTPROCESSOR), EMPTY, "What happens after training.")
        .only(learns, LEARNS),
];

const TARGETS: &[Key] = &[key(
    "target_modules",
    Type::List(&Type::Label, 1),
    NULL,
    "Names of the layers that get one.",
)];

static POSTPROCESSOR: Section = Section {
    doc: "What happens after training.",
    keys: &[&[
        key(
            "merge_adapter_into_base_model",
            Type::Bool,
            FALSE,
            "Writes the whole model with the adapter worked into it, beside the adapter, as `fidelio merge` does.",
        )
        .differs("Ludwig keeps only the merged model, and refuses 4-bit weights"),
        key("progressbar", Type::Bool, NULL, "").no_effect("progress is always shown"),
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

const WAVELETS: &[Choice] = &[
    built("db1", ""),
    built("db2", ""),
    built("db3", ""),
    built("haar", ""),
    built("sym2", ""),
    built("coif1", ""),
];

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
