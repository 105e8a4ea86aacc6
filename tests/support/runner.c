#include "support/runner.h"

#include "support/cmocka.h"

#include <stdlib.h>

void runner_start(runner *r, const tinytl_backbone *backbone, int image_size, tinytl_goal goal,
                  const tinytl_kernels *kernels) {
  r->network = malloc(sizeof *r->network);
  assert_int_equal(tinytl_network_init(r->network, backbone, image_size, 0, false, NULL),
                   TINYTL_OK);
  const tinytl_program_options options = {.goal = goal, .n_threads = 1};
  assert_int_equal(tinytl_program_create(r->network, NULL, &options, kernels, &r->program, NULL),
                   TINYTL_OK);
  r->machine = (tinytl_machine){.network = r->network,
                                .program = r->program,
                                .arena = aligned_alloc(TINYTL_ARENA_ALIGN, r->program->nbytes),
                                .run = {.kernels = kernels}};
}

void runner_finish(runner *r) {
  free(r->machine.arena);
  tinytl_program_free(r->program);
  free(r->network);
}
