/* The threads of one run: those that share its work, and those that decode its pictures ahead. A
 * run has one tinytl_threads, all zeros until it starts them, and uses the two through its members.
 */
#ifndef TINYTL_DATA_THREADS_H
#define TINYTL_DATA_THREADS_H

#include "core/parallel.h"
#include "data/loader.h"

typedef struct tinytl_threads {
  tinytl_pool *pool;     /* both NULL: none run */
  tinytl_loader *loader; /* lies in the run's memory */
} tinytl_threads;

/* Threads that decode for n that work: for small networks decoding takes half as long as training.
 */
int tinytl_n_decoders(int n_working);

/* n_threads as of tinytl_pool_create, loader and its memory as of tinytl_loader_create: `memory`
 * stays borrowed until the threads are stopped. On failure none run. Errors: USAGE (options),
 * INTERNAL (no memory, no thread). */
tinytl_status tinytl_threads_start(tinytl_threads *threads, int n_threads,
                                   const tinytl_loader_options *loader, void *memory,
                                   tinytl_error *error);
/* Ends them all, after the pictures that are being decoded. Nothing happens where none run. */
void tinytl_threads_stop(tinytl_threads *threads);

#endif
