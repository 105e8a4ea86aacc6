/* What the plans of all runs count alike. */
#ifndef TINYTL_CORE_LIMIT_H
#define TINYTL_CORE_LIMIT_H

#include "core/status.h"

/* Touched of a thread's stack: the largest operator's buffers are 40 KB (conv_dense, conv_rgb). */
#define TINYTL_STACK_NBYTES ((size_t)32 * 1024)

/* The limit, in bytes, to name as the smallest under which this many would do, what the process
 * held before and the margin of the plan among them. Messages give it in MB with one decimal. */
size_t tinytl_limit_to_name(size_t nbytes);

#endif
