/* Going on from a checkpoint: nothing of the file is believed that is not checked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/checkpoint.h"

struct tinytl_resume {
  tinytl_sealed_file file;
  const char *version, *kernels;
};

/* ---- Opening ------------------------------------------------------------------------------ */

static tinytl_status open_file(tinytl_resume *r, const tinytl_source *source, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  TINYTL_TRY(tinytl_sealed_open(&r->file, source, TINYTL_CHECKPOINT_FORMAT, error));
  TINYTL_TRY(
      tinytl_safetensors_need_meta(r->file.header, "tinytl.version", where, &r->version, error));
  return tinytl_safetensors_need_meta(r->file.header, "tinytl.kernels", where, &r->kernels, error);
}

tinytl_status tinytl_resume_open(const tinytl_source *source, tinytl_resume **resume,
                                 tinytl_error *error) {
  tinytl_resume *opened = calloc(1, sizeof *opened);
  if (!opened) return tinytl_fail_memory(error, sizeof *opened);
  const tinytl_status status = open_file(opened, source, error);
  if (status != TINYTL_OK)
    tinytl_resume_free(opened);
  else
    *resume = opened;
  return status;
}

void tinytl_resume_free(tinytl_resume *resume) {
  if (!resume) return;
  tinytl_sealed_close(&resume->file);
  free(resume);
}

/* ---- Of this run -------------------------------------------------------------------------- */

tinytl_status tinytl_resume_choose(const tinytl_resume *r, tinytl_train_options *options,
                                   tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *run = NULL;
  TINYTL_TRY(tinytl_sealed_object(&r->file, "tinytl.run", where, &run, error));
  const char *method_name = json_string_value(json_object_get(run, "method"));
  const char *optimizer_name = json_string_value(json_object_get(run, "optimizer"));
  tinytl_method method;
  tinytl_optimizer optimizer;
  const bool known = method_name && tinytl_method_parse(method_name, &method) &&
                     method != TINYTL_METHOD_AUTO && optimizer_name &&
                     tinytl_optimizer_parse(optimizer_name, &optimizer);
  if (known && options->method == TINYTL_METHOD_AUTO) options->method = method;
  if (known && options->optimizer == TINYTL_OPTIMIZER_AUTO) options->optimizer = optimizer;
  json_decref(run);
  if (known) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a known method and optimizer", where);
}

static tinytl_status check_identity(const tinytl_resume *r, const tinytl_checkpoint *c,
                                    tinytl_error *error) {
  const char *ours = c->trainer->network->backbone->sha256, *theirs = NULL;
  char where[TINYTL_ST_WHERE];
  TINYTL_TRY(
      tinytl_safetensors_need_meta(r->file.header, "tinytl.backbone", where, &theirs, error));
  if (strcmp(ours, theirs) != 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s is of a run on another backbone: its sha256 is %.64s, this run's is %s",
                       r->file.source->name, theirs, ours);
  /* The seed may decide the pictures, and both the schedule. */
  TINYTL_TRY(tinytl_sealed_compare(&r->file, "tinytl.run", c->identity.run, TINYTL_ERROR_USAGE,
                                   "a run with other options", error));
  TINYTL_TRY(tinytl_sealed_compare(&r->file, "tinytl.data", c->identity.data, TINYTL_ERROR_MODEL,
                                   "a run on other pictures", error));
  return tinytl_sealed_compare(&r->file, "tinytl.schedule", c->identity.schedule,
                               TINYTL_ERROR_USAGE, "a run with another schedule", error);
}

/* ---- State -------------------------------------------------------------------------------- */

static tinytl_status read_scores(const json_t *state, const char *where, tinytl_position *at,
                                 tinytl_error *error) {
  float scores[3]; /* val_top1, best.top1, best.noise */
  TINYTL_TRY(tinytl_json_floats(state, "scores", 3, where, scores, error));
  for (int i = 0; i < 3; i++)
    if (!(scores[i] >= 0 && scores[i] <= 1))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: scores must be 0 to 1, found %g", where,
                         (double)scores[i]);
  at->val_top1 = scores[0];
  at->best = (tinytl_score){scores[1], scores[2]};
  return TINYTL_OK;
}

static tinytl_status parse_state(const json_t *state, const char *where, tinytl_checkpoint *c,
                                 tinytl_error *error) {
  tinytl_trainer *t = c->trainer;
  tinytl_position *at = &c->at;
  const int n_images = t->train->n_images, n_epochs = t->rules.epochs;
  const json_t *loss = json_object_get(state, "loss_sum");
  size_t step;
  TINYTL_TRY(tinytl_json_int(state, "epoch", 1, n_epochs + 1, where, &at->epoch, error));
  const int max_fed = at->epoch <= n_epochs ? n_images : 0;
  TINYTL_TRY(tinytl_json_int(state, "images", 0, max_fed, where, &at->n_fed, error));
  TINYTL_TRY(tinytl_json_int(state, "train_images", 0, n_images, where, &at->n_train, error));
  const int done = at->epoch - 1; /* of the first epoch something is kept */
  TINYTL_TRY(tinytl_json_int(state, "best_epoch", done > 0, done, where, &at->best_epoch, error));
  TINYTL_TRY(
      tinytl_json_int(state, "epochs_without_gain", 0, done, where, &at->n_without_gain, error));
  if (!json_is_number(loss) || !tinytl_json_size(json_object_get(state, "updates"), &step) ||
      step > t->n_steps)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected a number \"loss_sum\" and up to %llu \"updates\"", where,
                       (unsigned long long)t->n_steps);
  at->loss_sum = json_number_value(loss);
  t->optimizer.step = step;
  return t->val && done > 0 ? read_scores(state, where, at, error) : TINYTL_OK;
}

static tinytl_status read_state(const tinytl_resume *r, tinytl_checkpoint *c, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *state = NULL;
  TINYTL_TRY(tinytl_sealed_object(&r->file, "tinytl.state", where, &state, error));
  const tinytl_status status = parse_state(state, where, c, error);
  json_decref(state);
  return status;
}

static tinytl_status read_vector(const tinytl_resume *r, tinytl_trainer *t,
                                 const tinytl_vector *vector, tinytl_error *error) {
  uint64_t from;
  TINYTL_TRY(tinytl_sealed_find(&r->file, vector->name, vector->dtype, vector->n, &from, error));
  if (vector->data) return tinytl_sealed_read(&r->file, from, vector->data, vector->nbytes, error);
  char chunk[TINYTL_SEALED_CHUNK];
  for (size_t done = 0; done < vector->nbytes;) {
    const size_t left = vector->nbytes - done, n = left < sizeof chunk ? left : sizeof chunk;
    TINYTL_TRY(tinytl_sealed_read(&r->file, from + done, chunk, n, error));
    TINYTL_TRY(tinytl_trainer_write_best(t, done, chunk, n, error));
    done += n;
  }
  return TINYTL_OK;
}

/* Any other byte in a bool is undefined behaviour. */
static tinytl_status check_flags(const tinytl_resume *r, const tinytl_vector *vector,
                                 tinytl_error *error) {
  const unsigned char *flags = vector->data;
  for (size_t i = 0; i < vector->n; i++)
    if (flags[i] > 1)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: tensor \"%s\": value %zu must be 0 or 1, found %d",
                         r->file.source->name, vector->name, i, flags[i]);
  return TINYTL_OK;
}

tinytl_status tinytl_resume_restore(const tinytl_resume *r, tinytl_checkpoint *c,
                                    tinytl_error *error) {
  tinytl_vector vectors[TINYTL_MAX_VECTORS];
  TINYTL_TRY(check_identity(r, c, error));
  TINYTL_TRY(read_state(r, c, error));
  const int n = tinytl_checkpoint_vectors(c, vectors);
  for (int i = 0; i < n; i++) {
    TINYTL_TRY(read_vector(r, c->trainer, &vectors[i], error));
    if (strncmp(vectors[i].name, "unreadable.", 11) == 0)
      TINYTL_TRY(check_flags(r, &vectors[i], error));
  }
  return TINYTL_OK;
}

tinytl_resumed tinytl_resume_describe(const tinytl_resume *r, const tinytl_checkpoint *c) {
  return (tinytl_resumed){.method = c->trainer->choices.method,
                          .epoch = c->at.epoch,
                          .n_epochs = c->trainer->rules.epochs,
                          .image = c->at.n_fed,
                          .n_images = c->trainer->train->n_images,
                          .version = r->version,
                          .kernels = r->kernels};
}
