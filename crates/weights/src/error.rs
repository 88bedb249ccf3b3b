//! What can go wrong with a checkpoint.

use std::{borrow::Cow, io, path::PathBuf};

use fidelio_backend::BackendError;

/// A checkpoint, tokenizer or model source that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file or folder that is not there.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A file that the system will not let us read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that the system will not let us write.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that breaks the rules of its format.
    #[error("`{path}` cannot be used as {format}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it was read as, such as `GGUF`.
        format: &'static str,
        /// Which rule it breaks.
        #[source]
        fault: Fault,
    },
    /// A folder or file that holds no model we can read.
    #[error("`{path}` holds no checkpoint: {missing} is missing")]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        missing: &'static str,
        /// What is there instead.
        found: Vec<String>,
    },
    /// Weights in Python's pickle format, which runs code when it is read.
    #[error("`{path}` is a Python pickle, which can run any code when it is read; it is refused")]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// A folder that holds no adapter.
    #[error("`{path}` holds no adapter: `{missing}` is missing")]
    NoAdapter {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        missing: &'static str,
        /// What is there instead.
        found: Vec<String>,
    },
    /// An adapter that is something else than what can be used, or says what is not known.
    #[error("`{key}` in `{path}` {problem}")]
    AdapterConfig {
        /// Its `adapter_config.json`.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A setting of a sentence encoder that cannot be honoured.
    #[error("`{key}` in `{path}` {problem}")]
    SentenceConfig {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A tensor that belongs to no adapter we know.
    #[error("tensor `{tensor}` of `{path}` is none of a LoRA adapter")]
    AdapterTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// An adapter that cannot be worked into a model's weights.
    #[error("the adapter cannot be merged: {problem}")]
    Unmergeable {
        /// Why.
        problem: String,
    },
    /// An adapter that cannot become one with others.
    #[error("`{adapter}` cannot be merged with other adapters: {problem}")]
    Uncombinable {
        /// What it was called.
        adapter: String,
        /// Why.
        problem: String,
        /// What to do instead.
        help: &'static str,
    },
    /// A range of blocks that the model does not have.
    #[error(
        "`layer_replication` has [{}, {}), and the model's layers are 0 to {}",
        range[0],
        range[1],
        layers.saturating_sub(1)
    )]
    Layers {
        /// From the first to one past the last.
        range: [usize; 2],
        /// So many there are.
        layers: usize,
    },
    /// A model whose layers differ by their number, and which were to get other numbers.
    #[error("its layers differ by their number, and config.json has no list `{key}`")]
    LayersUnlisted {
        /// What would say of each layer what it is.
        key: &'static str,
    },
    /// A model whose layers stand where those that can be used more than once do not.
    #[error(
        "`layer_replication` is built for models whose layers are `model.layers.N`; a `{model_type}` has none"
    )]
    LayersElsewhere {
        /// The model's `model_type`.
        model_type: String,
    },
    /// Adapters that were to become one in a way that makes no sense.
    #[error("the adapters cannot be merged: {problem}")]
    Combination {
        /// Why.
        problem: String,
    },
    /// Several files of which one must be chosen.
    #[error("`{path}` holds several models: {}", .choices.join(", "))]
    Ambiguous {
        /// The folder or hub id.
        path: String,
        /// The files.
        choices: Vec<String>,
    },
    /// A tensor that the index places in a shard that does not have it.
    #[error("the index places tensor `{tensor}` in `{shard}`, which does not hold it")]
    MissingFromShard {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// A tensor that stands in two shards.
    #[error("tensor `{tensor}` stands in more than one shard")]
    InTwoShards {
        /// The tensor.
        tensor: String,
    },
    /// A shard name that would leave the checkpoint's folder.
    #[error("`{shard}` is not the name of a file in the checkpoint's folder")]
    ShardName {
        /// The name in the index.
        shard: String,
    },
    /// A tensor asked for by a name that the checkpoint does not have.
    #[error("there is no tensor `{tensor}`")]
    NoTensor {
        /// The name.
        tensor: String,
    },
    /// A checkpoint without a tokenizer.
    #[error("`{path}` has no tokenizer")]
    NoTokenizer {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A tokenizer that the file describes but that we cannot build.
    #[error("the tokenizer of `{path}` cannot be built: {problem}")]
    Tokenizer {
        /// The file it comes from.
        path: PathBuf,
        /// What is wrong, with the offending value.
        problem: String,
    },
    /// A special token that the vocabulary does not have.
    #[error("`{file}` names `{token}` as {role}, which is not in the vocabulary")]
    SpecialToken {
        /// The file.
        file: PathBuf,
        /// `bos_token` and so on.
        role: String,
        /// The token or id.
        token: String,
    },
    /// A tensor of the model that is being written, which cannot be had.
    #[error("tensor `{tensor}` cannot be written")]
    ReadTensor {
        /// The tensor.
        tensor: String,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// A tensor that cannot be written in the format asked for.
    #[error("tensor `{tensor}` cannot be written as {format}: {problem}")]
    Unwritable {
        /// The tensor.
        tensor: String,
        /// The format, or the encoding in it.
        format: String,
        /// Why.
        problem: String,
    },
    /// A model that a format cannot hold as it is.
    #[error("the model cannot be written as {format}: {problem}")]
    Unexportable {
        /// The format.
        format: &'static str,
        /// Why.
        problem: String,
    },
    /// A kind of quantised file that is not known.
    #[error("`{name}` is no quantization that can be written")]
    UnknownQuantization {
        /// What was written.
        name: String,
    },
    /// A target folder that already holds something.
    #[error("`{path}` exists already")]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A write that somebody stopped; nothing is left of it.
    #[error("stopped")]
    Stopped,
    /// A `base_model` that names nothing we know.
    #[error("`{name}` is no folder, GGUF file, hub id or alias")]
    UnknownModel {
        /// What was written.
        name: String,
        /// The closest alias.
        suggestion: Option<String>,
    },
    /// The default model is not in the cache.
    #[error("the model of alias `{alias}` is not in the cache: `{path}` does not exist")]
    NotFetched {
        /// The alias.
        alias: String,
        /// Where it should be.
        path: PathBuf,
        /// The same model on the hub.
        hub_id: String,
    },
    /// The hub could not give what was asked.
    #[error("cannot get `{what}` from {endpoint}")]
    Hub {
        /// The repository, or a file in it.
        what: String,
        /// The hub.
        endpoint: String,
        /// Why.
        #[source]
        fault: HubFault,
    },
}

/// A rule of a file format that is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Fault {
    #[error("it does not begin with `GGUF`")]
    Magic,
    #[error("its version is {version}; versions 2 and 3 can be read")]
    Version { version: u32 },
    #[error("it is written for big-endian machines")]
    BigEndian,
    #[error("{what} at byte {offset} needs {needed} bytes, {available} are left")]
    Truncated { what: String, offset: u64, needed: u64, available: u64 },
    #[error("it claims {claimed} {what}, there is room for {possible}")]
    TooMany { what: &'static str, claimed: u64, possible: u64 },
    #[error("{what} is not UTF-8")]
    NotText { what: String },
    #[error("{what} `{name}` appears twice")]
    Duplicate { what: &'static str, name: String },
    #[error("metadata `{key}` has the unknown type {value_type}")]
    ValueType { key: String, value_type: u32 },
    #[error("metadata `{key}` is an array of arrays")]
    NestedArray { key: String },
    #[error("metadata `{key}` is missing")]
    MissingKey { key: String },
    #[error("metadata `{key}` {problem}")]
    Value { key: String, problem: String },
    #[error("the alignment {alignment} is not a power of two")]
    Alignment { alignment: u64 },
    #[error("tensor `{tensor}` has the dimensions {dims:?}: {problem}")]
    Dimensions { tensor: String, dims: Vec<u64>, problem: &'static str },
    #[error("tensor `{tensor}` is stored as {encoding}, which cannot be read")]
    Encoding { tensor: String, encoding: String },
    #[error("tensor `{tensor}` starts at byte {offset} of the data, not a multiple of {alignment}")]
    Misaligned { tensor: String, offset: u64, alignment: u64 },
    #[error("tensor `{tensor}` ends at byte {end} of the data, which has {available}")]
    Outside { tensor: String, end: u64, available: u64 },
    #[error("tensor `{tensor}` needs {expected} bytes and has {found}")]
    Length { tensor: String, expected: u64, found: u64 },
    #[error("tensors `{first}` and `{second}` overlap")]
    Overlap { first: String, second: String },
    #[error("{bytes} bytes before byte {at} of the data belong to no tensor")]
    Hole { at: u64, bytes: u64 },
    #[error("it is one part of {parts}; parts must be joined first")]
    Split { parts: u64 },
    #[error("{what} is not the JSON that it should be")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Why the hub did not give what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum HubFault {
    #[error("it does not exist there, or it is private and no token was sent (401)")]
    Unauthorized,
    #[error("access is refused: the model may be gated (403)")]
    Forbidden,
    #[error("it does not exist there (404)")]
    NotFound,
    #[error("the hub answered with status {status}")]
    Status { status: u16 },
    #[error("downloads are switched off and it is not in the cache `{cache}`")]
    Offline { cache: PathBuf },
    #[error("the hub cannot be reached")]
    Unreachable {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the download ended after {got} of {expected} bytes")]
    Truncated { expected: u64, got: u64 },
    #[error("its sha256 is {found}, the hub says {expected}")]
    Checksum { expected: String, found: String },
    #[error("the hub's answer makes no sense: {problem}")]
    Answer { problem: String },
    #[error("it holds neither safetensors nor GGUF files")]
    NoWeights { found: Vec<String> },
    #[error("it holds no adapter in PEFT's format, but {}", found.join(", "))]
    NoAdapter { found: Vec<String> },
    #[error("its weights are Python pickles, which can run any code when they are read")]
    OnlyPickles,
}

impl WeightsError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::NoCheckpoint { found, .. } | Self::NoAdapter { found, .. } => {
                if found.is_empty() {
                    "the folder is empty".into()
                } else {
                    format!("it holds {}", found.join(", ")).into()
                }
            }
            Self::AdapterTensor { .. } => {
                "an adapter that also changes embeddings or whole layers cannot be used; merge it \
                 into its model with PEFT"
                    .into()
            }
            Self::Uncombinable { help, .. } if !help.is_empty() => (*help).into(),
            Self::Pickle { path } if path.ends_with("adapter_model.bin") => {
                "load it with PEFT and save it again: `save_pretrained(folder)` writes safetensors"
                    .into()
            }
            Self::Pickle { .. } => "convert it to safetensors with the tool that made it, for \
                example `save_pretrained(folder, safe_serialization=True)` of transformers"
                .into(),
            Self::Ambiguous { .. } => "name one of the files".into(),
            Self::NoTokenizer { .. } => {
                "put the model's `tokenizer.json` beside its weights".into()
            }
            Self::Exists { .. } => "choose a name that does not exist yet".into(),
            Self::UnknownQuantization { .. } => {
                let known = crate::gguf::Quantization::ALL.map(crate::gguf::Quantization::name);
                format!("known are {}", known.join(", ")).into()
            }
            Self::UnknownModel { suggestion: Some(alias), .. } => {
                format!("did you mean `{alias}`?").into()
            }
            Self::UnknownModel { suggestion: None, .. } => {
                "a hub id has the form `org/name`; `fidelio models` lists the aliases".into()
            }
            Self::NotFetched { hub_id, .. } => {
                format!("run `cargo xtask fetch`, or use `{hub_id}` from the hub").into()
            }
            Self::Malformed { fault, .. } => return fault.hint().map(Cow::Borrowed),
            Self::Hub { fault, .. } => return fault.hint().map(Cow::Borrowed),
            _ => return None,
        })
    }
}

impl Fault {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Encoding { .. } => {
                "types that can be read: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K"
            }
            Self::Split { .. } => "join the parts with `llama-gguf-split --merge`",
            Self::Truncated { .. } | Self::Outside { .. } => {
                "the file may be a download that was cut off"
            }
            _ => return None,
        })
    }
}

impl HubFault {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unauthorized => "check the spelling; for a private model set HF_TOKEN",
            Self::Forbidden => {
                "accept the model's conditions on its page, and set HF_TOKEN to a token of that account"
            }
            Self::NotFound => "check the spelling of the id, the revision and the file",
            Self::Offline { .. } => "download it once while online, or unset HF_HUB_OFFLINE",
            Self::Unreachable { .. } => {
                "check the network and HF_ENDPOINT; with HF_HUB_OFFLINE=1 only the cache is used"
            }
            Self::Truncated { .. } => "run it again: what has arrived is kept",
            Self::Checksum { .. } => "the file was deleted; run it again",
            Self::NoAdapter { .. } => {
                "an adapter is `adapter_config.json` beside `adapter_model.safetensors`"
            }
            Self::OnlyPickles => "look for a safetensors or GGUF version of the model",
            _ => return None,
        })
    }
}
