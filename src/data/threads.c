#include "data/threads.h"

int tinytl_n_decoders(int n_working) {
  return tinytl_min((n_working + 1) / 2, TINYTL_LOADER_MAX_WORKERS);
}

tinytl_status tinytl_threads_start(tinytl_threads *threads, int n_threads,
                                   const tinytl_loader_options *loader, void *memory,
                                   tinytl_error *error) {
  TINYTL_TRY(tinytl_pool_create(n_threads, &threads->pool, error));
  const tinytl_status status = tinytl_loader_create(loader, memory, &threads->loader, error);
  if (status != TINYTL_OK) tinytl_threads_stop(threads);
  return status;
}

void tinytl_threads_stop(tinytl_threads *threads) {
  tinytl_loader_free(threads->loader);
  tinytl_pool_free(threads->pool);
  *threads = (tinytl_threads){0};
}
