#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "eval_report.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "pictures.h"
#include "terminal.h"
#include "unknown.h"

typedef struct eval_arguments {
  const char *backbone, *adapter, *dir, *unknown;
  int image_size, n_threads;
  bool wrong, json, quiet;
} eval_arguments;

typedef struct wrong_answer {
  int image, answer; /* indices of the picture and of the model's class */
  float probability;
} wrong_answer;

/* What a run over the pictures works with. */
typedef struct evaluation {
  const tinytl_images *images;
  tinytl_folder *folder;
  const char *part; /* that is measured on */
  tinytl_predictor *predictor;
  int n_model_classes;
  int *folder_class;   /* [n_model_classes]: the folder's class of that name; -1: none */
  wrong_answer *wrong; /* [n_wrong], where they are asked for */
  int n_wrong;
  bool quiet;
  cli_metrics metrics;
  cli_scores scores, unknown_scores;
  float temperature;
  cli_rejection rejection;
  int n_skipped;
} evaluation;

/* Maps the model's classes to the folder's by name; every class of the folder must be known. */
static tinytl_status match_classes(evaluation *run, const cli_model *model, tinytl_error *error) {
  const tinytl_images *images = run->images;
  bool *is_known = calloc((size_t)images->n_classes, sizeof *is_known);
  bool has_further_classes = false;
  if (!is_known) return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  for (int i = 0; i < run->n_model_classes; i++) {
    const char *name = cli_model_class(model, i);
    cli_match_names(&name, 1, images->class_names, images->n_classes, &run->folder_class[i]);
    if (run->folder_class[i] >= 0)
      is_known[run->folder_class[i]] = true;
    else
      has_further_classes = true;
  }
  tinytl_status status = TINYTL_OK;
  for (int i = 0; status == TINYTL_OK && i < images->n_classes; i++) {
    if (is_known[i]) continue;
    status = cli_fail(error, TINYTL_ERROR_DATA, "folder '%s': the %s %s", images->class_names[i],
                      model->adapter ? "adapter" : "backbone",
                      cli_model_class(model, 0)
                          ? "knows no class of this name; training with pictures of "
                            "it makes one that does"
                          : "has no names of classes; give an adapter");
  }
  free(is_known);
  if (status != TINYTL_OK) return status;
  if (cli_metrics_init(&run->metrics, images->n_classes, has_further_classes)) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d classes", images->n_classes);
}

static void read_calibration(evaluation *run, const cli_model *model) {
  tinytl_adapter_info info = {.temperature = 1, .reject_below = NAN};
  if (model->adapter) tinytl_adapter_describe(model->adapter, &info);
  run->temperature = info.temperature;
  run->rejection.below = info.reject_below;
}

static const char *measured_part(const char *dir) {
  if (tinytl_folder_has_part(dir, TINYTL_PART_TEST)) return "test";
  return tinytl_folder_has_part(dir, TINYTL_PART_VAL) ? "val" : "all";
}

/* An honest figure is one of pictures that training has not seen. */
static tinytl_status warn_of_known(const char *dir, const char *part, const tinytl_folder *measured,
                                   tinytl_error *error) {
  tinytl_folder *train;
  if (strcmp(part, "val") == 0)
    cli_note("warning: %s has no folder 'test': its folder 'val' is measured on, by which training "
             "chooses method and epoch, so figures may be a little too good",
             dir);
  if (strcmp(part, "all") == 0) {
    cli_note("warning: %s has no folder 'test': all its pictures are measured on; if the adapter "
             "was trained on them, figures are far too good, and wrong labels not found",
             dir);
    return TINYTL_OK;
  }
  /* What is wrong with a folder of training pictures is not for here. */
  tinytl_error reason;
  if (!tinytl_folder_has_part(dir, TINYTL_PART_TRAIN) ||
      tinytl_folder_open(dir, TINYTL_PART_TRAIN, NULL, NULL, &train, &reason) != TINYTL_OK)
    return TINYTL_OK;
  const tinytl_status status = cli_warn_of_seen(train, measured, error);
  tinytl_folder_free(train);
  return status;
}

static tinytl_status prepare(evaluation *run, const cli_model *model, const eval_arguments *args,
                             tinytl_error *error) {
  tinytl_status status =
      tinytl_folder_open(args->dir, TINYTL_PART_TEST, cli_note_skipped, NULL, &run->folder, error);
  if (status != TINYTL_OK) return status;
  run->part = measured_part(args->dir);
  if (model->adapter) status = warn_of_known(args->dir, run->part, run->folder, error);
  if (status != TINYTL_OK) return status;
  run->images = tinytl_folder_images(run->folder);
  run->n_skipped = tinytl_folder_n_skipped(run->folder);
  read_calibration(run, model);
  status = tinytl_predictor_create(model->backbone, model->adapter, args->image_size,
                                   args->n_threads, &run->predictor, error);
  if (status != TINYTL_OK) return status;
  run->n_model_classes = tinytl_predictor_n_classes(run->predictor);
  run->folder_class = malloc(sizeof *run->folder_class * (size_t)run->n_model_classes);
  if (!run->folder_class)
    return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d classes",
                    run->n_model_classes);
  if (args->wrong) {
    run->wrong = malloc(sizeof *run->wrong * (size_t)run->images->n_images);
    if (!run->wrong)
      return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d pictures",
                      run->images->n_images);
  }
  return match_classes(run, model, error);
}

static tinytl_status count(void *context, int index, const float *probabilities, float score,
                           tinytl_error *error) {
  evaluation *run = context;
  const int label = run->images->labels[index];
  int top[5];
  int k = run->n_model_classes < 5 ? run->n_model_classes : 5;
  cli_top(probabilities, run->n_model_classes, k, top);
  bool in_top5 = false;
  for (int i = 0; i < k; i++) in_top5 |= run->folder_class[top[i]] == label;
  const float confidence = probabilities[top[0]];
  const bool right = run->folder_class[top[0]] == label;
  cli_metrics_add(&run->metrics, label, run->folder_class[top[0]], in_top5, confidence);
  run->rejection.n_right_kept += right && score >= run->rejection.below;
  run->rejection.n_wrong_rejected += !right && score < run->rejection.below;
  if (!right && run->wrong) run->wrong[run->n_wrong++] = (wrong_answer){index, top[0], confidence};
  if (!run->quiet) cli_progress_count("picture", index + 1, run->images->n_images);
  if (cli_scores_add(&run->scores, score)) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d pictures", run->scores.n);
}

static void skip(void *context, const char *path, const char *reason) {
  evaluation *run = context;
  cli_note_skipped(NULL, path, reason);
  run->n_skipped++;
}

static tinytl_status evaluate(evaluation *run, tinytl_error *error) {
  const tinytl_status status =
      tinytl_predictor_run_all(run->predictor, run->images, skip, count, run, error);
  if (status != TINYTL_OK) return status;
  cli_progress_end();
  if (run->metrics.n_images > 0) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_DATA, "no picture could be read");
}

/* Pictures of other things: how many are told from those that were evaluated. */
static tinytl_status evaluate_unknown(evaluation *run, const char *dir, tinytl_error *error) {
  cli_rejection *rejection = &run->rejection;
  cli_scores *unknown = &run->unknown_scores;
  tinytl_status status =
      cli_unknown_score(dir, run->predictor, unknown, &rejection->n_unknown_skipped, error);
  if (status != TINYTL_OK) return status;
  rejection->n_unknown = unknown->n;
  for (int i = 0; i < unknown->n; i++)
    rejection->n_unknown_rejected += unknown->values[i] < rejection->below;
  rejection->auroc = cli_auroc(run->scores.values, run->scores.n, unknown->values, unknown->n);
  return TINYTL_OK;
}

static int by_probability(const void *left, const void *right) {
  const wrong_answer *x = left, *y = right;
  if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
  return x->image - y->image;
}

/* The surest first: a wrong label, or what the model cannot know. */
static void print_wrong(const evaluation *run, const cli_model *model, bool as_json) {
  qsort(run->wrong, (size_t)run->n_wrong, sizeof *run->wrong, by_probability);
  for (int i = 0; i < run->n_wrong; i++) {
    const wrong_answer *one = &run->wrong[i];
    const char *path = tinytl_folder_path(run->folder, one->image);
    const char *name = run->images->class_names[run->images->labels[one->image]];
    if (as_json) {
      cli_json json = cli_json_begin();
      cli_json_text(&json, "event", "wrong");
      cli_json_text(&json, "image", path);
      cli_json_text(&json, "class", name);
      cli_json_text(&json, "answer", cli_model_class(model, one->answer));
      cli_json_real(&json, "probability", (double)one->probability);
      cli_json_end(&json);
      continue;
    }
    if (i == 0)
      puts("Wrong answers, the surest first: picture, its class, the answer, probability");
    cli_put_text(stdout, path);
    putchar('\t');
    cli_put_text(stdout, name);
    putchar('\t');
    cli_put_text(stdout, cli_model_class(model, one->answer));
    printf("\t%.4f\n", (double)one->probability);
  }
  if (!as_json) puts(run->n_wrong > 0 ? "" : "No answer is wrong.\n");
}

static tinytl_status run_eval(const cli_model *model, const eval_arguments *args,
                              tinytl_error *error) {
  evaluation run = {.quiet = args->quiet};
  tinytl_status status = TINYTL_OK;
  if (args->unknown) status = cli_unknown_check(args->unknown, error);
  if (status == TINYTL_OK) status = prepare(&run, model, args, error);
  if (status == TINYTL_OK) status = evaluate(&run, error);
  if (status == TINYTL_OK && args->unknown) status = evaluate_unknown(&run, args->unknown, error);
  if (status == TINYTL_OK) {
    const cli_eval_report report = {.metrics = &run.metrics,
                                    .class_names = run.images->class_names,
                                    .measured_on = run.part,
                                    .n_skipped = run.n_skipped,
                                    .temperature = run.temperature,
                                    .rejection = run.rejection};
    if (run.wrong) print_wrong(&run, model, args->json);
    if (args->json)
      cli_eval_print_json(&report);
    else
      cli_eval_print(&report);
  }
  cli_metrics_free(&run.metrics);
  cli_scores_free(&run.scores);
  cli_scores_free(&run.unknown_scores);
  free(run.folder_class);
  free(run.wrong);
  tinytl_predictor_free(run.predictor);
  tinytl_folder_free(run.folder);
  return status;
}

int cli_eval(int argc, char **argv) {
  eval_arguments args = {0};
  const cli_option options[] = {
      CLI_OPTION_MODEL(&args.backbone),
      CLI_OPTION_ADAPTER(&args.adapter),
      CLI_OPTION_DATA(&args.dir),
      CLI_OPTION_TEXT(0, "unknown", &args.unknown, "DIR",
                      "folder of pictures of none of the classes"),
      CLI_OPTION_FLAG(0, "wrong", &args.wrong, "list the pictures that are answered wrongly"),
      CLI_OPTION_IMAGE_SIZE(&args.image_size, "the adapter's"),
      CLI_OPTION_THREADS(&args.n_threads),
      CLI_OPTION_JSON(&args.json),
      CLI_OPTION_QUIET(&args.quiet),
      CLI_OPTIONS_END,
  };
  const cli_syntax syntax = {
      .command = "eval",
      .arguments = "",
      .summary = "Measures accuracy on pictures that were not trained on.",
      .examples = "  tinytl eval -a mine.safetensors -d pictures\n"
                  "  tinytl eval -m backbone.safetensors -d pictures --json\n"
                  "  tinytl eval -a mine.safetensors -d pictures --unknown other_pictures\n",
      .notes =
          "Pictures: DIR/test/CLASS/*.jpg, *.jpeg or *.png; where DIR has no test, DIR/val/CLASS;\n"
          "DIR/CLASS where it has no train, val and test. Classes are matched by name.\n"
          "With --unknown the program also says how well scores tell the pictures from "
          "those\n"
          "anywhere below that folder: the AUROC, 1 for always and 0.5 for by chance.\n"};
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code)) {
    return exit_code;
  }
  tinytl_error error;
  cli_model model;
  tinytl_status status = cli_model_open(&model, args.backbone, args.adapter, 0, &error);
  if (status == TINYTL_OK) {
    status = run_eval(&model, &args, &error);
    cli_model_close(&model);
  }
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
