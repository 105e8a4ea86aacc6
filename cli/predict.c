#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "json.h"
#include "metrics.h"
#include "model.h"
#include "options.h"
#include "terminal.h"
#include "tree.h"

typedef struct predict_arguments {
  const char *backbone, *adapter;
  int n_top, image_size, n_threads;
  bool json, reject;
} predict_arguments;

/* What the model says of one picture. */
typedef struct answer {
  const char *path;
  const float *probabilities; /* [n_classes] */
  const int *top;             /* [n_top], most probable first */
  int n_top;
  bool may_reject, is_unknown;
  float score; /* tinytl_predictor_score */
} answer;

static void print_class(const cli_model *model, int index) {
  const char *name = cli_model_class(model, index);
  if (name)
    cli_put_text(stdout, name);
  else
    printf("#%d", index);
}

/* path TAB class TAB probability, and the pair again for every further class of --top. An unknown
 * picture has "unknown" and the highest probability, and with --top all the classes after it. */
static void print_line(const cli_model *model, const answer *found) {
  cli_put_text(stdout, found->path);
  if (found->is_unknown) printf("\tunknown\t%.4f", (double)found->probabilities[found->top[0]]);
  for (int i = 0; i < found->n_top && !(found->is_unknown && found->n_top == 1); i++) {
    putchar('\t');
    print_class(model, found->top[i]);
    printf("\t%.4f", (double)found->probabilities[found->top[i]]);
  }
  putchar('\n');
}

static void put_class(cli_json *json, const cli_model *model, int index) {
  cli_json_int(json, "index", index);
  cli_json_text(json, "class", cli_model_class(model, index));
}

static void print_json(const cli_model *model, const answer *found) {
  const int best = found->top[0];
  cli_json json = cli_json_begin();
  cli_json_text(&json, "image", found->path);
  if (found->may_reject) {
    cli_json_bool(&json, "unknown", found->is_unknown);
    cli_json_real(&json, "score", (double)found->score);
  }
  if (found->is_unknown) {
    cli_json_text(&json, "index", NULL);
    cli_json_text(&json, "class", NULL);
  } else {
    put_class(&json, model, best);
  }
  cli_json_real(&json, "probability", (double)found->probabilities[best]);
  cli_json_open(&json, "top", '[');
  for (int i = 0; i < found->n_top; i++) {
    cli_json_open(&json, NULL, '{');
    put_class(&json, model, found->top[i]);
    cli_json_real(&json, "probability", (double)found->probabilities[found->top[i]]);
    cli_json_close(&json, '}');
  }
  cli_json_close(&json, ']');
  cli_json_end(&json);
}

/* The score below which an answer is "unknown"; NAN where none is asked for. */
static tinytl_status find_threshold(const cli_model *model, const predict_arguments *args,
                                    float *reject_below, tinytl_error *error) {
  *reject_below = NAN;
  if (!args->reject) return TINYTL_OK;
  if (!model->adapter)
    return cli_fail(error, TINYTL_ERROR_USAGE,
                    "--reject needs an adapter: give -a, a backbone alone has no threshold");
  tinytl_adapter_info info;
  tinytl_adapter_describe(model->adapter, &info);
  *reject_below = info.reject_below;
  for (int i = 0; !args->json && cli_model_class(model, i); i++)
    if (strcmp(cli_model_class(model, i), "unknown") == 0)
      return cli_fail(error, TINYTL_ERROR_USAGE,
                      "--reject: %s has a class 'unknown', which only --json can tell from what is "
                      "rejected",
                      args->adapter);
  if (!isnan(info.reject_below)) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_USAGE,
                  "--reject: %s has no threshold: it was trained without validation pictures, or "
                  "by an older version; train it again with some",
                  args->adapter);
}

typedef struct prediction {
  const cli_model *model;
  tinytl_predictor *predictor;
  const predict_arguments *args;
  float reject_below;
  tinytl_view view;
  int n_classes, n_top;
  uint8_t *rgb;         /* [size][size][3] */
  float *probabilities; /* [n_classes] */
  int n_pictures;       /* so far */
  tinytl_status result; /* DATA: something could not be read, which was told */
} prediction;

static void leave_out(prediction *p, const tinytl_error *error) {
  cli_report(error);
  p->result = TINYTL_ERROR_DATA;
}

static tinytl_status run(const prediction *p, const char *path, tinytl_error *error) {
  tinytl_error reason;
  const tinytl_status status =
      tinytl_predictor_run(p->predictor, p->rgb, p->probabilities, &reason);
  if (status == TINYTL_OK) return TINYTL_OK;
  return cli_fail(error, status, "%s: %s", path, reason.message);
}

static tinytl_status predict_picture(void *context, const char *path, tinytl_error *error) {
  prediction *p = context;
  int top[CLI_TOP_MAX];
  tinytl_status status = tinytl_picture_load(path, p->n_pictures++, &p->view, p->rgb, error);
  if (status == TINYTL_OK) status = run(p, path, error);
  if (status == TINYTL_ERROR_DATA) {
    leave_out(p, error);
    return TINYTL_OK;
  }
  if (status != TINYTL_OK) return status;
  cli_top(p->probabilities, p->n_classes, p->n_top, top);
  const float score = tinytl_predictor_score(p->predictor);
  const answer found = {.path = path,
                        .probabilities = p->probabilities,
                        .top = top,
                        .n_top = p->n_top,
                        .may_reject = p->args->reject,
                        .is_unknown = score < p->reject_below,
                        .score = score};
  (p->args->json ? print_json : print_line)(p->model, &found);
  const int failure = cli_stdout_error(); /* who reads along, or ends the run, has what is done */
  if (failure == 0) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_INTERNAL, "stdout: cannot be written: %s", strerror(failure));
}

static tinytl_status predict_folder(prediction *p, const char *path, tinytl_error *error) {
  const int n_before = p->n_pictures;
  int n_skipped = 0;
  const tinytl_status status = cli_tree_walk(path, predict_picture, p, &n_skipped, error);
  if (status != TINYTL_OK) return status;
  if (n_skipped > 0) p->result = TINYTL_ERROR_DATA;
  if (p->n_pictures > n_before || n_skipped > 0) return TINYTL_OK;
  cli_fail(error, TINYTL_ERROR_DATA,
           "%s: expected a .jpg, .jpeg or .png in this folder, found none", path);
  leave_out(p, error);
  return TINYTL_OK;
}

/* Every picture that can be read is classified. Errors: DATA where some cannot, which were told;
 * INTERNAL where answers cannot be written, which ends it. */
static tinytl_status predict_all(prediction *p, char **paths, int n_paths, tinytl_error *error) {
  const size_t size = (size_t)p->view.size;
  p->rgb = malloc(size * size * 3);
  p->probabilities = malloc(sizeof *p->probabilities * (size_t)p->n_classes);
  tinytl_status status = TINYTL_OK;
  if (!p->rgb || !p->probabilities)
    status = cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  for (int i = 0; i < n_paths && status == TINYTL_OK; i++) {
    struct stat about;
    const bool is_folder = stat(paths[i], &about) == 0 && S_ISDIR(about.st_mode);
    status = is_folder ? predict_folder(p, paths[i], error) : predict_picture(p, paths[i], error);
  }
  free(p->probabilities);
  free(p->rgb);
  return status == TINYTL_OK ? p->result : status;
}

static int run_predict(const predict_arguments *args, char **paths, int n_paths) {
  tinytl_error error;
  cli_model model;
  tinytl_predictor *predictor;
  tinytl_status status = cli_model_open(&model, args->backbone, args->adapter, 0, &error);
  if (status != TINYTL_OK) return cli_report(&error);
  float reject_below;
  status = find_threshold(&model, args, &reject_below, &error);
  if (status == TINYTL_OK && !args->adapter)
    cli_note("without -a the answers are the backbone's own classes");
  if (status == TINYTL_OK)
    status = tinytl_predictor_create(model.backbone, model.adapter, args->image_size,
                                     args->n_threads, &predictor, &error);
  bool is_reported = false;
  if (status == TINYTL_OK) {
    prediction p = {.model = &model,
                    .predictor = predictor,
                    .args = args,
                    .reject_below = reject_below,
                    .view = tinytl_predictor_view(predictor),
                    .n_classes = tinytl_predictor_n_classes(predictor)};
    p.n_top = args->n_top < p.n_classes ? args->n_top : p.n_classes;
    status = predict_all(&p, paths, n_paths, &error);
    is_reported = status == TINYTL_ERROR_DATA;
    tinytl_predictor_free(predictor);
  }
  cli_model_close(&model);
  if (status != TINYTL_OK && !is_reported) cli_report(&error);
  return status;
}

int cli_predict(int argc, char **argv) {
  predict_arguments args = {.n_top = 1};
  const cli_option options[] = {
      CLI_OPTION_MODEL(&args.backbone),
      CLI_OPTION_ADAPTER(&args.adapter),
      CLI_OPTION_INT('k', "top", &args.n_top, 1, CLI_TOP_MAX,
                     "classes a picture, best first (default: 1)"),
      CLI_OPTION_FLAG(0, "reject", &args.reject,
                      "say 'unknown' below the score that the adapter stores"),
      CLI_OPTION_IMAGE_SIZE(&args.image_size, "the adapter's"),
      CLI_OPTION_THREADS(&args.n_threads),
      CLI_OPTION_JSON(&args.json),
      CLI_OPTIONS_END,
  };
  const cli_syntax syntax = {
      .command = "predict",
      .arguments = "PATH...",
      .summary = "Classifies pictures: a line each with path, class and probability.",
      .examples = "  tinytl predict -a mine.safetensors photo.jpg\n"
                  "  tinytl predict -a mine.safetensors new_pictures\n"
                  "  tinytl predict -a mine.safetensors --top 3 --json *.jpg\n",
      .notes =
          "A path is a picture, or a folder of which all pictures are meant, at any depth.\n"
          "A picture that cannot be read is named on stderr and the exit code is 3; the others\n"
          "are classified. The threshold of --reject was chosen so that 95 % of the right answers\n"
          "to validation pictures reach it; what is unknown has the highest probability in its "
          "line\n"
          "and, with --top, all the classes after it.\n",
      .min_operands = 1,
      .max_operands = INT_MAX};
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code)) {
    return exit_code;
  }
  return run_predict(&args, operands, n_operands);
}
