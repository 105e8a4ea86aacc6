/* The list of steps and its plan: who lives when, what is kept for backward, how much it takes. */
#include "support/cmocka.h"
#include "support/tiny_net.h"

#include "train/guard.h"
#include "train/profile.h"

#include <stdlib.h>
#include <string.h>

/* A tiny network and a program for it. */
typedef struct fixture {
  tinytl_goal goal;
  tinytl_backbone *backbone;
  tinytl_network network;
  tinytl_params params;
  tinytl_gradients gradients;
  float *values, *gradient;
  tinytl_program *program;
} fixture;

static fixture *make_with(tinytl_goal goal, tinytl_method method, bool with_lite, bool recompute,
                          bool fuse) {
  fixture *f = calloc(1, sizeof *f);
  f->goal = goal;
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, with_lite);
  assert_int_equal(tinytl_network_init(&f->network, f->backbone, TINY_SIZE, TINY_CLASSES,
                                       tinytl_method_trains_lite(method), NULL),
                   TINYTL_OK);
  tinytl_params_layout(&f->params, &f->network, method);
  f->values = calloc(f->params.n, sizeof *f->values);
  f->gradient = calloc(f->params.n_trained, sizeof *f->gradient);
  tinytl_params_init(&f->params, &f->network, 5, NULL, f->values);
  tiny_perturb(&f->params, 6, f->values);
  tinytl_gradients_layout(&f->gradients, &f->params, &f->network, tinytl_kernels_get(),
                          NONE_DEFERRED);
  tinytl_gradients_place(&f->gradients, &f->params, f->gradient);
  const tinytl_program_options options = {.goal = goal,
                                          .recompute = recompute,
                                          .n_threads = 2,
                                          .fusing = fuse ? TINYTL_FUSE_ALL : TINYTL_FUSE_NONE};
  assert_int_equal(tinytl_program_create(&f->network, goal == TINYTL_GOAL_TRAIN ? &f->params : NULL,
                                         &options, tinytl_kernels_get(), &f->program, NULL),
                   TINYTL_OK);
  return f;
}

static fixture *make(tinytl_goal goal, tinytl_method method, bool with_lite) {
  return make_with(goal, method, with_lite, false, false);
}

static void destroy(fixture *f) {
  tinytl_program_free(f->program);
  tinytl_backbone_free(f->backbone);
  free(f->values);
  free(f->gradient);
  free(f);
}

/* Calls `check` for every goal and method, with and without lite modules in the backbone, kept or
 * recomputed, with every block fused and with none. */
static void for_every_program(void (*check)(fixture *f)) {
  for (int with_lite = 0; with_lite < 2; with_lite++)
    for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++)
      for (int goal = TINYTL_GOAL_FEATURES; goal <= TINYTL_GOAL_TRAIN; goal++)
        for (int way = 0; way < 4; way++) {
          fixture *f =
              make_with((tinytl_goal)goal, (tinytl_method)method, with_lite, way % 2, way / 2);
          check(f);
          destroy(f);
        }
}

/* ---- The plan ----------------------------------------------------------------------------- */

static bool alive(const tinytl_buffer *buffer, int step) {
  return buffer->nbytes > 0 && buffer->first_use <= step && step <= buffer->last_use;
}

static bool overlap(const tinytl_buffer *x, const tinytl_buffer *y) {
  return x->offset < y->offset + y->nbytes && y->offset < x->offset + x->nbytes;
}

static void check_overlap(fixture *f) {
  const tinytl_program *program = f->program;
  const tinytl_buffer *buffers = program->buffers;
  for (int step = 0; step <= program->n_steps; step++)
    for (int i = 0; i < program->n_buffers; i++)
      for (int j = 0; alive(&buffers[i], step) && j < i; j++)
        if (alive(&buffers[j], step) && overlap(&buffers[i], &buffers[j]))
          fail_msg("step %d: buffers %d and %d overlap", step, j, i);
}

static void test_no_overlap(void **state) {
  (void)state;
  for_every_program(check_overlap);
}

static void check_total(fixture *f) {
  size_t end = 0;
  for (int i = 0; i < f->program->n_buffers; i++) {
    const tinytl_buffer *buffer = &f->program->buffers[i];
    const size_t buffer_end =
        buffer->offset + tinytl_round_up(buffer->nbytes + TINYTL_GUARD_GAP, TINYTL_ARENA_ALIGN);
    end = buffer_end > end ? buffer_end : end;
  }
  assert_int_equal(f->program->nbytes, end);
}

static void test_total_is_high_water_mark(void **state) {
  (void)state;
  for_every_program(check_total);
}

static void check_lives(const fixture *f, int step, int buffer) {
  if (buffer < 0) return;
  assert_true(buffer < f->program->n_buffers);
  if (!alive(&f->program->buffers[buffer], step))
    fail_msg("step %d uses buffer %d of %zu bytes, which lives from step %d to %d", step, buffer,
             f->program->buffers[buffer].nbytes, f->program->buffers[buffer].first_use,
             f->program->buffers[buffer].last_use);
}

/* What running a step touches, lite modules' own buffers too. */
static void check_step(const fixture *f, int s) {
  const tinytl_step *step = &f->program->steps[s];
  const int own[] = {step->x,    step->y,           step->residual,
                     step->mask, step->mask_expand, step->scratch};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) check_lives(f, s, own[i]);
  const tinytl_lite_buffers *lite = &f->program->lite[step->index];
  if (step->kind == TINYTL_STEP_LITE) {
    const tinytl_lite_maps *maps = &lite->forward;
    const int used[] = {maps->pooled, maps->x_hat1, maps->rstd1, maps->relu,
                        maps->x_hat2, maps->rstd2,  lite->out};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) check_lives(f, s, used[i]);
  }
  if (step->kind == TINYTL_STEP_LITE_BACKWARD) {
    const tinytl_lite_maps *maps = &lite->backward;
    const int used[] = {maps->x_hat1, maps->rstd1, maps->x_hat2, maps->rstd2,
                        maps->relu,   lite->d_out, lite->d_mid};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) check_lives(f, s, used[i]);
    if (tinytl_method_trains_lite(f->params.method) || f->program->recompute)
      check_lives(f, s, maps->pooled);
  }
}

static void check_lifetimes(fixture *f) {
  for (int s = 0; s < f->program->n_steps; s++) check_step(f, s);
  /* What the caller reads after the run. */
  check_lives(f, f->program->n_steps,
              f->goal == TINYTL_GOAL_FEATURES ? f->program->features : f->program->logits);
}

static void test_steps_stay_inside_lifetimes(void **state) {
  (void)state;
  for_every_program(check_lifetimes);
}

static void test_inference_needs_no_more_than_training(void **state) {
  (void)state;
  for (int with_lite = 0; with_lite < 2; with_lite++)
    for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++) {
      fixture *goals[3];
      for (int goal = 0; goal < 3; goal++)
        goals[goal] = make((tinytl_goal)goal, (tinytl_method)method, with_lite);
      assert_true(goals[TINYTL_GOAL_FEATURES]->program->nbytes <=
                  goals[TINYTL_GOAL_LOGITS]->program->nbytes);
      assert_true(goals[TINYTL_GOAL_LOGITS]->program->nbytes <=
                  goals[TINYTL_GOAL_TRAIN]->program->nbytes);
      for (int goal = 0; goal < 3; goal++) destroy(goals[goal]);
    }
}

/* ---- What is kept for backward ------------------------------------------------------------ */

static bool is_kept(const fixture *f, int buffer) {
  const tinytl_buffer *b = &f->program->buffers[buffer];
  return b->first_use < f->program->head && b->last_use > f->program->head;
}

/* A mask of layer `i` kept for backward, one bit an element? */
static bool is_mask(const fixture *f, int buffer) {
  for (int s = 0; s < f->program->head; s++) {
    const tinytl_step *step = &f->program->steps[s];
    if (step->kind != TINYTL_STEP_CONV || step->mask != buffer) continue;
    const tinytl_conv *conv = &f->network.conv[step->index];
    const size_t n_pixels = (size_t)tinytl_conv_n_pixels(conv);
    assert_int_equal(f->program->buffers[buffer].nbytes,
                     n_pixels * (((size_t)conv->out_c + 7) / 8));
    return true;
  }
  return false;
}

static bool is_lite_map(const fixture *f, int buffer) {
  for (int m = 0; m < f->network.n_lite; m++) {
    const tinytl_lite_buffers *lite = &f->program->lite[m];
    const tinytl_lite_maps *maps = &lite->forward;
    const bool norm = buffer == maps->x_hat1 || buffer == maps->rstd1 || buffer == maps->x_hat2 ||
                      buffer == maps->rstd2;
    const bool input = buffer == maps->pooled &&
                       (tinytl_method_trains_lite(f->params.method) || f->program->recompute);
    if (input || (norm && !f->program->recompute)) return true;
  }
  return false;
}

/* The pooled input of a lite module whose weights are trained. */
static bool is_lite_input(const fixture *f, int buffer) {
  for (int m = 0; m < f->network.n_lite; m++)
    if (buffer == f->program->lite[m].forward.pooled) return f->params.method == TINYTL_METHOD_FULL;
  return false;
}

/* A map between blocks? What backward may keep of the convolutions' inputs. */
static bool is_between_blocks(const fixture *f, int buffer) {
  const tinytl_arch *arch = &f->backbone->arch;
  for (int s = 0; s < f->program->head; s++) {
    const tinytl_step *step = &f->program->steps[s];
    if (step->kind != TINYTL_STEP_CONV && step->kind != TINYTL_STEP_BLOCK) continue;
    if (step->y != buffer) continue;
    for (int k = 0; k < arch->n_blocks; k++)
      if (arch->blocks[k].first <= step->index && step->index < arch->blocks[k].last) return false;
    return true;
  }
  return false;
}

/* Frozen convolutions keep no input: what lives across the head is masks, and what the lite modules
 * need. Without lite modules, masks alone. */
static void test_what_is_kept(void **state) {
  (void)state;
  for (int with_lite = 0; with_lite < 2; with_lite++)
    for (int i = 0; i < 6; i++) {
      const tinytl_method method = (tinytl_method)(TINYTL_METHOD_BIAS + i / 2);
      fixture *f = make_with(TINYTL_GOAL_TRAIN, method, with_lite, i % 2, false);
      int n_masks = 0;
      for (int i = 0; i < f->program->n_buffers; i++) {
        if (!is_kept(f, i)) continue;
        const bool mask = is_mask(f, i);
        n_masks += mask;
        if (!mask && !is_lite_map(f, i))
          fail_msg("method %s keeps buffer %d of %zu bytes", tinytl_method_name(method), i,
                   f->program->buffers[i].nbytes);
      }
      assert_true(n_masks > 0);
      destroy(f);
    }
}

/* Where convolutions are trained, inputs inside blocks are computed again: what lives across the
 * head is the maps between blocks, masks outside of them, and what the lite modules need. */
static void test_blocks_keep_their_input_alone(void **state) {
  (void)state;
  for (int way = 0; way < 8; way++) {
    const tinytl_method method = way % 2 ? TINYTL_METHOD_NORM : TINYTL_METHOD_FULL;
    fixture *f = make_with(TINYTL_GOAL_TRAIN, method, way / 2 % 2, false, way / 4);
    int n_maps = 0, n_again = 0, n_weights = 0;
    for (int i = 0; i < f->program->n_buffers; i++) {
      if (!is_kept(f, i)) continue;
      const bool map = is_between_blocks(f, i);
      n_maps += map;
      if (!map && !is_mask(f, i) && !is_lite_map(f, i) && !is_lite_input(f, i))
        fail_msg("method %s keeps buffer %d of %zu bytes", tinytl_method_name(method), i,
                 f->program->buffers[i].nbytes);
    }
    for (int s = 0; s < f->program->n_steps; s++) {
      n_again += f->program->steps[s].kind == TINYTL_STEP_CONV_AGAIN;
      n_weights += f->program->steps[s].kind == TINYTL_STEP_WEIGHT_BACKWARD;
    }
    assert_int_equal(n_weights, f->backbone->arch.n_layers);
    /* The first layer stands in the first block's step: it is computed again from the picture. */
    assert_int_equal(n_again, 1 + 1 + 3 * 2);
    assert_int_equal(n_maps, f->backbone->arch.n_layers - n_again - 1);
    destroy(f);
  }
}

static void test_last_keeps_nothing(void **state) {
  (void)state;
  for (int with_lite = 0; with_lite < 2; with_lite++) {
    fixture *f = make(TINYTL_GOAL_TRAIN, TINYTL_METHOD_LAST, with_lite);
    fixture *logits = make(TINYTL_GOAL_LOGITS, TINYTL_METHOD_LAST, with_lite);
    assert_int_equal(f->program->head, f->program->n_steps - 1);
    for (int s = 0; s < f->program->n_steps; s++) assert_int_equal(f->program->steps[s].mask, -1);
    assert_int_equal(f->program->d_features, -1);
    assert_int_equal(f->program->nbytes, logits->program->nbytes);
    destroy(f);
    destroy(logits);
  }
}

/* Method lite trains nothing below the end of the first module's block: there backward ends. */
static void test_backward_ends_at_the_first_trained(void **state) {
  (void)state;
  fixture *f = make(TINYTL_GOAL_TRAIN, TINYTL_METHOD_LITE, false);
  const tinytl_block *block = &f->backbone->arch.blocks[f->network.lite[0].block];
  int n_backward = 0;
  for (int s = 0; s < f->program->n_steps; s++) {
    const tinytl_step *step = &f->program->steps[s];
    if (step->kind == TINYTL_STEP_CONV && step->index < block->last)
      assert_int_equal(step->mask, -1);
    if (step->kind != TINYTL_STEP_CONV_BACKWARD) continue;
    assert_true(step->index > block->last);
    n_backward++;
  }
  assert_int_equal(n_backward, f->backbone->arch.n_layers - 1 - block->last);
  assert_int_equal(f->program->lite[0].d_pooled, -1);
  destroy(f);
}

/* ---- Running ------------------------------------------------------------------------------ */

enum { N_RESULTS = TINY_CLASSES + 1 };

/* Logits (or the first features) and loss; gradients go to f->gradient. */
static void run(fixture *f, int poison, float result[N_RESULTS]) {
  static const tinytl_target target = {
      .label = 3, .weight = 1, .label_smoothing = 0.1f, .dropout = 0.3f};
  uint8_t rgb[TINY_SIZE * TINY_SIZE * 3];
  tiny_picture(4, rgb);
  tinytl_machine machine = {.network = &f->network,
                            .program = f->program,
                            .gradients = &f->gradients,
                            .arena = aligned_alloc(TINYTL_ARENA_ALIGN, f->program->nbytes),
                            .run = {.kernels = tinytl_kernels_get()}};
  memset(machine.arena, poison, f->program->nbytes);
  memset(f->gradient, 0, f->params.n_trained * sizeof *f->gradient);
  result[TINY_CLASSES] =
      tinytl_machine_run(&machine, rgb, f->goal == TINYTL_GOAL_TRAIN ? &target : NULL);
  memcpy(result,
         f->goal == TINYTL_GOAL_FEATURES ? tinytl_machine_features(&machine)
                                         : tinytl_machine_logits(&machine),
         TINY_CLASSES * sizeof *result);
  free(machine.arena);
}

static void check_poison(fixture *f) {
  static const int poisons[] = {0xff, 0x7f}; /* NaN, and a very large number */
  float want[N_RESULTS], got[N_RESULTS];
  const size_t nbytes = f->params.n_trained * sizeof *f->gradient;
  float *gradient = malloc(nbytes);
  run(f, 0, want);
  memcpy(gradient, f->gradient, nbytes);
  for (int i = 0; i < 2; i++) {
    run(f, poisons[i], got);
    assert_memory_equal(got, want, sizeof want);
    assert_memory_equal(f->gradient, gradient, nbytes);
  }
  free(gradient);
}

/* Nothing is read before it was written. */
static void test_poisoned_arena(void **state) {
  (void)state;
  for_every_program(check_poison);
}

/* ---- Side by side --------------------------------------------------------------------------- */

enum { N_TURNS = 11, MOST_MACHINES = 5 };

typedef struct turn_results {
  tinytl_job turns[N_TURNS];
  float outputs[N_TURNS][TINY_CLASSES], *gradient;
  tinytl_profile profile;
} turn_results;

typedef struct side_by_side {
  const fixture *f;
  tinytl_machine machines[MOST_MACHINES];
  turn_results *results;
  int n_given, n_done, given[MOST_MACHINES]; /* turn of each machine */
} side_by_side;

static void keep_output(side_by_side *s, int machine, int turn) {
  memcpy(s->results->outputs[turn],
         s->f->goal == TINYTL_GOAL_FEATURES ? tinytl_machine_features(&s->machines[machine])
                                            : tinytl_machine_logits(&s->machines[machine]),
         sizeof s->results->outputs[0]);
}

static bool next_turn(void *context, int machine, tinytl_job *turn) {
  side_by_side *s = context;
  if (s->n_given == N_TURNS) return false;
  s->given[machine] = s->n_given;
  *turn = s->results->turns[s->n_given++];
  return true;
}

static void turn_done(void *context, int machine, const tinytl_job *turn) {
  side_by_side *s = context;
  const int i = s->given[machine];
  assert_int_equal(i, s->n_done++); /* in order */
  assert_true(turn->rgb == s->results->turns[i].rgb);
  s->results->turns[i].loss = turn->loss;
  keep_output(s, machine, i);
}

static void run_all(side_by_side *s, int n_machines, tinytl_pool *pool) {
  if (s->f->goal == TINYTL_GOAL_TRAIN) {
    const tinytl_feed feed = {.next = next_turn, .done = turn_done, .context = s};
    tinytl_machines_train(s->machines, n_machines, &feed, pool);
    return;
  }
  for (int first = 0; first < N_TURNS; first += n_machines) {
    const int n = tinytl_min(n_machines, N_TURNS - first);
    tinytl_machines_run(s->machines, &s->results->turns[first], n, pool);
    for (int i = 0; i < n; i++) keep_output(s, i, first + i);
  }
}

/* N_TURNS pictures on so many machines. */
static void run_turns(fixture *f, int n_machines, int n_threads, turn_results *results) {
  static uint8_t rgb[N_TURNS][TINY_SIZE * TINY_SIZE * 3];
  side_by_side s = {.f = f, .results = results};
  tinytl_pool *pool = NULL;
  tinytl_stopwatch watch;
  assert_int_equal(tinytl_pool_create(n_threads, &pool, NULL), TINYTL_OK);
  tinytl_stopwatch_start(&watch, &results->profile);
  for (int i = 0; i < n_machines; i++)
    s.machines[i] =
        (tinytl_machine){.network = &f->network,
                         .program = f->program,
                         .gradients = f->goal == TINYTL_GOAL_TRAIN ? &f->gradients : NULL,
                         .arena = aligned_alloc(TINYTL_ARENA_ALIGN, f->program->nbytes),
                         .run = {.kernels = tinytl_kernels_get()},
                         .watch = i == 0 ? &watch : NULL};
  const size_t nbytes = f->params.n_trained * sizeof *f->gradient;
  memset(f->gradient, 0, nbytes);
  for (int i = 0; i < N_TURNS; i++) {
    tiny_picture((uint64_t)i, rgb[i]);
    results->turns[i] = (tinytl_job){.rgb = rgb[i],
                                     .target = {.label = i % TINY_CLASSES,
                                                .weight = 1,
                                                .label_smoothing = 0.1f,
                                                .dropout = 0.3f,
                                                .image = (uint64_t)i}};
  }
  run_all(&s, n_machines, pool);
  results->gradient = malloc(nbytes);
  memcpy(results->gradient, f->gradient, nbytes);
  for (int i = 0; i < n_machines; i++) free(s.machines[i].arena);
  tinytl_pool_free(pool);
}

/* The same to the bit as one after the other, and as much work in the profile. */
static void check_side_by_side(fixture *f) {
  const size_t nbytes = f->params.n_trained * sizeof *f->gradient;
  turn_results want, got;
  run_turns(f, 1, 1, &want);
  for (int n = 1; n <= MOST_MACHINES; n++) {
    run_turns(f, n, n > 3 ? 2 : n, &got);
    for (int i = 0; i < N_TURNS; i++) assert_true(got.turns[i].loss == want.turns[i].loss);
    assert_memory_equal(got.outputs, want.outputs, sizeof want.outputs);
    assert_memory_equal(got.gradient, want.gradient, nbytes);
    assert_memory_equal(got.profile.macs, want.profile.macs, sizeof want.profile.macs);
    free(got.gradient);
  }
  free(want.gradient);
}

static void test_side_by_side(void **state) {
  (void)state;
  for_every_program(check_side_by_side);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_overlap),
      cmocka_unit_test(test_total_is_high_water_mark),
      cmocka_unit_test(test_steps_stay_inside_lifetimes),
      cmocka_unit_test(test_inference_needs_no_more_than_training),
      cmocka_unit_test(test_what_is_kept),
      cmocka_unit_test(test_blocks_keep_their_input_alone),
      cmocka_unit_test(test_last_keeps_nothing),
      cmocka_unit_test(test_backward_ends_at_the_first_trained),
      cmocka_unit_test(test_poisoned_arena),
      cmocka_unit_test(test_side_by_side),
  };
  return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
