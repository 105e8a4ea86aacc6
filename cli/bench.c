/* Speed, on pictures made in memory or on those of a folder. */
#include "bench.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "command.h"
#include "model.h"
#include "options.h"
#include "pictures.h"
#include "terminal.h"

enum { NAME_SIZE = 12 };

static const char *const tasks[] = {"train", "predict", NULL};
enum { TASK_TRAIN, TASK_PREDICT };

typedef struct bench_arguments {
  const char *backbone, *dir; /* dir NULL: pictures made in memory */
  int task, method, batch, image_size, n_classes, n_threads;
  float seconds;
  bool profile, json;
} bench_arguments;

/* ---- Pictures ----------------------------------------------------------------------------- */

/* Noise of a fixed seed, eight bytes a number of Marsaglia's xorshift. */
static tinytl_status load_noise(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                                tinytl_error *error) {
  (void)context;
  (void)error;
  uint64_t state = 88172645463325252u + (uint64_t)index;
  size_t left = (size_t)view->size * (size_t)view->size * 3;
  while (left > 0) {
    const size_t n = left < sizeof state ? left : sizeof state;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(rgb, &state, n);
    rgb += n;
    left -= n;
  }
  return TINYTL_OK;
}

/* Pictures of a source, evenly spread over it, and what loading them takes. */
typedef struct bench_pictures {
  tinytl_images images; /* its context is this struct */
  tinytl_images source;
  tinytl_folder *folder; /* NULL: noise */
  char *names;
  const char **class_names;
  int *labels;                         /* [images.n_images] */
  atomic_ullong n_loaded, nanoseconds; /* of the processor */
} bench_pictures;

static int source_index(const bench_pictures *pictures, int index) {
  return (int)((int64_t)index * pictures->source.n_images / pictures->images.n_images);
}

static tinytl_status load_timed(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                                tinytl_error *error) {
  bench_pictures *pictures = context;
  const double start = cli_seconds(CLOCK_THREAD_CPUTIME_ID);
  const tinytl_status status = pictures->source.load(
      pictures->source.context, source_index(pictures, index), view, rgb, error);
  const double seconds = cli_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
  atomic_fetch_add(&pictures->nanoseconds, (unsigned long long)(1e9 * seconds));
  atomic_fetch_add(&pictures->n_loaded, 1);
  return status;
}

static const char *name_of(void *context, int index) {
  const bench_pictures *pictures = context;
  return pictures->source.name(pictures->source.context, source_index(pictures, index));
}

static size_t load_nbytes(void *context, const tinytl_view *view) {
  const bench_pictures *pictures = context;
  return pictures->source.load_nbytes(pictures->source.context, view);
}

static void close_pictures(bench_pictures *pictures) {
  tinytl_folder_free(pictures->folder);
  free(pictures->names);
  free(pictures->class_names);
  free(pictures->labels);
}

static tinytl_status make_noise(bench_pictures *pictures, int n_classes, tinytl_error *error) {
  pictures->names = malloc((size_t)n_classes * NAME_SIZE);
  pictures->class_names = malloc(sizeof *pictures->class_names * (size_t)n_classes);
  if (!pictures->names || !pictures->class_names)
    return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d classes", n_classes);
  for (int i = 0; i < n_classes; i++) {
    char *name = pictures->names + (size_t)i * NAME_SIZE;
    snprintf(name, NAME_SIZE, "%d", i);
    pictures->class_names[i] = name;
  }
  pictures->source = (tinytl_images){
      .n_classes = n_classes, .class_names = pictures->class_names, .load = load_noise};
  return TINYTL_OK;
}

/* The pictures of a folder, or noise. */
static tinytl_status open_pictures(bench_pictures *pictures, const bench_arguments *args,
                                   tinytl_error *error) {
  *pictures = (bench_pictures){0};
  if (!args->dir) return make_noise(pictures, args->n_classes, error);
  const tinytl_status status = tinytl_folder_open(args->dir, TINYTL_PART_TRAIN, cli_note_skipped,
                                                  NULL, &pictures->folder, error);
  if (status == TINYTL_OK) pictures->source = *tinytl_folder_images(pictures->folder);
  return status;
}

/* n_images of them, or what a folder has. */
static tinytl_status choose_pictures(bench_pictures *pictures, int n_images, tinytl_error *error) {
  tinytl_images *images = &pictures->images;
  const tinytl_images *source = &pictures->source;
  if (!pictures->folder) pictures->source.n_images = n_images;
  if (n_images > source->n_images) n_images = source->n_images;
  int *labels = realloc(pictures->labels, sizeof *labels * (size_t)n_images);
  if (!labels)
    return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d pictures", n_images);
  pictures->labels = labels;
  *images = *source;
  images->context = pictures;
  images->n_images = n_images;
  images->labels = labels;
  images->load = load_timed;
  if (source->name) images->name = name_of;
  if (source->load_nbytes) images->load_nbytes = load_nbytes;
  for (int i = 0; i < n_images; i++)
    labels[i] = source->labels ? source->labels[source_index(pictures, i)] : i % source->n_classes;
  atomic_store(&pictures->n_loaded, 0);
  atomic_store(&pictures->nanoseconds, 0);
  return TINYTL_OK;
}

/* ---- Training ----------------------------------------------------------------------------- */

/* Trains on n_images pictures in all; a folder of fewer passes through the network several times.
 */
static tinytl_status train_on(const cli_model *model, const bench_arguments *args,
                              bench_pictures *pictures, int n_images, tinytl_train_report *report,
                              tinytl_error *error) {
  tinytl_train_options options;
  tinytl_adapter *adapter;
  tinytl_status status = choose_pictures(pictures, n_images, error);
  if (status != TINYTL_OK) return status;
  tinytl_train_options_init(&options);
  options.method = (tinytl_method)args->method;
  options.epochs = 1;
  /* Method last sees a picture once, whatever the epochs. */
  if (args->method != TINYTL_METHOD_LAST) options.epochs = n_images / pictures->images.n_images;
  if (options.epochs > TINYTL_MAX_EPOCHS) options.epochs = TINYTL_MAX_EPOCHS;
  options.batch = args->batch;
  options.image_size = args->image_size;
  options.n_threads = args->n_threads;
  options.profile = args->profile;
  options.skip = cli_note_skipped;
  status =
      tinytl_train(model->backbone, &pictures->images, NULL, &options, &adapter, report, error);
  if (status == TINYTL_OK) tinytl_adapter_free(adapter);
  return status;
}

/* Where a class has pictures that can be read, none of them need be among a few. */
static tinytl_status train(const cli_model *model, const bench_arguments *args,
                           bench_pictures *pictures, int n_images, tinytl_train_report *report,
                           tinytl_error *error) {
  const tinytl_status status = train_on(model, args, pictures, n_images, report, error);
  const int n_all = pictures->source.n_images;
  if (status != TINYTL_ERROR_DATA || pictures->images.n_images == n_all) return status;
  return train_on(model, args, pictures, n_all, report, error);
}

static double speed_of(const tinytl_train_report *report) {
  return report->images_per_second * report->seconds / (report->seconds - report->setup_seconds);
}

/* A short run tells how many pictures fill the time asked for. */
static tinytl_status train_twice(const cli_model *model, const bench_arguments *args,
                                 bench_pictures *pictures, tinytl_train_report *report,
                                 tinytl_error *error) {
  tinytl_status status = open_pictures(pictures, args, error);
  if (status == TINYTL_OK) status = train(model, args, pictures, args->batch, report, error);
  if (status != TINYTL_OK) return status;
  const double wanted = speed_of(report) * (double)args->seconds;
  const int n_batches = (int)((wanted < 1e6 ? wanted : 1e6) / args->batch);
  return train(model, args, pictures, (n_batches > 1 ? n_batches : 1) * args->batch, report, error);
}

static tinytl_status bench_train(const cli_model *model, const bench_arguments *args,
                                 tinytl_train_report *report, cli_bench_result *result,
                                 tinytl_error *error) {
  bench_pictures pictures;
  const tinytl_status status = train_twice(model, args, &pictures, report, error);
  if (status == TINYTL_OK) {
    const double n_loaded = (double)atomic_load(&pictures.n_loaded);
    result->n_classes = pictures.images.n_classes;
    result->load_seconds = 1e-9 * (double)atomic_load(&pictures.nanoseconds) / n_loaded;
    result->method = report->method;
    result->batch = args->batch;
    result->images_per_second = speed_of(report);
    result->setup_seconds = report->setup_seconds;
    result->macs = report->plan.step_macs;
    result->planned_bytes = report->plan.total_bytes;
    result->n_images = report->images_per_second * report->seconds;
    if (args->profile) result->profile = &report->profile;
  }
  close_pictures(&pictures);
  return status;
}

/* ---- Inference ---------------------------------------------------------------------------- */

static tinytl_status time_predictor(tinytl_predictor *predictor, double seconds,
                                    cli_bench_result *result, tinytl_error *error) {
  const tinytl_view view = tinytl_predictor_view(predictor);
  uint8_t *rgb = malloc((size_t)view.size * (size_t)view.size * 3);
  float *probabilities = malloc(sizeof(float) * (size_t)tinytl_predictor_n_classes(predictor));
  tinytl_status status = TINYTL_OK;
  if (!rgb || !probabilities) status = cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  if (status == TINYTL_OK) status = load_noise(NULL, 0, &view, rgb, error);
  /* The first run warms caches and is not counted. */
  if (status == TINYTL_OK) status = tinytl_predictor_run(predictor, rgb, probabilities, error);
  double start = cli_seconds(CLOCK_MONOTONIC), elapsed = 0;
  int n = 0;
  while (status == TINYTL_OK && (n == 0 || elapsed < seconds)) {
    status = tinytl_predictor_run(predictor, rgb, probabilities, error);
    elapsed = cli_seconds(CLOCK_MONOTONIC) - start;
    n++;
  }
  result->images_per_second = n / elapsed;
  result->batch = 1;
  result->macs = tinytl_predictor_macs(predictor);
  result->planned_bytes = tinytl_predictor_nbytes(predictor);
  free(probabilities);
  free(rgb);
  return status;
}

static tinytl_status bench_predict(const cli_model *model, const bench_arguments *args,
                                   cli_bench_result *result, tinytl_error *error) {
  tinytl_predictor *predictor;
  tinytl_status status = tinytl_predictor_create(model->backbone, NULL, args->image_size,
                                                 args->n_threads, &predictor, error);
  if (status != TINYTL_OK) return status;
  status = time_predictor(predictor, (double)args->seconds, result, error);
  tinytl_predictor_free(predictor);
  return status;
}

/* ---- Command ------------------------------------------------------------------------------ */

static tinytl_status run(const cli_model *model, const bench_arguments *args, tinytl_error *error) {
  tinytl_train_report report;
  cli_bench_result result = {.task = tasks[args->task],
                             .peak_flops = tinytl_peak_flops(args->n_threads)};
  const tinytl_status status = args->task == TASK_TRAIN
                                   ? bench_train(model, args, &report, &result, error)
                                   : bench_predict(model, args, &result, error);
  if (status != TINYTL_OK) return status;
  /* Other work may have lowered the first. */
  const double peak_flops = tinytl_peak_flops(args->n_threads);
  if (peak_flops > result.peak_flops) result.peak_flops = peak_flops;
  if (args->json)
    cli_bench_print_json(&result);
  else
    cli_bench_print(&result);
  return TINYTL_OK;
}

static const cli_syntax bench_syntax = {
    .command = "bench",
    .arguments = "",
    .summary = "Measures speed and memory, on pictures made in memory.",
    .examples = "  tinytl bench --task train --method lite+bias --batch 8\n"
                "  tinytl bench --profile -d pictures\n"
                "  tinytl bench -m backbone.safetensors --task predict --threads 1 --json\n"};

int cli_bench(int argc, char **argv) {
  bench_arguments args = {.method = -1, .seconds = 5};
  const cli_option options[] = {
      CLI_OPTION_MODEL(&args.backbone),
      CLI_OPTION_CHOICE("task", &args.task, tasks, "TASK", "train (default) or predict"),
      CLI_OPTION_CHOICE("method", &args.method, cli_methods, "METHOD",
                        "as of 'tinytl train' (default: lite+bias)"),
      CLI_OPTION_INT(0, "batch", &args.batch, 1, TINYTL_MAX_BATCH,
                     "pictures a training step (default: 8)"),
      CLI_OPTION_INT(0, "classes", &args.n_classes, 2, TINYTL_MAX_CLASSES,
                     "to train, without --data (default: 10)"),
      CLI_OPTION_IMAGE_SIZE(&args.image_size, "the backbone's"),
      CLI_OPTION_TEXT('d', "data", &args.dir, "DIR", "train on a folder's pictures instead"),
      CLI_OPTION_REAL("seconds", &args.seconds, 0, 3600, CLI_RANGE_ABOVE_MIN,
                      "to measure for (default: 5)"),
      CLI_OPTION_FLAG(0, "profile", &args.profile, "where the time of training goes"),
      CLI_OPTION_THREADS(&args.n_threads),
      CLI_OPTION_JSON(&args.json),
      CLI_OPTIONS_END,
  };
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&bench_syntax, options, argc, argv, &operands, &n_operands, &exit_code))
    return exit_code;
  if (args.task == TASK_PREDICT &&
      (args.dir || args.profile || args.method >= 0 || args.batch || args.n_classes)) {
    cli_error("--data, --method, --batch, --classes and --profile are of --task train");
    return TINYTL_ERROR_USAGE;
  }
  if (args.dir && args.n_classes) {
    cli_error("--classes is of pictures made in memory; those of --data have their own");
    return TINYTL_ERROR_USAGE;
  }
  if (args.method < 0) args.method = TINYTL_METHOD_LITE_BIAS;
  if (!args.batch) args.batch = 8;
  if (!args.n_classes) args.n_classes = 10;
  tinytl_error error;
  cli_model model;
  tinytl_status status = cli_model_open(&model, args.backbone, NULL, 0, &error);
  if (status == TINYTL_OK) {
    status = run(&model, &args, &error);
    cli_model_close(&model);
  }
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
