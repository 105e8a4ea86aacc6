/* The checks of a build with guards: a run inside the plan passes, one byte outside ends it. */
#include "support/cmocka.h"

#include "train/guard.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_STEPS = 3, N_BUFFERS = 2 };

/* Two buffers, the second of a length that is no multiple of anything. */
static tinytl_program *make(void) {
  tinytl_program *program = calloc(1, sizeof *program);
  program->n_steps = N_STEPS;
  program->n_buffers = N_BUFFERS;
  program->buffers = calloc(N_BUFFERS, sizeof *program->buffers);
  program->buffers[0] = (tinytl_buffer){.nbytes = 64 + TINYTL_GUARD_GAP, .last_use = 1};
  program->buffers[1] =
      (tinytl_buffer){.nbytes = 13 + TINYTL_GUARD_GAP, .first_use = 1, .last_use = 2};
  assert_int_equal(tinytl_arena_plan(program->buffers, N_BUFFERS, &program->nbytes, NULL),
                   TINYTL_OK);
  for (int i = 0; i < N_BUFFERS; i++) program->buffers[i].nbytes -= TINYTL_GUARD_GAP;
  return program;
}

/* Runs three steps that write what is theirs; step 1 writes `extra` bytes past buffer 1, or, where
 * `late`, step 2 reads buffer 0. Returns whether the process ended by itself. */
static bool survives(const tinytl_program *program, int extra, bool late) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    unsigned char *arena = aligned_alloc(TINYTL_ARENA_ALIGN, program->nbytes);
    const tinytl_buffer *buffers = program->buffers;
    volatile unsigned char read = 0;
    tinytl_guard_begin(program, arena);
    for (int step = 0; step < N_STEPS; step++) {
      tinytl_guard_before(program, arena, step);
      if (step == 0)
        for (size_t i = 0; i < buffers[0].nbytes; i++) arena[buffers[0].offset + i] = 1;
      if (step == 1)
        for (size_t i = 0; i < buffers[1].nbytes + (size_t)extra; i++)
          arena[buffers[1].offset + i] = 2;
      if (step == 2) read = arena[buffers[late ? 0 : 1].offset];
      tinytl_guard_after(program, arena, step);
    }
    tinytl_guard_end(program, arena);
    _exit(!late && read != 2);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_guards(void **state) {
  (void)state;
  if (TINYTL_GUARD_GAP == 0) {
    print_message("skipped: a build without TINYTL_GUARDS\n");
    skip();
  }
  tinytl_program *program = make();
  assert_true(survives(program, 0, false));
  assert_false(survives(program, 1, false));
  assert_false(survives(program, 60, false));
#ifdef __SANITIZE_ADDRESS__
  assert_false(survives(program, 0, true));
#endif
  free(program->buffers);
  free(program);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_guards)};
  return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
