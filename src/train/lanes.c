/* Machines side by side. */
#include "train/program.h"

#include <pthread.h>

#include "train/profile.h"

typedef struct jobs {
  tinytl_machine *machines;
  tinytl_job *jobs;
} jobs;

static void run_job(void *context, int i) {
  const jobs *all = context;
  tinytl_machine_run(&all->machines[i], all->jobs[i].rgb, NULL);
}

/* One of several is watched: what the others do meanwhile takes no time. */
static void share_pool(tinytl_machine *machines, int n, tinytl_pool *pool) {
  for (int i = 0; i < n; i++) {
    machines[i].run.pool = n > 1 ? NULL : pool;
    machines[i].run.turn = NULL;
    machines[i].n_done = NULL;
    if (i > 0) machines[i].watch = NULL;
  }
}

static void add_unwatched(const tinytl_machine *machine, int n_images) {
  for (int i = 0; machine->watch && i < n_images; i++)
    tinytl_program_add_macs(machine->program, machine->network, machine->watch->profile->macs);
}

void tinytl_machines_run(tinytl_machine *machines, tinytl_job *list, int n, tinytl_pool *pool) {
  jobs all = {machines, list};
  share_pool(machines, n, pool);
  tinytl_parallel_for_in_order(pool, n, run_job, &all);
  add_unwatched(machines, n - 1);
}

/* A step of image k adds to gradients when that step of image k - 1 has ended. Images end in their
 * order. So when image k + 2 n begins, all but the latest n - 1 have ended, image k + 1 among them,
 * and nobody looks at the steps of image k any more. */
typedef struct feeding {
  tinytl_machine *machines;
  int n_machines;
  const tinytl_feed *feed;
  pthread_mutex_t lock;
  bool ended;
  int n_begun, n_unwatched; /* images */
  atomic_int n_ended;
  atomic_int n_done[2 * TINYTL_MAX_LANES]; /* steps of the latest images */
} feeding;

/* Its number, or -1. */
static int next_job(feeding *f, int i, tinytl_job *job) {
  tinytl_machine *machine = &f->machines[i];
  pthread_mutex_lock(&f->lock);
  f->ended = f->ended || !f->feed->next(f->feed->context, i, job);
  const int image = f->ended ? -1 : f->n_begun++;
  if (image >= 0) {
    const int n_counts = 2 * f->n_machines;
    machine->run.turn = image > 0 ? &f->n_done[(image - 1) % n_counts] : NULL;
    machine->n_done = &f->n_done[image % n_counts];
    atomic_store(machine->n_done, 0);
    f->n_unwatched += i > 0;
  }
  pthread_mutex_unlock(&f->lock);
  return image;
}

static void train_jobs(void *context, int i) {
  feeding *f = context;
  tinytl_job job;
  for (int image; (image = next_job(f, i, &job)) >= 0;) {
    job.loss = tinytl_machine_run(&f->machines[i], job.rgb, &job.target);
    tinytl_count_wait(&f->n_ended, image);
    pthread_mutex_lock(&f->lock);
    f->feed->done(f->feed->context, i, &job);
    pthread_mutex_unlock(&f->lock);
    atomic_store(&f->n_ended, image + 1);
  }
}

void tinytl_machines_train(tinytl_machine *machines, int n, const tinytl_feed *feed,
                           tinytl_pool *pool) {
  feeding f = {
      .machines = machines, .n_machines = n, .feed = feed, .lock = PTHREAD_MUTEX_INITIALIZER};
  share_pool(machines, n, pool);
  tinytl_parallel_for_in_order(n > 1 ? pool : NULL, n, train_jobs, &f);
  pthread_mutex_destroy(&f.lock);
  add_unwatched(machines, f.n_unwatched);
}
