/* Checks of the plan at work, in builds with TINYTL_GUARDS (the asan preset): every buffer has a
 * gap behind it, and what is not alive holds NaNs (after the last step nothing more dies: it may be
 * looked at). A step that writes past a buffer ends the program; under the address sanitizer so
 * does one that touches anything that is not alive. In other builds they are empty functions. */
#ifndef TINYTL_TRAIN_GUARD_H
#define TINYTL_TRAIN_GUARD_H

#include "train/program.h"

#ifdef TINYTL_GUARDS
enum { TINYTL_GUARD_GAP = TINYTL_ARENA_ALIGN };
#else
enum { TINYTL_GUARD_GAP = 0 };
#endif

/* Around a run, and around its steps. */
void tinytl_guard_begin(const tinytl_program *program, unsigned char *arena);
void tinytl_guard_before(const tinytl_program *program, unsigned char *arena, int step);
void tinytl_guard_after(const tinytl_program *program, unsigned char *arena, int step);
void tinytl_guard_end(const tinytl_program *program, unsigned char *arena);

#endif
