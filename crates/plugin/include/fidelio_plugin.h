// The plugin interface of Fidelio. Generated from crates/plugin/src/abi.rs by `cargo xtask docs`.
//
// A plugin is a shared library that defines one symbol:
//
//   const FidelioPluginTable fidelio_plugin_v1 = {
//     .head = FIDELIO_HEAD(FidelioPluginTable), .describe = my_describe, ...
//   };
//
// Every struct that begins with a head is given as long as its sender knows it. Memory that a
// plugin makes (FidelioBytes) it frees in `free`; everything else that is given lives until the
// call returns. Texts have a length, and no zero at their end.

#ifndef FIDELIO_PLUGIN_H
#define FIDELIO_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define FIDELIO_EXPORT __declspec(dllexport)
#else
#define FIDELIO_EXPORT __attribute__((visibility("default")))
#endif

// The head of a struct of this type.
#define FIDELIO_HEAD(type) {(uint32_t)sizeof(type), FIDELIO_VERSION}


// The version of this border. A plugin of another version is not loaded.
#define FIDELIO_VERSION 1

// A plugin's session can `extend`.
#define FIDELIO_VERB_EXTEND 1

// It can `fork`.
#define FIDELIO_VERB_FORK (1 << 1)

// It can `truncate`.
#define FIDELIO_VERB_TRUNCATE (1 << 2)

// It can `score`.
#define FIDELIO_VERB_SCORE (1 << 3)

// It can `embed`.
#define FIDELIO_VERB_EMBED (1 << 4)

// It can `add_adapter` and `remove_adapter`.
#define FIDELIO_VERB_ADAPT (1 << 5)

// It can `learn`, `accumulate`, `update`, `save` and `restore`.
#define FIDELIO_VERB_LEARN (1 << 6)

// It can tell the `footprint` of learning.
#define FIDELIO_VERB_FOOTPRINT (1 << 7)

// Its `extend` answers with the largest logits only, where asked. Without this bit it is never
// asked; the host chooses among full logits.
#define FIDELIO_VERB_TOP (1 << 8)

// 32-bit floats.
#define FIDELIO_ENCODING_F32 0

// 16-bit floats.
#define FIDELIO_ENCODING_F16 1

// bfloat16.
#define FIDELIO_ENCODING_BF16 2

// 8-bit integers.
#define FIDELIO_ENCODING_I8 3

// 32-bit integers.
#define FIDELIO_ENCODING_I32 4

// 64-bit integers.
#define FIDELIO_ENCODING_I64 5

// 8-bit integers without sign.
#define FIDELIO_ENCODING_U8 6

// Blocks as GGUF has them; so are those that follow.
#define FIDELIO_ENCODING_Q4_0 7

#define FIDELIO_ENCODING_Q4_1 8

#define FIDELIO_ENCODING_Q5_0 9

#define FIDELIO_ENCODING_Q5_1 10

#define FIDELIO_ENCODING_Q8_0 11

#define FIDELIO_ENCODING_Q2_K 12

#define FIDELIO_ENCODING_Q3_K 13

#define FIDELIO_ENCODING_Q4_K 14

#define FIDELIO_ENCODING_Q5_K 15

#define FIDELIO_ENCODING_Q6_K 16

// The step begins a new row.
#define FIDELIO_STEP_NEW_ROW 1

// The new row is computed with `adapter`.
#define FIDELIO_STEP_ADAPTER (1 << 1)

// Logits are wanted at the last token.
#define FIDELIO_STEP_WANTS_LAST (1 << 2)

// Logits are wanted at every token.
#define FIDELIO_STEP_WANTS_ALL (1 << 3)

// Of those logits the `k` largest are wanted, then those of `also`.
#define FIDELIO_STEP_WANTS_TOP (1 << 4)

// The node continues nothing.
#define FIDELIO_PARENT_ROOT 0

// The node continues an earlier node of the batch: `parent` is its number.
#define FIDELIO_PARENT_NODE 1

// The node continues a cached row: `parent` is its id. The row does not change.
#define FIDELIO_PARENT_CACHED 2

// The log-probability of `token` as the next one is asked.
#define FIDELIO_ASK_TOKEN 0

// Every token of a batch is computed with `adapter`.
#define FIDELIO_BATCH_ADAPTER 1

// The mean over all tokens.
#define FIDELIO_POOLING_MEAN 0

// The first token's state.
#define FIDELIO_POOLING_CLS 1

// The last token's state.
#define FIDELIO_POOLING_LAST 2

// The parameters that learn.
#define FIDELIO_PART_PARAMETERS 0

// The optimizer's state.
#define FIDELIO_PART_OPTIMIZER 1

// How a call ended: one of the `STATUS_` numbers. Any other number is a failure too.
typedef int32_t FidelioStatus;

// First in every table and argument: how many bytes the sender knows, and its version.
typedef struct {
  // Bytes of the whole struct, as its sender was compiled.
  uint32_t size;
  // The sender's `VERSION`.
  uint32_t version;
} FidelioHead;

// Bytes made by a plugin. The host gives them back through the table's `free`.
typedef struct {
  // Where they begin; null where there are none.
  uint8_t *data;
  // How many they are.
  size_t len;
} FidelioBytes;

// What a plugin is and has.
typedef struct {
  // Size and version.
  FidelioHead head;
  // The `VERB_` bits of what its sessions can do.
  uint64_t verbs;
  // `{"name": "..", "about": "..", "devices": [{"id": 0, "name": "..", "memory": null}],
  // "precisions": ["f32"]}`; the device's memory is bytes or null.
  FidelioBytes json;
} FidelioDescription;

// What went wrong: the caller's, empty; filled by whoever does not return `STATUS_OK`.
typedef struct {
  // Size and version.
  FidelioHead head;
  // One sentence, lower case, no period, or JSON where the status says so.
  FidelioBytes text;
  // A number that the status explains.
  uint64_t first;
  // Another.
  uint64_t second;
} FidelioError;

// Borrowed bytes of UTF-8, valid until the call returns. No zero stands at their end.
typedef struct {
  // Where they begin.
  const uint8_t *data;
  // How many they are.
  size_t len;
} FidelioText;

// A tensor as it is stored: rows contiguous, outermost dimension first.
typedef struct {
  // Size and version.
  FidelioHead head;
  // One of the `ENCODING_` numbers.
  uint32_t encoding;
  // How many dimensions `shape` has.
  uint32_t dimensions;
  // Elements per dimension.
  const uint64_t *shape;
  // The numbers, in no particular alignment.
  const uint8_t *data;
  // Bytes of `data`.
  size_t len;
  // What `release` wants; null where nothing is to be released.
  void *owner;
} FidelioTensor;

// Named tensors of the host.
typedef struct {
  // Size and version.
  FidelioHead head;
  // What the functions below are given.
  const void *context;
  // How many tensors there are.
  size_t count;
  // The name of the tensor with that number.
  FidelioStatus (*name)(const void *context, size_t index, FidelioText *name);
  // The tensor of that name. It is borrowed until its `owner` is given to `release`, which may
  // be long after this call and on any thread; a plugin need not copy what it can use as it is.
  FidelioStatus (*get)(const void *context, FidelioText name, FidelioTensor *tensor);
  // Says that a tensor's bytes were copied: memory that mirrors a file may be given back.
  void (*forget)(const void *context, FidelioText name);
  // Gives a tensor back, once.
  void (*release)(void *owner);
} FidelioWeights;

// How to open a model.
typedef struct {
  // Size and version.
  FidelioHead head;
  // The device, as described.
  uint32_t device;
  // An `OpenSpec`: `{"config": {the model's config.json}, "precision": "f32", ..}`.
  FidelioText spec;
  // The model's tensors, to be asked for until the call returns.
  const FidelioWeights *weights;
} FidelioOpenArgs;

// Sizes of a session, and the room it has left.
typedef struct {
  // Size and version.
  FidelioHead head;
  // Token ids are below this.
  uint64_t vocabulary;
  // Tokens that a row may hold.
  uint64_t context;
  // Rows that may still be opened.
  uint64_t rows;
  // Tokens that may still be cached.
  uint64_t tokens;
} FidelioCapacity;

// New tokens for one row.
typedef struct {
  // The row, where it is not a new one.
  uint64_t row;
  // `STEP_` bits.
  uint32_t flags;
  // The adapter, where the flags say so.
  uint32_t adapter;
  // The tokens.
  const uint32_t *tokens;
  // How many.
  size_t token_count;
  // How many of the largest logits, where the flags say so; at most the vocabulary.
  size_t k;
  // Tokens whose logits follow them.
  const uint32_t *also;
  // How many.
  size_t also_count;
} FidelioStep;

// A token at which logits are wanted, and the host's room for them.
typedef struct {
  // The number of the step.
  size_t step;
  // The number of the token within the step.
  size_t token;
  // Room for `len` logits: one per token of the vocabulary, or the largest, descending, ties by
  // smaller id, and then those of `also`.
  float *logits;
  // Room for `len` ids of the tokens that the logits are of; null where all are wanted.
  uint32_t *ids;
  // The vocabulary, or `k + also_count`.
  size_t len;
  // How many logits the plugin wrote: it must be `len`.
  size_t written;
  // The log of the sum of the exponentials of all logits; wanted only where `ids` is not null.
  float logsumexp;
} FidelioPosition;

// Tokens to feed, and room for what is wanted back.
typedef struct {
  // Size and version.
  FidelioHead head;
  // The steps; a row appears at most once.
  const FidelioStep *steps;
  // How many.
  size_t step_count;
  // The row of each step, also where it is new: the plugin writes `step_count` of them.
  uint64_t *rows;
  // Where logits are wanted, in the order of the steps and their tokens.
  FidelioPosition *positions;
  // How many.
  size_t position_count;
} FidelioExtendArgs;

// A run of tokens. A token sees the earlier ones of its node, those of the nodes above it, and
// nothing else.
typedef struct {
  // What the run continues.
  uint64_t parent;
  // A `PARENT_` number.
  uint32_t kind;
  // Where its tokens begin.
  uint32_t start;
  // How many they are.
  uint32_t len;
} FidelioNode;

// A question at a token, which sees itself.
typedef struct {
  // The token asked, by its number in the batch.
  uint32_t at;
  // An `ASK_` number.
  uint32_t ask;
  // The token asked for.
  uint32_t token;
  // Its share in a loss.
  float weight;
  // What belongs together, for the caller.
  uint32_t group;
} FidelioTarget;

// A forest of tokens, and what is asked at them.
typedef struct {
  // Size and version.
  FidelioHead head;
  // `BATCH_` bits.
  uint32_t flags;
  // The adapter, where the flags say so.
  uint32_t adapter;
  // All tokens, node after node.
  const uint32_t *tokens;
  // How many.
  size_t token_count;
  // The nodes, parents before their children.
  const FidelioNode *nodes;
  // How many.
  size_t node_count;
  // The questions.
  const FidelioTarget *targets;
  // How many.
  size_t target_count;
  // Each node's row within the update, for random masks; none where nothing is random.
  const uint64_t *rows;
  // How many: 0 or `node_count`.
  size_t row_count;
} FidelioBatch;

// A target's answer.
typedef struct {
  // Natural log-probability of the asked token.
  float logprob;
  // How many tokens have a larger logit.
  uint32_t rank;
  // The token with the largest logit, the smallest id among equals.
  uint32_t top;
} FidelioScore;

// Room for the answers of a batch.
typedef struct {
  // Size and version.
  FidelioHead head;
  // Room for one answer per target.
  FidelioScore *scores;
  // How many answers the plugin wrote: it must be the number of targets.
  size_t written;
  // Room for one row of logits per target, the vocabulary long; null where none are wanted.
  float *logits;
  // How many floats the plugin wrote there.
  size_t logits_written;
} FidelioScoreOut;

// The vectors of texts.
typedef struct {
  // Size and version.
  FidelioHead head;
  // How many floats a vector has.
  size_t width;
  // The floats, one vector after the other, in the order of the nodes.
  FidelioBytes floats;
} FidelioVectors;

// A JSON description and, where there are some, tensors.
typedef struct {
  // Size and version.
  FidelioHead head;
  // An `AdapterSpec` or a `LearnSpec`.
  FidelioText spec;
  // An adapter's tensors as a file has them; null where it is newly begun.
  const FidelioWeights *weights;
} FidelioSpecArgs;

// A sum of losses, and of the weights behind it.
typedef struct {
  // Size and version.
  FidelioHead head;
  // Sum of weight times loss, in nats.
  double sum;
  // Sum of the weights.
  double weight;
} FidelioLossSum;

// What an update did.
typedef struct {
  // Size and version.
  FidelioHead head;
  // The norm of all gradients together, before clipping.
  double gradient_norm;
  // Not 0 where they were clipped.
  uint32_t clipped;
  // Not 0 where the step was taken.
  uint32_t applied;
} FidelioUpdateReport;

// Takes tensors one at a time.
typedef struct {
  // Size and version.
  FidelioHead head;
  // What `put` is given.
  void *context;
  // Takes one tensor, which it copies. Where it fails, the plugin stops and fails too.
  FidelioStatus (*put)(void *context, FidelioText name, const FidelioTensor *tensor);
} FidelioSink;

// A plugin: what `fidelio_plugin_v1` is.
//
// Calls on one session never overlap, but may come from different threads. A call that fails
// changes nothing. Functions of verbs that a plugin lacks may be null.
typedef struct {
  // Size and version.
  FidelioHead head;
  // What the plugin is and has. Called once, and not for long.
  FidelioStatus (*describe)(FidelioDescription *out, FidelioError *error);
  // Makes a model resident on a device.
  FidelioStatus (*open)(const FidelioOpenArgs *args, void **session, FidelioError *error);
  // Frees a session, once.
  FidelioStatus (*close)(void *session, FidelioError *error);
  // Frees bytes that this plugin made.
  void (*free)(FidelioBytes bytes);
  // Sizes, and the room that is left.
  FidelioStatus (*capacity)(void *session, FidelioCapacity *out, FidelioError *error);
  // Feeds new tokens to rows.
  FidelioStatus (*extend)(void *session, const FidelioExtendArgs *args, FidelioError *error);
  // A new row that begins with all that `row` has cached.
  FidelioStatus (*fork)(void *session, uint64_t row, uint64_t *new_row, FidelioError *error);
  // Keeps the first `keep` tokens of a row; 0 frees it.
  FidelioStatus (*truncate)(void *session, uint64_t row, uint64_t keep, FidelioError *error);
  // Answers the targets of a batch.
  FidelioStatus (*score)(void *session,
                         const FidelioBatch *batch,
                         FidelioScoreOut *out,
                         FidelioError *error);
  // One vector for each node of a batch.
  FidelioStatus (*embed)(void *session,
                         const FidelioBatch *batch,
                         uint32_t pooling,
                         FidelioVectors *out,
                         FidelioError *error);
  // Adds an adapter.
  FidelioStatus (*add_adapter)(void *session,
                               const FidelioSpecArgs *args,
                               uint32_t *adapter,
                               FidelioError *error);
  // Forgets an adapter.
  FidelioStatus (*remove_adapter)(void *session, uint32_t adapter, FidelioError *error);
  // Begins to learn. `parameters` is JSON of what learns: `[{"name": "..", "shape": [2, 3]}]`.
  FidelioStatus (*learn)(void *session,
                         const FidelioSpecArgs *args,
                         FidelioBytes *parameters,
                         FidelioError *error);
  // Where memory would go while learning, as JSON; no bytes where the engine cannot say.
  FidelioStatus (*footprint)(void *session,
                             const FidelioSpecArgs *args,
                             const FidelioBatch *batch,
                             uint64_t micro_batches,
                             FidelioBytes *footprint,
                             FidelioError *error);
  // Adds the gradient of a batch's loss.
  FidelioStatus (*accumulate)(void *session,
                              const FidelioBatch *batch,
                              FidelioLossSum *loss,
                              FidelioError *error);
  // Takes one step of the optimizer.
  FidelioStatus (*update)(void *session,
                          double lr,
                          double weight,
                          FidelioUpdateReport *report,
                          FidelioError *error);
  // Writes what `part` names, a `PART_` number.
  FidelioStatus (*save)(void *session,
                        uint32_t part,
                        const FidelioSink *into,
                        FidelioError *error);
  // Reads what `save` wrote.
  FidelioStatus (*restore)(void *session,
                           uint32_t part,
                           const FidelioWeights *from,
                           FidelioError *error);
} FidelioPluginTable;

// It is done.
#define FIDELIO_STATUS_OK 0

// It failed; the error's text says how, in the engine's own words.
#define FIDELIO_STATUS_FAILED 1

// The device is not present: `first` is its number, the text says why.
#define FIDELIO_STATUS_NO_DEVICE 2

// The architecture is unknown; the text is JSON: `{"model_type": "..", "supported": [".."]}`.
#define FIDELIO_STATUS_ARCHITECTURE 3

// A value of the model's config.json cannot be honored: `{"key": "..", "problem": ".."}`.
#define FIDELIO_STATUS_MODEL_CONFIG 4

// Tensors do not fit the model: `{"problems": [".."]}`, one sentence each.
#define FIDELIO_STATUS_WEIGHTS 5

// A tensor could not be read: `{"name": "..", "reason": ".."}`.
#define FIDELIO_STATUS_READ_TENSOR 6

// Row `first` does not exist.
#define FIDELIO_STATUS_NO_ROW 7

// Token `first` is outside the vocabulary of `second`.
#define FIDELIO_STATUS_NO_TOKEN 8

// The batch is not a well-formed forest; the text says where.
#define FIDELIO_STATUS_FOREST 9

// `first` tokens do not fit the context of `second`.
#define FIDELIO_STATUS_CONTEXT 10

// `first` tokens are needed in the cache, `second` are free.
#define FIDELIO_STATUS_CACHE_FULL 11

// All `first` rows are in use.
#define FIDELIO_STATUS_ROWS_FULL 12

// Adapter `first` does not exist.
#define FIDELIO_STATUS_NO_ADAPTER 13

// An adapter or a way of learning does not fit: `{"what": "..", "help": ".."}`.
#define FIDELIO_STATUS_ADAPTER 14

// Arithmetic that the engine lacks: `{"precision": "..", "known": [".."]}`.
#define FIDELIO_STATUS_PRECISION 15

// The engine lacks a verb: `first` is its `VERB_` bit.
#define FIDELIO_STATUS_VERB 16

// Models of this kind lack a verb: `first` is its bit; `{"model_type": "..", "reason": ".."}`.
#define FIDELIO_STATUS_NOT_OF_MODEL 17

// The pooling makes no sense for the model: `first` is its `POOLING_` number, the text says why.
#define FIDELIO_STATUS_POOLING 18

// The engine panicked. Its session answers nothing from now on.
#define FIDELIO_STATUS_PANICKED 100

// The session panicked before.
#define FIDELIO_STATUS_POISONED 101

// The session is closed, or never was.
#define FIDELIO_STATUS_CLOSED 102

// The caller broke the rules of this border; the text says which.
#define FIDELIO_STATUS_MISUSE 103

#endif  /* FIDELIO_PLUGIN_H */


#ifdef __cplusplus
extern "C" {
#endif
// What a plugin defines.
extern FIDELIO_EXPORT const FidelioPluginTable fidelio_plugin_v1;
#ifdef __cplusplus
}
#endif
