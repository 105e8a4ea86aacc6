#include <stdio.h>

#include "bench.h"
#include "json.h"
#include "model.h"

static double share_of_peak(const cli_bench_result *result) {
  if (!(result->peak_flops > 0)) return 0;
  return 2 * (double)result->macs * result->images_per_second / result->peak_flops;
}

static bool trains(const cli_bench_result *result) {
  return result->n_classes > 0;
}

/* One kind of work in one direction. */
typedef struct row {
  const char *work;
  tinytl_direction direction;
  double seconds; /* of one picture */
  double share_of_peak;
} row;

/* The rows that took any time; returns their number. */
static int profile_rows(const cli_bench_result *result,
                        row rows[TINYTL_N_WORKS * TINYTL_N_DIRECTIONS]) {
  const tinytl_profile *profile = result->profile;
  int n = 0;
  for (int direction = 0; direction < TINYTL_N_DIRECTIONS; direction++)
    for (int work = 0; work < TINYTL_N_WORKS; work++) {
      const double seconds = profile->seconds[work][direction];
      if (!(seconds > 0)) continue;
      rows[n++] = (row){tinytl_work_name((tinytl_work)work), (tinytl_direction)direction,
                        seconds / result->n_images,
                        2 * (double)profile->macs[work][direction] / seconds / result->peak_flops};
    }
  return n;
}

static void print_profile(const cli_bench_result *result) {
  static const char *const directions[] = {"", ", backward"};
  row rows[TINYTL_N_WORKS * TINYTL_N_DIRECTIONS];
  const int n = profile_rows(result, rows);
  const double join = result->profile->join_seconds / result->n_images;
  double total = 0;
  for (int i = 0; i < n; i++) total += rows[i].seconds;
  printf("\n%-42s %9s %7s %8s\n", "where the time goes", "ms", "share", "of peak");
  for (int i = 0; i < n; i++) {
    const int width = printf("%s%s", rows[i].work, directions[rows[i].direction]);
    printf("%*s %9.3f %5.1f %%", width < 42 ? 42 - width : 0, "", 1e3 * rows[i].seconds,
           100 * rows[i].seconds / total);
    if (rows[i].share_of_peak > 0) printf(" %6.1f %%", 100 * rows[i].share_of_peak);
    putchar('\n');
  }
  printf("%-42s %9.3f\n", "a picture", 1e3 * total);
  printf("of these, waiting for other threads %14.3f %5.1f %%, at %.0f joins a picture\n",
         1e3 * join, 100 * join / total, (double)result->profile->n_forks / result->n_images);
  printf("decoding, on another thread %22.3f\n", 1e3 * result->load_seconds);
}

void cli_bench_print(const cli_bench_result *result) {
  printf("task     %s%s%s, batch %d, kernels %s\n", result->task, trains(result) ? " " : "",
         trains(result) ? tinytl_method_name(result->method) : "", result->batch,
         tinytl_kernels_name());
  printf("speed    %.1f pictures/s, %.1f %% of the peak of %.1f GFLOP/s\n",
         result->images_per_second, 100 * share_of_peak(result), 1e-9 * result->peak_flops);
  printf("memory   %.1f MB planned, %.1f MB measured peak of the whole process\n",
         (double)result->planned_bytes / 1e6, (double)cli_peak_rss() / 1e6);
  if (result->profile) print_profile(result);
}

static void profile_json(cli_json *json, const cli_bench_result *result) {
  static const char *const directions[] = {"forward", "backward"};
  row rows[TINYTL_N_WORKS * TINYTL_N_DIRECTIONS];
  const int n = profile_rows(result, rows);
  cli_json_open(json, "profile", '[');
  for (int i = 0; i < n; i++) {
    cli_json_open(json, NULL, '{');
    cli_json_text(json, "work", rows[i].work);
    cli_json_text(json, "direction", directions[rows[i].direction]);
    cli_json_real(json, "seconds", rows[i].seconds);
    cli_json_real(json, "share_of_peak", rows[i].share_of_peak);
    cli_json_close(json, '}');
  }
  cli_json_close(json, ']');
  cli_json_real(json, "forks", (double)result->profile->n_forks / result->n_images);
  cli_json_real(json, "join_seconds", result->profile->join_seconds / result->n_images);
  cli_json_real(json, "load_seconds", result->load_seconds);
}

void cli_bench_print_json(const cli_bench_result *result) {
  cli_json json = cli_json_begin();
  cli_json_text(&json, "task", result->task);
  cli_json_text(&json, "method", trains(result) ? tinytl_method_name(result->method) : NULL);
  cli_json_int(&json, "batch", result->batch);
  cli_json_text(&json, "kernels", tinytl_kernels_name());
  cli_json_real(&json, "images_per_second", result->images_per_second);
  cli_json_real(&json, "share_of_peak", share_of_peak(result));
  cli_json_real(&json, "peak_flops", result->peak_flops);
  cli_json_int(&json, "macs", (long long)result->macs);
  cli_json_real(&json, "setup_seconds", result->setup_seconds);
  cli_json_int(&json, "peak_rss_bytes", (long long)cli_peak_rss());
  cli_json_int(&json, "planned_bytes", (long long)result->planned_bytes);
  if (result->profile) profile_json(&json, result);
  cli_json_end(&json);
}
