/* What the plans of all runs count alike. */
#ifndef TINYTL_CORE_LIMIT_H
#define TINYTL_CORE_LIMIT_H

#include "core/status.h"

/* Counted for what is touched of a thread's stack: a few dozen KB in practice. Only the largest
 * convolutions fill the 40 KB of buffers that their operators have (conv_dense, conv_rgb). */
#define TINYTL_STACK_NBYTES ((size_t)32 * 1024)

/* The limit, in bytes, to name as the smallest under which this many would do, what the process
 * held before and the margin of the plan among them. Messages give it in MB with one decimal. */
size_t tinytl_limit_to_name(size_t nbytes);

/* Refuses a limit (0: none) where the system does not tell what the process holds, base_nbytes 0:
 * MEMORY_LIMIT. */
tinytl_status tinytl_limit_check_base(size_t limit, size_t base_nbytes, tinytl_error *error);

/* The most, in bytes, that decoding a picture may take under a memory limit before anything else is
 * given up for it: an eighth of the limit, but as much as this at least; 0, any, without one. A
 * streamed JPEG of 12 megapixels takes less than the least. Pictures that take more are left out.
 */
#define TINYTL_LEAST_FOR_PICTURES ((size_t)1000 * 1000)
size_t tinytl_limit_for_pictures(size_t limit);

#endif
