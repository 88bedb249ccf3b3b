// A plugin that is wrong in one way, which FAULT names. Without a fault it is right, and does little.
#include "fidelio_plugin.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  NONE, WRONG_VERSION, SHORT_TABLE, NO_FREE, CLAIMS_LEARN, HANGS, NOT_JSON, NO_DEVICE, NO_VERB,
  REFUSES, TEXT_WITH_ZERO, TEXT_OF_NULL, LONG_TEXT, STRANGE_STATUS, NULL_SESSION, NO_VOCABULARY,
  NO_ROWS, SAME_ROW, FEW_LOGITS, MANY_LOGITS, NO_FORK, FEW_SCORES, STRANGE_TOP, FEW_SCORE_LOGITS,
  WIDE_VECTORS, SHORT_VECTORS, NO_VECTORS, PARAMETERS
};

#ifndef FAULT
#define FAULT NONE
#endif

static FidelioBytes bytes(const void *data, size_t len) {
  FidelioBytes made = {malloc(len ? len : 1), len};
  memcpy(made.data, data, len);
  return made;
}

static void free_bytes(FidelioBytes made) { free(made.data); }

static FidelioStatus fails(FidelioError *error) {
  if (FAULT == TEXT_WITH_ZERO) error->text = bytes("half\0 \033[31mred \377", 16);
  if (FAULT == TEXT_OF_NULL) error->text.len = 1000;
  if (FAULT == LONG_TEXT) {
    error->text = bytes("", 0);
    error->text.len = (size_t)1 << 40;
  }
  return FAULT == STRANGE_STATUS ? -12345 : FIDELIO_STATUS_FAILED;
}

static FidelioStatus describe(FidelioDescription *out, FidelioError *error) {
  if (FAULT == HANGS) for (;;) sleep(1000);
  if (FAULT == REFUSES) {
    error->text = bytes("no license", 10);
    return FIDELIO_STATUS_FAILED;
  }
  out->verbs = FIDELIO_VERB_EXTEND | FIDELIO_VERB_FORK | FIDELIO_VERB_SCORE | FIDELIO_VERB_EMBED;
  if (FAULT == PARAMETERS || FAULT == CLAIMS_LEARN) out->verbs |= FIDELIO_VERB_LEARN;
  if (FAULT == NO_VERB) out->verbs = 0;
  const char *json = FAULT == NOT_JSON ? "name: hostile"
    : FAULT == NO_DEVICE ? "{\"name\":\"h\",\"about\":\"\",\"devices\":[],\"precisions\":[\"f32\"]}"
    : "{\"name\":\"h\",\"about\":\"wrong on purpose\",\"precisions\":[\"f32\"],"
      "\"devices\":[{\"id\":0,\"name\":\"cpu\",\"memory\":null}]}";
  out->json = bytes(json, strlen(json));
  return FIDELIO_STATUS_OK;
}

static FidelioStatus open_model(const FidelioOpenArgs *args, void **session, FidelioError *error) {
  (void)args;
  if (FAULT >= TEXT_WITH_ZERO && FAULT <= STRANGE_STATUS) return fails(error);
  *session = FAULT == NULL_SESSION ? NULL : malloc(1);
  return FIDELIO_STATUS_OK;
}

static FidelioStatus close_model(void *session, FidelioError *error) {
  (void)error;
  free(session);
  return FIDELIO_STATUS_OK;
}

static FidelioStatus capacity(void *session, FidelioCapacity *out, FidelioError *error) {
  (void)session, (void)error;
  out->vocabulary = FAULT == NO_VOCABULARY ? 0 : 8;
  out->context = out->rows = out->tokens = 64;
  return FIDELIO_STATUS_OK;
}

static FidelioStatus extend(void *session, const FidelioExtendArgs *args, FidelioError *error) {
  (void)session, (void)error;
  for (size_t i = 0; i < args->step_count; i++)
    if (FAULT != NO_ROWS) args->rows[i] = FAULT == SAME_ROW ? 7 : i;
  for (size_t i = 0; i < args->position_count; i++) {
    FidelioPosition *at = &args->positions[i];
    at->written = at->len + (FAULT == MANY_LOGITS) - (FAULT == FEW_LOGITS);
  }
  return FIDELIO_STATUS_OK;
}

static FidelioStatus fork_row(void *session, uint64_t row, uint64_t *new_row, FidelioError *error) {
  (void)session, (void)error;
  if (FAULT != NO_FORK) *new_row = row + 1;
  return FIDELIO_STATUS_OK;
}

static FidelioStatus score(void *session, const FidelioBatch *batch, FidelioScoreOut *out,
                           FidelioError *error) {
  (void)session, (void)error;
  out->written = batch->target_count - (FAULT == FEW_SCORES);
  if (FAULT == STRANGE_TOP) out->scores[0].top = 1000;
  if (out->logits) out->logits_written = batch->target_count * 8 - (FAULT == FEW_SCORE_LOGITS);
  return FIDELIO_STATUS_OK;
}

static FidelioStatus embed(void *session, const FidelioBatch *batch, uint32_t pooling,
                           FidelioVectors *out, FidelioError *error) {
  (void)session, (void)pooling, (void)error;
  static const float zeros[64];
  out->width = FAULT == WIDE_VECTORS ? SIZE_MAX / 8 : FAULT == NO_VECTORS ? 0 : 4;
  out->floats = bytes(zeros, batch->node_count * 16 - (FAULT == SHORT_VECTORS));
  return FIDELIO_STATUS_OK;
}

static FidelioStatus learn(void *session, const FidelioSpecArgs *args, FidelioBytes *parameters,
                           FidelioError *error) {
  (void)session, (void)args, (void)error;
  *parameters = bytes("[{\"name\":1}]", 12);
  return FIDELIO_STATUS_OK;
}

static FidelioStatus accumulate(void *session, const FidelioBatch *batch, FidelioLossSum *loss,
                                FidelioError *error) {
  (void)session, (void)batch, (void)loss, (void)error;
  return FIDELIO_STATUS_FAILED;
}

static FidelioStatus update(void *session, double lr, double weight, FidelioUpdateReport *report,
                            FidelioError *error) {
  (void)session, (void)lr, (void)weight, (void)report, (void)error;
  return FIDELIO_STATUS_FAILED;
}

static FidelioStatus save(void *session, uint32_t part, const FidelioSink *into,
                          FidelioError *error) {
  (void)session, (void)part, (void)into, (void)error;
  return FIDELIO_STATUS_FAILED;
}

static FidelioStatus restore(void *session, uint32_t part, const FidelioWeights *from,
                             FidelioError *error) {
  (void)session, (void)part, (void)from, (void)error;
  return FIDELIO_STATUS_FAILED;
}

#ifdef NO_SYMBOL
#define fidelio_plugin_v1 another_name
FIDELIO_EXPORT
#endif
const FidelioPluginTable fidelio_plugin_v1 = {
  .head = {FAULT == SHORT_TABLE ? 64 : sizeof(FidelioPluginTable),
           FAULT == WRONG_VERSION ? 7 : FIDELIO_VERSION},
  .describe = describe,
  .open = open_model,
  .close = close_model,
  .free = FAULT == NO_FREE ? NULL : free_bytes,
  .capacity = capacity,
  .extend = extend,
  .fork = fork_row,
  .score = score,
  .embed = embed,
  .learn = FAULT == CLAIMS_LEARN ? NULL : learn,
  .accumulate = accumulate,
  .update = update,
  .save = save,
  .restore = restore,
};
