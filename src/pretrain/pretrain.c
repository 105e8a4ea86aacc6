/* tinytl_pretrain: epochs of batches, validation, statistics of the norms, the backbone. */
#include <math.h>
#include <string.h>

#include "core/progress.h"
#include "core/saver.h"
#include "data/order.h"
#include "pretrain/pretrainer.h"

enum { STATISTICS_IMAGES = 2000 };

typedef struct session {
  tinytl_pretrainer *p;
  tinytl_error *error;
  tinytl_pretrain_report report;
  tinytl_pretrain_state state;
  tinytl_progress progress; /* in epochs */
  uint64_t n_run;           /* training pictures that went through the network */
  tinytl_saver saver;
} session;

static void report_progress(session *s, float val_top1, bool finished) {
  const tinytl_pretrain_options *options = &s->p->options;
  const tinytl_pretrain_position *at = &s->state.at;
  if (!options->progress || !tinytl_progress_due(&s->progress, finished)) return;
  const int n_images = s->p->train->n_images;
  const double done = finished ? at->epoch : at->epoch - 1 + (double)at->n_fed / n_images;
  const tinytl_epoch event = {
      .epoch = at->epoch,
      .n_epochs = options->epochs,
      .image = at->n_fed,
      .n_images = n_images,
      .finished = finished,
      .loss = at->n_fed > 0 ? (float)(at->loss_sum / at->n_fed) : NAN,
      .val_top1 = val_top1,
      .images_per_second = tinytl_progress_rate(&s->progress, (double)s->n_run),
      .seconds_left = tinytl_progress_left(&s->progress, done, options->epochs)};
  options->progress(options->context, &event);
}

/* ---- Checkpoints -------------------------------------------------------------------------- */

static void save(session *s) {
  const tinytl_pretrain_options *options = &s->p->options;
  if (!options->save || s->saver.is_saved) return;
  tinytl_saver_start(&s->saver);
  options->save(options->context, &s->state);
  tinytl_saver_end(&s->saver);
}

/* Between two updates: from here the run could go on. Saves it where that is due. */
static void settle(session *s) {
  if (tinytl_saver_change(&s->saver, s->p->options.save_seconds)) save(s);
}

static tinytl_status begin(session *s, const char *architecture) {
  const tinytl_pretrain_options *options = &s->p->options;
  const bool resumes = options->resume && tinytl_ranks_own(&s->p->ranks) == 0;
  tinytl_status status = tinytl_pretrain_state_init(&s->state, s->p, architecture, s->error);
  if (status == TINYTL_OK && resumes)
    status = tinytl_pretrain_state_restore(&s->state, options->resume, s->error);
  TINYTL_TRY(tinytl_rank_group_agree(options->group, status, s->error));
  TINYTL_TRY(tinytl_pretrain_state_share(&s->state, &s->p->ranks, s->error));
  if (resumes) {
    const tinytl_epoch at = {.epoch = s->state.at.epoch,
                             .n_epochs = options->epochs,
                             .image = s->state.at.n_fed,
                             .n_images = s->p->train->n_images};
    if (options->resumed) options->resumed(options->context, &at);
  }
  s->progress.done_before =
      s->state.at.epoch - 1 + (double)s->state.at.n_fed / s->p->train->n_images;
  tinytl_saver_begin(&s->saver, resumes);
  return TINYTL_OK;
}

/* ---- Pictures ----------------------------------------------------------------------------- */

/* The pictures of one pass, in the pretrainer's order. */
typedef struct pass {
  const tinytl_images *images;
  bool *unreadable; /* [n_images] */
  int epoch;        /* of training; 0: as in use */
  int update;       /* of the epoch, whose batch comes next */
  int n, n_given;   /* pictures of the order */
  int n_ahead;      /* of those not given, how many the loader works on */
} pass;

/* Begins behind the first n_done of the order, of which n_most count. */
static tinytl_status begin_pass(session *s, pass *p, int n_done, int n_most) {
  p->n_given = n_done;
  p->update = n_done / s->p->batch;
  p->n = p->images->n_images;
  TINYTL_TRY(tinytl_order_readable(p->unreadable, n_done, s->p->order, &p->n, s->error));
  p->n = tinytl_min(p->n, n_most);
  return TINYTL_OK;
}

/* Has up to n more pictures decoded, of the size of the next batch. */
static tinytl_status load(session *s, pass *pass, int n) {
  const tinytl_pretrainer *p = s->p;
  const int size = tinytl_pretrainer_draw_size(p, pass->epoch, pass->update);
  const tinytl_view view = tinytl_pretrainer_view(p, size, pass->epoch);
  pass->n_ahead = tinytl_min(n, pass->n - pass->n_given);
  const int *indices = p->order + pass->n_given;
  int n_own = pass->n_ahead;
  if (p->own) {
    n_own = tinytl_pretrainer_share(p, indices, n_own, p->own);
    indices = p->own;
  }
  return tinytl_loader_start(p->threads.loader, pass->images, indices, n_own, &view, s->error);
}

/* next_batch of several ranks. Where one of them could not read a picture, all begin the batch
 * again without it. */
static tinytl_status next_shared_batch(session *s, pass *pass) {
  tinytl_pretrainer *p = s->p;
  tinytl_pretrainer_set_size(p, tinytl_pretrainer_draw_size(p, pass->epoch, pass->update));
  for (;;) {
    const int *order = p->order + pass->n_given;
    p->batch_run.n_images = 0;
    p->n_batch = tinytl_min(pass->n - pass->n_given, p->batch);
    memset(p->meeting, 0, (1 + (size_t)p->n_batch) * sizeof *p->meeting);
    tinytl_status status = tinytl_check_stop(s->p->options.stop, s->error);
    if (status == TINYTL_OK && pass->n_ahead == 0) status = load(s, pass, p->batch);
    if (status == TINYTL_OK) status = tinytl_pretrainer_hold_share(p, p->n_batch, s->error);
    TINYTL_TRY(tinytl_pretrainer_meet(p, p->n_batch, status, s->error));
    pass->n_ahead = 0;
    if (!tinytl_pretrainer_mark(p, order, p->n_batch, pass->unreadable)) break;
    TINYTL_TRY(tinytl_order_readable(pass->unreadable, 0, p->order, &pass->n, s->error));
  }
  pass->n_given += p->n_batch;
  pass->update++;
  return pass->n_given < pass->n ? load(s, pass, p->batch) : TINYTL_OK;
}

/* Holds the next batch; it is smaller, or empty, where the pass ends. The one behind it is decoded
 * from now on. */
static tinytl_status next_batch(session *s, pass *pass) {
  tinytl_pretrainer *p = s->p;
  if (p->own) return next_shared_batch(s, pass);
  p->batch_run.n_images = 0;
  TINYTL_TRY(tinytl_check_stop(s->p->options.stop, s->error));
  tinytl_pretrainer_set_size(p, tinytl_pretrainer_draw_size(p, pass->epoch, pass->update));
  while (p->batch_run.n_images < p->batch && pass->n_given < pass->n) {
    tinytl_sample sample;
    if (pass->n_ahead == 0) TINYTL_TRY(load(s, pass, p->batch - p->batch_run.n_images));
    TINYTL_TRY(tinytl_loader_next(p->threads.loader, &sample, s->error));
    pass->unreadable[sample.index] = sample.skipped;
    pass->n_given++;
    pass->n_ahead--;
    if (!sample.skipped) tinytl_pretrainer_hold(p, &sample);
    tinytl_loader_release(p->threads.loader, &sample);
  }
  p->n_batch = p->batch_run.n_images;
  pass->update++;
  return pass->n_given < pass->n ? load(s, pass, p->batch) : TINYTL_OK;
}

/* ---- Epochs ------------------------------------------------------------------------------- */

/* Pictures that do not fill a batch at the end are left out: those of another epoch will be others.
 */
static tinytl_status train_epoch(session *s) {
  tinytl_pretrainer *p = s->p;
  tinytl_pretrain_position *at = &s->state.at;
  pass pass = {.images = p->train, .unreadable = p->train_unreadable, .epoch = at->epoch};
  tinytl_order(p->options.seed, (uint64_t)at->epoch, p->train->n_images, p->order);
  TINYTL_TRY(begin_pass(s, &pass, at->n_fed, p->train->n_images));
  if (at->n_fed == 0) tinytl_pretrainer_begin_epoch(p, at->epoch);
  for (;;) {
    TINYTL_TRY(next_batch(s, &pass));
    if (p->n_batch < p->batch) break;
    const double loss = tinytl_pretrainer_step(p, at);
    TINYTL_TRY(tinytl_ranks_check(&p->ranks, s->error));
    if (!isfinite(loss))
      return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                         "the loss is not finite in epoch %d: expected a number, found %g; a lower "
                         "learning rate may help",
                         at->epoch, loss);
    at->loss_sum += loss;
    at->n_fed += p->n_batch;
    s->n_run += (uint64_t)p->n_batch;
    settle(s);
    report_progress(s, NAN, false);
  }
  if (at->n_fed > 0) return TINYTL_OK;
  return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                     "expected %d training pictures that can be read, a batch, found %d; a smaller "
                     "batch would do",
                     p->batch, tinytl_count_readable(p->train_unreadable, p->train->n_images));
}

static tinytl_status validate(session *s, float *top1) {
  tinytl_pretrainer *p = s->p;
  pass pass = {.images = p->val, .unreadable = p->val_unreadable};
  int n = 0;
  double n_right = 0;
  for (int i = 0; i < p->val->n_images; i++) p->order[i] = i;
  TINYTL_TRY(begin_pass(s, &pass, 0, p->val->n_images));
  for (;;) {
    TINYTL_TRY(next_batch(s, &pass));
    if (p->n_batch == 0) break;
    n_right += tinytl_pretrainer_count_right(p);
    n += p->n_batch;
  }
  tinytl_ranks_sum_doubles(&p->ranks, &n_right, 1);
  TINYTL_TRY(tinytl_ranks_check(&p->ranks, s->error));
  if (n == 0) return tinytl_fail(s->error, TINYTL_ERROR_DATA, "no validation picture can be read");
  *top1 = (float)n_right / (float)n;
  return TINYTL_OK;
}

static tinytl_status train_epochs(session *s) {
  tinytl_pretrain_position *at = &s->state.at;
  while (at->epoch <= s->p->options.epochs) {
    float val_top1 = NAN;
    TINYTL_TRY(train_epoch(s));
    /* Running statistics are of the whole network. */
    if (s->p->val && tinytl_pretrainer_phase(s->p, at->epoch).n_subnets == 0)
      TINYTL_TRY(validate(s, &val_top1));
    report_progress(s, val_top1, true);
    at->epoch++;
    at->n_fed = 0;
    at->loss_sum = 0;
    settle(s);
  }
  return TINYTL_OK;
}

/* ---- The end ------------------------------------------------------------------------------ */

/* The mean over batches of training pictures, as they will be seen in use. */
static tinytl_status estimate_statistics(session *s) {
  tinytl_pretrainer *p = s->p;
  pass pass = {.images = p->train, .unreadable = p->train_unreadable};
  tinytl_order(p->options.seed, 0, p->train->n_images, p->order);
  TINYTL_TRY(begin_pass(s, &pass, 0, STATISTICS_IMAGES));
  for (int n = 1;; n++) {
    TINYTL_TRY(next_batch(s, &pass));
    if (p->n_batch < tinytl_ranks_n(&p->ranks) || (p->n_batch < p->batch && n > 1)) break;
    tinytl_pretrainer_average_statistics(p, n);
  }
  return TINYTL_OK;
}

/* Of the network that is worked on. */
static tinytl_status measure(session *s, float *val_top1) {
  *val_top1 = NAN;
  TINYTL_TRY(estimate_statistics(s));
  return s->p->val ? validate(s, val_top1) : TINYTL_OK;
}

static tinytl_status measure_result(session *s) {
  tinytl_pretrain_report *report = &s->report;
  report->smallest_top1 = NAN;
  tinytl_pretrainer_set_size(s->p, s->p->input.size);
  if (!s->p->shrinking) return measure(s, &report->val_top1);
  const tinytl_space *space = &s->p->shrinking->space;
  const tinytl_subnet smallest = tinytl_subnet_smallest(space);
  const tinytl_subnet largest = tinytl_subnet_largest(space);
  tinytl_pretrainer_choose(s->p, &smallest);
  TINYTL_TRY(measure(s, &report->smallest_top1));
  tinytl_pretrainer_choose(s->p, &largest);
  return measure(s, &report->val_top1);
}

static void complete_report(session *s) {
  const tinytl_pretrainer *p = s->p;
  tinytl_pretrain_report *report = &s->report;
  report->train_images = tinytl_count_readable(p->train_unreadable, p->train->n_images);
  report->val_images = p->val ? tinytl_count_readable(p->val_unreadable, p->val->n_images) : 0;
  report->skipped_images = p->train->n_images - report->train_images +
                           (p->val ? p->val->n_images - report->val_images : 0);
  report->planned_bytes = p->total_bytes;
  report->base_bytes = p->base_bytes;
  report->seconds = tinytl_progress_seconds(&s->progress);
  report->images_per_second = tinytl_progress_rate(&s->progress, (double)s->n_run);
}

static tinytl_status run(session *s, const char *architecture, tinytl_backbone **backbone,
                         tinytl_supernet **supernet) {
  TINYTL_TRY(begin(s, architecture));
  TINYTL_TRY(train_epochs(s));
  save(s);
  TINYTL_TRY(measure_result(s));
  complete_report(s);
  if (tinytl_ranks_own(&s->p->ranks) > 0) return TINYTL_OK;
  return backbone ? tinytl_pretrainer_finish(s->p, backbone, s->error)
                  : tinytl_pretrainer_finish_supernet(s->p, supernet, s->error);
}

/* Ranks of such a group cannot be asked whether they agree. */
static tinytl_status check_group(const tinytl_rank_group *group, tinytl_error *error) {
  if (!group || (group->n_ranks >= 1 && group->rank >= 0 && group->rank < group->n_ranks))
    return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE, "rank %d of %d: expected 0 to less than that",
                     group->rank, group->n_ranks);
}

static tinytl_status pretrain(const char *architecture, const tinytl_images *train,
                              const tinytl_images *val, const tinytl_pretrain_options *options,
                              tinytl_backbone **backbone, tinytl_supernet **supernet,
                              tinytl_pretrain_report *report, tinytl_error *error) {
  session s = {.error = error, .progress = tinytl_progress_begin()};
  tinytl_backbone *made = NULL;
  tinytl_supernet *made_supernet = NULL;
  TINYTL_TRY(check_group(options->group, error));
  tinytl_status status = tinytl_pretrainer_create(architecture, train, val, options, &s.p, error);
  status = tinytl_rank_group_agree(options->group, status, error);
  if (status == TINYTL_OK) status = run(&s, architecture, backbone ? &made : NULL, &made_supernet);
  if (status == TINYTL_OK && backbone) *backbone = made;
  if (status == TINYTL_OK && supernet) *supernet = made_supernet;
  if (status == TINYTL_INTERRUPTED) save(&s);
  if (status == TINYTL_OK && report) *report = s.report;
  tinytl_pretrain_state_clear(&s.state);
  tinytl_pretrainer_free(s.p);
  return status;
}

tinytl_status tinytl_pretrain(const char *architecture, const tinytl_images *train,
                              const tinytl_images *val, const tinytl_pretrain_options *options,
                              tinytl_backbone **backbone, tinytl_pretrain_report *report,
                              tinytl_error *error) {
  if (tinytl_space_is_named(architecture))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "%.60s is a super-net, no backbone",
                       architecture);
  return pretrain(architecture, train, val, options, backbone, NULL, report, error);
}

tinytl_status tinytl_pretrain_supernet(const char *name, const tinytl_images *train,
                                       const tinytl_images *val,
                                       const tinytl_pretrain_options *options,
                                       tinytl_supernet **supernet, tinytl_pretrain_report *report,
                                       tinytl_error *error) {
  tinytl_space space;
  TINYTL_TRY(tinytl_space_named(name, train->n_classes, &space, error));
  return pretrain(name, train, val, options, NULL, supernet, report, error);
}
