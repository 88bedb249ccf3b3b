//! What crosses: tables and structs of C, no logic. `include/fidelio_plugin.h` is made of this file.
//!
//! Only integers, floats, pointers with lengths, structs of these and functions cross. Tables and
//! arguments begin with a [`Head`] and only ever grow at their end; elements of arrays never change
//! within a version. Numbers that choose among a few things are plain integers, since either side
//! may know more of them than the other.

use std::ffi::c_void;

/// The version of this border. A plugin of another version is not loaded.
pub const VERSION: u32 = 1;

/// First in every table and argument: how many bytes the sender knows, and its version.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Head {
    /// Bytes of the whole struct, as its sender was compiled.
    pub size: u32,
    /// The sender's `VERSION`.
    pub version: u32,
}

/// How a call ended: one of the `STATUS_` numbers. Any other number is a failure too.
pub type Status = i32;

/// It is done.
pub const STATUS_OK: Status = 0;
/// It failed; the error's text says how, in the engine's own words.
pub const STATUS_FAILED: Status = 1;
/// The device is not present: `first` is its number, the text says why.
pub const STATUS_NO_DEVICE: Status = 2;
/// The architecture is unknown; the text is JSON: `{"model_type": "..", "supported": [".."]}`.
pub const STATUS_ARCHITECTURE: Status = 3;
/// A value of the model's config.json cannot be honored: `{"key": "..", "problem": ".."}`.
pub const STATUS_MODEL_CONFIG: Status = 4;
/// Tensors do not fit the model: `{"problems": [".."]}`, one sentence each.
pub const STATUS_WEIGHTS: Status = 5;
/// A tensor could not be read: `{"name": "..", "reason": ".."}`.
pub const STATUS_READ_TENSOR: Status = 6;
/// Row `first` does not exist.
pub const STATUS_NO_ROW: Status = 7;
/// Token `first` is outside the vocabulary of `second`.
pub const STATUS_NO_TOKEN: Status = 8;
/// The batch is not a well-formed forest; the text says where.
pub const STATUS_FOREST: Status = 9;
/// `first` tokens do not fit the context of `second`.
pub const STATUS_CONTEXT: Status = 10;
/// `first` tokens are needed in the cache, `second` are free.
pub const STATUS_CACHE_FULL: Status = 11;
/// All `first` rows are in use.
pub const STATUS_ROWS_FULL: Status = 12;
/// Adapter `first` does not exist.
pub const STATUS_NO_ADAPTER: Status = 13;
/// An adapter or a way of learning does not fit: `{"what": "..", "help": ".."}`.
pub const STATUS_ADAPTER: Status = 14;
/// Arithmetic that the engine lacks: `{"precision": "..", "known": [".."]}`.
pub const STATUS_PRECISION: Status = 15;
/// The engine lacks a verb: `first` is its `VERB_` bit.
pub const STATUS_VERB: Status = 16;
/// Models of this kind lack a verb: `first` is its bit; `{"model_type": "..", "reason": ".."}`.
pub const STATUS_NOT_OF_MODEL: Status = 17;
/// The pooling makes no sense for the model: `first` is its `POOLING_` number, the text says why.
pub const STATUS_POOLING: Status = 18;
/// The engine panicked. Its session answers nothing from now on.
pub const STATUS_PANICKED: Status = 100;
/// The session panicked before.
pub const STATUS_POISONED: Status = 101;
/// The session is closed, or never was.
pub const STATUS_CLOSED: Status = 102;
/// The caller broke the rules of this border; the text says which.
pub const STATUS_MISUSE: Status = 103;

/// A plugin's session can `extend`.
pub const VERB_EXTEND: u64 = 1;
/// It can `fork`.
pub const VERB_FORK: u64 = 1 << 1;
/// It can `truncate`.
pub const VERB_TRUNCATE: u64 = 1 << 2;
/// It can `score`.
pub const VERB_SCORE: u64 = 1 << 3;
/// It can `embed`.
pub const VERB_EMBED: u64 = 1 << 4;
/// It can `add_adapter` and `remove_adapter`.
pub const VERB_ADAPT: u64 = 1 << 5;
/// It can `learn`, `accumulate`, `update`, `save` and `restore`.
pub const VERB_LEARN: u64 = 1 << 6;
/// It can tell the `footprint` of learning.
pub const VERB_FOOTPRINT: u64 = 1 << 7;
/// Its `extend` answers with the largest logits only, where asked. Without this bit it is never
/// asked; the host chooses among full logits.
pub const VERB_TOP: u64 = 1 << 8;

/// Bytes made by a plugin. The host gives them back through the table's `free`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// Where they begin; null where there are none.
    pub data: *mut u8,
    /// How many they are.
    pub len: usize,
}

/// Borrowed bytes of UTF-8, valid until the call returns. No zero stands at their end.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Where they begin.
    pub data: *const u8,
    /// How many they are.
    pub len: usize,
}

/// What went wrong: the caller's, empty; filled by whoever does not return `STATUS_OK`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Error {
    /// Size and version.
    pub head: Head,
    /// One sentence, lower case, no period, or JSON where the status says so.
    pub text: Bytes,
    /// A number that the status explains.
    pub first: u64,
    /// Another.
    pub second: u64,
}

/// What a plugin is and has.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Size and version.
    pub head: Head,
    /// The `VERB_` bits of what its sessions can do.
    pub verbs: u64,
    /// `{"name": "..", "about": "..", "devices": [{"id": 0, "name": "..", "memory": null}],
    /// "precisions": ["f32"]}`; the device's memory is bytes or null.
    pub json: Bytes,
}

/// How to open a model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OpenArgs {
    /// Size and version.
    pub head: Head,
    /// The device, as described.
    pub device: u32,
    /// An `OpenSpec`: `{"config": {the model's config.json}, "precision": "f32", ..}`.
    pub spec: Text,
    /// The model's tensors, to be asked for until the call returns.
    pub weights: *const Weights,
}

/// Named tensors of the host.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Size and version.
    pub head: Head,
    /// What the functions below are given.
    pub context: *const c_void,
    /// How many tensors there are.
    pub count: usize,
    /// The name of the tensor with that number.
    pub name: Option<
        unsafe extern "C" fn(context: *const c_void, index: usize, name: *mut Text) -> Status,
    >,
    /// The tensor of that name. It is borrowed until its `owner` is given to `release`, which may
    /// be long after this call and on any thread; a plugin need not copy what it can use as it is.
    pub get: Option<
        unsafe extern "C" fn(context: *const c_void, name: Text, tensor: *mut Tensor) -> Status,
    >,
    /// Says that a tensor's bytes were copied: memory that mirrors a file may be given back.
    pub forget: Option<unsafe extern "C" fn(context: *const c_void, name: Text)>,
    /// Gives a tensor back, once.
    pub release: Option<unsafe extern "C" fn(owner: *mut c_void)>,
}

/// A tensor as it is stored: rows contiguous, outermost dimension first.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    /// Size and version.
    pub head: Head,
    /// One of the `ENCODING_` numbers.
    pub encoding: u32,
    /// How many dimensions `shape` has.
    pub dimensions: u32,
    /// Elements per dimension.
    pub shape: *const u64,
    /// The numbers, in no particular alignment.
    pub data: *const u8,
    /// Bytes of `data`.
    pub len: usize,
    /// What `release` wants; null where nothing is to be released.
    pub owner: *mut c_void,
}

/// 32-bit floats.
pub const ENCODING_F32: u32 = 0;
/// 16-bit floats.
pub const ENCODING_F16: u32 = 1;
/// bfloat16.
pub const ENCODING_BF16: u32 = 2;
/// 8-bit integers.
pub const ENCODING_I8: u32 = 3;
/// 32-bit integers.
pub const ENCODING_I32: u32 = 4;
/// 64-bit integers.
pub const ENCODING_I64: u32 = 5;
/// 8-bit integers without sign.
pub const ENCODING_U8: u32 = 6;
/// Blocks as GGUF has them; so are those that follow.
pub const ENCODING_Q4_0: u32 = 7;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q4_1: u32 = 8;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q5_0: u32 = 9;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q5_1: u32 = 10;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q8_0: u32 = 11;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q2_K: u32 = 12;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q3_K: u32 = 13;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q4_K: u32 = 14;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q5_K: u32 = 15;
#[allow(missing_docs, reason = "the format's own name")]
pub const ENCODING_Q6_K: u32 = 16;

/// Sizes of a session, and the room it has left.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Capacity {
    /// Size and version.
    pub head: Head,
    /// Token ids are below this.
    pub vocabulary: u64,
    /// Tokens that a row may hold.
    pub context: u64,
    /// Rows that may still be opened.
    pub rows: u64,
    /// Tokens that may still be cached.
    pub tokens: u64,
}

/// The step begins a new row.
pub const STEP_NEW_ROW: u32 = 1;
/// The new row is computed with `adapter`.
pub const STEP_ADAPTER: u32 = 1 << 1;
/// Logits are wanted at the last token.
pub const STEP_WANTS_LAST: u32 = 1 << 2;
/// Logits are wanted at every token.
pub const STEP_WANTS_ALL: u32 = 1 << 3;
/// Of those logits the `k` largest are wanted, then those of `also`.
pub const STEP_WANTS_TOP: u32 = 1 << 4;

/// New tokens for one row.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The row, where it is not a new one.
    pub row: u64,
    /// `STEP_` bits.
    pub flags: u32,
    /// The adapter, where the flags say so.
    pub adapter: u32,
    /// The tokens.
    pub tokens: *const u32,
    /// How many.
    pub token_count: usize,
    /// How many of the largest logits, where the flags say so; at most the vocabulary.
    pub k: usize,
    /// Tokens whose logits follow them.
    pub also: *const u32,
    /// How many.
    pub also_count: usize,
}

/// A token at which logits are wanted, and the host's room for them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The number of the step.
    pub step: usize,
    /// The number of the token within the step.
    pub token: usize,
    /// Room for `len` logits: one per token of the vocabulary, or the largest, descending, ties by
    /// smaller id, and then those of `also`.
    pub logits: *mut f32,
    /// Room for `len` ids of the tokens that the logits are of; null where all are wanted.
    pub ids: *mut u32,
    /// The vocabulary, or `k + also_count`.
    pub len: usize,
    /// How many logits the plugin wrote: it must be `len`.
    pub written: usize,
    /// The log of the sum of the exponentials of all logits; wanted only where `ids` is not null.
    pub logsumexp: f32,
}

/// Tokens to feed, and room for what is wanted back.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ExtendArgs {
    /// Size and version.
    pub head: Head,
    /// The steps; a row appears at most once.
    pub steps: *const Step,
    /// How many.
    pub step_count: usize,
    /// The row of each step, also where it is new: the plugin writes `step_count` of them.
    pub rows: *mut u64,
    /// Where logits are wanted, in the order of the steps and their tokens.
    pub positions: *mut Position,
    /// How many.
    pub position_count: usize,
}

/// The node continues nothing.
pub const PARENT_ROOT: u32 = 0;
/// The node continues an earlier node of the batch: `parent` is its number.
pub const PARENT_NODE: u32 = 1;
/// The node continues a cached row: `parent` is its id. The row does not change.
pub const PARENT_CACHED: u32 = 2;

/// A run of tokens. A token sees the earlier ones of its node, those of the nodes above it, and
/// nothing else.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// What the run continues.
    pub parent: u64,
    /// A `PARENT_` number.
    pub kind: u32,
    /// Where its tokens begin.
    pub start: u32,
    /// How many they are.
    pub len: u32,
}

/// The log-probability of `token` as the next one is asked.
pub const ASK_TOKEN: u32 = 0;

/// A question at a token, which sees itself.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The token asked, by its number in the batch.
    pub at: u32,
    /// An `ASK_` number.
    pub ask: u32,
    /// The token asked for.
    pub token: u32,
    /// Its share in a loss.
    pub weight: f32,
    /// What belongs together, for the caller.
    pub group: u32,
}

/// Every token of a batch is computed with `adapter`.
pub const BATCH_ADAPTER: u32 = 1;

/// A forest of tokens, and what is asked at them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Size and version.
    pub head: Head,
    /// `BATCH_` bits.
    pub flags: u32,
    /// The adapter, where the flags say so.
    pub adapter: u32,
    /// All tokens, node after node.
    pub tokens: *const u32,
    /// How many.
    pub token_count: usize,
    /// The nodes, parents before their children.
    pub nodes: *const Node,
    /// How many.
    pub node_count: usize,
    /// The questions.
    pub targets: *const Target,
    /// How many.
    pub target_count: usize,
    /// Each node's row within the update, for random masks; none where nothing is random.
    pub rows: *const u64,
    /// How many: 0 or `node_count`.
    pub row_count: usize,
}

/// A target's answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Score {
    /// Natural log-probability of the asked token.
    pub logprob: f32,
    /// How many tokens have a larger logit.
    pub rank: u32,
    /// The token with the largest logit, the smallest id among equals.
    pub top: u32,
}

/// Room for the answers of a batch.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ScoreOut {
    /// Size and version.
    pub head: Head,
    /// Room for one answer per target.
    pub scores: *mut Score,
    /// How many answers the plugin wrote: it must be the number of targets.
    pub written: usize,
    /// Room for one row of logits per target, the vocabulary long; null where none are wanted.
    pub logits: *mut f32,
    /// How many floats the plugin wrote there.
    pub logits_written: usize,
}

/// The mean over all tokens.
pub const POOLING_MEAN: u32 = 0;
/// The first token's state.
pub const POOLING_CLS: u32 = 1;
/// The last token's state.
pub const POOLING_LAST: u32 = 2;

/// The vectors of texts.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Vectors {
    /// Size and version.
    pub head: Head,
    /// How many floats a vector has.
    pub width: usize,
    /// The floats, one vector after the other, in the order of the nodes.
    pub floats: Bytes,
}

/// A JSON description and, where there are some, tensors.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SpecArgs {
    /// Size and version.
    pub head: Head,
    /// An `AdapterSpec` or a `LearnSpec`.
    pub spec: Text,
    /// An adapter's tensors as a file has them; null where it is newly begun.
    pub weights: *const Weights,
}

/// A sum of losses, and of the weights behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct LossSum {
    /// Size and version.
    pub head: Head,
    /// Sum of weight times loss, in nats.
    pub sum: f64,
    /// Sum of the weights.
    pub weight: f64,
}

/// What an update did.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct UpdateReport {
    /// Size and version.
    pub head: Head,
    /// The norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Not 0 where they were clipped.
    pub clipped: u32,
    /// Not 0 where the step was taken.
    pub applied: u32,
}

/// The parameters that learn.
pub const PART_PARAMETERS: u32 = 0;
/// The optimizer's state.
pub const PART_OPTIMIZER: u32 = 1;

/// Takes tensors one at a time.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Sink {
    /// Size and version.
    pub head: Head,
    /// What `put` is given.
    pub context: *mut c_void,
    /// Takes one tensor, which it copies. Where it fails, the plugin stops and fails too.
    pub put: Option<
        unsafe extern "C" fn(context: *mut c_void, name: Text, tensor: *const Tensor) -> Status,
    >,
}

/// A plugin: what `fidelio_plugin_v1` is.
///
/// Calls on one session never overlap, but may come from different threads. A call that fails
/// changes nothing. Functions of verbs that a plugin lacks may be null.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PluginTable {
    /// Size and version.
    pub head: Head,
    /// What the plugin is and has. Called once, and not for long.
    pub describe: Option<unsafe extern "C" fn(out: *mut Description, error: *mut Error) -> Status>,
    /// Makes a model resident on a device.
    pub open: Option<
        unsafe extern "C" fn(
            args: *const OpenArgs,
            session: *mut *mut c_void,
            error: *mut Error,
        ) -> Status,
    >,
    /// Frees a session, once.
    pub close: Option<unsafe extern "C" fn(session: *mut c_void, error: *mut Error) -> Status>,
    /// Frees bytes that this plugin made.
    pub free: Option<unsafe extern "C" fn(bytes: Bytes)>,
    /// Sizes, and the room that is left.
    pub capacity: Option<
        unsafe extern "C" fn(session: *mut c_void, out: *mut Capacity, error: *mut Error) -> Status,
    >,
    /// Feeds new tokens to rows.
    pub extend: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            args: *const ExtendArgs,
            error: *mut Error,
        ) -> Status,
    >,
    /// A new row that begins with all that `row` has cached.
    pub fork: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            row: u64,
            new_row: *mut u64,
            error: *mut Error,
        ) -> Status,
    >,
    /// Keeps the first `keep` tokens of a row; 0 frees it.
    pub truncate: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            row: u64,
            keep: u64,
            error: *mut Error,
        ) -> Status,
    >,
    /// Answers the targets of a batch.
    pub score: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            batch: *const Batch,
            out: *mut ScoreOut,
            error: *mut Error,
        ) -> Status,
    >,
    /// One vector for each node of a batch.
    pub embed: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            batch: *const Batch,
            pooling: u32,
            out: *mut Vectors,
            error: *mut Error,
        ) -> Status,
    >,
    /// Adds an adapter.
    pub add_adapter: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            args: *const SpecArgs,
            adapter: *mut u32,
            error: *mut Error,
        ) -> Status,
    >,
    /// Forgets an adapter.
    pub remove_adapter: Option<
        unsafe extern "C" fn(session: *mut c_void, adapter: u32, error: *mut Error) -> Status,
    >,
    /// Begins to learn. `parameters` is JSON of what learns: `[{"name": "..", "shape": [2, 3]}]`.
    pub learn: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            args: *const SpecArgs,
            parameters: *mut Bytes,
            error: *mut Error,
        ) -> Status,
    >,
    /// Where memory would go while learning, as JSON; no bytes where the engine cannot say.
    pub footprint: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            args: *const SpecArgs,
            batch: *const Batch,
            micro_batches: u64,
            footprint: *mut Bytes,
            error: *mut Error,
        ) -> Status,
    >,
    /// Adds the gradient of a batch's loss.
    pub accumulate: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            batch: *const Batch,
            loss: *mut LossSum,
            error: *mut Error,
        ) -> Status,
    >,
    /// Takes one step of the optimizer.
    pub update: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            lr: f64,
            weight: f64,
            report: *mut UpdateReport,
            error: *mut Error,
        ) -> Status,
    >,
    /// Writes what `part` names, a `PART_` number.
    pub save: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            part: u32,
            into: *const Sink,
            error: *mut Error,
        ) -> Status,
    >,
    /// Reads what `save` wrote.
    pub restore: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            part: u32,
            from: *const Weights,
            error: *mut Error,
        ) -> Status,
    >,
}
