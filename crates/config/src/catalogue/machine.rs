//! `device`, `precision`, `backend`: where and how exactly a run computes.

use super::{
    Choice, FALSE, Fill, Form, Key, NULL, SIZE, Section, Status, TRUE, Type, Union, Variant,
    Verdict, built, key, later_variant,
};

/// Text that names a device.
pub(super) static DEVICE: Form = Form {
    words: "`auto`, `flex`, `ndarray`, `wgpu`, `vulkan`, `cuda`; the last three also with a number, `cuda:1`; or a plugin by the name of its file, `plugin:mine`, also with a number, `plugin:mine#1`",
    pattern: "^(auto|flex|ndarray|(wgpu|vulkan|cuda)(:[0-9]{1,3})?|plugin:[A-Za-z0-9.-]+(#[0-9]{1,3})?)$",
    judge: |text| {
        const NAMES: [&str; 6] = ["auto", "flex", "ndarray", "wgpu", "vulkan", "cuda"];
        let (name, number) = text.split_once(':').map_or((text, None), |(n, i)| (n, Some(i)));
        if let ("plugin", Some(plugin)) = (name, number) {
            return if is_plugin(plugin) {
                Verdict::Fine
            } else {
                Verdict::Wrong("a plugin is written `plugin:NAME` or `plugin:NAME#1`".to_owned())
            };
        }
        let counted = matches!(name, "wgpu" | "vulkan" | "cuda");
        let number_fits = number.is_none_or(|number| {
            counted && (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        });
        if NAMES.contains(&name) && number_fits {
            return Verdict::Fine;
        }
        let near = match name {
            "cpu" => Some("flex"),
            "gpu" => Some("cuda"),
            _ => crate::suggest::nearest(name, NAMES),
        };
        Verdict::Wrong(near.map_or_else(String::new, |near| format!("did you mean `{near}`?")))
    },
};

/// Whether this is the name of a plugin, with or without a device of it.
fn is_plugin(text: &str) -> bool {
    let (name, number) = text.split_once('#').map_or((text, None), |(n, i)| (n, Some(i)));
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
    let number_fits = number.is_none_or(|number| {
        (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
    });
    !name.is_empty() && name.bytes().all(fits) && number_fits
}

pub(super) const PRECISIONS: &[Choice] = &[
    built(
        "auto",
        "What the device does best without leaving the bounds of the reference numerics: `f32`.",
    ),
    built("f32", "Single precision throughout; the reference numerics."),
    built(
        "bf16",
        "On the CPU, the factors of products with the model's weights are rounded to bfloat16 and summed in single precision, in answers and in learning; norms, attention, adapters, gradients' sums and the optimizer stay in single precision. About twice as fast where the processor has AVX-512 BF16.",
    ),
    built(
        "int8-activations",
        "On the CPU, over weights that are integers with scales (a GGUF file's, or `quantization: {bits: 8}`), activations are rounded to 8 bits by blocks of 32, as llama.cpp does: about twice as fast. For answers; learning computes in `f32`.",
    ),
];

const CACHE: &[Key] = &[
    key("cache_dir", Type::Words, NULL, "Where preprocessed data is kept.")
        .not_built("a preprocessing cache"),
    key("credentials", Type::Any, NULL, "Credentials of a remote file system.")
        .not_built("remote file systems"),
    key("cache_credentials", Type::Any, NULL, "Credentials of the cache's file system.")
        .not_built("remote file systems"),
];

/// `backend`.
pub(super) static BACKEND: Union = Union {
    doc: "Which machines take part in the run.",
    tag: "type",
    shorthand: true,
    fallback: Some("local"),
    variants: &[
        Variant { name: "local", doc: "This machine.", status: Status::Built, keys: &[CACHE] },
        later_variant("ray", "running on several machines", &[CACHE, RAY]),
        later_variant("dask", "running on several machines", &[CACHE, RAY]),
    ],
};

const RAY: &[Key] = &[
    key("processor", Type::Section(&PROCESSOR), NULL, "How data is prepared."),
    key("trainer", Type::Section(&WORKERS), NULL, "How workers train."),
    key("loader", Type::Section(&LOADER), NULL, "How workers load data."),
];

static PROCESSOR: Section = Section {
    doc: "How data is prepared.",
    keys: &[&[
        key("type", Type::Label, Fill::Json("\"dask\""), "The data frame engine."),
        key("parallelism", SIZE, NULL, "Number of partitions."),
    ]],
};

static WORKERS: Section = Section {
    doc: "How workers train.",
    keys: &[&[
        key("strategy", Type::Any, Fill::Json("\"accelerate\""), "How workers share the model."),
        key("use_gpu", Type::Bool, FALSE, "Whether each worker has a GPU."),
        key("num_workers", SIZE, Fill::Json("1"), "Number of workers."),
        key("resources_per_worker", Type::Map(&super::NOT_NEGATIVE, 0), NULL, "What each gets."),
        key("logdir", Type::Words, NULL, "Where they log."),
        key("max_retries", super::COUNT, Fill::Json("3"), "How often a failed worker restarts."),
    ]],
};

static LOADER: Section = Section {
    doc: "How workers load data.",
    keys: &[&[
        key("fully_executed", Type::Bool, TRUE, "Whether data is prepared before training."),
        key("window_size_bytes", SIZE, NULL, "Bytes of a streaming window."),
    ]],
};
