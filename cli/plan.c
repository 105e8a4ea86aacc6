/* What training would take, before anything runs. */
#include <stddef.h>
#include <stdio.h>

#include "command.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "summary.h"
#include "terminal.h"

enum { ALL_METHODS = -1, MAX_COLUMNS = TINYTL_METHOD_AUTO };

typedef struct plan_arguments {
  const char *backbone;
  int method, optimizer, n_classes, n_images;
  bool paper, json;
  tinytl_train_options train;
} plan_arguments;

/* One method. */
typedef struct column {
  const char *method;
  bool fits; /* into the memory limit, if there is one */
  tinytl_plan plan;
  uint64_t paper_table_nbytes; /* with --paper */
} column;

typedef struct report {
  const plan_arguments *args;
  int n_columns, n_fitting;
  column columns[MAX_COLUMNS];
  const char *automatic; /* what --method auto takes under the limit; NULL: nothing fits */
  tinytl_error misfit;   /* of the method that comes nearest to the limit */
  size_t least;          /* limit that it would want */
} report;

static const struct purpose {
  const char *key, *label;
  size_t member;
} purposes[] = {
    {"frozen_bytes", "frozen weights", offsetof(tinytl_plan, frozen_bytes)},
    {"trained_bytes", "trained values", offsetof(tinytl_plan, trained_bytes)},
    {"gradient_bytes", "gradients", offsetof(tinytl_plan, gradient_bytes)},
    {"optimizer_bytes", "optimizer", offsetof(tinytl_plan, optimizer_bytes)},
    {"kept_bytes", "best values, cache", offsetof(tinytl_plan, kept_bytes)},
    {"picture_bytes", "pictures", offsetof(tinytl_plan, picture_bytes)},
    {"saved_bytes", "saved for backward", offsetof(tinytl_plan, saved_bytes)},
    {"map_bytes", "maps", offsetof(tinytl_plan, map_bytes)},
    {"scratch_bytes", "scratch", offsetof(tinytl_plan, scratch_bytes)},
    {"other_bytes", "other", offsetof(tinytl_plan, other_bytes)},
    {"total_bytes", "total", offsetof(tinytl_plan, total_bytes)},
    {"one_lane_bytes", "in one lane", offsetof(tinytl_plan, one_lane_bytes)},
    {"base_rss_bytes", "before the run", offsetof(tinytl_plan, base_bytes)},
    {"smallest_bytes", "smallest limit", offsetof(tinytl_plan, smallest_bytes)},
};
enum { N_PURPOSES = sizeof purposes / sizeof *purposes };

static size_t plan_nbytes(const tinytl_plan *plan, const struct purpose *purpose) {
  return *(const size_t *)(const void *)((const char *)plan + purpose->member);
}

/* ---- Making the columns ------------------------------------------------------------------- */

/* As many pictures are for validation as train would hold back. */
static tinytl_status make_plan(const tinytl_backbone *backbone, const plan_arguments *args,
                               int method, tinytl_plan *plan, tinytl_error *error) {
  const float share = tinytl_validation_share(args->n_images, args->n_classes);
  const int n_val = (int)(share * (float)args->n_images);
  tinytl_train_options options = args->train;
  options.method = (tinytl_method)method;
  return tinytl_plan_make(backbone, args->n_classes, args->n_images - n_val, n_val, &options, plan,
                          error);
}

/* Of the network in the paper's tables; plan.paper_bytes is that of the network as it is. */
static tinytl_status add_paper(const tinytl_backbone *backbone, const plan_arguments *args,
                               column *column, tinytl_error *error) {
  return tinytl_paper_bytes(backbone, column->plan.method, args->n_classes, args->train.image_size,
                            args->train.batch, true, &column->paper_table_nbytes, error);
}

static tinytl_status add_method(report *report, const tinytl_backbone *backbone, int method,
                                tinytl_error *error) {
  column *column = &report->columns[report->n_columns];
  tinytl_error reason;
  tinytl_status status = make_plan(backbone, report->args, method, &column->plan, &reason);
  const bool is_known = column->plan.base_bytes > 0; /* what the process holds */
  if (status == TINYTL_ERROR_MEMORY_LIMIT && is_known) {
    if (report->least == 0 || column->plan.smallest_bytes < report->least) {
      report->least = column->plan.smallest_bytes;
      report->misfit = reason;
    }
  } else if (status != TINYTL_OK) {
    *error = reason;
    return status;
  }
  column->method = tinytl_method_name(column->plan.method);
  column->fits = status == TINYTL_OK;
  report->n_fitting += column->fits;
  report->n_columns++;
  if (!report->args->paper) return TINYTL_OK;
  return add_paper(backbone, report->args, column, error);
}

/* All methods; those that the backbone cannot do are named and left out. */
static tinytl_status add_all(report *report, const tinytl_backbone *backbone, tinytl_error *error) {
  for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++) {
    tinytl_status status = add_method(report, backbone, method, error);
    if (status == TINYTL_ERROR_MODEL && report->n_columns > 0)
      cli_note("%s is left out: %s", cli_methods[method], error->message);
    else if (status != TINYTL_OK)
      return status;
  }
  tinytl_plan plan;
  tinytl_status status = make_plan(backbone, report->args, TINYTL_METHOD_AUTO, &plan, error);
  if (status == TINYTL_OK) report->automatic = tinytl_method_name(plan.method);
  return status == TINYTL_ERROR_MEMORY_LIMIT ? TINYTL_OK : status;
}

/* ---- For people --------------------------------------------------------------------------- */

enum { LABEL_WIDTH = 20, COLUMN_WIDTH = 10 };

static void print_megabytes(uint64_t nbytes) {
  printf("%*.1f", COLUMN_WIDTH, (double)nbytes / 1e6);
}

static void print_row(const report *report, const struct purpose *purpose) {
  printf("%-*s", LABEL_WIDTH, purpose->label);
  for (int i = 0; i < report->n_columns; i++)
    print_megabytes(plan_nbytes(&report->columns[i].plan, purpose));
  putchar('\n');
}

static void print_paper(const report *report) {
  printf("\n%-*s", LABEL_WIDTH, "paper's model");
  for (int i = 0; i < report->n_columns; i++) print_megabytes(report->columns[i].plan.paper_bytes);
  printf("\n%-*s", LABEL_WIDTH, "paper's tables");
  for (int i = 0; i < report->n_columns; i++)
    print_megabytes(report->columns[i].paper_table_nbytes);
  printf(
      "\n\nThe paper's model counts neither gradients nor the optimizer's state, nor the process.\n"
      "In its tables the network carries lite modules under every method.\n");
}

static void print_choice(const column *column) {
  const tinytl_plan *plan = &column->plan;
  printf("  %-10s", column->method);
  if (!column->fits) {
    printf("does not fit; at least %.1f MB\n", (double)plan->smallest_bytes / 1e6);
    return;
  }
  char choices[CLI_CHOICES_NBYTES];
  printf("fits with %s\n", cli_choices_text(plan, choices));
}

static void print_text(const report *report) {
  const plan_arguments *args = report->args;
  const tinytl_plan *first = &report->columns[0].plan;
  printf("Memory of training in MB (10^6 bytes): batch %d, %d x %d pixels, %d classes, %d "
         "pictures\n\n%-*s",
         first->batch, first->image_size, first->image_size, args->n_classes, args->n_images,
         LABEL_WIDTH, "");
  for (int i = 0; i < report->n_columns; i++)
    printf("%*s", COLUMN_WIDTH, report->columns[i].method);
  putchar('\n');
  for (int i = 0; i < N_PURPOSES; i++) print_row(report, &purposes[i]);
  if (args->paper) print_paper(report);
  printf("\nMost of saved, maps and scratch at\n");
  for (int i = 0; i < report->n_columns; i++)
    printf("  %-10s%s\n", report->columns[i].method, report->columns[i].plan.peak_step);
  if (args->train.memory_limit == 0) return;
  printf("\nWith --memory-limit of %.10g MB\n", (double)args->train.memory_limit / 1e6);
  for (int i = 0; i < report->n_columns; i++) print_choice(&report->columns[i]);
  if (report->automatic) printf("  auto      tries up to %s\n", report->automatic);
}

/* ---- For programs ------------------------------------------------------------------------- */

static void print_json(const report *report, const column *column) {
  const plan_arguments *args = report->args;
  const tinytl_plan *plan = &column->plan, *first = &report->columns[0].plan;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "method", column->method);
  cli_json_int(&json, "batch", first->batch);
  cli_json_int(&json, "image_size", first->image_size);
  cli_json_int(&json, "classes", args->n_classes);
  cli_json_int(&json, "pictures", args->n_images);
  cli_json_bool(&json, "fits", column->fits);
  cli_choices_json(&json, plan);
  for (int i = 0; i < N_PURPOSES; i++)
    cli_json_int(&json, purposes[i].key, (long long)plan_nbytes(plan, &purposes[i]));
  cli_json_text(&json, "peak_step", plan->peak_step);
  cli_json_int(&json, "macs", (long long)plan->macs);
  cli_json_int(&json, "paper_bytes", (long long)plan->paper_bytes);
  if (args->paper) cli_json_int(&json, "paper_table_bytes", (long long)column->paper_table_nbytes);
  cli_json_end(&json);
}

/* ---- Command ------------------------------------------------------------------------------ */

static const cli_syntax plan_syntax = {
    .command = "plan",
    .arguments = "",
    .summary = "Says how much memory training would take, before anything runs.",
    .examples = "  tinytl plan\n"
                "  tinytl plan -m backbone.safetensors --batch 32 --image-size 320 --paper\n"
                "  tinytl plan --method lite+bias --memory-limit 24M --json\n",
    .notes =
        "As many pictures count as validation as train holds back. Every thread has a picture\n"
        "of its own to work on, in a lane; under a limit there may be fewer lanes, or one, in\n"
        "which all threads work. Limits are for the whole process; a run holds up to half a\n"
        "megabyte more at its start than a plan does: the names of the pictures and what reads\n"
        "them. Exit code 5: no method fits. Sizes: K, M, G are 10^3, 10^6, 10^9 bytes.\n"};

static bool parse(int argc, char **argv, plan_arguments *args, int *exit_code) {
  tinytl_train_options *train = &args->train;
  const cli_option options[] = {
      CLI_OPTION_MODEL(&args->backbone),
      CLI_OPTION_CHOICE("method", &args->method, cli_methods, "METHOD",
                        "as of 'tinytl train' (default: all of them)"),
      CLI_OPTION_INT(0, "batch", &train->batch, 1, TINYTL_MAX_BATCH,
                     "pictures a step (default: 8)"),
      CLI_OPTION_IMAGE_SIZE(&train->image_size, "the backbone's"),
      CLI_OPTION_INT(0, "classes", &args->n_classes, 2, TINYTL_MAX_CLASSES, "default: 10"),
      CLI_OPTION_INT(0, "pictures", &args->n_images, 2, 100000000, "default: 1000"),
      CLI_OPTION_CHOICE("optimizer", &args->optimizer, cli_optimizers, "NAME",
                        "as of 'tinytl train'"),
      CLI_OPTION_SIZE("memory-limit", &train->memory_limit, "what training would choose under it"),
      CLI_OPTION_THREADS(&train->n_threads),
      CLI_OPTION_FLAG(0, "paper", &args->paper,
                      "beside it the figures by the model of the TinyTL paper"),
      CLI_OPTION_JSON(&args->json),
      CLI_OPTIONS_END,
  };
  char **operands;
  int n_operands;
  return cli_parse(&plan_syntax, options, argc, argv, &operands, &n_operands, exit_code);
}

static tinytl_status run(const cli_model *model, const plan_arguments *args, tinytl_error *error) {
  report report = {.args = args};
  tinytl_status status = args->method == ALL_METHODS
                             ? add_all(&report, model->backbone, error)
                             : add_method(&report, model->backbone, args->method, error);
  if (status != TINYTL_OK) return status;
  if (args->json)
    for (int i = 0; i < report.n_columns; i++) print_json(&report, &report.columns[i]);
  else
    print_text(&report);
  if (report.n_fitting > 0) return TINYTL_OK;
  *error = report.misfit;
  return TINYTL_ERROR_MEMORY_LIMIT;
}

int cli_plan(int argc, char **argv) {
  plan_arguments args = {.method = ALL_METHODS, .n_classes = 10, .n_images = 1000};
  int exit_code;
  tinytl_train_options_init(&args.train);
  args.optimizer = args.train.optimizer;
  if (!parse(argc, argv, &args, &exit_code)) return exit_code;
  args.train.optimizer = (tinytl_optimizer)args.optimizer;
  args.train.spill_dir = "."; /* train has the adapter's folder; a plan writes nothing */
  tinytl_error error;
  cli_model model;
  tinytl_status status = cli_model_open(&model, args.backbone, NULL, 0, &error);
  if (status == TINYTL_OK) {
    status = run(&model, &args, &error);
    cli_model_close(&model);
  }
  if (status == TINYTL_OK) return TINYTL_OK;
  fflush(stdout); /* the table comes before what is wrong with it */
  return cli_report(&error);
}
