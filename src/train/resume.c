/* Going on from a checkpoint: nothing of the file is believed that is not checked. */
#include <float.h>
#include <limits.h>
#include <math.h>
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

/* One that runs: AUTO does not. */
static bool parse_optimizer(const json_t *json, tinytl_optimizer *optimizer) {
  const char *name = json_string_value(json);
  return name && tinytl_optimizer_parse(name, optimizer) && *optimizer != TINYTL_OPTIMIZER_AUTO;
}

/* The optimizers of the methods of auto; none where the method was asked for by name. */
static bool parse_methods(const json_t *names, tinytl_method method, tinytl_carry *carry) {
  size_t i;
  const json_t *item;
  bool known = false;
  if (!json_is_array(names) || json_array_size(names) > TINYTL_N_AUTO_METHODS) return false;
  json_array_foreach(names, i, item) {
    if (!parse_optimizer(item, &carry->optimizers[i])) return false;
    known |= tinytl_auto_methods[i] == method;
  }
  carry->n_methods = (int)json_array_size(names);
  return carry->n_methods == 0 || known;
}

/* Which of auto's methods it is at, in the first training or the second. */
static tinytl_status find_place(const tinytl_resume *r, tinytl_carry *carry, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *state = NULL;
  const char *key = tinytl_resume_is_refit(r) ? "tinytl.refit" : "tinytl.auto";
  TINYTL_TRY(tinytl_sealed_object(&r->file, key, where, &state, error));
  const tinytl_status status =
      tinytl_json_int(state, "step", 0, carry->n_methods - 1, where, &carry->method_at, error);
  json_decref(state);
  return status;
}

static tinytl_status parse_number(const json_t *state, const char *key, double low, double high,
                                  const char *where, float *value, tinytl_error *error) {
  const json_t *item = json_object_get(state, key);
  const double number = json_is_number(item) ? json_number_value(item) : (double)NAN;
  if (!(number >= low && number <= high))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: \"%s\" must be a number %g to %g", where,
                       key, low, high);
  *value = (float)number;
  return TINYTL_OK;
}

/* Part of the schedule, which it decides. */
static tinytl_status find_reach(const tinytl_resume *r, float *reach, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *schedule = NULL;
  TINYTL_TRY(tinytl_sealed_object(&r->file, "tinytl.schedule", where, &schedule, error));
  tinytl_status status = parse_number(schedule, "reach", 0, 2, where, reach, error);
  json_decref(schedule);
  if (status == TINYTL_OK && *reach > 0 && *reach < 0.5f)
    status = tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: \"reach\" must be 0 or 0.5 to 2", where);
  return status;
}

tinytl_status tinytl_resume_choose(const tinytl_resume *r, tinytl_train_options *options,
                                   tinytl_carry *carry, float *reach, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *run = NULL;
  TINYTL_TRY(find_reach(r, reach, error));
  TINYTL_TRY(tinytl_sealed_object(&r->file, "tinytl.run", where, &run, error));
  const char *method_name = json_string_value(json_object_get(run, "method"));
  const json_t *optimizer_name = json_object_get(run, "optimizer");
  const json_t *methods = json_object_get(run, "auto");
  tinytl_method method;
  tinytl_optimizer optimizer;
  tinytl_carry theirs = {.asked_mirror = carry->asked_mirror};
  const bool known = method_name && tinytl_method_parse(method_name, &method) &&
                     method != TINYTL_METHOD_AUTO && parse_optimizer(optimizer_name, &optimizer) &&
                     parse_methods(methods, method, &theirs);
  json_decref(run);
  if (!known)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected a known method, optimizer and methods of auto", where);
  if (options->method == TINYTL_METHOD_AUTO && theirs.n_methods > 0) {
    TINYTL_TRY(find_place(r, &theirs, error));
    *carry = theirs;
    return TINYTL_OK; /* its optimizers are those of carry */
  }
  if (options->method == TINYTL_METHOD_AUTO) options->method = method;
  if (options->optimizer == TINYTL_OPTIMIZER_AUTO) options->optimizer = optimizer;
  return TINYTL_OK;
}

/* ---- What auto carries -------------------------------------------------------------------- */

/* Numbers of pictures are bounded by identity, which is compared later. */
static tinytl_status parse_report(const json_t *state, const char *where,
                                  tinytl_train_report *report, tinytl_error *error) {
  int mirrors;
  TINYTL_TRY(tinytl_json_int(state, "epochs", 0, TINYTL_MAX_EPOCHS, where, &report->epochs, error));
  TINYTL_TRY(
      tinytl_json_int(state, "best_epoch", 0, report->epochs, where, &report->best_epoch, error));
  TINYTL_TRY(
      tinytl_json_int(state, "train_images", 0, INT_MAX, where, &report->train_images, error));
  TINYTL_TRY(tinytl_json_int(state, "val_images", 0, INT_MAX, where, &report->val_images, error));
  TINYTL_TRY(
      tinytl_json_int(state, "skipped_images", 0, INT_MAX, where, &report->skipped_images, error));
  TINYTL_TRY(tinytl_json_int(state, "mirrors", 0, 1, where, &mirrors, error));
  report->mirrors = mirrors;
  return parse_number(state, "loss", 0, (double)FLT_MAX, where, &report->loss, error);
}

static tinytl_status parse_mirror(const json_t *state, const char *where, tinytl_switch *mirror,
                                  tinytl_error *error) {
  int value;
  TINYTL_TRY(tinytl_json_int(state, "mirror", 0, TINYTL_SWITCH_ON, where, &value, error));
  *mirror = (tinytl_switch)value;
  return TINYTL_OK;
}

static tinytl_status parse_carry(const json_t *state, const char *where, tinytl_carry *carry,
                                 tinytl_error *error) {
  TINYTL_TRY(
      tinytl_json_int(state, "step", 0, carry->n_methods - 1, where, &carry->method_at, error));
  TINYTL_TRY(parse_mirror(state, where, &carry->mirror, error));
  return parse_report(state, where, &carry->report, error);
}

static tinytl_status open_adapter(const tinytl_resume *r, const tinytl_tensor *tensor,
                                  const tinytl_task *task, tinytl_adapter **adapter,
                                  tinytl_error *error) {
  unsigned char *file = malloc(tensor->nbytes + 1);
  if (!file) return tinytl_fail_memory(error, tensor->nbytes);
  tinytl_status status =
      tinytl_sealed_read(&r->file, r->file.data + tensor->offset, file, tensor->nbytes, error);
  if (status == TINYTL_OK)
    status = tinytl_adapter_open(file, tensor->nbytes, r->file.source->name, task->backbone,
                                 adapter, error);
  free(file);
  TINYTL_TRY(status);
  if ((*adapter)->n_classes != task->train->n_classes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s is of a run on other pictures: its adapter has %d classes, this run %d",
                       r->file.source->name, (*adapter)->n_classes, task->train->n_classes);
  return TINYTL_OK;
}

/* Makes *adapter, the caller's, where the file has that one; else it stays NULL. */
static tinytl_status find_adapter(const tinytl_resume *r, const char *name, const tinytl_task *task,
                                  tinytl_adapter **adapter, tinytl_error *error) {
  const tinytl_tensor *tensor = tinytl_safetensors_find(r->file.header, name);
  return tensor ? open_adapter(r, tensor, task, adapter, error) : TINYTL_OK;
}

static tinytl_status need_carried(const tinytl_resume *r, const tinytl_task *task,
                                  tinytl_carry *carry, tinytl_error *error) {
  TINYTL_TRY(find_adapter(r, TINYTL_CARRIED_ADAPTER, task, &carry->adapter, error));
  if (carry->adapter) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%s\" is missing",
                     r->file.source->name, TINYTL_CARRIED_ADAPTER);
}

tinytl_status tinytl_resume_carry(const tinytl_resume *r, const tinytl_task *task,
                                  tinytl_carry *carry, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *state = NULL;
  TINYTL_TRY(tinytl_sealed_object(&r->file, "tinytl.auto", where, &state, error));
  const tinytl_status status = parse_carry(state, where, carry, error);
  json_decref(state);
  TINYTL_TRY(status);
  if (carry->method_at == 0) return TINYTL_OK;
  TINYTL_TRY(need_carried(r, task, carry, error));
  carry->report.method = carry->adapter->method;
  carry->report.val_top1 = carry->adapter->val_top1;
  return TINYTL_OK;
}

/* ---- What was found with pictures held back ------------------------------------------------ */

bool tinytl_resume_is_refit(const tinytl_resume *r) {
  return tinytl_safetensors_meta(r->file.header, "tinytl.refit") != NULL;
}

/* The method that was kept: of auto, one from `first` on, which is trained now. */
static tinytl_status parse_kept(const json_t *state, const char *where, const tinytl_carry *carry,
                                int first, tinytl_method *method, tinytl_error *error) {
  const char *name = json_string_value(json_object_get(state, "method"));
  const bool known = name && tinytl_method_parse(name, method);
  bool fits = carry->n_methods == 0 && known && *method != TINYTL_METHOD_AUTO;
  for (int i = first; known && i < carry->n_methods; i++) fits |= tinytl_auto_methods[i] == *method;
  if (fits) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a \"method\" of this run", where);
}

static tinytl_status parse_found(const json_t *state, const char *where, const tinytl_carry *carry,
                                 tinytl_found *found, tinytl_error *error) {
  tinytl_train_report *report = &found->report;
  found->reject_below = NAN;
  /* Where the method was asked for by name and the file is of auto, its identity is refused. */
  if (carry->n_methods > 0)
    TINYTL_TRY(
        tinytl_json_int(state, "step", 0, carry->n_methods - 1, where, &found->method_at, error));
  TINYTL_TRY(parse_mirror(state, where, &found->mirror, error));
  TINYTL_TRY(parse_kept(state, where, carry, found->method_at, &report->method, error));
  TINYTL_TRY(parse_number(state, "val_top1", 0, 1, where, &report->val_top1, error));
  TINYTL_TRY(parse_number(state, "temperature", 0.01, 100, where, &found->temperature, error));
  if (json_object_get(state, "reject_below"))
    TINYTL_TRY(parse_number(state, "reject_below", -1e6, 1e6, where, &found->reject_below, error));
  return parse_report(state, where, report, error);
}

tinytl_status tinytl_resume_found(const tinytl_resume *r, const tinytl_task *task,
                                  tinytl_carry *carry, tinytl_found *found, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *state = NULL;
  TINYTL_TRY(tinytl_sealed_object(&r->file, "tinytl.refit", where, &state, error));
  const tinytl_status status = parse_found(state, where, carry, found, error);
  json_decref(state);
  TINYTL_TRY(status);
  TINYTL_TRY(find_adapter(r, TINYTL_FOUND_ADAPTER, task, &found->adapter, error));
  if (found->adapter && found->adapter->method != found->report.method)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%s\" is of method %s, expected %s",
                       r->file.source->name, TINYTL_FOUND_ADAPTER,
                       tinytl_method_name(found->adapter->method),
                       tinytl_method_name(found->report.method));
  const bool begins_with_one = found->method_at > 1;
  return begins_with_one ? need_carried(r, task, carry, error) : TINYTL_OK;
}

/* ---- Identity ------------------------------------------------------------------------------ */

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
  const json_t *loss_sum = json_object_get(state, "loss_sum");
  size_t step;
  TINYTL_TRY(tinytl_json_int(state, "epoch", 1, n_epochs + 1, where, &at->epoch, error));
  const int max_fed = at->epoch <= n_epochs ? n_images : 0;
  TINYTL_TRY(tinytl_json_int(state, "images", 0, max_fed, where, &at->n_fed, error));
  TINYTL_TRY(tinytl_json_int(state, "train_images", 0, n_images, where, &at->n_train, error));
  const int done = at->epoch - 1; /* of the first epoch something is kept */
  TINYTL_TRY(tinytl_json_int(state, "best_epoch", done > 0, done, where, &at->best_epoch, error));
  TINYTL_TRY(
      tinytl_json_int(state, "epochs_without_gain", 0, done, where, &at->n_without_gain, error));
  TINYTL_TRY(parse_number(state, "loss", 0, (double)FLT_MAX, where, &at->loss, error));
  if (!json_is_number(loss_sum) || !tinytl_json_size(json_object_get(state, "updates"), &step) ||
      step > t->n_steps)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected a number \"loss_sum\" and up to %llu \"updates\"", where,
                       (unsigned long long)t->n_steps);
  at->loss_sum = json_number_value(loss_sum);
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
                                 const tinytl_sealed_vector *v, tinytl_error *error) {
  const size_t nbytes = tinytl_sealed_vector_nbytes(v);
  uint64_t from;
  if (v->data) return tinytl_sealed_read_vector(&r->file, v, error);
  TINYTL_TRY(tinytl_sealed_find(&r->file, v->name, v->dtype, v->n, &from, error));
  if (v->dtype == TINYTL_DTYPE_I8) return TINYTL_OK; /* an adapter, opened before */
  char chunk[TINYTL_SEALED_CHUNK];
  for (size_t done = 0; done < nbytes;) {
    const size_t left = nbytes - done, n = left < sizeof chunk ? left : sizeof chunk;
    TINYTL_TRY(tinytl_sealed_read(&r->file, from + done, chunk, n, error));
    TINYTL_TRY(tinytl_trainer_write_best(t, done, chunk, n, error));
    done += n;
  }
  return TINYTL_OK;
}

tinytl_status tinytl_resume_restore(const tinytl_resume *r, tinytl_checkpoint *c,
                                    tinytl_error *error) {
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  TINYTL_TRY(check_identity(r, c, error));
  TINYTL_TRY(read_state(r, c, error));
  const int n = tinytl_checkpoint_vectors(c, vectors);
  for (int i = 0; i < n; i++) TINYTL_TRY(read_vector(r, c->trainer, &vectors[i], error));
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
