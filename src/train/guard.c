#include "train/guard.h"

#ifdef TINYTL_GUARDS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#endif
#ifdef ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(bytes, nbytes) ((void)(bytes), (void)(nbytes))
#define ASAN_UNPOISON_MEMORY_REGION(bytes, nbytes) ((void)(bytes), (void)(nbytes))
#endif

enum { DEAD = 0xff /* four of them are a NaN */ };

static void kill_range(unsigned char *bytes, size_t nbytes) {
  ASAN_UNPOISON_MEMORY_REGION(bytes, nbytes);
  memset(bytes, DEAD, nbytes);
  ASAN_POISON_MEMORY_REGION(bytes, nbytes);
}

/* From the end of the buffer to that of its gap, rounding included. */
static size_t gap(const tinytl_buffer *buffer) {
  return tinytl_round_up(buffer->nbytes + TINYTL_GUARD_GAP, TINYTL_ARENA_ALIGN) - buffer->nbytes;
}

void tinytl_guard_begin(const tinytl_program *program, unsigned char *arena) {
  kill_range(arena, program->nbytes);
}

void tinytl_guard_before(const tinytl_program *program, unsigned char *arena, int step) {
  for (int i = 0; i < program->n_buffers; i++) {
    const tinytl_buffer *buffer = &program->buffers[i];
    if (buffer->first_use == step)
      ASAN_UNPOISON_MEMORY_REGION(arena + buffer->offset, buffer->nbytes);
  }
}

static void check_gap(const tinytl_buffer *buffer, unsigned char *arena, int index, int step) {
  unsigned char *first = arena + buffer->offset + buffer->nbytes;
  const size_t n = gap(buffer);
  ASAN_UNPOISON_MEMORY_REGION(first, n);
  for (size_t i = 0; i < n; i++) {
    if (first[i] == DEAD) continue;
    fprintf(stderr, "tinytl: step %d wrote past buffer %d of %zu bytes\n", step, index,
            buffer->nbytes);
    abort();
  }
  ASAN_POISON_MEMORY_REGION(first, n);
}

void tinytl_guard_after(const tinytl_program *program, unsigned char *arena, int step) {
  for (int i = 0; i < program->n_buffers; i++) {
    const tinytl_buffer *buffer = &program->buffers[i];
    if (step < buffer->first_use || step > buffer->last_use) continue;
    check_gap(buffer, arena, i, step);
    const bool read_by_caller = step + 1 == program->n_steps;
    if (buffer->last_use == step && !read_by_caller)
      kill_range(arena + buffer->offset, buffer->nbytes);
  }
}

void tinytl_guard_end(const tinytl_program *program, unsigned char *arena) {
  ASAN_UNPOISON_MEMORY_REGION(arena, program->nbytes);
}

#else

void tinytl_guard_begin(const tinytl_program *program, unsigned char *arena) {
  (void)program, (void)arena;
}
void tinytl_guard_before(const tinytl_program *program, unsigned char *arena, int step) {
  (void)program, (void)arena, (void)step;
}
void tinytl_guard_after(const tinytl_program *program, unsigned char *arena, int step) {
  (void)program, (void)arena, (void)step;
}
void tinytl_guard_end(const tinytl_program *program, unsigned char *arena) {
  (void)program, (void)arena;
}

#endif
