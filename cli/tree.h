/* Every picture anywhere below a folder. */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include "tinytl.h"

/* Told of a picture's path. What it returns other than TINYTL_OK ends the walk. */
typedef tinytl_status (*cli_tree_fn)(void *context, const char *path, tinytl_error *error);

/* Calls `each` for every .jpg, .jpeg and .png below `dir`, folder by folder in the order of names.
 * Links are followed, no folder is entered twice, hidden files and folders are passed over. What
 * cannot be looked at, pictures and folders, is told of, left out and added to *n_skipped; of files
 * with other names the number is told. Errors: DATA (no such folder), INTERNAL, those of `each`. */
tinytl_status cli_tree_walk(const char *dir, cli_tree_fn each, void *context, int *n_skipped,
                            tinytl_error *error);

#endif
