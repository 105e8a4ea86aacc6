/* Speed on pictures made in memory, so that neither disk nor decoding is measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "terminal.h"

enum { N_CLASSES = 10 };

static const char *const tasks[] = {"train", "predict", NULL};
enum { TASK_TRAIN, TASK_PREDICT };

typedef struct bench_arguments {
  const char *backbone;
  int task, method, batch, image_size, n_threads;
  float seconds;
  bool json;
} bench_arguments;

typedef struct bench_result {
  double images_per_second;
  size_t planned_bytes;
} bench_result;

/* Noise of a fixed seed; numbers by Marsaglia's xorshift. */
static tinytl_status load_noise(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                                tinytl_error *error) {
  (void)context;
  (void)error;
  uint32_t state = 2463534242u + (uint32_t)index;
  size_t nbytes = (size_t)view->size * (size_t)view->size * 3;
  for (size_t i = 0; i < nbytes; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    rgb[i] = (uint8_t)(state >> 24);
  }
  return TINYTL_OK;
}

static tinytl_status train_on_noise(const cli_model *model, const bench_arguments *args,
                                    int n_images, tinytl_train_report *report,
                                    tinytl_error *error) {
  static const char *const names[N_CLASSES] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  int *labels = malloc(sizeof *labels * (size_t)n_images);
  if (!labels) return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  for (int i = 0; i < n_images; i++) labels[i] = i % N_CLASSES;
  const tinytl_images images = {.n_images = n_images,
                                .n_classes = N_CLASSES,
                                .class_names = names,
                                .labels = labels,
                                .load = load_noise};
  tinytl_train_options options;
  tinytl_train_options_init(&options);
  options.method = (tinytl_method)args->method;
  options.epochs = 1;
  options.batch = args->batch;
  options.image_size = args->image_size;
  options.n_threads = args->n_threads;
  tinytl_adapter *adapter;
  tinytl_status status =
      tinytl_train(model->backbone, &images, NULL, &options, &adapter, report, error);
  free(labels);
  if (status == TINYTL_OK) tinytl_adapter_free(adapter);
  return status;
}

/* A short run tells how many pictures fill the time asked for. */
static tinytl_status bench_train(const cli_model *model, const bench_arguments *args,
                                 bench_result *result, tinytl_error *error) {
  tinytl_train_report report;
  int n_images = args->batch > N_CLASSES ? args->batch : N_CLASSES;
  tinytl_status status = train_on_noise(model, args, n_images, &report, error);
  if (status != TINYTL_OK) return status;
  double wanted = report.images_per_second * (double)args->seconds;
  int n_batches = wanted < 1e6 ? (int)(wanted / args->batch) : (int)(1e6 / args->batch);
  n_images = (n_batches > 1 ? n_batches : 1) * args->batch;
  if (n_images < N_CLASSES) n_images = N_CLASSES;
  status = train_on_noise(model, args, n_images, &report, error);
  *result = (bench_result){report.images_per_second, report.plan.total_bytes};
  return status;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static tinytl_status time_predictor(tinytl_predictor *predictor, double seconds,
                                    bench_result *result, tinytl_error *error) {
  const tinytl_view view = tinytl_predictor_view(predictor);
  uint8_t *rgb = malloc((size_t)view.size * (size_t)view.size * 3);
  float *probabilities = malloc(sizeof(float) * (size_t)tinytl_predictor_n_classes(predictor));
  tinytl_status status = TINYTL_OK;
  if (!rgb || !probabilities) status = cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  if (status == TINYTL_OK) status = load_noise(NULL, 0, &view, rgb, error);
  /* The first run warms caches and is not counted. */
  if (status == TINYTL_OK) status = tinytl_predictor_run(predictor, rgb, probabilities, error);
  double start = now(), elapsed = 0;
  int n = 0;
  while (status == TINYTL_OK && (n == 0 || elapsed < seconds)) {
    status = tinytl_predictor_run(predictor, rgb, probabilities, error);
    elapsed = now() - start;
    n++;
  }
  *result = (bench_result){n / elapsed, tinytl_predictor_nbytes(predictor)};
  free(probabilities);
  free(rgb);
  return status;
}

static tinytl_status bench_predict(const cli_model *model, const bench_arguments *args,
                                   bench_result *result, tinytl_error *error) {
  tinytl_predictor *predictor;
  tinytl_status status = tinytl_predictor_create(model->backbone, NULL, args->image_size,
                                                 args->n_threads, &predictor, error);
  if (status != TINYTL_OK) return status;
  status = time_predictor(predictor, (double)args->seconds, result, error);
  tinytl_predictor_free(predictor);
  return status;
}

static void print_result(const bench_arguments *args, const bench_result *result) {
  bool trains = args->task == TASK_TRAIN;
  if (!args->json) {
    printf("task     %s%s%s, batch %d, kernels %s\n", tasks[args->task], trains ? " " : "",
           trains ? cli_methods[args->method] : "", args->batch, tinytl_kernels_name());
    printf("speed    %.1f pictures/s\n", result->images_per_second);
    printf("memory   %.1f MB planned, %.1f MB measured peak of the whole process\n",
           (double)result->planned_bytes / 1e6, (double)cli_peak_rss() / 1e6);
    return;
  }
  cli_json json = {0};
  cli_json_open(&json, NULL, '{');
  cli_json_text(&json, "task", tasks[args->task]);
  cli_json_text(&json, "method", trains ? cli_methods[args->method] : NULL);
  cli_json_int(&json, "batch", args->batch);
  cli_json_text(&json, "kernels", tinytl_kernels_name());
  cli_json_real(&json, "images_per_second", result->images_per_second);
  cli_json_int(&json, "peak_rss_bytes", (long long)cli_peak_rss());
  cli_json_int(&json, "planned_bytes", (long long)result->planned_bytes);
  cli_json_close(&json, '}');
  cli_json_end(&json);
}

int cli_bench(int argc, char **argv) {
  bench_arguments args = {.method = TINYTL_METHOD_LITE_BIAS, .batch = 8, .seconds = 5};
  const cli_option options[] = {
      CLI_OPTION_MODEL(&args.backbone),
      CLI_OPTION_CHOICE("task", &args.task, tasks, "TASK", "train (default) or predict"),
      CLI_OPTION_CHOICE("method", &args.method, cli_methods, "METHOD",
                        "last, bias, lite or lite+bias (default: lite+bias)"),
      CLI_OPTION_INT(0, "batch", &args.batch, 1, 4096, "pictures a training step (default: 8)"),
      CLI_OPTION_IMAGE_SIZE(&args.image_size, "the backbone's"),
      CLI_OPTION_REAL("seconds", &args.seconds, 0, 3600, CLI_RANGE_ABOVE_MIN,
                      "to measure for (default: 5)"),
      CLI_OPTION_THREADS(&args.n_threads),
      CLI_OPTION_JSON(&args.json),
      CLI_OPTIONS_END,
  };
  const cli_syntax syntax = {
      .command = "bench",
      .arguments = "",
      .summary = "Measures speed and memory on pictures made in memory (nothing is decoded).",
      .examples = "  tinytl bench --task train --method lite+bias --batch 8\n"
                  "  tinytl bench -m backbone.safetensors --task predict --threads 1 --json\n"};
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code)) {
    return exit_code;
  }
  tinytl_error error;
  cli_model model;
  bench_result result;
  tinytl_status status = cli_model_open(&model, args.backbone, NULL, &error);
  if (status == TINYTL_OK) {
    status = args.task == TASK_TRAIN ? bench_train(&model, &args, &result, &error)
                                     : bench_predict(&model, &args, &result, &error);
    cli_model_close(&model);
  }
  if (status != TINYTL_OK) return cli_report(&error);
  print_result(&args, &result);
  return TINYTL_OK;
}
