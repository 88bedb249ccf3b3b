// A language model of two tables as a plugin: the logits of the next token are a row of one table,
// chosen by the last token, plus a row of the other, chosen by the token before it.
#include "fidelio_plugin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, CELLS = 4096, CONTEXT = 512, NO_TOKEN = -1, NO_CELL = -1 };

// A cached token. It knows the one before it, so that rows share what they have in common.
typedef struct { uint32_t token; int before, users; } Cell;
typedef struct { int open, end; size_t len; } Row;
typedef struct {
  size_t vocabulary;
  float *last, *before; // [vocabulary, vocabulary]
  Cell cells[CELLS];
  Row rows[ROWS];
  uint64_t ids[ROWS], next_id; // ids are never used again
  size_t used_cells, used_rows;
} Session;

// Bytes for the host, which gives them back to `free_bytes`.
static FidelioBytes made(const char *text) {
  size_t len = strlen(text);
  uint8_t *copy = malloc(len + 1);
  return copy ? memcpy(copy, text, len), (FidelioBytes){copy, len} : (FidelioBytes){NULL, 0};
}

static FidelioStatus fail(FidelioError *error, FidelioStatus status, const char *text,
                          uint64_t first, uint64_t second) {
  error->text = made(text);
  error->first = first, error->second = second;
  return status;
}

static void free_bytes(FidelioBytes bytes) { free(bytes.data); }

static FidelioStatus describe(FidelioDescription *out, FidelioError *error) {
  (void)error;
  out->verbs = FIDELIO_VERB_EXTEND | FIDELIO_VERB_FORK | FIDELIO_VERB_TRUNCATE | FIDELIO_VERB_SCORE;
  out->json = made("{\"name\":\"example-c\",\"about\":\"an example in C: n-grams\",\"devices\":"
                     "[{\"id\":0,\"name\":\"CPU\",\"memory\":null}],\"precisions\":[\"f32\"]}");
  return FIDELIO_STATUS_OK;
}

// Whether the spec, which is JSON without spaces, says exactly this.
static int says(FidelioText spec, const char *what) {
  size_t len = strlen(what);
  for (size_t i = 0; i + len <= spec.len; i++)
    if (!memcmp(spec.data + i, what, len)) return 1;
  return 0;
}

// A copy of a square table of floats, or null.
static float *table(const FidelioWeights *weights, const char *name, size_t *side) {
  FidelioTensor tensor = {.head = FIDELIO_HEAD(FidelioTensor)};
  FidelioText text = {(const uint8_t *)name, strlen(name)};
  if (weights->get(weights->context, text, &tensor) != FIDELIO_STATUS_OK) return NULL;
  float *copy = NULL;
  int square = tensor.dimensions == 2 && tensor.shape[0] == tensor.shape[1] && tensor.len > 0;
  if (tensor.encoding == FIDELIO_ENCODING_F32 && square && (copy = malloc(tensor.len)))
    memcpy(copy, tensor.data, tensor.len), *side = tensor.shape[0];
  weights->release(tensor.owner);
  return copy;
}

static FidelioStatus close_session(void *session, FidelioError *error) {
  (void)error;
  free(((Session *)session)->last), free(((Session *)session)->before), free(session);
  return FIDELIO_STATUS_OK;
}

static FidelioStatus open_session(const FidelioOpenArgs *args, void **session, FidelioError *error) {
  if (args->device != 0)
    return fail(error, FIDELIO_STATUS_NO_DEVICE, "it has device 0 only", args->device, 0);
  if (!says(args->spec, "\"model_type\":\"ngram\""))
    return fail(error, FIDELIO_STATUS_ARCHITECTURE,
                "{\"model_type\":\"unknown\",\"supported\":[\"ngram\"]}", 0, 0);
  if (!says(args->spec, "\"precision\":\"f32\"") || !says(args->spec, "\"quantization\":null") ||
      !says(args->spec, "\"rotary\":null") || !says(args->spec, "\"cached_tokens\":null"))
    return fail(error, FIDELIO_STATUS_FAILED, "this engine has only its plain settings", 0, 0);
  Session *s = calloc(1, sizeof(Session));
  size_t other = 0;
  if (!s) return fail(error, FIDELIO_STATUS_FAILED, "no memory for a session", 0, 0);
  s->last = table(args->weights, "last.weight", &s->vocabulary);
  s->before = table(args->weights, "before.weight", &other);
  if (args->weights->count != 2 || !s->last || !s->before || other != s->vocabulary) {
    close_session(s, error);
    return fail(error, FIDELIO_STATUS_WEIGHTS, "{\"problems\":[\"a model is `last.weight` and "
                "`before.weight`, floats in squares of one size\"]}", 0, 0);
  }
  *session = s;
  return FIDELIO_STATUS_OK;
}

static FidelioStatus capacity(void *session, FidelioCapacity *out, FidelioError *error) {
  (void)error;
  Session *s = session;
  out->vocabulary = s->vocabulary, out->context = CONTEXT;
  out->rows = ROWS - s->used_rows, out->tokens = CELLS - s->used_cells;
  return FIDELIO_STATUS_OK;
}

static Row *find(Session *s, uint64_t id) {
  for (int i = 0; i < ROWS; i++)
    if (s->rows[i].open && s->ids[i] == id) return &s->rows[i];
  return NULL;
}

// Opens a copy of a row; there is room, as the caller has made sure.
static Row *open_row(Session *s, Row copy) {
  int i = 0;
  while (s->rows[i].open) i++;
  if (copy.end != NO_CELL) s->cells[copy.end].users++;
  s->rows[i] = copy, s->rows[i].open = 1;
  s->ids[i] = s->next_id++, s->used_rows++;
  return &s->rows[i];
}

static void release(Session *s, int cell) {
  for (; cell != NO_CELL && --s->cells[cell].users == 0; cell = s->cells[cell].before)
    s->used_cells--;
}

static void push(Session *s, Row *row, uint32_t token) {
  int i = 0;
  while (s->cells[i].users) i++;
  s->cells[i] = (Cell){token, row->end, 1}; // the row's claim on its end becomes the cell's
  row->end = i, row->len++, s->used_cells++;
}

static void logits_at(const Session *s, uint32_t last, int64_t before, float *out) {
  for (size_t i = 0; i < s->vocabulary; i++)
    out[i] = s->last[last * s->vocabulary + i] +
             (before == NO_TOKEN ? 0 : s->before[before * s->vocabulary + i]);
}

static FidelioStatus check_tokens(const Session *s, const uint32_t *tokens, size_t count,
                                  FidelioError *error) {
  for (size_t i = 0; i < count; i++)
    if (tokens[i] >= s->vocabulary)
      return fail(error, FIDELIO_STATUS_NO_TOKEN, "", tokens[i], s->vocabulary);
  return FIDELIO_STATUS_OK;
}

static FidelioStatus extend(void *session, const FidelioExtendArgs *args, FidelioError *error) {
  Session *s = session;
  size_t needed = 0, new_rows = 0;
  for (size_t i = 0; i < args->step_count; i++) { // everything is checked before anything changes
    const FidelioStep *step = &args->steps[i];
    int is_new = (step->flags & FIDELIO_STEP_NEW_ROW) != 0;
    Row *row = is_new ? NULL : find(s, step->row);
    if (!is_new && !row) return fail(error, FIDELIO_STATUS_NO_ROW, "", step->row, 0);
    if (step->flags & FIDELIO_STEP_ADAPTER)
      return fail(error, FIDELIO_STATUS_NO_ADAPTER, "", step->adapter, 0);
    if (!step->token_count) return fail(error, FIDELIO_STATUS_FAILED, "a step has no tokens", 0, 0);
    for (size_t j = 0; j < i; j++)
      if (!is_new && !(args->steps[j].flags & FIDELIO_STEP_NEW_ROW) &&
          args->steps[j].row == step->row)
        return fail(error, FIDELIO_STATUS_FAILED, "a row appears twice", 0, 0);
    if (step->token_count + (row ? row->len : 0) > CONTEXT)
      return fail(error, FIDELIO_STATUS_CONTEXT, "", step->token_count + (row ? row->len : 0), CONTEXT);
    FidelioStatus status = check_tokens(s, step->tokens, step->token_count, error);
    if (status != FIDELIO_STATUS_OK) return status;
    needed += step->token_count, new_rows += is_new;
  }
  if (needed > CELLS - s->used_cells)
    return fail(error, FIDELIO_STATUS_CACHE_FULL, "", needed, CELLS - s->used_cells);
  if (new_rows > ROWS - s->used_rows) return fail(error, FIDELIO_STATUS_ROWS_FULL, "", ROWS, 0);
  FidelioPosition *at = args->positions, *end = at + args->position_count;
  for (size_t i = 0; i < args->step_count; i++) {
    const FidelioStep *step = &args->steps[i];
    Row *row = step->flags & FIDELIO_STEP_NEW_ROW ? open_row(s, (Row){0, NO_CELL, 0})
                                                  : find(s, step->row);
    args->rows[i] = s->ids[row - s->rows];
    for (size_t t = 0; t < step->token_count; t++) {
      int64_t before = row->end == NO_CELL ? NO_TOKEN : (int64_t)s->cells[row->end].token;
      push(s, row, step->tokens[t]);
      if (at < end && at->step == i && at->token == t) { // positions come in this order
        logits_at(s, step->tokens[t], before, at->logits);
        at->written = at->len, at++;
      }
    }
  }
  return FIDELIO_STATUS_OK;
}

static FidelioStatus fork_row(void *session, uint64_t id, uint64_t *new_id, FidelioError *error) {
  Session *s = session;
  Row *row = find(s, id);
  if (!row) return fail(error, FIDELIO_STATUS_NO_ROW, "", id, 0);
  if (s->used_rows == ROWS) return fail(error, FIDELIO_STATUS_ROWS_FULL, "", ROWS, 0);
  *new_id = s->ids[open_row(s, *row) - s->rows];
  return FIDELIO_STATUS_OK;
}

static FidelioStatus truncate_row(void *session, uint64_t id, uint64_t keep, FidelioError *error) {
  Session *s = session;
  Row *row = find(s, id);
  if (!row) return fail(error, FIDELIO_STATUS_NO_ROW, "", id, 0);
  if (keep > row->len) return fail(error, FIDELIO_STATUS_FAILED, "the row is shorter", 0, 0);
  int end = row->end;
  for (; row->len > keep; row->len--) end = s->cells[end].before;
  if (end != NO_CELL) s->cells[end].users++; // claimed before the old end is given up
  release(s, row->end);
  row->end = end;
  if (!keep) row->open = 0, s->used_rows--;
  return FIDELIO_STATUS_OK;
}

// Fills `before` with the token before each one (or none) and `depth` with its position.
static FidelioStatus walk(Session *s, const FidelioBatch *batch, int64_t *before, size_t *depth,
                          FidelioError *error) {
  size_t next = 0;
  for (size_t n = 0; n < batch->node_count; n++) {
    const FidelioNode *node = &batch->nodes[n];
    if (!node->len || node->start != next || node->len > batch->token_count - next ||
        (node->kind == FIDELIO_PARENT_NODE && node->parent >= n))
      return fail(error, FIDELIO_STATUS_FOREST, "a node is empty or out of place", 0, 0);
    int64_t previous = NO_TOKEN;
    size_t position = 0;
    if (node->kind == FIDELIO_PARENT_NODE) {
      size_t end = batch->nodes[node->parent].start + batch->nodes[node->parent].len - 1;
      previous = batch->tokens[end], position = depth[end] + 1;
    } else if (node->kind == FIDELIO_PARENT_CACHED) {
      Row *row = find(s, node->parent);
      if (!row) return fail(error, FIDELIO_STATUS_NO_ROW, "", node->parent, 0);
      previous = s->cells[row->end].token, position = row->len;
    }
    for (size_t t = next; t < next + node->len; t++)
      before[t] = previous, depth[t] = position++, previous = batch->tokens[t];
    if (position > CONTEXT) return fail(error, FIDELIO_STATUS_CONTEXT, "", position, CONTEXT);
    next += node->len;
  }
  if (next != batch->token_count)
    return fail(error, FIDELIO_STATUS_FOREST, "tokens stand outside of all nodes", 0, 0);
  return FIDELIO_STATUS_OK;
}

static FidelioScore answer(const float *logits, size_t vocabulary, uint32_t asked) {
  FidelioScore score = {0};
  double sum = 0;
  for (size_t i = 0; i < vocabulary; i++) {
    if (logits[i] > logits[score.top]) score.top = i;
    score.rank += logits[i] > logits[asked];
  }
  for (size_t i = 0; i < vocabulary; i++) sum += exp(logits[i] - logits[score.top]);
  score.logprob = logits[asked] - logits[score.top] - log(sum);
  return score;
}

static FidelioStatus score(void *session, const FidelioBatch *batch, FidelioScoreOut *out,
                           FidelioError *error) {
  Session *s = session;
  if (batch->flags & FIDELIO_BATCH_ADAPTER)
    return fail(error, FIDELIO_STATUS_NO_ADAPTER, "", batch->adapter, 0);
  size_t count = batch->token_count, v = s->vocabulary;
  int64_t *before = malloc((count + 1) * sizeof *before);
  size_t *depth = malloc((count + 1) * sizeof *depth);
  float *logits = malloc(v * sizeof *logits);
  FidelioStatus status = before && depth && logits ? check_tokens(s, batch->tokens, count, error)
    : fail(error, FIDELIO_STATUS_FAILED, "no memory for a batch", 0, 0);
  if (status == FIDELIO_STATUS_OK) status = walk(s, batch, before, depth, error);
  for (size_t i = 0; status == FIDELIO_STATUS_OK && i < batch->target_count; i++) {
    const FidelioTarget *target = &batch->targets[i];
    if (target->at >= count || target->ask != FIDELIO_ASK_TOKEN)
      status = fail(error, FIDELIO_STATUS_FOREST, "a target asks what cannot be answered", 0, 0);
    else if ((status = check_tokens(s, &target->token, 1, error)) == FIDELIO_STATUS_OK) {
      logits_at(s, batch->tokens[target->at], before[target->at], logits);
      out->scores[i] = answer(logits, v, target->token);
      if (out->logits) memcpy(out->logits + i * v, logits, v * sizeof *logits);
      if (out->logits) out->logits_written += v;
      out->written++;
    }
  }
  free(before), free(depth), free(logits);
  return status;
}

const FidelioPluginTable fidelio_plugin_v1 = {
  .head = FIDELIO_HEAD(FidelioPluginTable),
  .describe = describe,
  .open = open_session,
  .close = close_session,
  .free = free_bytes,
  .capacity = capacity,
  .extend = extend,
  .fork = fork_row,
  .truncate = truncate_row,
  .score = score,
};
