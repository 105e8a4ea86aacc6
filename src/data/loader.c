/* Prefetch. Positions of a run are claimed in order, each by a worker that finds a FREE slot:
 *
 *   FREE --worker claims--> BUSY --decoded--> READY --next--> HELD --release--> FREE
 *                                               '--next, skipped------------------^
 *
 * Any slot will do, so that one which is HELD for long keeps no other picture back. All that is
 * shared is read and written under one lock; the pixels of a slot belong to whom its state names.
 */
#include "data/loader.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SLOT_ALIGN 64 /* a cache line, so that two workers never write to the same */

typedef enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_READY, SLOT_HELD } slot_state;

typedef struct slot {
  slot_state state;
  tinytl_status status;
  tinytl_error error;
  uint8_t *rgb; /* [max_size][max_size][3] */
  int in_turn;  /* of slots[p % capacity]: the slot of position p, from its claim until it is given:
                   no more positions than slots are between the two */
} slot;

struct tinytl_loader {
  tinytl_loader_options options;
  pthread_mutex_t lock;
  pthread_cond_t claimable; /* a slot became free, a run began, or the end came */
  pthread_cond_t decoded;   /* a slot became ready */
  pthread_t workers[TINYTL_LOADER_MAX_WORKERS];
  int n_workers; /* running */
  bool quit;

  /* The run. */
  const tinytl_images *images;
  const int *indices;
  tinytl_view view;
  int n, n_claimed, n_given, n_busy;
  slot slots[]; /* [capacity], followed by the pixels */
};

/* NULL: none is free. */
static slot *find_free(tinytl_loader *self) {
  for (int i = 0; i < self->options.capacity; i++)
    if (self->slots[i].state == SLOT_FREE) return &self->slots[i];
  return NULL;
}

static int *slot_of(tinytl_loader *self, int position) {
  return &self->slots[position % self->options.capacity].in_turn;
}

/* A free slot for the next position; NULL: there is none, or no position. */
static slot *claim(tinytl_loader *self, int *index) {
  slot *slot = self->n_claimed < self->n ? find_free(self) : NULL;
  if (!slot) return NULL;
  slot->state = SLOT_BUSY;
  self->n_busy++;
  *index = self->indices[self->n_claimed];
  *slot_of(self, self->n_claimed++) = (int)(slot - self->slots);
  return slot;
}

static void *work(void *context) {
  tinytl_loader *self = context;
  pthread_mutex_lock(&self->lock);
  for (;;) {
    slot *slot = NULL;
    int index = 0;
    while (!self->quit && !(slot = claim(self, &index)))
      pthread_cond_wait(&self->claimable, &self->lock);
    if (self->quit) break;
    pthread_mutex_unlock(&self->lock);
    const tinytl_images *images = self->images;
    slot->status = images->load(images->context, index, &self->view, slot->rgb, &slot->error);
    pthread_mutex_lock(&self->lock);
    slot->state = SLOT_READY;
    self->n_busy--;
    pthread_cond_signal(&self->decoded); /* only the caller waits for it */
  }
  pthread_mutex_unlock(&self->lock);
  return NULL;
}

/* ---- Life --------------------------------------------------------------------------------- */

/* Bytes of the loader with its slots, and of one slot's pixels; false on overflow. */
static bool measure(const tinytl_loader_options *options, size_t *head, size_t *pixels,
                    size_t *total) {
  size_t capacity = (size_t)options->capacity, side = (size_t)options->max_size;
  if (!tinytl_size_mul(side, side, pixels) || !tinytl_size_mul(*pixels, 3, pixels)) return false;
  if (*pixels > SIZE_MAX / 2) return false;
  *pixels = tinytl_round_up(*pixels, SLOT_ALIGN);
  if (!tinytl_size_mul(capacity, sizeof(slot), head) || *head > SIZE_MAX / 4) return false;
  *head += sizeof(tinytl_loader) + SLOT_ALIGN; /* the pixels begin on the next cache line */
  if (!tinytl_size_mul(capacity, *pixels, total) || *total > SIZE_MAX / 2) return false;
  *total += *head;
  return true;
}

size_t tinytl_loader_nbytes(const tinytl_loader_options *options) {
  size_t head, pixels, total;
  return measure(options, &head, &pixels, &total) ? total : SIZE_MAX;
}

static tinytl_status check_options(const tinytl_loader_options *options, tinytl_error *error) {
  if (options->capacity < 1)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "loader with %d slots: expected 1 or more",
                       options->capacity);
  if (options->n_workers < 1 || options->n_workers > TINYTL_LOADER_MAX_WORKERS)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "loader with %d workers: expected 1 to %d",
                       options->n_workers, TINYTL_LOADER_MAX_WORKERS);
  if (options->max_size < 1)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "loader for pictures of size %d",
                       options->max_size);
  return TINYTL_OK;
}

static tinytl_status start_workers(tinytl_loader *self, tinytl_error *error) {
  pthread_attr_t attributes;
  int code = pthread_attr_init(&attributes);
  if (code == 0) {
    code = pthread_attr_setstacksize(&attributes, TINYTL_LOADER_STACK_NBYTES);
    for (; code == 0 && self->n_workers < self->options.n_workers; self->n_workers += code == 0)
      code = pthread_create(&self->workers[self->n_workers], &attributes, work, self);
    pthread_attr_destroy(&attributes);
  }
  if (code == 0) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "no thread to decode pictures: %s",
                     strerror(code));
}

tinytl_status tinytl_loader_create(const tinytl_loader_options *options, void *memory,
                                   tinytl_loader **loader, tinytl_error *error) {
  TINYTL_TRY(check_options(options, error));
  size_t head, pixels, total;
  if (!measure(options, &head, &pixels, &total)) return tinytl_fail_memory(error, SIZE_MAX);
  tinytl_loader *self = memory;
  memset(self, 0, sizeof *self);
  self->options = *options;
  uintptr_t first = (uintptr_t)memory + head - SLOT_ALIGN;
  uint8_t *rgb = (uint8_t *)memory + (tinytl_round_up(first, SLOT_ALIGN) - (uintptr_t)memory);
  for (int i = 0; i < options->capacity; i++)
    self->slots[i] = (slot){.state = SLOT_FREE, .rgb = rgb + (size_t)i * pixels};

  if (pthread_mutex_init(&self->lock, NULL) != 0)
    return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "no mutex for the loader");
  pthread_cond_init(&self->claimable, NULL); /* cannot fail with default attributes */
  pthread_cond_init(&self->decoded, NULL);
  tinytl_status status = start_workers(self, error);
  if (status == TINYTL_OK)
    *loader = self;
  else
    tinytl_loader_free(self);
  return status;
}

/* Claims nothing more, waits for what is being decoded, and frees every slot. Under the lock. */
static void give_up(tinytl_loader *self) {
  self->n = self->n_claimed = self->n_given = 0;
  while (self->n_busy > 0) pthread_cond_wait(&self->decoded, &self->lock);
  for (int i = 0; i < self->options.capacity; i++) self->slots[i].state = SLOT_FREE;
}

void tinytl_loader_free(tinytl_loader *self) {
  if (!self) return;
  pthread_mutex_lock(&self->lock);
  give_up(self);
  self->quit = true;
  pthread_cond_broadcast(&self->claimable);
  pthread_mutex_unlock(&self->lock);
  for (int i = 0; i < self->n_workers; i++) pthread_join(self->workers[i], NULL);
  pthread_cond_destroy(&self->decoded);
  pthread_cond_destroy(&self->claimable);
  pthread_mutex_destroy(&self->lock);
}

/* ---- Run ---------------------------------------------------------------------------------- */

tinytl_status tinytl_loader_start(tinytl_loader *self, const tinytl_images *images,
                                  const int *indices, int n, const tinytl_view *view,
                                  tinytl_error *error) {
  if (view->size < 1 || view->size > self->options.max_size)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "picture size %d: the loader was made for 1 to %d", view->size,
                       self->options.max_size);
  for (int i = 0; i < n; i++)
    if (indices[i] < 0 || indices[i] >= images->n_images)
      return tinytl_fail(error, TINYTL_ERROR_USAGE, "picture %d: the set has %d", indices[i],
                         images->n_images);
  pthread_mutex_lock(&self->lock);
  give_up(self);
  self->images = images;
  self->indices = indices;
  self->n = n;
  self->view = *view;
  pthread_cond_broadcast(&self->claimable);
  pthread_mutex_unlock(&self->lock);
  return TINYTL_OK;
}

/* Name of picture `index`; without names, its number, in room [32]. */
static const char *name_of(const tinytl_images *images, int index, char *room) {
  if (images->name) return images->name(images->context, index);
  snprintf(room, 32, "picture %d", index);
  return room;
}

static void make_free(tinytl_loader *self, slot *slot) {
  slot->state = SLOT_FREE;
  pthread_cond_broadcast(&self->claimable);
}

/* Waits for the slot of the next position. */
static tinytl_status wait_for_next(tinytl_loader *self, slot **ready, tinytl_error *error) {
  if (self->n_given >= self->n)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "no further picture: the run of %d is over",
                       self->n);
  if (self->n_given == self->n_claimed && !find_free(self))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "all %d slots of the loader are held",
                       self->options.capacity);
  while (self->n_given == self->n_claimed ||
         self->slots[*slot_of(self, self->n_given)].state != SLOT_READY)
    pthread_cond_wait(&self->decoded, &self->lock);
  *ready = &self->slots[*slot_of(self, self->n_given)];
  return TINYTL_OK;
}

tinytl_status tinytl_loader_next(tinytl_loader *self, tinytl_sample *sample, tinytl_error *error) {
  char room[32];
  pthread_mutex_lock(&self->lock);
  slot *slot = NULL;
  tinytl_status status = wait_for_next(self, &slot, error);
  if (status != TINYTL_OK) {
    pthread_mutex_unlock(&self->lock);
    return status;
  }
  int index = self->indices[self->n_given++];
  status = slot->status;
  tinytl_error reason = slot->error;
  bool skipped = status == TINYTL_ERROR_DATA;
  if (status == TINYTL_OK)
    slot->state = SLOT_HELD;
  else if (skipped)
    make_free(self, slot);
  else
    give_up(self);
  pthread_mutex_unlock(&self->lock);

  const char *name = name_of(self->images, index, room);
  if (status != TINYTL_OK && !skipped)
    return tinytl_fail(error, status, "%s: %s", name, reason.message);
  if (skipped && self->options.skip)
    self->options.skip(self->options.skip_context, name, reason.message);
  const int *labels = self->images->labels;
  *sample = (tinytl_sample){.rgb = skipped ? NULL : slot->rgb,
                            .index = index,
                            .label = labels ? labels[index] : -1,
                            .skipped = skipped,
                            .slot = (int)(slot - self->slots)};
  return TINYTL_OK;
}

void tinytl_loader_release(tinytl_loader *self, const tinytl_sample *sample) {
  if (sample->skipped) return;
  pthread_mutex_lock(&self->lock);
  make_free(self, &self->slots[sample->slot]);
  pthread_mutex_unlock(&self->lock);
}
