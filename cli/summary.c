#include "summary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io.h"
#include "model.h"
#include "options.h"
#include "terminal.h"

tinytl_status cli_backbone_save(const tinytl_backbone *backbone, const char *path,
                                const char *input, tinytl_error *error) {
  cli_output output;
  tinytl_status status = cli_output_open(&output, path, input, error);
  if (status != TINYTL_OK) return status;
  status = tinytl_backbone_write(backbone, cli_output_write, &output, error);
  return cli_output_finish(&output, status, error);
}

static void print_text(const char *what, const char *text) {
  printf("%-14s", what);
  cli_put_text(stdout, text);
  putchar('\n');
}

/* ---- Backbone ----------------------------------------------------------------------------- */

static void print_backbone_json(const tinytl_backbone *backbone, const tinytl_backbone_info *info,
                                const char *path) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "file", path);
  cli_json_text(&json, "kind", "backbone");
  cli_json_text(&json, "architecture", info->architecture);
  cli_json_text(&json, "weights", info->weights == TINYTL_WEIGHTS_INT8 ? "int8" : "f32");
  cli_json_int(&json, "image_size", info->image_size);
  cli_json_int(&json, "layers", info->n_layers);
  cli_json_int(&json, "blocks", info->n_blocks);
  cli_json_int(&json, "features", info->n_features);
  cli_json_int(&json, "lite_modules", info->n_lite);
  cli_json_int(&json, "parameters", (long long)info->n_parameters);
  cli_json_int(&json, "weight_bytes", (long long)info->weight_nbytes);
  cli_json_int(&json, "macs", (long long)info->macs);
  cli_json_text(&json, "source", info->source);
  cli_json_text(&json, "licence", info->licence);
  cli_json_text(&json, "sha256", info->sha256);
  cli_json_int(&json, "classes", info->n_classes);
  if (tinytl_backbone_label(backbone, 0)) {
    cli_json_open(&json, "labels", '[');
    for (int i = 0; i < info->n_classes; i++) {
      cli_json_text(&json, NULL, tinytl_backbone_label(backbone, i));
    }
    cli_json_close(&json, ']');
  }
  cli_json_end(&json);
}

void cli_backbone_print(const tinytl_backbone *backbone, const char *path, bool json) {
  tinytl_backbone_info info;
  tinytl_backbone_describe(backbone, &info);
  if (json) {
    print_backbone_json(backbone, &info, path);
    return;
  }
  print_text("backbone", path);
  print_text("architecture", info.architecture);
  printf("input         %d x %d\n", info.image_size, info.image_size);
  printf("layers        %d convolutions in %d inverted residuals, %d features\n", info.n_layers,
         info.n_blocks, info.n_features);
  if (info.n_classes > 0) {
    printf("classifier    %d classes%s\n", info.n_classes,
           tinytl_backbone_label(backbone, 0) ? "" : ", not named");
  } else {
    printf("classifier    none\n");
  }
  printf("lite modules  %d\n", info.n_lite);
  printf("parameters    %zu as %s, %.2f MB\n", info.n_parameters,
         info.weights == TINYTL_WEIGHTS_INT8 ? "int8" : "f32", (double)info.weight_nbytes / 1e6);
  printf("work          %.1f million multiply-accumulates a picture\n", (double)info.macs / 1e6);
  if (*info.source) print_text("source", info.source);
  if (*info.licence) print_text("licence", info.licence);
  print_text("sha256", info.sha256);
}

/* ---- Super-net ---------------------------------------------------------------------------- */

static void print_supernet_json(const tinytl_supernet *supernet, const tinytl_supernet_info *info,
                                const char *path) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "file", path);
  cli_json_text(&json, "kind", "super-net");
  cli_json_text(&json, "architecture", info->name);
  cli_json_int(&json, "image_size", info->image_size);
  cli_json_int(&json, "parameters", (long long)info->n_parameters);
  cli_json_real(&json, "subnets", info->n_subnets);
  cli_json_int(&json, "smallest_macs", (long long)info->smallest_macs);
  cli_json_int(&json, "largest_macs", (long long)info->largest_macs);
  cli_json_bool(&json, "lite", info->has_lite);
  cli_json_int(&json, "total_stride", info->total_stride);
  cli_json_int(&json, "classes", info->n_classes);
  cli_json_open(&json, "labels", '[');
  for (int i = 0; i < info->n_classes; i++) {
    cli_json_text(&json, NULL, tinytl_supernet_label(supernet, i));
  }
  cli_json_close(&json, ']');
  cli_json_end(&json);
}

void cli_supernet_print(const tinytl_supernet *supernet, const char *path, bool json) {
  tinytl_supernet_info info;
  tinytl_supernet_describe(supernet, &info);
  if (json) {
    print_supernet_json(supernet, &info, path);
    return;
  }
  print_text("super-net", path);
  print_text("architecture", info.name);
  printf("input         %d x %d\n", info.image_size, info.image_size);
  printf("space         %.1e sub-nets: kernels 3, 5, 7; expand ratios 3, 4, 6; depths 2, 3, 4\n",
         info.n_subnets);
  printf("lite modules  %s\n", info.has_lite ? "groups 2, 4; kernels 3, 5" : "none");
  printf("total stride  %d\n", info.total_stride);
  printf("classifier    %d classes\n", info.n_classes);
  printf("parameters    %zu, %.2f MB in memory\n", info.n_parameters,
         (double)info.n_parameters * 4 / 1e6);
  printf("work          %.1f to %.1f million multiply-accumulates a picture\n",
         (double)info.smallest_macs / 1e6, (double)info.largest_macs / 1e6);
}

/* ---- Adapter ------------------------------------------------------------------------------ */

static void print_adapter_json(const tinytl_adapter *adapter, const tinytl_adapter_info *info,
                               const char *path) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "file", path);
  cli_json_text(&json, "kind", "adapter");
  cli_json_text(&json, "method", tinytl_method_name(info->method));
  cli_json_int(&json, "image_size", info->image_size);
  cli_json_int(&json, "lite_modules", info->n_lite);
  cli_json_int(&json, "parameters", (long long)info->n_parameters);
  cli_json_real(&json, "val_top1", (double)info->val_top1);
  cli_json_real(&json, "temperature", (double)info->temperature);
  cli_json_real(&json, "reject_below", (double)info->reject_below);
  cli_json_text(&json, "backbone_sha256", info->backbone_sha256);
  cli_json_int(&json, "classes", info->n_classes);
  cli_json_open(&json, "labels", '[');
  for (int i = 0; i < info->n_classes; i++) {
    cli_json_text(&json, NULL, tinytl_adapter_class(adapter, i));
  }
  cli_json_close(&json, ']');
  cli_json_end(&json);
}

void cli_adapter_print(const tinytl_adapter *adapter, const char *path, bool json) {
  tinytl_adapter_info info;
  tinytl_adapter_describe(adapter, &info);
  if (json) {
    print_adapter_json(adapter, &info, path);
    return;
  }
  print_text("adapter", path);
  print_text("method", tinytl_method_name(info.method));
  printf("input         %d x %d\n", info.image_size, info.image_size);
  printf("lite modules  %d\n", info.n_lite);
  printf("parameters    %zu\n", info.n_parameters);
  if (isfinite(info.val_top1)) printf("validation    %.1f %% top-1\n", 100 * (double)info.val_top1);
  printf("temperature   %.3f\n", (double)info.temperature);
  if (isfinite(info.reject_below))
    printf("unknown       below a score of %.3f\n", (double)info.reject_below);
  print_text("backbone", info.backbone_sha256);
  printf("classes       %d\n", info.n_classes);
  for (int i = 0; i < info.n_classes; i++) print_text("", tinytl_adapter_class(adapter, i));
}

/* ---- Checkpoint --------------------------------------------------------------------------- */

static const struct {
  const char *command, *subject;
} runs[] = {[TINYTL_RUN_TRAIN] = {"train", "method"},
            [TINYTL_RUN_PRETRAIN] = {"pretrain", "architecture"},
            [TINYTL_RUN_SEARCH] = {"search", "method"}};

static void print_checkpoint_json(const tinytl_checkpoint_info *info, const char *path) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "file", path);
  cli_json_text(&json, "kind", "checkpoint");
  cli_json_text(&json, "command", runs[info->run].command);
  cli_json_text(&json, runs[info->run].subject, info->subject);
  cli_json_int(&json, "epoch", info->epoch);
  cli_json_real(&json, "epochs", info->n_epochs > 0 ? info->n_epochs : (double)NAN);
  cli_json_int(&json, "image", info->image);
  if (info->run == TINYTL_RUN_SEARCH) cli_json_int(&json, "measured", info->n_measured);
  cli_json_int(&json, "classes", info->n_classes);
  cli_json_int(&json, "train_images", info->n_train_images);
  cli_json_int(&json, "val_images", info->n_val_images);
  if (info->run == TINYTL_RUN_TRAIN) {
    cli_json_bool(&json, "refit", info->is_refit);
    cli_json_real(&json, "val_top1", (double)info->val_top1);
    cli_json_text(&json, "version", info->version);
    cli_json_text(&json, "kernels", info->kernels);
    cli_json_text(&json, "backbone_sha256", info->backbone_sha256);
  }
  cli_json_end(&json);
}

static void print_position(const tinytl_checkpoint_info *info) {
  if (info->n_epochs > 0 && info->epoch > info->n_epochs) {
    printf("position      all %d epochs are done\n", info->n_epochs);
    return;
  }
  printf("position      epoch %d", info->epoch);
  if (info->n_epochs > 0) printf(" of %d", info->n_epochs);
  printf(", picture %d of %d\n", info->image, info->n_train_images);
}

void cli_checkpoint_print(const tinytl_checkpoint_info *info, const char *path, bool json) {
  if (json) {
    print_checkpoint_json(info, path);
    return;
  }
  print_text("checkpoint", path);
  print_text("of", runs[info->run].command);
  print_text(runs[info->run].subject, info->subject);
  print_position(info);
  if (info->run == TINYTL_RUN_SEARCH) printf("measured      %d sub-nets\n", info->n_measured);
  printf("pictures      %d for training, %d for validation%s, %d classes\n", info->n_train_images,
         info->n_val_images, info->is_refit ? " (once more, on all)" : "", info->n_classes);
  if (info->run != TINYTL_RUN_TRAIN) return;
  if (isfinite(info->val_top1))
    printf("validation    %.1f %% top-1%s\n", 100 * (double)info->val_top1,
           info->is_refit ? "" : " so far");
  print_text("saved by", info->version);
  print_text("kernels", info->kernels);
  print_text("backbone", info->backbone_sha256);
}

/* ---- Events, plans and ends --------------------------------------------------------------- */

void cli_epoch_json(const tinytl_epoch *epoch, const char *method) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "epoch");
  if (method) cli_json_text(&json, "method", method);
  cli_json_int(&json, "epoch", epoch->epoch);
  cli_json_int(&json, "epochs", epoch->n_epochs);
  cli_json_real(&json, "loss", (double)epoch->loss);
  cli_json_real(&json, "val_top1", (double)epoch->val_top1);
  cli_json_real(&json, "images_per_second", epoch->images_per_second);
  cli_json_end(&json);
}

const char *cli_choices_text(const tinytl_plan *plan, char text[CLI_CHOICES_NBYTES]) {
  snprintf(text, CLI_CHOICES_NBYTES, "%s, %d lane%s%s%s", tinytl_optimizer_name(plan->optimizer),
           plan->n_lanes, plan->n_lanes > 1 ? "s" : "",
           plan->recomputes ? ", lite modules recomputed" : "",
           plan->spills ? ", best values and cache in a file" : "");
  return text;
}

void cli_choices_json(cli_json *json, const tinytl_plan *plan) {
  cli_json_text(json, "optimizer", tinytl_optimizer_name(plan->optimizer));
  cli_json_int(json, "lanes", plan->n_lanes);
  cli_json_bool(json, "defers_gradients", plan->defers_gradients);
  cli_json_bool(json, "recomputes", plan->recomputes);
  cli_json_bool(json, "spills", plan->spills);
}

void cli_memory_print(const char *of, size_t planned_nbytes, size_t base_nbytes) {
  printf("memory      %s%.1f MB planned, %.1f MB held before; measured peak %.1f MB\n", of,
         (double)planned_nbytes / 1e6, (double)base_nbytes / 1e6, (double)cli_peak_rss() / 1e6);
}

void cli_memory_json(cli_json *json, size_t planned_nbytes, size_t base_nbytes) {
  cli_json_int(json, "planned_bytes", (long long)planned_nbytes);
  cli_json_int(json, "base_rss_bytes", (long long)base_nbytes);
  cli_json_int(json, "peak_rss_bytes", (long long)cli_peak_rss());
}

void cli_written_print(const char *what, const char *path) {
  printf("%-12s", what);
  cli_put_text(stdout, path);
  putchar('\n');
}
