#include "train/optimizer.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"adam", "sgd", "adam8", "auto"}; /* as tinytl_optimizer */

const char *tinytl_optimizer_name(tinytl_optimizer optimizer) {
  return (unsigned)optimizer <= TINYTL_OPTIMIZER_AUTO ? names[optimizer] : NULL;
}

bool tinytl_optimizer_parse(const char *name, tinytl_optimizer *optimizer) {
  for (int i = 0; i <= TINYTL_OPTIMIZER_AUTO; i++)
    if (strcmp(name, names[i]) == 0) {
      *optimizer = (tinytl_optimizer)i;
      return true;
    }
  return false;
}

enum { CHUNK = 16384 /* values a task: large against the cost of a fork; whole blocks */ };

/* ---- State -------------------------------------------------------------------------------- */

/* Blocks before segment s, rounded up: offset / BLOCK + s is never less than the sum of the
 * segments' blocks, and needs no table. */
static size_t first_block(const tinytl_params *params, int s) {
  const size_t offset = s < params->n_segments ? params->segments[s].offset : params->n;
  return offset / TINYTL_MOMENT_BLOCK + (size_t)s;
}

static size_t n_blocks(const tinytl_params *params) {
  return first_block(params, params->n_trained_segments);
}

static size_t state_nbytes(tinytl_optimizer kind, const tinytl_params *params) {
  const size_t n = params->n_trained;
  switch (kind) {
  case TINYTL_OPTIMIZER_SGD:
    return n * sizeof(float);
  case TINYTL_OPTIMIZER_ADAM8:
    return 2 * (n_blocks(params) * sizeof(float) + n);
  default:
    return 2 * n * sizeof(float);
  }
}

size_t tinytl_optimizer_nbytes(tinytl_optimizer kind, const tinytl_params *params) {
  return params->n_trained > SIZE_MAX / 16 ? SIZE_MAX : state_nbytes(kind, params);
}

void tinytl_optimizer_init(tinytl_optimizer_state *state, tinytl_optimizer kind,
                           const tinytl_params *params, void *memory) {
  *state = (tinytl_optimizer_state){.kind = kind};
  memset(memory, 0, state_nbytes(kind, params));
  if (kind == TINYTL_OPTIMIZER_ADAM8) {
    state->scale1 = memory;
    state->scale2 = state->scale1 + n_blocks(params);
    state->code1 = (uint8_t *)(state->scale2 + n_blocks(params));
    state->code2 = state->code1 + params->n_trained;
  } else {
    state->moment1 = memory;
    if (kind == TINYTL_OPTIMIZER_ADAM) state->moment2 = state->moment1 + params->n_trained;
  }
}

void tinytl_optimizer_moments(const tinytl_optimizer_state *state, const tinytl_params *params,
                              tinytl_moments moments[TINYTL_N_MOMENTS]) {
  const size_t n = params->n_trained, n_scales = n_blocks(params);
  memset(moments, 0, TINYTL_N_MOMENTS * sizeof *moments);
  if (!state->code1) {
    moments[0] = (tinytl_moments){"moment1", state->moment1, n, false};
    if (state->moment2) moments[1] = (tinytl_moments){"moment2", state->moment2, n, false};
    return;
  }
  moments[0] = (tinytl_moments){"moment1.scale", state->scale1, n_scales, false};
  moments[1] = (tinytl_moments){"moment2.scale", state->scale2, n_scales, false};
  moments[2] = (tinytl_moments){"moment1.code", state->code1, n, true};
  moments[3] = (tinytl_moments){"moment2.code", state->code2, n, true};
}

/* ---- Update ------------------------------------------------------------------------------- */

void tinytl_optimizer_begin(tinytl_optimizer_state *state, const float lr[TINYTL_N_GROUPS],
                            float gradient_scale) {
  const double t = (double)++state->step;
  const bool adam = state->kind != TINYTL_OPTIMIZER_SGD;
  const double correction1 = adam ? 1.0 / (1.0 - pow(TINYTL_ADAM_BETA1, t)) : 1.0;
  for (int g = 0; g < TINYTL_N_GROUPS; g++) state->rate[g] = (float)((double)lr[g] * correction1);
  state->gradient_scale = gradient_scale;
  state->root_correction = (float)(1.0 / sqrt(1.0 - pow(TINYTL_ADAM_BETA2, t)));
}

typedef struct update {
  tinytl_update all; /* of the range */
  void (*kernel)(const tinytl_update *update);
} update;

static void update_task(void *context, int task) {
  const update *u = context;
  const size_t first = (size_t)task * CHUNK, block = first / TINYTL_MOMENT_BLOCK;
  tinytl_update part = u->all;
  part.n = u->all.n - first < CHUNK ? u->all.n - first : CHUNK;
  part.values += first;
  part.gradient += first;
  if (part.moment1) part.moment1 += first;
  if (part.moment2) part.moment2 += first;
  if (part.code1) {
    part.code1 += first;
    part.code2 += first;
    part.scale1 += block;
    part.scale2 += block;
  }
  u->kernel(&part);
}

void tinytl_optimizer_update(const tinytl_optimizer_state *state, const tinytl_params *params,
                             int s, size_t first, size_t n, const tinytl_kernels *kernels,
                             tinytl_pool *pool, float *gradient, float *values) {
  const tinytl_segment *segment = &params->segments[s];
  const size_t at = segment->offset + first;
  update u = {.all = {.n = n,
                      .values = values,
                      .gradient = gradient,
                      .rate = state->rate[segment->group],
                      .gradient_scale = state->gradient_scale,
                      .root_correction = state->root_correction}};
  switch (state->kind) {
  case TINYTL_OPTIMIZER_SGD:
    u.kernel = kernels->sgd;
    u.all.moment1 = state->moment1 + at;
    break;
  case TINYTL_OPTIMIZER_ADAM8: {
    const size_t block = first_block(params, s) + first / TINYTL_MOMENT_BLOCK;
    u.kernel = kernels->adam8;
    u.all.code1 = state->code1 + at;
    u.all.code2 = state->code2 + at;
    u.all.scale1 = state->scale1 + block;
    u.all.scale2 = state->scale2 + block;
    break;
  }
  default:
    u.kernel = kernels->adam;
    u.all.moment1 = state->moment1 + at;
    u.all.moment2 = state->moment2 + at;
  }
  tinytl_parallel_for(pool, (int)((n + CHUNK - 1) / CHUNK), update_task, &u);
}

tinytl_status tinytl_check_trained(const float *values, size_t n, tinytl_error *error) {
  for (size_t i = 0; i < n; i++)
    if (!isfinite(values[i]))
      return tinytl_fail(error, TINYTL_ERROR_DATA,
                         "a trained value is not finite: expected a number, found %g; a lower "
                         "learning rate may help",
                         (double)values[i]);
  return TINYTL_OK;
}

float tinytl_schedule(uint64_t step, uint64_t n_warmup, uint64_t n_steps) {
  if (step < n_warmup) return (float)(step + 1) / (float)n_warmup;
  if (n_steps <= n_warmup) return 1.0f;
  const double done = (double)(step - n_warmup) / (double)(n_steps - n_warmup);
  return (float)(0.5 * (1.0 + cos(3.141592653589793 * done)));
}

float tinytl_weight_schedule(uint64_t step, uint64_t n_warmup, uint64_t n_steps) {
  const float begun = step < n_warmup ? (float)(step + 1) / (float)n_warmup : 1.0f;
  return begun * begun * tinytl_schedule(step, 0, n_steps);
}
