#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "command.h"
#include "io.h"
#include "json.h"
#include "metrics.h"
#include "model.h"
#include "options.h"
#include "pictures.h"
#include "summary.h"
#include "terminal.h"

typedef struct train_arguments {
  const char *backbone, *dir, *adapter;
  int method, optimizer, augment;
  float val_share; /* NAN: not given */
  bool json, quiet, mirror, no_mirror;
  cli_checkpoint checkpoint;
  tinytl_train_options train;
} train_arguments;

static const cli_syntax train_syntax = {
    .command = "train",
    .arguments = "",
    .summary = "Adapts a backbone to pictures in class folders.",
    .examples = "  tinytl train -d pictures -o mine.safetensors\n"
                "  tinytl train -m backbone.safetensors -d signs -o signs.safetensors --no-mirror\n"
                "  tinytl train -d pictures -o mine.safetensors --method last --memory-limit 24M\n"
                "  tinytl train -d pictures -o mine.safetensors --checkpoint run.ckpt --resume\n",
    .notes =
        "Pictures: DIR/CLASS/*.jpg, *.jpeg or *.png, or the same below DIR/train. DIR/val, or\n"
        "part of DIR/train where there is none, chooses method and epoch and is not trained\n"
        "on. That part is a tenth; with fewer than 100 pictures a class about their square\n"
        "root, and then the method that was kept is trained once more, on all of DIR/train.\n"
        "With fewer than three a class there is none. Files of a class whose names differ in\n"
        "the last number alone are a series and stay together.\n"
        "Methods: last (the classifier), bias (and the biases), lite (the classifier and\n"
        "lite residual modules), lite+bias (all of them); auto: last, then bias, then lite+bias,\n"
        "while that is expected to gain by validation and fits in the memory limit. To\n"
        "compare with them, norm (a factor and a bias for every channel) and full (everything).\n"
        "Sizes: K, M, G are 10^3, 10^6, 10^9 bytes.\n"};

static bool parse(int argc, char **argv, train_arguments *args, int *exit_code) {
  tinytl_train_options *train = &args->train;
  const cli_option options[] = {
      CLI_OPTION_MODEL(&args->backbone),
      CLI_OPTION_DATA(&args->dir),
      CLI_OPTION_OUTPUT(&args->adapter, "ADAPTER"),
      CLI_OPTION_CHOICE("method", &args->method, cli_methods, "METHOD",
                        "auto (default), last, bias, lite, lite+bias, norm or full"),
      CLI_OPTION_INT(0, "epochs", &train->epochs, 1, TINYTL_MAX_EPOCHS,
                     "passes over the pictures (default: by their number and by trying)"),
      CLI_OPTION_INT(0, "batch", &train->batch, 1, TINYTL_MAX_BATCH,
                     "pictures a step (default: 8); memory hardly depends on it"),
      CLI_OPTION_REAL("lr", &train->lr, 0, 10, CLI_RANGE_ABOVE_MIN,
                      "learning rate (default: by method and by trying)"),
      CLI_OPTION_CHOICE("optimizer", &args->optimizer, cli_optimizers, "NAME",
                        "auto (default), adam, adam8 or sgd"),
      CLI_OPTION_IMAGE_SIZE(&train->image_size, "the backbone's"),
      CLI_OPTION_REAL("label-smoothing", &train->label_smoothing, 0, 1, CLI_RANGE_BELOW_MAX,
                      "default: by method"),
      CLI_OPTION_REAL("dropout", &train->dropout, 0, 1, CLI_RANGE_BELOW_MAX,
                      "before the classifier (default: 0.2)"),
      CLI_OPTION_REAL("val-split", &args->val_share, 0, 0.9, CLI_RANGE_CLOSED,
                      "share for validation, not DIR/val; 0: none (default: 0.1 to 0.4)"),
      CLI_OPTION_INT(0, "patience", &train->patience, 0, TINYTL_MAX_EPOCHS,
                     "stop after N epochs without gain (default: 0, never)"),
      CLI_OPTION_FLAG(0, "mirror", &args->mirror,
                      "half of the pictures (default; auto finds out by validation)"),
      CLI_OPTION_FLAG(0, "no-mirror", &args->no_mirror,
                      "where left and right differ, as in text and signs"),
      CLI_OPTION_CHOICE("augment", &args->augment, cli_switches, "WHEN",
                        "random crops and mirroring: on, off or auto (default: all but last)"),
      CLI_OPTION_REAL("colour-jitter", &train->colour_jitter, 0, 1, CLI_RANGE_CLOSED,
                      "random brightness, contrast, saturation (default: 0)"),
      CLI_OPTION_SIZE("memory-limit", &train->memory_limit,
                      "of the whole process; what fits is chosen, or refused"),
      CLI_OPTIONS_CHECKPOINT(&args->checkpoint, "run", "adapter"),
      CLI_OPTION_SEED("seed", &train->seed, "same seed, same adapter (default: 0)"),
      CLI_OPTION_THREADS(&train->n_threads),
      CLI_OPTION_JSON(&args->json),
      CLI_OPTION_QUIET(&args->quiet),
      CLI_OPTIONS_END,
  };
  char **operands;
  int n_operands;
  return cli_parse(&train_syntax, options, argc, argv, &operands, &n_operands, exit_code);
}

static tinytl_status set_options(train_arguments *args, tinytl_error *error) {
  tinytl_train_options *train = &args->train;
  if (args->mirror && args->no_mirror) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "--mirror and --no-mirror exclude each other");
  }
  const bool is_last = args->method == TINYTL_METHOD_LAST;
  if ((args->mirror || train->colour_jitter > 0) &&
      (args->augment == TINYTL_SWITCH_OFF || (is_last && args->augment != TINYTL_SWITCH_ON))) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s is of augmentation, which %s",
                    args->mirror ? "--mirror" : "--colour-jitter",
                    args->augment == TINYTL_SWITCH_OFF
                        ? "is off"
                        : "method last has only with --augment on, as it keeps features of whole "
                          "pictures otherwise");
  }
  train->method = (tinytl_method)args->method;
  train->optimizer = (tinytl_optimizer)args->optimizer;
  train->augment = (tinytl_switch)args->augment;
  train->mirror = args->mirror      ? TINYTL_SWITCH_ON
                  : args->no_mirror ? TINYTL_SWITCH_OFF
                                    : TINYTL_SWITCH_AUTO;
  return TINYTL_OK;
}

static void on_progress(void *context, const tinytl_epoch *epoch) {
  const train_arguments *args = context;
  if (epoch->trying) {
    if (!args->quiet)
      cli_progress_count("trying rates: picture",
                         (epoch->epoch - 1) * epoch->n_images + epoch->image,
                         epoch->n_epochs * epoch->n_images);
    return;
  }
  if (!args->quiet) cli_progress(tinytl_method_name(epoch->method), epoch);
  if (args->json && epoch->finished) cli_epoch_json(epoch, tinytl_method_name(epoch->method));
}

/* With a limit: what it made of the run, and why. */
static void on_planned(void *context, const tinytl_plan *plan) {
  const train_arguments *args = context;
  if (args->quiet || args->train.memory_limit == 0) return;
  char choices[CLI_CHOICES_NBYTES];
  cli_note("%s with %s: %.1f MB planned and %.1f MB held before, of %.1f MB",
           tinytl_method_name(plan->method), cli_choices_text(plan, choices),
           (double)plan->total_bytes / 1e6, (double)plan->base_bytes / 1e6,
           (double)args->train.memory_limit / 1e6);
}

static void on_stepped(void *context, const tinytl_auto_step *step) {
  const train_arguments *args = context;
  const char *method = tinytl_method_name(step->method);
  if (!args->quiet && !step->tried) {
    cli_note("%s is not tried: %s", method, step->reason);
  } else if (!args->quiet && !isfinite(step->val_top1)) {
    cli_note("%s is left: %s", method, step->reason);
  } else if (!args->quiet && !isfinite(step->gain)) {
    cli_note("%s: validation %.1f %%", method, 100 * (double)step->val_top1);
  } else if (!args->quiet) {
    cli_note(
        "%s: validation %.1f %%; probability of the right class %+.1f points, noise %.1f, expected "
        "%+.1f: %s",
        method, 100 * (double)step->val_top1, 100 * (double)step->gain, 100 * (double)step->noise,
        100 * (double)step->expected, step->kept ? "kept" : "not kept");
  }
  if (!args->json) return;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "step");
  cli_json_text(&json, "method", method);
  cli_json_bool(&json, "tried", step->tried);
  cli_json_real(&json, "val_top1", (double)step->val_top1);
  cli_json_real(&json, "gain", (double)step->gain);
  cli_json_real(&json, "noise", (double)step->noise);
  cli_json_real(&json, "expected", (double)step->expected);
  cli_json_real(&json, "epochs", step->tried ? step->epochs : (double)NAN);
  cli_json_bool(&json, "kept", step->kept);
  cli_json_text(&json, "reason", step->reason);
  cli_json_end(&json);
}

static void on_mirrored(void *context, const tinytl_mirroring *found) {
  const train_arguments *args = context;
  const char *choice = found->mirrors ? "uses" : "leaves out";
  if (!args->quiet && isfinite(found->noise)) {
    cli_note("classes explain %.1f %% of what mirroring changes, noise %.1f: training %s mirrored "
             "pictures",
             100 * (double)found->share, 100 * (double)found->noise, choice);
  } else if (!args->quiet) {
    cli_note("too few pictures to tell what mirroring changes: training %s mirrored ones", choice);
  }
  if (!args->json) return;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "mirror");
  cli_json_bool(&json, "mirror", found->mirrors);
  cli_json_real(&json, "share", (double)found->share);
  cli_json_real(&json, "noise", (double)found->noise);
  cli_json_end(&json);
}

static void on_reached(void *context, const tinytl_reach *reach) {
  const train_arguments *args = context;
  if (!args->quiet && isfinite(reach->noise)) {
    cli_note("twice the usual rates, tried for a while, give the right class %+.1f points of "
             "probability over half of them, noise %.1f: training at %.1f times the usual rates",
             100 * (double)reach->gain, 100 * (double)reach->noise, (double)reach->factor);
  } else if (!args->quiet) {
    cli_note("short trainings tell nothing: training at the usual rates");
  }
  if (!args->json) return;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "reach");
  cli_json_real(&json, "factor", (double)reach->factor);
  cli_json_real(&json, "gain", (double)reach->gain);
  cli_json_real(&json, "noise", (double)reach->noise);
  cli_json_end(&json);
}

static void on_refitting(void *context, tinytl_method method, int n_images) {
  const train_arguments *args = context;
  if (!args->quiet) {
    cli_note("few pictures: %s is trained once more, on all %d", tinytl_method_name(method),
             n_images);
  }
  if (!args->json) return;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "refit");
  cli_json_text(&json, "method", tinytl_method_name(method));
  cli_json_int(&json, "images", n_images);
  cli_json_end(&json);
}

static void on_refit_failed(void *context, const char *reason) {
  const train_arguments *args = context;
  cli_note("the second training came to nothing, the first one's adapter is kept: %s", reason);
  if (!args->json) return;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "refit_failed");
  cli_json_text(&json, "reason", reason);
  cli_json_end(&json);
}

static tinytl_status write_state(const void *state, tinytl_write_fn write, void *context,
                                 tinytl_error *error) {
  return tinytl_checkpoint_write(state, write, context, error);
}

static void on_save(void *context, const tinytl_checkpoint *state) {
  train_arguments *args = context;
  cli_checkpoint_save(&args->checkpoint, write_state, state);
}

static void on_resumed(void *context, const tinytl_resumed *resumed) {
  const train_arguments *args = context;
  const char *kernels = tinytl_kernels_name();
  if (strcmp(resumed->kernels, kernels) != 0 || strcmp(resumed->version, TINYTL_VERSION) != 0) {
    cli_note("%s was saved by version %s with %s kernels, this is version %s with %s: the adapter "
             "may differ in the last bits from that of one run",
             args->checkpoint.path, resumed->version, resumed->kernels, TINYTL_VERSION, kernels);
  }
  if (!args->quiet) {
    cli_note("going on from %s: method %s, epoch %d of %d, picture %d of %d", args->checkpoint.path,
             tinytl_method_name(resumed->method), resumed->epoch, resumed->n_epochs, resumed->image,
             resumed->n_images);
  }
}

static void print_done(const train_arguments *args, const cli_train_set *set,
                       const tinytl_train_report *report) {
  int n_classes = tinytl_folder_images(set->train)->n_classes;
  int n_skipped = set->n_skipped + report->skipped_images;
  const tinytl_plan *plan = &report->plan;
  const char *method = tinytl_method_name(report->method);
  if (args->json) {
    cli_json json = cli_json_begin();
    cli_json_text(&json, "event", "done");
    cli_json_text(&json, "method", method);
    cli_json_int(&json, "classes", n_classes);
    cli_json_int(&json, "epochs", report->epochs);
    cli_json_int(&json, "best_epoch", report->best_epoch);
    cli_json_int(&json, "train_images", report->train_images);
    cli_json_int(&json, "val_images", report->val_images);
    cli_json_bool(&json, "refit", report->refit);
    cli_json_int(&json, "skipped", n_skipped);
    cli_json_real(&json, "val_top1", (double)report->val_top1);
    cli_json_bool(&json, "mirror", report->mirrors);
    cli_choices_json(&json, plan);
    cli_memory_json(&json, plan->total_bytes, plan->base_bytes);
    cli_json_real(&json, "images_per_second", report->images_per_second);
    cli_json_real(&json, "seconds", report->seconds);
    cli_json_text(&json, "adapter", args->adapter);
    cli_json_end(&json);
    return;
  }
  printf("method      %s, %d classes\n", method, n_classes);
  printf("pictures    %d for training, %d %s, %d left out\n", report->train_images,
         report->val_images, report->refit ? "of them for validation at first" : "for validation",
         n_skipped);
  if (isfinite(report->val_top1)) {
    const int n_right = (int)lround((double)report->val_top1 * report->val_images);
    const cli_interval interval = cli_wilson(n_right, report->val_images);
    printf("validation  %.1f %% top-1 (%.1f to %.1f), epoch %d of %d\n",
           100 * (double)report->val_top1, 100 * interval.low, 100 * interval.high,
           report->best_epoch, report->epochs);
  } else {
    printf("validation  none%s; the last of %d epochs\n",
           args->val_share == 0 ? "" : ", too few pictures", report->epochs);
  }
  cli_memory_print("", plan->total_bytes, plan->base_bytes);
  printf("time        %.1f s, %.1f pictures/s\n", report->seconds, report->images_per_second);
  cli_written_print("adapter", args->adapter);
}

/* Trains into an output that is open already: a run of hours must not end at a full disk or a
 * folder that cannot be written. */
static tinytl_status train_into(cli_output *output, const cli_model *model,
                                const cli_train_set *set, train_arguments *args,
                                tinytl_train_report *report, tinytl_error *error) {
  const tinytl_train_options *train = &args->train;
  const tinytl_images *val = cli_train_set_val(set);
  tinytl_adapter *adapter;
  if (!args->quiet && !val && train->method == TINYTL_METHOD_AUTO &&
      train->augment != TINYTL_SWITCH_OFF && train->mirror == TINYTL_SWITCH_AUTO)
    cli_note("without validation pictures nothing is tried, and pictures are mirrored: --no-mirror "
             "where left and right differ");
  tinytl_status status = tinytl_train(model->backbone, tinytl_folder_images(set->train), val, train,
                                      &adapter, report, error);
  cli_progress_end();
  if (status != TINYTL_OK) return status;
  status = tinytl_adapter_write(adapter, cli_output_write, output, error);
  tinytl_adapter_free(adapter);
  return status;
}

static tinytl_status run_locked(const cli_model *model, train_arguments *args,
                                tinytl_error *error) {
  cli_output output;
  cli_train_set set;
  tinytl_train_report report = {.val_top1 = NAN};
  tinytl_status status = cli_output_open(&output, args->adapter, model->path, error);
  if (status != TINYTL_OK) return status;
  char *spill_dir = output.temporary ? cli_output_directory(&output) : NULL;
  args->train.spill_dir = spill_dir;
  status = cli_train_set_open(&set, args->dir, CLI_VAL_OF_TRAIN, args->val_share, args->train.seed,
                              true, error);
  if (status == TINYTL_OK) {
    args->train.refit = set.held_back;
    status = train_into(&output, model, &set, args, &report, error);
    status = cli_output_finish(&output, status, error);
    if (status == TINYTL_OK) {
      cli_checkpoint_remove(&args->checkpoint);
      print_done(args, &set, &report);
    }
    cli_train_set_close(&set);
  } else {
    cli_output_discard(&output);
  }
  free(spill_dir);
  return status;
}

static tinytl_status run(const cli_model *model, train_arguments *args, tinytl_error *error) {
  cli_checkpoint *checkpoint = &args->checkpoint;
  tinytl_status status =
      cli_checkpoint_open(checkpoint, args->adapter, &args->train.save_seconds, error);
  if (status != TINYTL_OK) return status;
  if (args->checkpoint.path) args->train.save = on_save;
  args->train.resume = cli_checkpoint_source(checkpoint);
  args->train.resumed = on_resumed;
  status = run_locked(model, args, error);
  cli_checkpoint_note_end(checkpoint, status);
  cli_checkpoint_close(checkpoint);
  return status;
}

int cli_train(int argc, char **argv) {
  train_arguments args = {.checkpoint = CLI_CHECKPOINT_NONE, .val_share = NAN};
  int exit_code;
  tinytl_train_options_init(&args.train);
  args.method = args.train.method;
  args.optimizer = args.train.optimizer;
  args.augment = args.train.augment;
  if (!parse(argc, argv, &args, &exit_code)) return exit_code;
  args.train.stop = cli_stop_flag();
  args.train.progress = on_progress;
  args.train.planned = on_planned;
  args.train.stepped = on_stepped;
  args.train.mirrored = on_mirrored;
  args.train.reached = on_reached;
  args.train.refitting = on_refitting;
  args.train.refit_failed = on_refit_failed;
  args.train.skip = cli_note_skipped;
  args.train.context = &args;
  tinytl_error error;
  cli_model model;
  tinytl_status status = set_options(&args, &error);
  if (status == TINYTL_OK)
    status = cli_model_open(&model, args.backbone, NULL, args.train.memory_limit, &error);
  if (status == TINYTL_OK) {
    status = run(&model, &args, &error);
    cli_model_close(&model);
  }
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
