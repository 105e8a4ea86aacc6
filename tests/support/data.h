/* The test data, which not every machine has. */
#ifndef TINYTL_TEST_DATA_H
#define TINYTL_TEST_DATA_H

#include <stdbool.h>
#include <stddef.h>

enum { DATA_PATH_SIZE = 1024 };

/* Path of `name` inside the test data: folder TINYTL_DATA of the environment, else ../shared/data
 * beside the source tree. False, with a printed line, where it is absent: then `skip()`. */
bool data_find(const char *name, char path[DATA_PATH_SIZE]);

/* The whole file; the caller frees it. NULL where it cannot be read. */
void *data_read(const char *path, size_t *nbytes);

#endif
