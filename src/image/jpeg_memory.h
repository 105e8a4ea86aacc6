/* libjpeg's memory manager, replaced: all that it allocates counts against a budget. Its own one
 * cannot be bounded. */
#ifndef TINYTL_IMAGE_JPEG_MEMORY_H
#define TINYTL_IMAGE_JPEG_MEMORY_H

#include "image/budget.h"

#include <stdio.h>

#include <jpeglib.h>

/* Bytes before the row of pixels that a decoder is given, so that it is not aligned: libjpeg-turbo
 * writes an aligned one past the caches, and the resizer would wait for its pixels to come back
 * from memory. */
enum { TINYTL_JPEG_ROW_OFFSET = 1 };

/* Takes over the memory of `jpeg`, which was just created. What is refused ends in its error_exit
 * with JERR_OUT_OF_MEMORY. jpeg_destroy undoes it; the pieces stay until the budget gives them
 * all back. */
void tinytl_jpeg_memory_install(j_decompress_ptr jpeg, tinytl_budget *budget);

/* What an array of n_rows costs, pointers to the rows included: of samples, and of coefficient
 * blocks. */
uint64_t tinytl_jpeg_samples_cost(size_t n_samples, size_t n_rows);
uint64_t tinytl_jpeg_blocks_cost(size_t n_blocks, size_t n_rows);

#endif
