/* Calls of the system that fail on purpose: memory, threads, and writes. For programs that are
 * linked with FAULTS_WRAPPED of tests/CMakeLists.txt, by which calls from everything that is linked
 * statically come here. */
#ifndef TINYTL_TEST_FAULTS_H
#define TINYTL_TEST_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum faults_kind {
  FAULTS_MEMORY, /* malloc and its like, mmap, pthread_create */
  FAULTS_WRITE   /* pwrite, fwrite, fflush, fsync, linkat, rename, fclose */
} faults_kind;

/* Call `at` (from 0 on) of this kind fails, once, with errno `reason`; or, cut_short, a write takes
 * half of its bytes and says so. */
void faults_begin(faults_kind kind, long at, int reason, bool cut_short);
/* From here on nothing fails. Whether one did. */
bool faults_end(void);

/* Pieces of memory that were taken and not given back, and bytes that are mapped. */
long faults_n_pieces(void);
long faults_mapped_nbytes(void);

#endif
