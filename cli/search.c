#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint.h"
#include "command.h"
#include "io.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "pictures.h"
#include "plot.h"
#include "summary.h"
#include "terminal.h"

typedef struct search_arguments {
  const char *supernet, *dir, *backbone;
  int method, optimizer;
  float val_share; /* NAN: not given */
  float max_mega_macs;
  bool json, quiet, has_header, no_mirror;
  const char *plot_path, *image_sizes;
  cli_checkpoint checkpoint;
  cli_plot plot;
  tinytl_search_options search;
} search_arguments;

static const cli_syntax search_syntax = {
    .command = "search",
    .arguments = "",
    .summary = "Chooses the sub-net of a super-net for pictures in class folders, within limits.",
    .examples = "  tinytl search -d pictures -o backbone.safetensors\n"
                "  tinytl search -d pictures -o backbone.safetensors --memory-limit 24M\n"
                "  tinytl search -d pictures -o backbone.safetensors --max-macs 8\n"
                "  tinytl search -m supernet.safetensors -d pictures -o backbone.safetensors "
                "--plot front.svg\n",
    .notes =
        "The search adapts biases and a classifier of the super-net to the pictures, and its lite\n"
        "modules where --method trains such and the limit has room. Then it measures sub-nets on\n"
        "held-out pictures and breeds more by a predictor of that. The score is the geometric\n"
        "mean of the probability, in per cent, given to the right class. train -m BACKBONE adapts\n"
        "what was chosen. Limits are those of that training, with --method, --batch and\n"
        "--optimizer as it will have them; BACKBONE has the size of the pictures that was chosen.\n"
        "Held-out pictures: DIR/val, or a fifth of the others, more of few; those that train with\n"
        "the same --seed holds back are among them. Sizes: K, M, G are 10^3, 10^6, 10^9 bytes.\n"};

static bool parse(int argc, char **argv, search_arguments *args, int *exit_code) {
  tinytl_train_options *train = &args->search.train;
  const cli_option options[] = {
      CLI_OPTION_TEXT('m', "model", &args->supernet, "SUPERNET",
                      "super-net file (default: the bundled one)"),
      CLI_OPTION_DATA(&args->dir),
      CLI_OPTION_OUTPUT(&args->backbone, "BACKBONE"),
      CLI_OPTION_SIZE("memory-limit", &train->memory_limit,
                      "of training, and of the search itself"),
      CLI_OPTION_SIZE("search-limit", &args->search.search_limit,
                      "of the search alone, where training will have less"),
      CLI_OPTION_REAL("max-macs", &args->max_mega_macs, 0, 1e6, CLI_RANGE_ABOVE_MIN,
                      "million multiply-accumulates a picture, classifier included (default: any)"),
      CLI_OPTION_INT(0, "candidates", &args->search.candidates, 16, 1000,
                     "sub-nets to measure, from 16 (default: 100)"),
      CLI_OPTION_INT(0, "epochs", &train->epochs, 1, TINYTL_MAX_EPOCHS,
                     "of adapting (default: as train --method bias at its usual rates)"),
      CLI_OPTION_FLAG(0, "no-mirror", &args->no_mirror,
                      "where left and right differ, as in text and signs"),
      CLI_OPTION_CHOICE("method", &args->method, cli_methods, "METHOD",
                        "of training: lite+bias (default), last, bias, lite, norm or full"),
      CLI_OPTION_INT(0, "batch", &train->batch, 1, TINYTL_MAX_BATCH, "of training (default: 8)"),
      CLI_OPTION_CHOICE("optimizer", &args->optimizer, cli_optimizers, "NAME",
                        "of training: auto (default), adam, adam8 or sgd"),
      CLI_OPTION_TEXT(
          0, "image-sizes", &args->image_sizes, "LIST",
          "of the pictures, to choose from, ascending, as 48,64,96 (default: from 3/4 to twice "
          "the super-net's, up to 224)"),
      CLI_OPTION_REAL("val-split", &args->val_share, 0.05, 0.9, CLI_RANGE_CLOSED,
                      "share that is held out, not DIR/val (default: as train's, 0.2 at least)"),
      CLI_OPTION_TEXT(0, "plot", &args->plot_path, "FILE",
                      "score against memory of all that was measured, as SVG"),
      CLI_OPTIONS_CHECKPOINT(&args->checkpoint, "search", "backbone"),
      CLI_OPTION_SEED("seed", &train->seed, "same seed, same backbone (default: 0)"),
      CLI_OPTION_THREADS(&train->n_threads),
      CLI_OPTION_JSON(&args->json),
      CLI_OPTION_QUIET(&args->quiet),
      CLI_OPTIONS_END,
  };
  char **operands;
  int n_operands;
  return cli_parse(&search_syntax, options, argc, argv, &operands, &n_operands, exit_code);
}

/* ---- What is told ------------------------------------------------------------------------- */

static void on_progress(void *context, int n, int n_candidates, const tinytl_candidate *candidate) {
  const search_arguments *args = context;
  (void)candidate;
  if (!args->quiet) cli_progress_count("sub-net", n, n_candidates);
}

static void on_adapting(void *context, const tinytl_epoch *epoch) {
  const search_arguments *args = context;
  if (!args->quiet) cli_progress("adapting", epoch);
}

static tinytl_status write_state(const void *state, tinytl_write_fn write, void *context,
                                 tinytl_error *error) {
  return tinytl_search_state_write(state, write, context, error);
}

static void on_save(void *context, const tinytl_search_state *state) {
  search_arguments *args = context;
  cli_checkpoint_save(&args->checkpoint, write_state, state);
}

static void on_resumed(void *context, int epoch, int n_measured) {
  const search_arguments *args = context;
  if (args->quiet) return;
  if (n_measured > 0)
    cli_note("going on from %s: %d sub-nets measured", args->checkpoint.path, n_measured);
  else
    cli_note("going on from %s: epoch %d of adapting", args->checkpoint.path, epoch);
}

/* The last stage has one block in every sub-net. */
static bool has_lite(const tinytl_candidate *c) {
  return c->lite_kernel[TINYTL_SUPERNET_STAGES - 1][0] > 0;
}

/* An array a stage, of a number a block. */
static void put_blocks(cli_json *json, const char *key, const tinytl_candidate *c,
                       const int numbers[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH]) {
  cli_json_open(json, key, '[');
  for (int s = 0; s < TINYTL_SUPERNET_STAGES; s++) {
    cli_json_open(json, NULL, '[');
    for (int j = 0; j < c->depth[s]; j++) cli_json_int(json, NULL, numbers[s][j]);
    cli_json_close(json, ']');
  }
  cli_json_close(json, ']');
}

static void put_arch(cli_json *json, const tinytl_candidate *c) {
  cli_json_open(json, "arch", '{');
  cli_json_int(json, "image_size", c->image_size);
  cli_json_open(json, "depth", '[');
  for (int s = 0; s < TINYTL_SUPERNET_STAGES; s++) cli_json_int(json, NULL, c->depth[s]);
  cli_json_close(json, ']');
  put_blocks(json, "kernel", c, c->kernel);
  put_blocks(json, "expand", c, c->expand);
  if (has_lite(c)) {
    put_blocks(json, "lite_kernel", c, c->lite_kernel);
    put_blocks(json, "lite_groups", c, c->lite_groups);
  }
  cli_json_close(json, '}');
}

static cli_json begin_candidate(const char *event, const tinytl_candidate *c) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", event);
  put_arch(&json, c);
  cli_json_int(&json, "macs", (long long)c->macs);
  cli_json_int(&json, "planned_bytes", (long long)c->planned_bytes);
  cli_json_int(&json, "base_rss_bytes", (long long)c->base_bytes);
  cli_json_real(&json, "val_top1", (double)c->top1);
  cli_json_real(&json, "score", (double)c->score);
  cli_json_real(&json, "predicted_score", (double)c->predicted);
  return json;
}

static void print_candidate(const tinytl_candidate *c) {
  printf("%5.1f  %6.1f %%  %7.1f MB  %7.1f M  %4d px  ", 100 * (double)c->score,
         100 * (double)c->top1, (double)(c->planned_bytes + c->base_bytes) / 1e6,
         (double)c->macs / 1e6, c->image_size);
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++)
    for (int j = 0; j < c->depth[s]; j++) {
      printf("%s%d/%d", j ? " " : s > 1 ? " | " : "", c->kernel[s][j], c->expand[s][j]);
      if (has_lite(c)) printf(":%d/%d", c->lite_kernel[s][j], c->lite_groups[s][j]);
    }
  putchar('\n');
}

static void on_measured(void *context, const tinytl_candidate *candidate) {
  search_arguments *args = context;
  cli_progress_end();
  cli_plot_add(&args->plot, (double)(candidate->planned_bytes + candidate->base_bytes) / 1e6,
               100 * (double)candidate->score, candidate->on_front);
  if (!args->json) {
    if (!candidate->on_front) return;
    if (!args->has_header) {
      printf("score  accuracy      memory       work  pictures  kernel/expand%s of every block\n",
             has_lite(candidate) ? ":lite kernel/groups" : "");
    }
    args->has_header = true;
    print_candidate(candidate);
    return;
  }
  cli_json json = begin_candidate(candidate->on_front ? "front" : "candidate", candidate);
  cli_json_end(&json);
}

static void print_done(const search_arguments *args, const tinytl_search_report *report) {
  const tinytl_candidate *chosen = &report->chosen;
  if (args->json) {
    cli_json json = begin_candidate("done", chosen);
    cli_json_int(&json, "candidates", report->candidates);
    cli_json_text(&json, "adapted", tinytl_method_name(report->adapted));
    cli_json_real(&json, "tau", (double)report->tau);
    cli_json_int(&json, "search_planned_bytes", (long long)report->planned_bytes);
    cli_json_int(&json, "search_base_bytes", (long long)report->search_base_bytes);
    cli_json_real(&json, "seconds", report->seconds);
    cli_json_int(&json, "peak_rss_bytes", (long long)cli_peak_rss());
    cli_json_text(&json, "backbone", args->backbone);
    cli_json_end(&json);
    return;
  }
  printf("chosen      the first of these, of %d sub-nets measured\n", report->candidates);
  printf("adapted     %s\n", report->adapted == TINYTL_METHOD_LITE_BIAS
                                 ? "biases, lite modules and classifier"
                                 : "biases and classifier");
  if (isnan(report->tau))
    printf("predictor   of too few sub-nets to tell how well it ranks others\n");
  else
    printf("predictor   Kendall's tau %.2f on sub-nets that it had not seen\n",
           (double)report->tau);
  cli_memory_print("of the search: ", report->planned_bytes, report->search_base_bytes);
  printf("time        %.1f s\n", report->seconds);
  cli_written_print("backbone", args->backbone);
}

/* ---- The command -------------------------------------------------------------------------- */

static tinytl_status open_supernet(const char *path, size_t limit, tinytl_supernet **supernet,
                                   tinytl_error *error) {
  cli_file file;
  tinytl_status status = cli_model_file_open(path, true, limit, &file, error);
  if (status != TINYTL_OK) return status;
  status = tinytl_supernet_open(file.bytes, file.nbytes, path, supernet, error);
  status = cli_explain_kind(status, &file, path, "a super-net", error);
  cli_file_close(&file);
  return status;
}

static tinytl_status search_into(cli_output *output, const tinytl_supernet *supernet,
                                 const cli_train_set *set, const search_arguments *args,
                                 tinytl_search_report *report, tinytl_error *error) {
  tinytl_backbone *backbone;
  tinytl_status status =
      tinytl_search(supernet, tinytl_folder_images(set->train), cli_train_set_val(set),
                    &args->search, &backbone, report, error);
  cli_progress_end();
  if (status != TINYTL_OK) return status;
  status = tinytl_backbone_write(backbone, cli_output_write, output, error);
  tinytl_backbone_free(backbone);
  return status;
}

/* A link that leads nowhere may lead to the backbone once that is there. */
static bool leads_nowhere(const char *path) {
  struct stat info;
  return lstat(path, &info) == 0 && stat(path, &info) != 0;
}

/* The reader of a pipe would see its end. */
static bool is_pipe(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISFIFO(info.st_mode);
}

/* Found out before the search what would keep the plot from being written. */
static tinytl_status check_plot(const search_arguments *args, tinytl_error *error) {
  cli_output output;
  if (!args->plot_path) return TINYTL_OK;
  if (leads_nowhere(args->plot_path)) {
    return cli_fail(error, TINYTL_ERROR_USAGE,
                    "%s: is a link that leads nowhere; --plot wants a file", args->plot_path);
  }
  if (cli_is_same_file(args->plot_path, args->backbone)) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s: -o and --plot want two files", args->plot_path);
  }
  if (args->checkpoint.path && (cli_is_same_file(args->plot_path, args->checkpoint.path) ||
                                cli_is_same_file(args->plot_path, args->checkpoint.lock_path))) {
    return cli_fail(error, TINYTL_ERROR_USAGE,
                    "%s: --checkpoint, its lock and --plot want different files", args->plot_path);
  }
  if (is_pipe(args->plot_path)) return TINYTL_OK;
  tinytl_status status = cli_output_open(&output, args->plot_path, args->supernet, error);
  if (status == TINYTL_OK) cli_output_discard(&output);
  return status;
}

static tinytl_status write_plot(search_arguments *args, tinytl_error *error) {
  cli_output output;
  if (!args->plot_path) return TINYTL_OK;
  tinytl_status status = cli_output_open(&output, args->plot_path, args->supernet, error);
  if (status != TINYTL_OK) return status;
  cli_plot_write(&args->plot, cli_output_write, &output); /* the output knows where it failed */
  /* It takes no time: not even a signal keeps it back. */
  return cli_output_commit(&output, TINYTL_OK, error);
}

static tinytl_status run_locked(const tinytl_supernet *supernet, search_arguments *args,
                                tinytl_error *error) {
  cli_output output;
  cli_train_set set;
  tinytl_search_report report;
  tinytl_status status = check_plot(args, error);
  if (status == TINYTL_OK) {
    status = cli_output_open(&output, args->backbone, args->supernet, error);
  }
  if (status != TINYTL_OK) return status;
  status = cli_train_set_open(&set, args->dir, CLI_VAL_OF_SEARCH, args->val_share,
                              args->search.train.seed, true, error);
  if (status != TINYTL_OK) {
    cli_output_discard(&output);
    return status;
  }
  status = search_into(&output, supernet, &set, args, &report, error);
  status = cli_output_finish(&output, status, error);
  if (status == TINYTL_OK) {
    cli_checkpoint_remove(&args->checkpoint);
    print_done(args, &report);
    status = write_plot(args, error);
  }
  cli_train_set_close(&set);
  return status;
}

static tinytl_status run(const tinytl_supernet *supernet, search_arguments *args,
                         tinytl_error *error) {
  cli_checkpoint *checkpoint = &args->checkpoint;
  tinytl_status status =
      cli_checkpoint_open(checkpoint, args->backbone, &args->search.train.save_seconds, error);
  if (status != TINYTL_OK) return status;
  if (args->checkpoint.path) args->search.save = on_save;
  args->search.resume = cli_checkpoint_source(checkpoint);
  status = run_locked(supernet, args, error);
  cli_checkpoint_note_end(checkpoint, status);
  cli_checkpoint_close(checkpoint);
  return status;
}

int cli_search(int argc, char **argv) {
  search_arguments args = {.checkpoint = CLI_CHECKPOINT_NONE, .val_share = NAN};
  int exit_code;
  tinytl_search_options_init(&args.search);
  args.method = args.search.train.method;
  args.optimizer = args.search.train.optimizer;
  if (!parse(argc, argv, &args, &exit_code)) return exit_code;
  args.search.train.method = (tinytl_method)args.method;
  if (args.no_mirror) args.search.train.mirror = TINYTL_SWITCH_OFF;
  args.search.train.optimizer = (tinytl_optimizer)args.optimizer;
  if (args.max_mega_macs > 0) /* 0 would be no limit */
    args.search.max_macs = (uint64_t)fmax(1, round((double)args.max_mega_macs * 1e6));
  args.search.train.stop = cli_stop_flag();
  args.search.train.skip = cli_note_skipped;
  args.search.train.context = &args;
  args.search.progress = on_progress;
  args.search.measured = on_measured;
  args.search.adapting = on_adapting;
  args.search.resumed = on_resumed;
  const size_t limit =
      args.search.search_limit ? args.search.search_limit : args.search.train.memory_limit;
  tinytl_error error;
  tinytl_supernet *supernet;
  char path[4096];
  tinytl_status status = cli_model_find(args.supernet, "supernet.safetensors", "give -m SUPERNET",
                                        path, sizeof path, &error);
  args.supernet = path;
  if (status == TINYTL_OK) {
    status = cli_image_sizes(args.image_sizes, args.search.image_sizes, &args.search.n_image_sizes,
                             &error);
  }
  if (status == TINYTL_OK) status = open_supernet(path, limit, &supernet, &error);
  if (status == TINYTL_OK) {
    status = run(supernet, &args, &error);
    tinytl_supernet_free(supernet);
  }
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
