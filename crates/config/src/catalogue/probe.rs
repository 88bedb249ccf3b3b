//! Run files of `model_type: ecd`: texts become vectors, and a head on them is fitted.

use serde_json::Value;

use super::feature::{COLUMN, NAME, OTHER_LOSSES, fill_value, strategy};
use super::machine::{BACKEND, DEVICE};
use super::{
    AUTO, COUNT, EMPTY, FALSE, Fill, Key, NULL, NUMBER, POSITIVE, POSITIVE_SHARE, SHARE, SIZE,
    Section, Status, Type, Union, Variant, built, feature, key, later, later_variant, never,
    preprocessing, top, trainer, variant,
};
use crate::view::View;

/// A whole run file of `model_type: ecd`.
pub static PROBE_FILE: Section = Section {
    doc: "A head on the vectors of frozen encoders: which texts it reads, what it answers, and how that is measured.",
    keys: &[KEYS, top::NOTES],
};

static INPUT_FEATURE: Type = Type::Section(&INPUT);
static OUTPUT_FEATURE: Type = Type::Union(&OUTPUT);

const KEYS: &[Key] = &[
    key(
        "model_type",
        Type::Choice(&[built("ecd", "Encoders, a combiner and a decoder.")]),
        Fill::Required,
        "The kind of model.",
    )
    .differs("Ludwig takes `ecd` when the key is absent"),
    key("input_features", Type::List(&INPUT_FEATURE, 1), Fill::Required, "What is read: one or several features of type `text`.")
        .also(&["inputs", "features"]),
    key("output_features", Type::List(&OUTPUT_FEATURE, 1), Fill::Required, "What is answered: exactly one feature, `category`, `binary` or `number`.")
        .also(&["outputs", "targets"]),
    key("combiner", Type::Union(&COMBINER), EMPTY, "How the vectors of several inputs become one."),
    key("preprocessing", Type::Section(&ROWS), EMPTY, "Which rows are used, and how they are split."),
    key("trainer", Type::Union(&TRAINER), EMPTY, "How the head is fitted, and how it is measured.")
        .also(&["training"]),
    key("defaults", Type::Map(&Type::Any, 0), NULL, "Settings for every feature of a type.")
        .not_built("defaults for the features of `model_type: ecd`"),
    key("hyperopt", Type::Map(&Type::Any, 0), NULL, "Searches good settings.")
        .not_built("hyperparameter search"),
    key("backend", Type::Union(&BACKEND), EMPTY, "Which machines take part in the run."),
    key("device", Type::Form(&DEVICE), Fill::Json("\"auto\""), "What computes the vectors.")
        .differs("not in Ludwig")
        .also(&["accelerator"]),
    key(
        "precision",
        Type::Choice(&[
            built("auto", "What the device does best without leaving the bounds of the reference numerics: `f32`."),
            built("f32", "Single precision throughout; the reference numerics."),
            later("bf16", "bfloat16 arithmetic"),
            never("int8-activations", "vectors are computed as the model's authors did"),
        ]),
        Fill::Json("\"auto\""),
        "How exactly vectors are computed. The head is fitted in double precision.",
    )
    .differs("not in Ludwig")
    .also(&["dtype", "torch_dtype"]),
    key("random_seed", COUNT, Fill::Json("42"), "Seed of the split, of row sampling and of the intervals; the head has one optimum and needs none.")
        .differs("a flag in Ludwig")
        .also(&["seed"]),
    key("preset", Type::Label, NULL, "A named bundle of settings.").not_built("presets"),
    key("base_model", Type::Words, NULL, "The model of `model_type: llm`.")
        .no_effect("each input names its own model: `encoder.pretrained_model_name_or_path`"),
    key("prompt", Type::Map(&Type::Any, 0), NULL, "The prompt of `model_type: llm`.")
        .no_effect("an encoder reads the text itself"),
    key("generation", Type::Map(&Type::Any, 0), NULL, "How a language model writes.")
        .no_effect("nothing is generated"),
    key("adapter", Type::Any, NULL, "Small weights on top of a model.")
        .no_effect("encoders have adapters of their own: `encoder.adapter`"),
    key("quantization", Type::Any, NULL, "Loads weights in fewer bits.")
        .no_effect("encoders have it of their own: `encoder.quantization`"),
];

static INPUT: Section = Section {
    doc: "A column that is read.",
    keys: &[&[
        NAME,
        key(
            "type",
            Type::Choice(&[
                built("text", "Text."),
                later("category", TABULAR),
                later("number", TABULAR),
                later("binary", TABULAR),
                later("date", TABULAR),
                later("sequence", TABULAR),
                later("set", TABULAR),
                later("bag", TABULAR),
                later("vector", TABULAR),
                later("timeseries", TABULAR),
                later("image", "models that read images"),
                later("audio", "models that read sound"),
            ]),
            Fill::Json("\"text\""),
            "The type of its cells.",
        ),
        key("column", Type::Label, COLUMN, "The column that is read."),
        key("encoder", Type::Union(&ENCODER), Fill::Required, "How its texts become vectors."),
        key("preprocessing", Type::Section(&CELLS), EMPTY, "How its cells are read."),
        key("tied", Type::Label, NULL, "Shares the encoder of another feature.")
            .no_effect("equal encoders are one model, and its vectors are computed once"),
        key("proc_column", Type::Label, NULL, "Ludwig's name for the prepared column.")
            .no_effect("Ludwig computes it itself"),
        key("active", Type::Bool, super::TRUE, "Whether the feature is used.")
            .no_effect("a feature that is not used can be left out"),
    ]],
};

const TABULAR: &str = "inputs of predictive models that are not text";

static CELLS: Section = Section {
    doc: "How an input's cells are read.",
    keys: &[
        &[
            strategy(Fill::Json("\"fill_with_const\"")),
            fill_value(Fill::Json("\"<UNK>\"")),
            key(
                "long_texts",
                Type::Choice(&[
                    built("error", "The run stops before it computes and lists the rows."),
                    built("truncate", "Only what fits is read, and the rows are counted."),
                ]),
                Fill::Json("\"error\""),
                "What happens to texts that are too long for the encoder.",
            )
            .differs("Ludwig cuts them and does not say so"),
            key(
                "cache_encoder_embeddings",
                Type::Bool,
                super::TRUE,
                "Vectors that an earlier run computed are taken from disk; `false` computes them anew.",
            )
            .differs("`false` in Ludwig, and an error with the encoder `llm`"),
            key("max_sequence_length", SIZE, NULL, "Most tokens of a text.")
                .not_built("limits below that of the encoder"),
            key("prompt", Type::Map(&Type::Any, 0), NULL, "A prompt around the text.")
                .not_built("prompts of single features"),
            key("compute_idf", Type::Bool, FALSE, "Counts words.").not_built("the encoder `tf_idf`"),
        ],
        feature::IDLE,
    ],
};

const FINE_TUNING: &str = "training of encoders";
const RELATIVES: &str = "its architecture";

static ENCODER: Union = Union {
    doc: "How a text becomes a vector. The model is frozen.",
    tag: "type",
    shorthand: false,
    fallback: None,
    variants: &[
        variant(
            "auto_transformer",
            "Any model that Fidelio reads, by its name.",
            &[PRETRAINED, POOLED, FROZEN],
        ),
        variant("bert", "A model of the BERT family.", &[BERT, POOLED, FROZEN]),
        variant("llm", "A language model's hidden states.", &[LLM, POOLED, FROZEN]),
        named("modernbert"),
        named("roberta"),
        named("distilbert"),
        named("albert"),
        named("electra"),
        named("deberta"),
        named("xlmroberta"),
        named("xlnet"),
        named("camembert"),
        named("longformer"),
        named("t5"),
        named("gpt"),
        named("gpt2"),
        named("flaubert"),
        named("mamba"),
        named("jamba"),
        later_variant("tf_idf", "the encoder `tf_idf`", &[]),
        untrained("embed"),
        untrained("parallel_cnn"),
        untrained("stacked_cnn"),
        untrained("stacked_parallel_cnn"),
        untrained("rnn"),
        untrained("cnnrnn"),
        untrained("transformer"),
    ],
};

const fn named(name: &'static str) -> Variant {
    later_variant(name, RELATIVES, &[BERT, POOLED, FROZEN])
}

const fn untrained(name: &'static str) -> Variant {
    let status = Status::NoEffect(
        "it knows nothing before it is trained; a probe stands on a pretrained encoder",
    );
    Variant { name, doc: "", status, keys: &[] }
}

const NAME_OF_MODEL: &str = "The model: a local folder, an id on the hub (`org/name`), or an alias that `fidelio models` lists.";

const PRETRAINED: &[Key] =
    &[key("pretrained_model_name_or_path", Type::Words, Fill::Required, NAME_OF_MODEL).also(&[
        "model",
        "model_name",
        "base_model",
    ])];

const BERT: &[Key] = &[
    key(
        "pretrained_model_name_or_path",
        Type::Words,
        Fill::Json("\"bert-base-uncased\""),
        NAME_OF_MODEL,
    )
    .also(&["model", "model_name", "base_model"]),
    key("use_pretrained", Type::Bool, super::TRUE, "Begins with pretrained weights.")
        .not_built("encoders that are trained from nothing"),
];

const LLM: &[Key] = &[
    key(
        "base_model",
        Type::Words,
        Fill::Required,
        "The model: a local folder, a GGUF file, an id on the hub (`org/name`), or an alias that `fidelio models` lists.",
    )
    .also(&["model", "model_name", "pretrained_model_name_or_path"]),
    key("quantization", Type::Any, NULL, "Loads its weights in fewer bits.")
        .not_built("rounded weights of encoders"),
    key("model_parameters", Type::Any, NULL, "Changes to the model.")
        .not_built("changed parameters of encoders"),
];

const POOLED: &[Key] = &[
    key(
        "reduce_output",
        Type::Choice(&[
            built("mean", "The mean over all tokens."),
            built("avg", "The same."),
            built("last", "The last token's state: of a language model, the one that has seen the whole text."),
            built("cls_pooled", "The first token's state, as encoders are trained to use `[CLS]`."),
            later("sum", REDUCED),
            later("max", REDUCED),
            later("concat", REDUCED),
            later("attention", REDUCED),
            later("attention_pooling", REDUCED),
            later("none", REDUCED),
        ]),
        NULL,
        "How the states of a text's tokens become one vector; when absent as the model's own settings say, else `mean`.",
    )
    .differs("`sum` in Ludwig, which grows with the length of the text"),
    key(
        "normalize",
        Type::Bool,
        NULL,
        "Whether vectors are brought to length 1; when absent as the model's own settings say, else not.",
    )
    .differs("not in Ludwig"),
];

const REDUCED: &str = "other ways to pool";

const FROZEN: &[Key] = &[
    key("trainable", Type::Bool, FALSE, "Trains the encoder too.").not_built(FINE_TUNING),
    key("adapter", Type::Any, NULL, "Small weights that are trained in the encoder.")
        .not_built(FINE_TUNING),
    key("pretrained_kwargs", Type::Map(&Type::Any, 0), NULL, "Arguments for the model's class.")
        .no_effect("no class of Python's is loaded"),
    key("vocab_size", SIZE, NULL, "Tokens of the vocabulary.").no_effect("the model knows it"),
    key("max_sequence_length", SIZE, NULL, "Most tokens of a text.")
        .no_effect("Ludwig computes it itself; the model's own limit holds"),
    key("saved_weights_in_checkpoint", Type::Bool, FALSE, "Where weights come from.")
        .no_effect("Ludwig computes it itself"),
];

static COMBINER: Union = Union {
    doc: "How the vectors of several inputs become one.",
    tag: "type",
    shorthand: true,
    fallback: Some("concat"),
    variants: &[
        variant("concat", "One behind the other, in the order of the inputs.", &[LAYERS]),
        later_variant("sequence", COMBINERS, &[]),
        later_variant("sequence_concat", COMBINERS, &[]),
        later_variant("tabnet", COMBINERS, &[]),
        later_variant("transformer", COMBINERS, &[]),
        later_variant("tabtransformer", COMBINERS, &[]),
        later_variant("comparator", COMBINERS, &[]),
        later_variant("project_aggregate", COMBINERS, &[]),
    ],
};

const COMBINERS: &str = "other combiners";
const DEEP: &str = "layers between vectors and answers";

const LAYERS: &[Key] = &[
    key("num_fc_layers", COUNT, Fill::Json("0"), "Layers.").not_built(DEEP),
    key("fc_layers", Type::Any, NULL, "Their settings.").not_built(DEEP),
    key("output_size", SIZE, NULL, "Their width.").not_built(DEEP),
    key("activation", Type::Label, NULL, "Their activation.").not_built(DEEP),
    key("dropout", SHARE, Fill::Json("0"), "Their dropout.").not_built(DEEP),
    key("norm", Type::Label, NULL, "Their norm.").not_built(DEEP),
    key("norm_params", Type::Any, NULL, "Its settings.").not_built(DEEP),
    key("use_bias", Type::Bool, super::TRUE, "Whether they have a bias.").not_built(DEEP),
    key("residual", Type::Bool, FALSE, "Whether they add to what they read.").not_built(DEEP),
    key("flatten_inputs", Type::Bool, FALSE, "Makes vectors of matrices.")
        .no_effect("inputs are vectors already"),
    key("weights_initializer", Type::Any, NULL, "What weights begin with.").no_effect(OPTIMUM),
    key("bias_initializer", Type::Any, NULL, "What biases begin with.").no_effect(OPTIMUM),
];

static ROWS: Section = Section {
    doc: "Which rows are used, and how they are split.",
    keys: &[&[
        key(
            "sample_ratio",
            POSITIVE_SHARE,
            Fill::Json("1.0"),
            "Share of the rows that is drawn at random, before the split.",
        ),
        key("sample_size", SIZE, NULL, "Number of rows that is drawn at random, before the split."),
        key(
            "split",
            Type::Union(&preprocessing::SPLIT),
            EMPTY,
            "How rows are divided into training, validation and test.",
        ),
        key("oversample_minority", NUMBER, NULL, "Repeats rows of the rarer class.")
            .not_built("balancing of rows; `loss.class_weights` weighs labels"),
        key("undersample_majority", NUMBER, NULL, "Leaves out rows of the more frequent class.")
            .not_built("balancing of rows; `loss.class_weights` weighs labels"),
        key("global_max_sequence_length", SIZE, NULL, "Most tokens of prompt and answer.")
            .no_effect("it is for `model_type: llm`"),
    ]],
};

/// One output feature.
static OUTPUT: Union = Union {
    doc: "What is answered.",
    tag: "type",
    shorthand: false,
    fallback: None,
    variants: &[
        variant("category", "One label out of a list.", &[&[NAME, EXPECTED], CATEGORY, IDLE]),
        variant("binary", "One of two values.", &[&[NAME, EXPECTED], BINARY, IDLE]),
        variant("number", "A number.", &[&[NAME, EXPECTED], NUMERIC, IDLE]),
        later_variant("set", "outputs of several labels", &[]),
        later_variant("vector", "outputs of several numbers", &[]),
        Variant {
            name: "text",
            doc: "",
            status: Status::NoEffect("a vector is no text; `model_type: llm` answers with text"),
            keys: &[],
        },
        later_variant("sequence", "outputs that are sequences", &[]),
        later_variant("date", "outputs that are dates", &[]),
        later_variant("timeseries", "outputs that are series", &[]),
        later_variant("image", "models that make images", &[]),
    ],
};

const EXPECTED: Key = key("column", Type::Label, COLUMN, "The column with the expected answers.");

const CATEGORY: &[Key] = &[
    key("preprocessing", Type::Section(&LABELS), EMPTY, "Which labels there are."),
    key("decoder", Type::Union(&CLASSIFIER), EMPTY, "The head of labels."),
    key("loss", Type::Union(&CATEGORY_LOSS), EMPTY, "What is minimised over labels."),
    key("top_k", SIZE, feature::TOP_K, "The k of the metric `hits_at_k`.")
        .only(evaluates, trainer::EVALUATES),
    key("calibration", Type::Bool, FALSE, "Calibrates probabilities on validation rows.")
        .not_built("calibration on validation rows"),
];

static LABELS: Section = Section {
    doc: "Which labels there are.",
    keys: &[&[
        key(
            "vocab",
            Type::List(&Type::Label, 1),
            NULL,
            "The labels; those that occur in the data when absent.",
        )
        .also(&["labels", "classes", "vocabulary"]),
        strategy(Fill::Json("\"drop_row\"")),
        fill_value(NULL),
        key("most_common", SIZE, NULL, "Labels kept, by frequency.")
            .no_effect("rare labels are labels; `vocab` says which ones there are"),
        key("lowercase", Type::Bool, FALSE, "Lower-cases labels.")
            .no_effect("labels are taken as they are written"),
        key("cache_encoder_embeddings", Type::Bool, FALSE, "Keeps embeddings.")
            .no_effect("it is for inputs"),
    ]],
};

static CLASSIFIER: Union = Union {
    doc: "The head.",
    tag: "type",
    shorthand: true,
    fallback: Some("classifier"),
    variants: &[variant("classifier", "A linear head with one output per label.", &[LAYERS])],
};

static REGRESSOR: Union = Union {
    doc: "The head.",
    tag: "type",
    shorthand: true,
    fallback: Some("regressor"),
    variants: &[variant("regressor", "A linear head with one output.", &[LAYERS])],
};

static CATEGORY_LOSS: Union = Union {
    doc: "What is minimised.",
    tag: "type",
    shorthand: true,
    fallback: Some("softmax_cross_entropy"),
    variants: &[variant(
        "softmax_cross_entropy",
        "Cross entropy of the label.",
        &[
            &[key(
                "class_weights",
                Type::Map(&POSITIVE, 1),
                NULL,
                "How much a row of each label counts; 1 for labels that are not named.",
            )
            .differs("Ludwig takes a list too, whose order depends on the data")],
            OTHER_LOSSES,
        ],
    )],
};

const BINARY: &[Key] = &[
    key("preprocessing", Type::Section(&TRUTH), EMPTY, "Which value is the true one."),
    key("decoder", Type::Union(&REGRESSOR), EMPTY, "The head."),
    key("loss", Type::Union(&BINARY_LOSS), EMPTY, "What is minimised over the two values."),
    key(
        "threshold",
        SHARE,
        Fill::Json("0.5"),
        "The probability from which on the answer is the true value.",
    ),
    key("calibration", Type::Bool, FALSE, "Calibrates probabilities on validation rows.")
        .not_built("calibration on validation rows"),
];

static TRUTH: Section = Section {
    doc: "Which value is the true one.",
    keys: &[&[
        key(
            "fallback_true_label",
            Type::Label,
            NULL,
            "The value that counts as true, where the two are none of `true`, `false`, `yes`, `no`, `1`, `0` and their like.",
        ),
        strategy(Fill::Json("\"drop_row\"")),
        fill_value(NULL),
    ]],
};

static BINARY_LOSS: Union = Union {
    doc: "What is minimised.",
    tag: "type",
    shorthand: true,
    fallback: Some("binary_weighted_cross_entropy"),
    variants: &[variant(
        "binary_weighted_cross_entropy",
        "Cross entropy of the value.",
        &[
            &[key(
                "positive_class_weight",
                POSITIVE,
                Fill::Json("1.0"),
                "How much a true row counts beside a false one.",
            )],
            OTHER_LOSSES,
        ],
    )],
};

const NUMERIC: &[Key] = &[
    key("preprocessing", Type::Section(&NUMBERS), EMPTY, "How the expected numbers are read."),
    key("decoder", Type::Union(&REGRESSOR), EMPTY, "The head."),
    key("loss", Type::Union(&NUMBER_LOSS), EMPTY, "What is minimised over numbers."),
    key("clip", Type::Any, NULL, "Bounds of the answers.").not_built("bounds of numbers"),
];

static NUMBERS: Section = Section {
    doc: "How the expected numbers are read.",
    keys: &[&[
        strategy(Fill::Json("\"drop_row\"")),
        fill_value(NULL),
        key("normalization", Type::Label, NULL, "Changes the scale of the numbers.")
            .no_effect("a linear head answers the same on every scale"),
        key("outlier_strategy", Type::Label, NULL, "Replaces numbers that are far off.")
            .not_built("rules for outliers"),
    ]],
};

static NUMBER_LOSS: Union = Union {
    doc: "What is minimised.",
    tag: "type",
    shorthand: true,
    fallback: Some("mean_squared_error"),
    variants: &[
        variant("mean_squared_error", "The mean square of what is missed.", &[WEIGHT]),
        later_variant("mean_absolute_error", LOSSES, &[WEIGHT]),
        later_variant("root_mean_squared_error", LOSSES, &[WEIGHT]),
        later_variant("huber", LOSSES, &[WEIGHT]),
    ],
};

const LOSSES: &str = "other losses";
const WEIGHT: &[Key] =
    &[key("weight", POSITIVE, Fill::Json("1.0"), "Weight of the loss.").not_built(LOSSES)];

const ONE: &str = "it combines several outputs, and a probe has one";
const IDLE: &[Key] = &[
    key("reduce_input", Type::Label, NULL, "How the states of tokens combine.")
        .no_effect("`encoder.reduce_output` has done it"),
    key("reduce_dependencies", Type::Label, NULL, "How outputs combine.").no_effect(ONE),
    key("dependencies", Type::List(&Type::Label, 0), NULL, "Outputs it depends on.").no_effect(ONE),
    key("tied", Type::Label, NULL, "Shares a decoder.").no_effect(ONE),
    key("active", Type::Bool, super::TRUE, "Whether the feature is used.").no_effect(ONE),
    key("proc_column", Type::Label, NULL, "Ludwig's name for the prepared column.")
        .no_effect("Ludwig computes it itself"),
];

static TRAINER: Union = Union {
    doc: "How the head is fitted, and how it is measured. It is solved to its one optimum, so that nothing has to be said about steps.",
    tag: "type",
    shorthand: true,
    fallback: Some("trainer"),
    variants: &[variant("trainer", "Fits the head.", &[FITTED, STEPS])],
};

fn evaluates(view: &View<'_>, _: &str) -> bool {
    trainer::evaluates(view, "trainer")
}

const FITTED: &[Key] = &[
    key(
        "regularization_lambda",
        Type::Either(&[POSITIVE, AUTO]),
        Fill::Json("\"auto\""),
        "What the sum of the squared weights is multiplied with, beside the mean loss of the rows; biases do not count. `auto`: of 1, 0.3, 0.1, 0.03, … what gives the validation rows the least loss, without validation rows by five-fold cross-validation.",
    )
    .differs("0 in Ludwig, which has no optimum where labels can be told apart"),
    key(
        "regularization_type",
        Type::Choice(&[built("l2", "Squares."), later("l1", SPARSE), later("l1_l2", SPARSE)]),
        Fill::Json("\"l2\""),
        "What of the weights is summed.",
    ),
    key(
        "standardize",
        Type::Bool,
        FALSE,
        "Brings each number of the vectors to mean 0 and spread 1 over the training rows first.",
    )
    .differs("not in Ludwig"),
    key("skip_all_evaluation", Type::Bool, FALSE, "Computes no metrics."),
    key(
        "validation_field",
        Type::Label,
        Fill::From {
            derive: |view, _| view.get("output_features.0.name").cloned(),
            words: "the output feature's `name`",
        },
        "The output whose metric is the run's headline: the output feature's name, or `combined`.",
    )
    .only(evaluates, trainer::EVALUATES),
    key(
        "validation_metric",
        Type::Label,
        Fill::From {
            derive: |view, _| {
                if view.text("trainer.validation_field") == Some("combined") {
                    return Some(Value::from("loss"));
                }
                let number = view.text("output_features.0.type") == Some("number");
                Some(Value::from(if number { "root_mean_squared_error" } else { "accuracy" }))
            },
            words: "`accuracy`; `root_mean_squared_error` for a number",
        },
        "The run's headline metric.",
    )
    .only(evaluates, trainer::EVALUATES),
    key("evaluate_training_set", Type::Bool, FALSE, "Measures on the training rows too.")
        .not_built("measuring on the training rows"),
];

const SPARSE: &str = "regularization that makes weights 0";
const OPTIMUM: &str = "a probe is solved to its optimum, which no step leads to";

const fn step(name: &'static str) -> Key {
    key(name, Type::Any, NULL, "").no_effect(OPTIMUM)
}

const STEPS: &[Key] = &[
    step("learning_rate"),
    step("base_learning_rate"),
    step("learning_rate_scheduler"),
    step("learning_rate_scaling"),
    step("epochs"),
    step("train_steps"),
    step("eval_steps"),
    step("steps_per_checkpoint"),
    step("checkpoints_per_epoch"),
    step("batch_size"),
    step("max_batch_size"),
    step("effective_batch_size"),
    step("gradient_accumulation_steps"),
    step("increase_batch_size_on_plateau"),
    step("early_stop"),
    step("optimizer"),
    step("gradient_clipping"),
    step("should_shuffle"),
    step("use_mixed_precision"),
    step("compile"),
    step("enable_gradient_checkpointing"),
    step("layers_to_freeze_regex"),
    step("bucketing_field"),
    step("model_soup"),
    step("model_soup_top_k"),
    key("eval_batch_size", Type::Any, NULL, "Rows at once.")
        .no_effect("as many texts go through the encoder at once as suit it"),
    key("enable_profiling", Type::Bool, FALSE, "Records a profile.")
        .not_built("profiling a training run"),
];
