/* A file for what memory has no room for. It has no name, and goes away with the process. */
#ifndef TINYTL_CORE_SPILL_H
#define TINYTL_CORE_SPILL_H

#include "core/status.h"

typedef struct tinytl_spill tinytl_spill;

/* Makes the file in folder `dir`. Errors: INTERNAL with the folder and the system's reason, which
 * write and read give too. */
tinytl_status tinytl_spill_create(const char *dir, tinytl_spill **spill, tinytl_error *error);
tinytl_status tinytl_spill_write(tinytl_spill *spill, uint64_t offset, const void *bytes,
                                 size_t nbytes, tinytl_error *error);
/* Of what was written. */
tinytl_status tinytl_spill_read(tinytl_spill *spill, uint64_t offset, void *bytes, size_t nbytes,
                                tinytl_error *error);
void tinytl_spill_free(tinytl_spill *spill); /* NULL is allowed */

#endif
