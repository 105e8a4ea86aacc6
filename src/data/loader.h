/* Pictures decoded ahead of their use. */
#ifndef TINYTL_DATA_LOADER_H
#define TINYTL_DATA_LOADER_H

#include "core/status.h"
#include "tinytl/pictures.h"

/* Worker threads decode into a bounded ring of slots while the caller computes. The samples come
 * in the order of the indices, whatever the number of workers and slots. */
typedef struct tinytl_loader tinytl_loader;

#define TINYTL_LOADER_MAX_WORKERS 16

/* Stack of a worker. Decoding touches 20 KB of it, the thread's own data included (measured on
 * x86-64, glibc 2.36); the rest is address space. Sanitizers put far more there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TINYTL_LOADER_STACK_NBYTES ((size_t)1 << 20)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TINYTL_LOADER_STACK_NBYTES ((size_t)1 << 20)
#endif
#endif
#ifndef TINYTL_LOADER_STACK_NBYTES
#define TINYTL_LOADER_STACK_NBYTES ((size_t)256 << 10)
#endif

typedef struct tinytl_loader_options {
  int capacity;        /* slots, 1 or more: pictures that are decoded, being decoded or held */
  int n_workers;       /* 1 to TINYTL_LOADER_MAX_WORKERS; with more than 1, images->load is called
                          for several pictures at once */
  int max_size;        /* largest view->size of any run */
  tinytl_skip_fn skip; /* told of unreadable pictures, from the thread that calls
                          tinytl_loader_next; may be NULL */
  void *skip_context;
} tinytl_loader_options;

/* Bytes of memory that tinytl_loader_create wants; SIZE_MAX when they cannot be counted. What comes
 * on top, for each worker: images->load_nbytes of heap, and its stack. */
size_t tinytl_loader_nbytes(const tinytl_loader_options *options);

/* Starts the workers, which sleep. `memory` is aligned as by malloc, holds tinytl_loader_nbytes and
 * stays borrowed until the loader is freed. */
tinytl_status tinytl_loader_create(const tinytl_loader_options *options, void *memory,
                                   tinytl_loader **loader, tinytl_error *error);
/* Stops early where a run is going on; waits for the pictures that are being decoded. */
void tinytl_loader_free(tinytl_loader *loader); /* NULL is allowed */

/* Begins a run over the pictures indices [n] of `images`, which are both borrowed until it ends;
 * `view` is copied. A run that is going on is given up, and with it its samples. One loader serves
 * several sets in turn. */
tinytl_status tinytl_loader_start(tinytl_loader *loader, const tinytl_images *images,
                                  const int *indices, int n, const tinytl_view *view,
                                  tinytl_error *error);

typedef struct tinytl_sample {
  uint8_t *rgb; /* [size][size][3], the caller's to change, valid until released; NULL: skipped */
  int index, label;
  bool skipped; /* the picture could not be read; `skip` was told */
  int slot;     /* of the loader */
} tinytl_sample;

/* Waits for the next sample; a run of n indices gives n samples, skipped ones counted. An error of
 * images->load other than TINYTL_ERROR_DATA ends the run. TINYTL_ERROR_USAGE: the run is over, or
 * every slot is held by the caller. */
tinytl_status tinytl_loader_next(tinytl_loader *loader, tinytl_sample *sample, tinytl_error *error);
/* Gives the sample's slot back, in any order; a skipped sample has none, and needs no release. */
void tinytl_loader_release(tinytl_loader *loader, const tinytl_sample *sample);

#endif
