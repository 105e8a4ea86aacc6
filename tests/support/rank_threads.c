#include "support/rank_threads.h"

#include <string.h>

typedef void (*exchange_fn)(const rank_room *room, int from, size_t n);

/* The last one that comes does the work for all. */
static bool meet(rank_thread *self, void *values, exchange_fn exchange, int from, size_t n) {
  rank_room *room = self->room;
  pthread_mutex_lock(&room->lock);
  if (++self->n_calls == self->leave_at) room->is_left = true;
  const unsigned turn = room->n_done;
  room->values[self->group.rank] = values;
  if (++room->n_here == room->n_ranks && !room->is_left) {
    exchange(room, from, n);
    room->n_here = 0;
    room->n_done++;
  }
  pthread_cond_broadcast(&room->moved);
  while (room->n_done == turn && !room->is_left) pthread_cond_wait(&room->moved, &room->lock);
  const bool done = room->n_done != turn;
  pthread_mutex_unlock(&room->lock);
  return done;
}

static void add_floats(const rank_room *room, int from, size_t n) {
  (void)from;
  for (size_t i = 0; i < n; i++) {
    float sum = 0;
    for (int r = 0; r < room->n_ranks; r++) sum += ((float *)room->values[r])[i];
    for (int r = 0; r < room->n_ranks; r++) ((float *)room->values[r])[i] = sum;
  }
}

static void add_doubles(const rank_room *room, int from, size_t n) {
  (void)from;
  for (size_t i = 0; i < n; i++) {
    double sum = 0;
    for (int r = 0; r < room->n_ranks; r++) sum += ((double *)room->values[r])[i];
    for (int r = 0; r < room->n_ranks; r++) ((double *)room->values[r])[i] = sum;
  }
}

static void copy(const rank_room *room, int from, size_t nbytes) {
  for (int r = 0; r < room->n_ranks; r++)
    if (r != from) memcpy(room->values[r], room->values[from], nbytes);
}

static bool sum_floats(void *context, float *values, size_t n) {
  return meet(context, values, add_floats, 0, n);
}
static bool sum_doubles(void *context, double *values, size_t n) {
  return meet(context, values, add_doubles, 0, n);
}
static bool broadcast(void *context, int from, void *bytes, size_t nbytes) {
  return meet(context, bytes, copy, from, nbytes);
}

void rank_threads_run(int n_ranks, rank_thread ranks[], void *(*work)(void *context),
                      void *contexts[]) {
  rank_room room = {.n_ranks = n_ranks};
  pthread_t threads[RANKS_MAX];
  pthread_mutex_init(&room.lock, NULL);
  pthread_cond_init(&room.moved, NULL);
  for (int r = 0; r < n_ranks; r++) {
    ranks[r].room = &room;
    ranks[r].group = (tinytl_rank_group){r, n_ranks, &ranks[r], sum_floats, sum_doubles, broadcast};
  }
  for (int r = 0; r < n_ranks; r++) pthread_create(&threads[r], NULL, work, contexts[r]);
  for (int r = 0; r < n_ranks; r++) pthread_join(threads[r], NULL);
  pthread_cond_destroy(&room.moved);
  pthread_mutex_destroy(&room.lock);
}
