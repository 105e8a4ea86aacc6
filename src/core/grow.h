/* Arrays that grow by doubling. */
#ifndef TINYTL_CORE_GROW_H
#define TINYTL_CORE_GROW_H

#include "core/status.h"

/* Makes room in *items [*room] for one more than n. On failure (INTERNAL) the array stays as it is.
 */
tinytl_status tinytl_grow(void **items, int n, int *room, size_t item_nbytes, tinytl_error *error);
/* Cuts *items to n of item_nbytes; an array of none is freed. */
void tinytl_fit(void **items, int n, size_t item_nbytes);

#endif
