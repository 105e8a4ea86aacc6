#include "ranks.h"

#include <stdlib.h>

#include "terminal.h"

#ifdef TINYTL_MPI

#include <mpi.h>

/* Numbers of a call: MPI takes memory of its own for as many, beside the plan. */
enum { PIECE = 1 << 15 };

/* A call that fails ends all ranks: MPI_ERRORS_ARE_FATAL is the default. */
static bool sum_floats(void *context, float *values, size_t n) {
  (void)context;
  for (size_t i = 0; i < n; i += PIECE) {
    int count = n - i < PIECE ? (int)(n - i) : PIECE;
    MPI_Allreduce(MPI_IN_PLACE, values + i, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  }
  return true;
}

static bool sum_doubles(void *context, double *values, size_t n) {
  (void)context;
  for (size_t i = 0; i < n; i += PIECE) {
    int count = n - i < PIECE ? (int)(n - i) : PIECE;
    MPI_Allreduce(MPI_IN_PLACE, values + i, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  }
  return true;
}

static bool broadcast(void *context, int from, void *bytes, size_t nbytes) {
  (void)context;
  for (size_t i = 0; i < nbytes; i += PIECE) {
    int count = nbytes - i < PIECE ? (int)(nbytes - i) : PIECE;
    MPI_Bcast((char *)bytes + i, count, MPI_BYTE, from, MPI_COMM_WORLD);
  }
  return true;
}

tinytl_status cli_ranks_begin(const tinytl_rank_group **group, tinytl_error *error) {
  static tinytl_rank_group all = {
      .sum_floats = sum_floats, .sum_doubles = sum_doubles, .broadcast = broadcast};
  int provided;
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  if (provided < MPI_THREAD_FUNNELED) {
    return cli_fail(error, TINYTL_ERROR_INTERNAL, "this MPI cannot be used beside threads");
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &all.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &all.n_ranks);
  *group = all.n_ranks > 1 ? &all : NULL;
  return TINYTL_OK;
}

void cli_ranks_end(void) {
  MPI_Finalize();
}

#else

/* Processes that know nothing of each other would all write the same files. */
tinytl_status cli_ranks_begin(const tinytl_rank_group **group, tinytl_error *error) {
  const char *n_ranks = getenv("OMPI_COMM_WORLD_SIZE");
  *group = NULL;
  if (!n_ranks) n_ranks = getenv("PMI_SIZE"); /* MPICH and its kin */
  if (!n_ranks || atoi(n_ranks) <= 1) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_USAGE,
                  "started by mpirun as %s ranks, but built without MPI (TINYTL_MPI)", n_ranks);
}

void cli_ranks_end(void) {
}

#endif
