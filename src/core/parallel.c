#define _GNU_SOURCE /* sched_getaffinity */

#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"

enum {
  MAX_THREADS = 64,
  CACHE_LINE = 64, /* bytes */
  SPINS = 1000 /* some 20 microseconds: operators of one image follow each other faster than that */
};

/* The tasks of a job that one thread begins with; whoever has none left takes from the others. */
typedef struct share {
  /* generation << 32 | next task. Who moves it on by one owns the task; as long as the tasks of a
   * generation are not all done, the pool's job belongs to it. */
  _Atomic uint64_t ticket;
  char rest[CACHE_LINE - sizeof(uint64_t)]; /* no two in one line */
} share;

typedef struct worker {
  pthread_t thread;
  tinytl_pool *pool;
  int own; /* its share */
} worker;

struct tinytl_pool {
  int n_threads, n_workers;
  tinytl_pool_cost *cost; /* NULL: not measured */
  share shares[MAX_THREADS];
  _Atomic(tinytl_task_fn) task;
  _Atomic(void *) context;
  _Atomic uint32_t n_shares;
  _Atomic uint32_t n_tasks;
  atomic_int n_done;
  _Atomic int n_sleeping;
  _Atomic bool quit;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  worker workers[MAX_THREADS];
};

static void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static uint32_t generation_of(uint64_t ticket) {
  return (uint32_t)(ticket >> 32);
}

/* Of the first share, whose ticket is the first to be written. */
static uint32_t generation(tinytl_pool *pool) {
  return generation_of(atomic_load(&pool->shares[0].ticket));
}

/* First task of a share. */
static uint32_t share_first(uint32_t n_tasks, uint32_t n_shares, uint32_t k) {
  return (uint32_t)(((uint64_t)n_tasks * k + n_shares - 1) / n_shares);
}

/* Runs tasks of share `k` until none is left, or the job is another one. */
static void run_share(tinytl_pool *pool, uint32_t k) {
  share *s = &pool->shares[k];
  uint64_t ticket = atomic_load(&s->ticket);
  for (;;) {
    const uint32_t n_tasks = atomic_load(&pool->n_tasks); /* before the rest of the job */
    const uint32_t n_shares = atomic_load(&pool->n_shares);
    const tinytl_task_fn task = atomic_load(&pool->task);
    void *context = atomic_load(&pool->context);
    if (n_tasks == 0 || k >= n_shares || (uint32_t)ticket >= share_first(n_tasks, n_shares, k + 1))
      return;
    if (!atomic_compare_exchange_weak(&s->ticket, &ticket, ticket + 1)) continue;
    task(context, (int)(uint32_t)ticket);
    atomic_fetch_add(&pool->n_done, 1);
    ticket = atomic_load(&s->ticket);
  }
}

/* Runs tasks until none is left of the current generation, which it returns: those of the own share
 * first. */
static uint32_t run_tasks(tinytl_pool *pool, int own) {
  for (;;) {
    const uint32_t now = generation(pool);
    const uint32_t n_tasks = atomic_load(&pool->n_tasks);
    const uint32_t n_shares = atomic_load(&pool->n_shares);
    for (uint32_t i = 0; i < n_shares && n_tasks != 0; i++)
      run_share(pool, ((uint32_t)own + i) % n_shares);
    if (atomic_load(&pool->quit) || (n_tasks != 0 && generation(pool) == now)) return now;
    cpu_relax(); /* the job is being written (n_tasks 0), or was replaced meanwhile */
  }
}

static void wait_for_work(tinytl_pool *pool, uint32_t seen) {
  for (int i = 0; i < SPINS; i++) {
    if (generation(pool) != seen || atomic_load(&pool->quit)) return;
    cpu_relax();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->n_sleeping, 1);
  while (generation(pool) == seen && !atomic_load(&pool->quit))
    pthread_cond_wait(&pool->wake, &pool->mutex);
  atomic_fetch_sub(&pool->n_sleeping, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
  const worker *self = argument;
  uint32_t seen = 0;
  while (!atomic_load(&self->pool->quit)) {
    wait_for_work(self->pool, seen);
    seen = run_tasks(self->pool, self->own);
  }
  return NULL;
}

static void wake_all(tinytl_pool *pool) {
  if (atomic_load(&pool->n_sleeping) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

/* That this process may use; at least 1. */
static int count_cores(void) {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

int tinytl_n_threads(int wanted) {
  return wanted ? wanted : count_cores() < MAX_THREADS ? count_cores() : MAX_THREADS;
}

tinytl_status tinytl_pool_create(int n_threads, tinytl_pool **pool, tinytl_error *error) {
  if (n_threads < 0 || n_threads > MAX_THREADS)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "threads must be 0 to %d, not %d", MAX_THREADS,
                       n_threads);
  n_threads = tinytl_n_threads(n_threads);

  tinytl_pool *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->n_threads = n_threads;
  pthread_mutex_init(&made->mutex, NULL);
  pthread_cond_init(&made->wake, NULL);
  for (int i = 0; i < n_threads - 1; i++) {
    worker *w = &made->workers[i];
    w->pool = made;
    w->own = i + 1;
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
      tinytl_pool_free(made);
      return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "cannot start thread %d of %d", i + 2,
                         n_threads);
    }
    made->n_workers++;
  }
  *pool = made;
  return TINYTL_OK;
}

void tinytl_pool_free(tinytl_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->quit, true);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  for (int i = 0; i < pool->n_workers; i++) pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

int tinytl_pool_n_threads(const tinytl_pool *pool) {
  return pool ? pool->n_threads : 1;
}

void tinytl_pool_measure(tinytl_pool *pool, tinytl_pool_cost *cost) {
  pool->cost = cost;
}

void tinytl_count_wait(const atomic_int *count, int n) {
  int spins = 0;
  while (atomic_load(count) < n) {
    if (spins == SPINS) {
      sched_yield();
    } else {
      spins++;
      cpu_relax();
    }
  }
}

static void run_job(tinytl_pool *pool, int n_shares, int n_tasks, tinytl_task_fn task,
                    void *context) {
  if (n_tasks <= 0) return;
  if (!pool || pool->n_workers == 0 || n_tasks == 1) {
    for (int i = 0; i < n_tasks; i++) task(context, i);
    return;
  }
  /* A worker that read the old job cannot claim under it: its ticket is stale once the generation
   * moves on. n_tasks, written last and read first, is 0 until the rest of the job is in place. */
  const uint64_t next = (uint64_t)(generation(pool) + 1) << 32;
  atomic_store(&pool->n_tasks, 0);
  atomic_store(&pool->n_done, 0);
  for (int k = 0; k < pool->n_threads; k++)
    atomic_store(&pool->shares[k].ticket,
                 next | share_first((uint32_t)n_tasks, (uint32_t)n_shares, (uint32_t)k));
  atomic_store(&pool->n_shares, (uint32_t)n_shares);
  atomic_store(&pool->task, task);
  atomic_store(&pool->context, context);
  atomic_store(&pool->n_tasks, (uint32_t)n_tasks);
  wake_all(pool);
  run_tasks(pool, 0);
  const double start = pool->cost ? tinytl_now() : 0;
  tinytl_count_wait(&pool->n_done, n_tasks);
  if (!pool->cost) return;
  pool->cost->n_forks++;
  pool->cost->join_seconds += tinytl_now() - start;
}

void tinytl_parallel_for(tinytl_pool *pool, int n_tasks, tinytl_task_fn task, void *context) {
  run_job(pool, tinytl_pool_n_threads(pool), n_tasks, task, context);
}

void tinytl_parallel_for_in_order(tinytl_pool *pool, int n_tasks, tinytl_task_fn task,
                                  void *context) {
  run_job(pool, 1, n_tasks, task, context);
}
