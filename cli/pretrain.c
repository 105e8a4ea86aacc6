#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint.h"
#include "command.h"
#include "io.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "pictures.h"
#include "ranks.h"
#include "summary.h"
#include "terminal.h"

typedef struct pretrain_arguments {
  const char *architecture, *dir, *backbone, *teacher, *image_sizes;
  int weights;
  float val_share; /* NAN: not given */
  bool json, quiet, no_mirror;
  cli_checkpoint checkpoint;
  tinytl_pretrain_options pretrain;
} pretrain_arguments;

static const cli_syntax pretrain_syntax = {
    .command = "pretrain",
    .arguments = "ARCHITECTURE",
    .summary = "Trains a backbone or super-net from nothing on pictures in class folders.",
    .examples =
        "  tinytl pretrain mobilenet-v2-0.35 -d pictures -o backbone.safetensors --image-size 64\n"
        "  tinytl pretrain mcunet-5fps -d pictures -o backbone.safetensors --checkpoint run.ckpt "
        "--resume\n"
        "  tinytl pretrain supernet-0.5 -d pictures -o supernet.safetensors --image-size 64\n",
    .notes =
        "It takes tens of thousands of pictures to make a backbone that others can adapt.\n"
        "Pictures: as of train; DIR/val, or a tenth of DIR/train where there is none, is for the\n"
        "accuracy that is told. Architectures: mobilenet-v2-W (W: width multiplier, 0.1 to 2.0),\n"
        "proxyless-mobile, mcunet-5fps; supernet-W is the super-net of ProxylessNAS. Sizes: K, M, "
        "G are 10^3, 10^6, 10^9 bytes.\nBuilt with MPI, mpirun -n N tinytl pretrain ... splits "
        "each batch over N processes.\n",
    .min_operands = 1,
    .max_operands = 1};

static bool parse(int argc, char **argv, pretrain_arguments *args, int *exit_code) {
  tinytl_pretrain_options *pretrain = &args->pretrain;
  const cli_option options[] = {
      CLI_OPTION_DATA(&args->dir),
      CLI_OPTION_OUTPUT(&args->backbone, "BACKBONE"),
      CLI_OPTION_INT(0, "epochs", &pretrain->epochs, 1, TINYTL_MAX_EPOCHS,
                     "passes over the pictures (default: 60)"),
      CLI_OPTION_INT(0, "batch", &pretrain->batch, 2, TINYTL_MAX_BATCH,
                     "pictures a step (default: 64); memory grows with it"),
      CLI_OPTION_REAL("lr", &pretrain->lr, 0, 10, CLI_RANGE_ABOVE_MIN,
                      "learning rate (default: 0.1 at batch 64, in proportion)"),
      CLI_OPTION_IMAGE_SIZE(&pretrain->image_size, "the architecture's"),
      CLI_OPTION_TEXT(0, "image-sizes", &args->image_sizes, "LIST",
                      "as 48,64,64,80: one is drawn every step; --image-size is one"),
      CLI_OPTION_REAL("label-smoothing", &pretrain->label_smoothing, 0, 1, CLI_RANGE_BELOW_MAX,
                      "default: 0.1"),
      CLI_OPTION_REAL("val-split", &args->val_share, 0, 0.9, CLI_RANGE_CLOSED,
                      "share for validation, not DIR/val; 0: none (default: 0.1)"),
      CLI_OPTION_FLAG(0, "no-mirror", &args->no_mirror,
                      "where left and right differ, as in text and signs"),
      CLI_OPTION_FLAG(0, "lite", &pretrain->lite,
                      "lite residual modules too, which train then starts from"),
      CLI_OPTION_TEXT(0, "teacher", &args->teacher, "BACKBONE",
                      "learn from its answers too; same classes, same picture size"),
      CLI_OPTION_CHOICE("weights", &args->weights, cli_weights, "TYPE",
                        "of the file: int8 (default) or f32"),
      CLI_OPTION_SIZE("memory-limit", &pretrain->memory_limit,
                      "of the whole process; refused where it cannot be met"),
      CLI_OPTIONS_CHECKPOINT(&args->checkpoint, "run", "backbone"),
      CLI_OPTION_SEED("seed", &pretrain->seed, "same seed, same backbone (default: 0)"),
      CLI_OPTION_THREADS(&pretrain->n_threads),
      CLI_OPTION_JSON(&args->json),
      CLI_OPTION_QUIET(&args->quiet),
      CLI_OPTIONS_END,
  };
  char **operands;
  int n_operands;
  if (!cli_parse(&pretrain_syntax, options, argc, argv, &operands, &n_operands, exit_code)) {
    return false;
  }
  args->architecture = operands[0];
  return true;
}

static void on_progress(void *context, const tinytl_epoch *epoch) {
  const pretrain_arguments *args = context;
  if (!args->quiet) cli_progress(NULL, epoch);
  if (args->json && epoch->finished) cli_epoch_json(epoch, NULL);
}

static void on_planned(void *context, size_t total_bytes, size_t base_bytes) {
  const pretrain_arguments *args = context;
  if (args->quiet) return;
  cli_note("%.1f MB planned and %.1f MB held before", (double)total_bytes / 1e6,
           (double)base_bytes / 1e6);
}

static tinytl_status write_state(const void *state, tinytl_write_fn write, void *context,
                                 tinytl_error *error) {
  return tinytl_pretrain_state_write(state, write, context, error);
}

static void on_save(void *context, const tinytl_pretrain_state *state) {
  pretrain_arguments *args = context;
  cli_checkpoint_save(&args->checkpoint, write_state, state);
}

static void on_resumed(void *context, const tinytl_epoch *at) {
  const pretrain_arguments *args = context;
  if (args->quiet) return;
  cli_note("going on from %s: epoch %d of %d, picture %d of %d", args->checkpoint.path, at->epoch,
           at->n_epochs, at->image, at->n_images);
}

static bool is_supernet(const pretrain_arguments *args) {
  return strncmp(args->architecture, "supernet", strlen("supernet")) == 0;
}

/* Of the ranks: it alone writes files and messages. */
static bool is_first(const pretrain_arguments *args) {
  return !args->pretrain.group || args->pretrain.group->rank == 0;
}

static void print_done(const pretrain_arguments *args, const cli_train_set *set,
                       const tinytl_pretrain_report *report) {
  int n_skipped = set->n_skipped + report->skipped_images;
  if (args->json) {
    cli_json json = cli_json_begin();
    cli_json_text(&json, "event", "done");
    cli_json_text(&json, "architecture", args->architecture);
    cli_json_int(&json, "classes", tinytl_folder_images(set->train)->n_classes);
    cli_json_int(&json, "epochs", args->pretrain.epochs);
    cli_json_int(&json, "train_images", report->train_images);
    cli_json_int(&json, "val_images", report->val_images);
    cli_json_int(&json, "skipped", n_skipped);
    cli_json_real(&json, "val_top1", (double)report->val_top1);
    if (is_supernet(args)) {
      cli_json_real(&json, "smallest_top1", (double)report->smallest_top1);
    }
    cli_memory_json(&json, report->planned_bytes, report->base_bytes);
    cli_json_real(&json, "images_per_second", report->images_per_second);
    cli_json_real(&json, "seconds", report->seconds);
    cli_json_text(&json, "backbone", args->backbone);
    cli_json_end(&json);
    return;
  }
  printf("pictures    %d for training, %d for validation, %d left out\n", report->train_images,
         report->val_images, n_skipped);
  if (isfinite(report->val_top1)) {
    printf("validation  %.1f %% top-1", 100 * (double)report->val_top1);
    if (is_supernet(args)) {
      printf(" of the largest sub-net, %.1f %% of the smallest",
             100 * (double)report->smallest_top1);
    }
    putchar('\n');
  } else {
    printf("validation  none\n");
  }
  cli_memory_print("", report->planned_bytes, report->base_bytes);
  printf("time        %.1f s, %.1f pictures/s\n", report->seconds, report->images_per_second);
  cli_written_print(is_supernet(args) ? "super-net" : "backbone", args->backbone);
}

static tinytl_status pretrain_supernet_into(cli_output *output, const cli_train_set *set,
                                            const pretrain_arguments *args,
                                            tinytl_pretrain_report *report, tinytl_error *error) {
  tinytl_supernet *supernet;
  tinytl_status status =
      tinytl_pretrain_supernet(args->architecture, tinytl_folder_images(set->train),
                               cli_train_set_val(set), &args->pretrain, &supernet, report, error);
  cli_progress_end();
  if (status != TINYTL_OK || !is_first(args)) return status;
  status = tinytl_supernet_write(supernet, args->pretrain.weights, cli_output_write, output, error);
  tinytl_supernet_free(supernet);
  return status;
}

static tinytl_status pretrain_into(cli_output *output, const cli_train_set *set,
                                   const pretrain_arguments *args, tinytl_pretrain_report *report,
                                   tinytl_error *error) {
  if (is_supernet(args)) return pretrain_supernet_into(output, set, args, report, error);
  tinytl_backbone *backbone;
  tinytl_status status =
      tinytl_pretrain(args->architecture, tinytl_folder_images(set->train), cli_train_set_val(set),
                      &args->pretrain, &backbone, report, error);
  cli_progress_end();
  if (status != TINYTL_OK || !is_first(args)) return status;
  status = tinytl_backbone_write(backbone, cli_output_write, output, error);
  tinytl_backbone_free(backbone);
  return status;
}

static tinytl_status open_all(pretrain_arguments *args, cli_output *output, cli_train_set *set,
                              tinytl_error *error) {
  tinytl_status status =
      cli_output_open(output, is_first(args) ? args->backbone : "/dev/null", args->teacher, error);
  if (status == TINYTL_OK) {
    status = cli_train_set_open(set, args->dir, CLI_VAL_OF_PRETRAIN, args->val_share,
                                args->pretrain.seed, is_first(args), error);
  }
  status = tinytl_rank_group_agree(args->pretrain.group, status, error);
  if (status == TINYTL_OK) return TINYTL_OK;
  cli_train_set_close(set);
  cli_output_discard(output);
  return status;
}

static tinytl_status run_locked(pretrain_arguments *args, tinytl_error *error) {
  cli_output output = {0};
  cli_train_set set = {0};
  tinytl_pretrain_report report;
  tinytl_status status = open_all(args, &output, &set, error);
  if (status != TINYTL_OK) return status;
  status = pretrain_into(&output, &set, args, &report, error);
  if (!is_first(args)) {
    cli_output_discard(&output);
  } else {
    status = cli_output_finish(&output, status, error);
    if (status == TINYTL_OK) {
      cli_checkpoint_remove(&args->checkpoint);
      print_done(args, &set, &report);
    }
  }
  cli_train_set_close(&set);
  return status;
}

static tinytl_status run_saved(pretrain_arguments *args, tinytl_error *error) {
  cli_checkpoint *checkpoint = &args->checkpoint;
  tinytl_status status =
      cli_checkpoint_open(checkpoint, args->backbone, &args->pretrain.save_seconds, error);
  const tinytl_status agreed = tinytl_rank_group_agree(args->pretrain.group, status, error);
  if (agreed != TINYTL_OK) {
    if (status == TINYTL_OK) cli_checkpoint_close(checkpoint);
    return agreed;
  }
  if (args->checkpoint.path) args->pretrain.save = on_save;
  args->pretrain.resume = cli_checkpoint_source(checkpoint);
  status = run_locked(args, error);
  cli_checkpoint_note_end(checkpoint, status);
  cli_checkpoint_close(checkpoint);
  return status;
}

static tinytl_status run(pretrain_arguments *args, tinytl_error *error) {
  cli_model teacher;
  if (!args->teacher) return run_saved(args, error);
  const tinytl_status opened =
      cli_model_open(&teacher, args->teacher, NULL, args->pretrain.memory_limit, error);
  tinytl_status status = tinytl_rank_group_agree(args->pretrain.group, opened, error);
  if (status != TINYTL_OK) {
    if (opened == TINYTL_OK) cli_model_close(&teacher);
    return status;
  }
  args->pretrain.teacher = teacher.backbone;
  args->pretrain.teacher_name = args->teacher;
  status = run_saved(args, error);
  cli_model_close(&teacher);
  return status;
}

int cli_pretrain(int argc, char **argv) {
  pretrain_arguments args = {.checkpoint = CLI_CHECKPOINT_NONE, .val_share = NAN};
  int exit_code;
  tinytl_pretrain_options_init(&args.pretrain);
  args.weights = args.pretrain.weights;
  if (!parse(argc, argv, &args, &exit_code)) return exit_code;
  args.pretrain.weights = (tinytl_weights)args.weights;
  args.pretrain.mirror = !args.no_mirror;
  args.pretrain.stop = cli_stop_flag();
  args.pretrain.progress = on_progress;
  args.pretrain.planned = on_planned;
  args.pretrain.skip = cli_note_skipped;
  args.pretrain.resumed = on_resumed;
  args.pretrain.context = &args;
  tinytl_error error;
  tinytl_status status = cli_image_sizes(args.image_sizes, args.pretrain.image_sizes,
                                         &args.pretrain.n_image_sizes, &error);
  if (status == TINYTL_OK) status = cli_ranks_begin(&args.pretrain.group, &error);
  if (status != TINYTL_OK) return cli_report(&error);
  if (!is_first(&args)) {
    args.quiet = true;
    args.json = false;
    args.checkpoint = (cli_checkpoint)CLI_CHECKPOINT_NONE;
  }
  status = run(&args, &error);
  if (status != TINYTL_OK && is_first(&args)) cli_report(&error);
  fflush(stdout);
  cli_ranks_end();
  return status;
}
