/* Whole pages from the system: zero at first, counted as resident once touched, and given back at
 * once. malloc keeps what is freed, so that what a process holds cannot be planned with it. */
#ifndef TINYTL_CORE_PAGES_H
#define TINYTL_CORE_PAGES_H

#include "core/status.h"

/* NULL where the system has none left. nbytes is above 0. */
void *tinytl_pages_take(size_t nbytes);
/* Gives back the whole pages inside [bytes, bytes + nbytes), whose content is lost. The range may
 * be used again, and costs memory again then. */
void tinytl_pages_drop(void *bytes, size_t nbytes);
/* Of all that was taken together; bytes may be NULL. */
void tinytl_pages_free(void *bytes, size_t nbytes);

/* Bytes that this process holds in memory now (resident set), and half of the code that was not
 * touched yet, as a run touches about so much of it; 0 where the system does not tell. */
size_t tinytl_resident_nbytes(void);
/* The same by the files of a folder of /proc. */
size_t tinytl_resident_nbytes_of(const char *process);

#endif
